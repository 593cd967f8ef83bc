// The gradients of a fully connected layer, in one launch, as fused ops need them: the gradient of
// the layer's output exists only as a rule.

#pragma once

#include "matmul.cuh"

// src/ops/linear/mod.rs.
struct LinearGeometry {
  unsigned rows;
  unsigned in_features;
  unsigned out_features;
};

#define LINEAR_ROWS 32

// A Gradient is a rule for the gradient of the output [rows, out_features]: T operator()(unsigned
// i, bool inside), 0 where it is not inside.

// grad_weight[o, i] = gradient[n, o] * input[n, i]; column `weights` is the bias's, whose inputs
// are 1.
template <class Gradient> struct LinearWeightProduct {
  typedef unsigned Row, Col, Step; // the indices themselves
  static const bool A_ALONG_K = false, B_ALONG_K = false, SHARED_STEPS = false;

  const LinearGeometry &g;
  const Gradient &gradient;
  const T *input;
  unsigned weights;

  __device__ Row row(unsigned o) const { return o; }
  __device__ Col col(unsigned i) const { return i; }
  __device__ Step step(unsigned n) const { return n; }
  __device__ T a(Row o, Step n, bool inside) const {
    return gradient(n * g.out_features + o, inside);
  }
  __device__ T b(Col i, Step n, bool inside) const {
    const bool ones = i >= weights;
    return load_if(input + (n * g.in_features + i), inside & !ones, ones ? T(1) : T(0));
  }
};

// grad_input[n, i] = gradient[n, o] * weight[o, i].
template <class Gradient> struct LinearInputProduct {
  typedef unsigned Row, Col, Step; // the indices themselves
  static const bool A_ALONG_K = true, B_ALONG_K = false, SHARED_STEPS = false;

  const LinearGeometry &g;
  const Gradient &gradient;
  const T *weight;

  __device__ Row row(unsigned n) const { return n; }
  __device__ Col col(unsigned i) const { return i; }
  __device__ Step step(unsigned o) const { return o; }
  __device__ T a(Row n, Step o, bool inside) const {
    return gradient(n * g.out_features + o, inside);
  }
  __device__ T b(Col i, Step o, bool inside) const {
    return load_if(weight + (o * g.in_features + i), inside);
  }
};

template <class Gradient> union LinearShared {
  GemmTileShared<LINEAR_ROWS, LinearWeightProduct<Gradient>> of_weight;
  GemmTileShared<LINEAR_ROWS, LinearInputProduct<Gradient>> of_input;
};

// The gradients that are not null, in blocks of 128 threads, four to a multiprocessor: left alone,
// the compiler aims at more, and spills. The first blocks of the grid compute those of weight and
// bias, the others that of the input.
template <class Gradient>
__device__ inline void
linear_backward(LinearShared<Gradient> &shared, const LinearGeometry &g, const GemmSplit &of_weight,
                const GemmSplit &of_input, const Gradient &gradient, const T *input,
                const T *weight, T *partials, unsigned *counters, T *grad_weight,
                int accumulate_weight, T *grad_bias, int accumulate_bias, T *grad_input,
                int accumulate_input) {
  unsigned row, col;
  if (blockIdx.x < of_weight.blocks()) {
    const unsigned m = g.out_features, weights = grad_weight ? g.in_features : 0;
    const unsigned n = grad_bias ? weights + 1 : weights;
    const LinearWeightProduct<Gradient> product = {g, gradient, input, weights};
    if (gemm_split(product, shared.of_weight, of_weight, blockIdx.x, m, n, g.rows, row, col,
                   partials, counters)) {
      gemm_tile_store_parameters(shared.of_weight.tile, m, weights, row, col, grad_weight,
                                 accumulate_weight, grad_bias, accumulate_bias);
    }
    return;
  }
  // Behind what the weight's blocks use.
  partials += (size_t)of_weight.tiles * of_weight.parts * LINEAR_ROWS * GEMM_COLS;
  counters += of_weight.tiles * of_weight.groups;
  const LinearInputProduct<Gradient> product = {g, gradient, weight};
  if (gemm_split(product, shared.of_input, of_input, blockIdx.x - of_weight.blocks(), g.rows,
                 g.in_features, g.out_features, row, col, partials, counters)) {
    gemm_tile_store(shared.of_input.tile, g.rows, g.in_features, row, col, g.rows, g.in_features,
                    (const T *)nullptr, grad_input, accumulate_input);
  }
}
