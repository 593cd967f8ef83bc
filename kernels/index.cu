// Elements picked by index along one dimension, and the sum back.
//
// x is seen as [outer, size, inner]; result l of it is that of index l, which is one number for all of
// [outer, inner] (`by_row`: the index is [count]) or one for each (it is [outer, count, inner]).

#include "common.cuh"

// src/ops/index/mod.rs.
struct IndexGeometry {
  unsigned outer, size, count, inner;
  unsigned by_row;
};

// y[o, l, i] = x[o, index, i]; NaN where the index is outside of x.
//
// A thread owns WIDTH neighbouring elements of y. Moves 2 n elements and the indices.
extern "C" __global__ void index_pick(IndexGeometry g,
                                      const T *__restrict__ x,       // [outer, size, inner]
                                      const int *__restrict__ index, // [count], or of y's shape
                                      T *__restrict__ y) {           // [outer, count, inner]
  const unsigned n = g.outer * g.count * g.inner;
  const unsigned first = first_of_pack();
  if (first >= n) return;
  unsigned row = first / g.inner, i = first % g.inner; // row numbers [outer, count]
  Pack pack = {};
  if (g.by_row && i + WIDTH <= g.inner) {
    const unsigned at = (unsigned)index[row % g.count];
    if (at < g.size) {
      pack = load_pack(x + (row / g.count * g.size + at) * g.inner, i, g.inner);
    } else {
#pragma unroll
      for (unsigned j = 0; j < WIDTH; ++j) pack.v[j] = NOT_A_NUMBER;
    }
  } else {
#pragma unroll
    for (unsigned j = 0; j < WIDTH; ++j) {
      if (first + j < n) {
        const unsigned at = (unsigned)index[g.by_row ? row % g.count : first + j];
        pack.v[j] = at < g.size ? x[(row / g.count * g.size + at) * g.inner + i] : NOT_A_NUMBER;
        if (++i == g.inner) {
          i = 0;
          ++row;
        }
      }
    }
  }
  store_pack(y, first, n, pack);
}

// Columns that a lane of `index_add_rows` owns.
#define INDEX_COLUMNS 4u

// grad_x[o, s, i] = the sum of grad_y[o, l, i] over all l whose index is s; none where s is `skip`.
// For one index a row.
//
// A warp owns 32 * INDEX_COLUMNS elements i of one row (o, s). Its lanes look at 32 indices at a time,
// and add the rows that some of them found in the order of l, in double: each element has one owner and
// one order. Reads grad_y once, and the indices once for each warp.
extern "C" __global__ void __launch_bounds__(THREADS)
    index_add_rows(IndexGeometry g, int skip,
                   const int *__restrict__ index, // [count]
                   const T *__restrict__ grad_y,  // [outer, count, inner]
                   T *__restrict__ grad_x,        // [outer, size, inner]
                   int accumulate) {
  const unsigned lane = threadIdx.x % 32;
  const unsigned warp = (blockIdx.x * THREADS + threadIdx.x) / 32;
  const unsigned parts = (g.inner + 32 * INDEX_COLUMNS - 1) / (32 * INDEX_COLUMNS);
  const unsigned row = warp / parts; // numbers [outer, size]
  if (row >= g.outer * g.size) return;
  const unsigned first = warp % parts * 32 * INDEX_COLUMNS + lane;
  const int s = (int)(row % g.size);
  const T *from = grad_y + row / g.size * g.count * g.inner;
  double sums[INDEX_COLUMNS] = {};
  for (unsigned l = 0; l < g.count && s != skip; l += 32) {
    const bool hit = l + lane < g.count && index[l + lane] == s;
    unsigned hits = __ballot_sync(0xffffffffu, hit);
    while (hits) {
      const unsigned at = l + (unsigned)__ffs((int)hits) - 1;
      hits &= hits - 1;
#pragma unroll
      for (unsigned j = 0; j < INDEX_COLUMNS; ++j) {
        if (first + 32 * j < g.inner) sums[j] += from[at * g.inner + first + 32 * j];
      }
    }
  }
#pragma unroll
  for (unsigned j = 0; j < INDEX_COLUMNS; ++j) {
    const unsigned i = first + 32 * j;
    if (i < g.inner) put(grad_x + row * g.inner + i, (T)sums[j], accumulate);
  }
}

// grad_x[o, s, i] = the sum of grad_y[o, l, i] over all l whose own index is s.
//
// A thread owns an element of grad_x, and looks at all indices of its line in their order, which
// neighbouring threads share or read side by side; it adds in double. outer * size * inner * count
// steps.
extern "C" __global__ void index_add(IndexGeometry g,
                                     const int *__restrict__ index, // [outer, count, inner]
                                     const T *__restrict__ grad_y,  // [outer, count, inner]
                                     T *__restrict__ grad_x,        // [outer, size, inner]
                                     int accumulate) {
  const unsigned element = blockIdx.x * blockDim.x + threadIdx.x;
  if (element >= g.outer * g.size * g.inner) return;
  const unsigned i = element % g.inner, row = element / g.inner; // row numbers [outer, size]
  const int s = (int)(row % g.size);
  unsigned at = row / g.size * g.count * g.inner + i;
  double sum = 0;
  for (unsigned l = 0; l < g.count; ++l) {
    if (index[at] == s) sum += grad_y[at];
    at += g.inner;
  }
  put(grad_x + element, (T)sum, accumulate);
}
