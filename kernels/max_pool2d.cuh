// The sizes of a max pooling.

#pragma once

#include "common.cuh"

// [rows, columns] for each pair: src/ops/max_pool2d/mod.rs.
struct MaxPool2dGeometry {
  unsigned planes;
  unsigned height;
  unsigned width;
  unsigned out_height;
  unsigned out_width;
  unsigned kernel_size[2];
  unsigned stride[2];
  unsigned padding[2];
  unsigned dilation[2];
};
