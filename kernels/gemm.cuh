// The tiled matrix product c [m, n] = a [m, k] b [k, n], whose operands may exist only as a rule
// (a convolution's patches are never written to memory).
//
// A block computes ROWS x GEMM_COLS elements of c, a thread 4 x 4 of them in registers. It walks k
// in tiles of GEMM_K: each tile of a and b passes through shared memory, where an element is used
// 64 (or ROWS) times. While one tile is multiplied the next is on its way from global memory into
// registers, and shared memory has room for two, so one barrier a tile is enough.
//
// The rule is a type Product with
//   Row  row(m), Col col(n)      what an operand needs to know of one row of a, one column of b:
//                                computed once per thread;
//   Step step(k)                 the same of one k: computed once per block and tile, in shared
//                                memory, for it holds the divisions;
//   T a(Row, Step), b(Col, Step) one element; only asked for inside the matrices;
//   A_ALONG_K, B_ALONG_K         whether neighbours in memory are neighbours along k: neighbouring
//                                threads then fetch along k, so that their loads coalesce.

#pragma once

#include "common.cuh"

#define GEMM_K 16
#define GEMM_COLS 64

// Four neighbouring elements of a tile: one or two loads of 16 bytes.
struct __align__(16) Quad {
  T v[4];
};

template <int ROWS, class Product> struct GemmShared {
  // Padded so that threads that store along k meet different banks; 4 keeps a Quad aligned.
  __align__(16) T a[2][GEMM_K][ROWS + 4];
  __align__(16) T b[2][GEMM_K][GEMM_COLS + 4];
  typename Product::Step steps[2][GEMM_K];
};

// Which elements of a tile [GEMM_K, LENGTH] this thread fetches: element i is at (depth, place).
template <int ROWS, int LENGTH, bool ALONG_K> struct Share {
  static const int BLOCK = ROWS * GEMM_COLS / 16; // threads
  static const int COUNT = LENGTH * GEMM_K / BLOCK;

  static __device__ unsigned depth(int i) {
    return ALONG_K ? threadIdx.x % GEMM_K : threadIdx.x / LENGTH + i * (BLOCK / LENGTH);
  }
  static __device__ unsigned place(int i) {
    return ALONG_K ? threadIdx.x / GEMM_K + i * (BLOCK / GEMM_K) : threadIdx.x % LENGTH;
  }
};

// The first row and column of the 4 x 4 elements that this thread computes.
__device__ inline unsigned gemm_thread_row() { return threadIdx.x / (GEMM_COLS / 4) * 4; }
__device__ inline unsigned gemm_thread_col() { return threadIdx.x % (GEMM_COLS / 4) * 4; }

// sum = the thread's elements of the tile at (row, col), summed over begin .. end of k.
template <int ROWS, class Product>
__device__ inline void gemm(const Product &product, GemmShared<ROWS, Product> &shared, unsigned m,
                            unsigned n, unsigned row, unsigned col, unsigned begin, unsigned end,
                            T (&sum)[4][4]) {
  typedef Share<ROWS, ROWS, Product::A_ALONG_K> ShareA;
  typedef Share<ROWS, GEMM_COLS, Product::B_ALONG_K> ShareB;
  typename Product::Row rows[ShareA::COUNT];
  typename Product::Col cols[ShareB::COUNT];
  T next_a[ShareA::COUNT], next_b[ShareB::COUNT];
#pragma unroll
  for (int i = 0; i < ShareA::COUNT; ++i) rows[i] = product.row(row + ShareA::place(i));
#pragma unroll
  for (int i = 0; i < ShareB::COUNT; ++i) cols[i] = product.col(col + ShareB::place(i));

  auto prepare = [&](unsigned k, int buffer) {
    if (threadIdx.x < GEMM_K) {
      shared.steps[buffer][threadIdx.x] = product.step(k + threadIdx.x);
    }
  };
  auto fetch = [&](unsigned k, int buffer) {
#pragma unroll
    for (int i = 0; i < ShareA::COUNT; ++i) {
      const unsigned depth = ShareA::depth(i);
      const bool inside = k + depth < end && row + ShareA::place(i) < m;
      next_a[i] = inside ? product.a(rows[i], shared.steps[buffer][depth]) : T(0);
    }
#pragma unroll
    for (int i = 0; i < ShareB::COUNT; ++i) {
      const unsigned depth = ShareB::depth(i);
      const bool inside = k + depth < end && col + ShareB::place(i) < n;
      next_b[i] = inside ? product.b(cols[i], shared.steps[buffer][depth]) : T(0);
    }
  };

#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) sum[i][j] = 0;
  }
  const unsigned thread_row = gemm_thread_row(), thread_col = gemm_thread_col();
  prepare(begin, 0);
  __syncthreads();
  fetch(begin, 0);
  int buffer = 0;
  for (unsigned k = begin; k < end; k += GEMM_K) {
#pragma unroll
    for (int i = 0; i < ShareA::COUNT; ++i) {
      shared.a[buffer][ShareA::depth(i)][ShareA::place(i)] = next_a[i];
    }
#pragma unroll
    for (int i = 0; i < ShareB::COUNT; ++i) {
      shared.b[buffer][ShareB::depth(i)][ShareB::place(i)] = next_b[i];
    }
    prepare(k + GEMM_K, buffer ^ 1);
    // Behind this barrier the tile is whole, and every thread is done with the tile before it, whose
    // place the next one takes.
    __syncthreads();
    if (k + GEMM_K < end) fetch(k + GEMM_K, buffer ^ 1);
#pragma unroll
    for (int depth = 0; depth < GEMM_K; ++depth) {
      const Quad a = *(const Quad *)&shared.a[buffer][depth][thread_row];
      const Quad b = *(const Quad *)&shared.b[buffer][depth][thread_col];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) sum[i][j] += a.v[i] * b.v[j];
      }
    }
    buffer ^= 1;
  }
}

// The operands of a product on their way through shared memory, and after them its tile.
template <int ROWS, class Product> union GemmTileShared {
  GemmShared<ROWS, Product> operands;
  __align__(16) T tile[ROWS][GEMM_COLS + 4]; // 4 keeps a Quad aligned and moves the banks
};

// As `gemm`, but leaves the tile in shared memory: an epilogue there reads it by row and column in
// whatever order it likes, and need not know which thread computed what. Elements behind m and n
// are 0. Tiles are of ROWS x GEMM_COLS; all threads of the block must call it.
template <int ROWS, class Product>
__device__ inline void gemm_tile(const Product &product, GemmTileShared<ROWS, Product> &shared,
                                 unsigned m, unsigned n, unsigned row, unsigned col, unsigned begin,
                                 unsigned end) {
  T sum[4][4];
  gemm(product, shared.operands, m, n, row, col, begin, end, sum);
  __syncthreads(); // every thread is done with the operands, whose place the tile takes
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    Quad quad;
#pragma unroll
    for (int j = 0; j < 4; ++j) quad.v[j] = sum[i][j];
    *(Quad *)&shared.tile[gemm_thread_row() + i][gemm_thread_col()] = quad;
  }
  __syncthreads();
}

// Writes 4 x 4 elements of c [m, n] from (row, col) on. Columns are pixels of images one after the
// other, `pixels` each: element (row, col) belongs at [col / pixels, row, col % pixels] of the
// output [n / pixels, m, pixels]. A plain matrix is one image of n pixels.
__device__ inline void gemm_store(const T (&sum)[4][4], unsigned m, unsigned n, unsigned row,
                                  unsigned col, unsigned pixels, T *output, int accumulate) {
  if (col >= n) return;
  unsigned image = col / pixels, pixel = col % pixels;
  if (pixels % 4 == 0 && is_pack(output)) {
    // The four columns lie in one image, and a Quad takes them.
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (row + i >= m) return;
      Quad *slot = (Quad *)(output + (image * m + row + i) * pixels + pixel);
      Quad quad;
      if (accumulate) quad = *slot;
#pragma unroll
      for (int j = 0; j < 4; ++j) put(&quad.v[j], sum[i][j], accumulate);
      *slot = quad;
    }
    return;
  }
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    if (col + j >= n) return;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (row + i < m) put(output + (image * m + row + i) * pixels + pixel, sum[i][j], accumulate);
    }
    if (++pixel == pixels) {
      pixel = 0;
      ++image;
    }
  }
}
