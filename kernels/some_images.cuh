// Which images of a batch are changed at random: src/ops/some_images.rs.

#pragma once
#include "common.cuh"

struct SomeImages {
  unsigned long long seed;
  double threshold;
  unsigned stream;
  unsigned channels;
  unsigned height;
  unsigned width;

  __device__ bool has(unsigned word) const { return (double)word < threshold; }
};
