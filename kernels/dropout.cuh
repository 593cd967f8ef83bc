// Which elements dropout drops.

#pragma once

#include "common.cuh"

// src/ops/dropout/mod.rs.
struct DropoutGeometry {
  unsigned long long seed;
  double scale;
  unsigned stream;
  unsigned threshold;
};

// The elements that a step keeps, asked for one after the other: those that share a Philox block draw
// it once. Without a `step` all are kept.
struct DropoutMask {
  DropoutGeometry g;
  bool drops;
  unsigned long long step;
  unsigned block; // whose words these are
  uint4 words;

  __device__ DropoutMask(const DropoutGeometry &g, const unsigned long long *step /* [1] or null */)
      : g(g), drops(step), step(step ? *step : 0), block(0xffffffffu), words() {}

  // What a kept element is multiplied with.
  __device__ T scale() const { return drops ? (T)g.scale : T(1); }

  __device__ bool keeps(unsigned i) {
    if (!drops) return true;
    if (i / 4 != block) {
      block = i / 4;
      words = philox(g.seed, g.stream, step, block);
    }
    const unsigned even = i & 2 ? words.z : words.x, odd = i & 2 ? words.w : words.y;
    return (i & 1 ? odd : even) >= g.threshold;
  }
};
