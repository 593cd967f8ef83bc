// Matrix products of matrices that lie in memory, as rules for gemm.cuh.

#pragma once

#include "gemm.cuh"

// src/ops/matmul/mod.rs. The kernel's name says which operands lie transposed.
struct MatmulGeometry {
  unsigned m;
  unsigned n;
  unsigned k;
  unsigned transpose_a;
  unsigned transpose_b;
};

template <bool TRANSPOSE_A, bool TRANSPOSE_B> struct MatmulProduct {
  typedef unsigned Row, Col, Step; // the indices themselves
  // A plain a [m, k] is contiguous along k, a plain b [k, n] along n.
  static const bool A_ALONG_K = !TRANSPOSE_A, B_ALONG_K = TRANSPOSE_B, SHARED_STEPS = false;

  const MatmulGeometry &g;
  const T *matrix_a, *matrix_b;

  __device__ Row row(unsigned m) const { return m; }
  __device__ Col col(unsigned n) const { return n; }
  __device__ Step step(unsigned k) const { return k; }
  __device__ T a(Row m, Step k, bool inside) const {
    return load_if(matrix_a + (TRANSPOSE_A ? k * g.m + m : m * g.k + k), inside);
  }
  __device__ T b(Col n, Step k, bool inside) const {
    return load_if(matrix_b + (TRANSPOSE_B ? n * g.k + k : k * g.n + n), inside);
  }
};
