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
//
// `gemm` leaves a tile in registers, `gemm_tile` in shared memory, where what a kernel does with it
// is free to choose its threads. `gemm_split` cuts long sums into slices for several blocks, and
// adds them up in the same launch.

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

// How a product is cut for `gemm_split` (src/ops/matmul/cuda.rs): into tiles of the result, and
// each tile's sum over k into slices, a block for every slice of every tile.
struct GemmSplit {
  unsigned tiles;
  unsigned slices; // at least 1
  unsigned slice;  // elements of the sum in each
  unsigned parts;  // of a tile that are written to be added up
  unsigned groups; // in which they are added

  __device__ unsigned blocks() const { return tiles * slices; }
};

// Slices that one block adds up.
#define GEMM_GROUP 8u

// The sum of a product's tile, over all slices, in shared memory: in the last block of the tile
// alone, for which it is true. The other blocks have nothing left to do.
//
// Block `block` of split.blocks() computes a slice. Of every GEMM_GROUP slices the last block to
// come adds up all, in order; of every GEMM_GROUP such sums the last adds up those, and so on, so
// that no block waits and none adds many. Row and column of the tile are left in `row` and `col`.
template <int ROWS, class Product>
__device__ inline bool gemm_split(const Product &product, GemmTileShared<ROWS, Product> &shared,
                                  const GemmSplit &split, unsigned block, unsigned m, unsigned n,
                                  unsigned k, unsigned &row, unsigned &col,
                                  T *partials,          // [tiles, parts, ROWS, GEMM_COLS]
                                  unsigned *counters) { // [tiles, groups]
  const unsigned tile = block % split.tiles, tiles_m = (m + ROWS - 1) / ROWS;
  // Neighbouring blocks share their columns.
  row = tile % tiles_m * ROWS;
  col = tile / tiles_m * GEMM_COLS;
  unsigned part = block / split.tiles, parts = split.slices;
  const unsigned begin = part * split.slice;
  gemm_tile(product, shared, m, n, row, col, begin, min(begin + split.slice, k));

  const unsigned size = ROWS * GEMM_COLS, threads = ROWS * GEMM_COLS / 16;
  const unsigned my_row = threadIdx.x / (GEMM_COLS / 4), my_col = threadIdx.x % (GEMM_COLS / 4) * 4;
  T *level = partials + (size_t)tile * split.parts * size + 4 * threadIdx.x;
  counters += tile * split.groups;
  auto mine = [&](unsigned i) { return (Quad *)&shared.tile[my_row + i * (ROWS / 4)][my_col]; };
  while (parts > 1) {
    const unsigned group = part / GEMM_GROUP, groups = (parts - 1) / GEMM_GROUP + 1;
    const unsigned first = group * GEMM_GROUP, end = min(first + GEMM_GROUP, parts);
#pragma unroll
    for (unsigned i = 0; i < 4; ++i) {
      *(Quad *)(level + part * size + i * 4 * threads) = *mine(i);
    }
    if (!is_last_block(counters + group, end - first)) return false;
#pragma unroll
    for (unsigned i = 0; i < 4; ++i) {
      Quad sum = {};
      for (unsigned other = first; other < end; ++other) {
        const Quad quad = *(const Quad *)(level + other * size + i * 4 * threads);
#pragma unroll
        for (unsigned j = 0; j < 4; ++j) sum.v[j] += quad.v[j];
      }
      *mine(i) = sum;
    }
    level += parts * size;
    counters += groups;
    part = group;
    parts = groups;
  }
  __syncthreads();
  return true;
}

// Writes a tile of c [m, n], one element after the other along a row: n is pixels of images one
// after the other, `pixels` each, as in `gemm_store`. A `bias` [m] or null is added.
template <int ROWS>
__device__ inline void gemm_tile_store(const T (&tile)[ROWS][GEMM_COLS + 4], unsigned m, unsigned n,
                                       unsigned row, unsigned col, unsigned pixels, const T *bias,
                                       T *output, int accumulate) {
  const unsigned column = col + threadIdx.x % GEMM_COLS;
  if (column >= n) return;
  T *first = output + (column / pixels * m + row) * pixels + column % pixels;
  for (unsigned i = threadIdx.x / GEMM_COLS; i < ROWS && row + i < m; i += blockDim.x / GEMM_COLS) {
    const T value = tile[i][threadIdx.x % GEMM_COLS];
    put(first + i * pixels, bias ? value + bias[row + i] : value, accumulate);
  }
}

// Writes a tile of the gradients of a layer's parameters: columns below `weights` are the weight's
// [m, weights], the one behind them is the bias's [m].
template <int ROWS>
__device__ inline void gemm_tile_store_parameters(const T (&tile)[ROWS][GEMM_COLS + 4], unsigned m,
                                                  unsigned weights, unsigned row, unsigned col,
                                                  T *grad_weight, int accumulate_weight,
                                                  T *grad_bias, int accumulate_bias) {
  const unsigned column = col + threadIdx.x % GEMM_COLS;
  for (unsigned i = threadIdx.x / GEMM_COLS; i < ROWS && row + i < m; i += blockDim.x / GEMM_COLS) {
    const T value = tile[i][threadIdx.x % GEMM_COLS];
    if (column < weights) {
      put(grad_weight + (row + i) * weights + column, value, accumulate_weight);
    } else if (column == weights && grad_bias) {
      put(grad_bias + row + i, value, accumulate_bias);
    }
  }
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
