// The tiled matrix product c [m, n] = a [m, k] b [k, n], whose operands may exist only as a rule
// (a convolution's patches are never written to memory).
//
// A block computes ROWS x GEMM_COLS elements of c, a thread 4 x 4 of them in registers. It walks k
// in tiles of GEMM_K: each tile of a and b passes through shared memory, where an element is used
// 64 (or ROWS) times. While one tile is multiplied the next is on its way from global memory into
// registers, and shared memory has room for two, so one barrier a tile is enough.
//
// With PRECISION tf32 or bf16 the tensor cores multiply: elements are rounded on their way into
// shared memory, a warp computes 32 x 16 elements of c as 2 x 2 results of `mma`, summed in f32,
// and at the end these pass through shared memory to the threads that own them.
//
// The rule is a type Product with
//   Row  row(m), Col col(n)      what an operand needs to know of one row of a, one column of b:
//                                computed once per thread;
//   Step step(k)                 the same of one k;
//   SHARED_STEPS                 whether it holds divisions, and so is computed once per block and
//                                tile, in shared memory;
//   T a(Row, Step, bool inside)  one element; where it is not inside, behind the end of the sum, a
//   T b(Col, Step, bool inside)  is 0, and b a finite number;
//   A_ALONG_K, B_ALONG_K         whether neighbours in memory are neighbours along k: neighbouring
//                                threads then fetch along k, so that their loads coalesce.
//
// Elements are fetched by `load_if`, with no branch around a load: all loads of a tile are on their
// way at once, where branches would have each wait for the one before.
//
// `gemm_tile` leaves a tile in shared memory, where what a kernel does with it is free to choose its
// threads. `gemm_split` cuts long sums into slices for several blocks, and adds them up in the same
// launch.

#pragma once

#include "common.cuh"
#include "load_if.cuh"
#include "mma.cuh"

#define GEMM_K 16
#define GEMM_COLS 64

// Blocks of 128 threads that launch bounds ask for on a multiprocessor: left alone, the compiler aims
// at more, and spills. A double takes two registers.
#ifdef SCALAR_IS_DOUBLE
#define GEMM_BLOCKS 3
#else
#define GEMM_BLOCKS 4
#endif

// Two kernels of one definition, which calls the rows of its tiles ROWS: `name` has 64, in blocks of
// 256 threads, two to a multiprocessor; `name`_few has 32, in blocks of 128, GEMM_BLOCKS to one, for
// results of which tiles of 64 would leave more empty.
#define GEMM_KERNEL(name, parameters, ...)                                                         \
  extern "C" __global__ void __launch_bounds__(256, 2) name parameters {                           \
    constexpr int ROWS = 64;                                                                       \
    __VA_ARGS__                                                                                    \
  }                                                                                                \
  extern "C" __global__ void __launch_bounds__(128, GEMM_BLOCKS) name##_few parameters {           \
    constexpr int ROWS = 32;                                                                       \
    __VA_ARGS__                                                                                    \
  }

// Four neighbouring elements of a tile: one or two loads of 16 bytes.
struct __align__(16) Quad {
  T v[4];
};

// Which elements of a tile [GEMM_K, LENGTH] this thread fetches: element i is at (depth, place).
// Neighbouring threads fetch neighbours in memory; across k, a thread takes four depths in a row.
template <int ROWS, int LENGTH, bool ALONG_K> struct Share {
  static const int BLOCK = ROWS * GEMM_COLS / 16; // threads
  static const int COUNT = LENGTH * GEMM_K / BLOCK;
  static const bool IN_CHUNKS = !ALONG_K;

  static __device__ unsigned first_depth() {
    return ALONG_K ? threadIdx.x % GEMM_K : threadIdx.x / LENGTH * 4;
  }
  // How far behind the first an element is, which the compiler knows.
  static __device__ constexpr unsigned further(int i) {
    return ALONG_K ? 0 : i / 4 * (BLOCK / LENGTH) * 4 + i % 4;
  }
  static __device__ unsigned depth(int i) { return first_depth() + further(i); }
  static __device__ unsigned place(int i) {
    return ALONG_K ? threadIdx.x / GEMM_K + i * (BLOCK / GEMM_K) : threadIdx.x % LENGTH;
  }
};

// The first row and column of the 4 x 4 elements that this thread computes.
__device__ inline unsigned gemm_thread_row() { return threadIdx.x / (GEMM_COLS / 4) * 4; }
__device__ inline unsigned gemm_thread_col() { return threadIdx.x % (GEMM_COLS / 4) * 4; }

// ---------------------------------------------------------------------------------------------
// Tiles of operands in shared memory, and their product: `store` puts into one what a thread
// fetched, `multiply` adds the product of two to a thread's sums, and `store_result` writes those to
// the block's tile of c.

#define GEMM_STRIDE (GEMM_COLS + 4) // of c's tile: 4 keeps a Quad aligned and moves the banks

#if PRECISION == PRECISION_F32

template <int ROWS> struct GemmTiles {
  // Padded so that threads that store along k meet different banks; 4 keeps a Quad aligned.
  __align__(16) T a[2][GEMM_K][ROWS + 4];
  __align__(16) T b[2][GEMM_K][GEMM_COLS + 4];
};

template <class Share, int STRIDE>
__device__ inline void store(T (&tile)[GEMM_K][STRIDE], const T (&next)[Share::COUNT]) {
#pragma unroll
  for (int i = 0; i < Share::COUNT; ++i) tile[Share::depth(i)][Share::place(i)] = next[i];
}

template <int ROWS>
__device__ inline void multiply(const GemmTiles<ROWS> &tiles, int buffer, T (&sum)[4][4]) {
  const unsigned row = gemm_thread_row(), col = gemm_thread_col();
#pragma unroll
  for (int depth = 0; depth < GEMM_K; ++depth) {
    const Quad a = *(const Quad *)&tiles.a[buffer][depth][row];
    const Quad b = *(const Quad *)&tiles.b[buffer][depth][col];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) sum[i][j] += a.v[i] * b.v[j];
    }
  }
}

__device__ inline void store_result(const T (&sum)[4][4], T (*result)[GEMM_STRIDE]) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    Quad quad;
#pragma unroll
    for (int j = 0; j < 4; ++j) quad.v[j] = sum[i][j];
    *(Quad *)&result[gemm_thread_row() + i][gemm_thread_col()] = quad;
  }
}

#else

#if PRECISION == PRECISION_TF32
typedef unsigned Operand;
__device__ inline Operand rounded(T x) { return round_tf32(x); }
#else
typedef unsigned short Operand;
__device__ inline Operand rounded(T x) { return round_bf16(x); }
#endif

// Four neighbours along k: what a lane loads at once, 16 or 8 bytes, and the registers it becomes.
union __align__(4 * sizeof(Operand)) Chunk {
  Operand v[4];
  unsigned registers[sizeof(Operand)];
};

// A tile of rows of a, or of columns of b: GEMM_K elements of each in four chunks. As many places
// as fit into the 128 bytes that shared memory serves at a time lie in one line, and the chunks of
// each line are permuted by its number. So all of these meet every bank once: the lanes that load
// chunk t of place g (see mma.cuh), those that store one chunk of neighbouring places, and those
// that store a place element by element.
template <int LENGTH> struct OperandTile {
  static const unsigned PLACES_OF_A_LINE = 8 / sizeof(Operand);
  Chunk chunks[LENGTH][GEMM_K / 4];

  __device__ Chunk &at(unsigned place, unsigned chunk) {
    return chunks[place][chunk ^ place / PLACES_OF_A_LINE % 4];
  }
  __device__ const Chunk &at(unsigned place, unsigned chunk) const {
    return chunks[place][chunk ^ place / PLACES_OF_A_LINE % 4];
  }
};

template <int ROWS> struct GemmTiles {
  OperandTile<ROWS> a[2];
  OperandTile<GEMM_COLS> b[2];
};

template <class Share, int LENGTH>
__device__ inline void store(OperandTile<LENGTH> &tile, const T (&next)[Share::COUNT]) {
#pragma unroll
  for (int i = 0; i < Share::COUNT; i += Share::IN_CHUNKS ? 4 : 1) {
    Chunk &chunk = tile.at(Share::place(i), Share::depth(i) / 4);
    if constexpr (Share::IN_CHUNKS) {
      Chunk four;
#pragma unroll
      for (int j = 0; j < 4; ++j) four.v[j] = rounded(next[i + j]);
      chunk = four;
    } else {
      chunk.v[Share::depth(i) % 4] = rounded(next[i]);
    }
  }
}

// c [16, 8] += a [16, GEMM_K] b [GEMM_K, 8]: the lane gives chunk t of rows g and g + 8 of a, and
// of column g of b. An mma wants other depths of a lane than those of a chunk, but as a and b agree
// on which these are, it is the same sum.
__device__ inline void multiply_fragment(T (&c)[4], const Chunk &upper, const Chunk &lower,
                                         const Chunk &b) {
  const unsigned *u = upper.registers, *l = lower.registers, *r = b.registers;
#if PRECISION == PRECISION_TF32
  mma_tf32(c, {u[0], l[0], u[1], l[1]}, {r[0], r[1]});
  mma_tf32(c, {u[2], l[2], u[3], l[3]}, {r[2], r[3]});
#else
  mma_bf16(c, {u[0], l[0], u[1], l[1]}, {r[0], r[1]});
#endif
}

// The first row and column of the 32 x 16 elements that this warp computes; fragment (i, j) of
// them, 16 x 8, is in sum[2 * i + j].
__device__ inline unsigned gemm_warp_row() { return threadIdx.x / 128 * 32; }
__device__ inline unsigned gemm_warp_col() { return threadIdx.x / 32 % 4 * 16; }

template <int ROWS>
__device__ inline void multiply(const GemmTiles<ROWS> &tiles, int buffer, T (&sum)[4][4]) {
  const unsigned g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  Chunk a[4], b[2];
#pragma unroll
  for (int i = 0; i < 4; ++i) a[i] = tiles.a[buffer].at(gemm_warp_row() + 8 * i + g, t);
#pragma unroll
  for (int j = 0; j < 2; ++j) b[j] = tiles.b[buffer].at(gemm_warp_col() + 8 * j + g, t);
#pragma unroll
  for (int i = 0; i < 2; ++i) {
#pragma unroll
    for (int j = 0; j < 2; ++j) multiply_fragment(sum[2 * i + j], a[2 * i], a[2 * i + 1], b[j]);
  }
}

__device__ inline void store_result(const T (&sum)[4][4], T (*result)[GEMM_STRIDE]) {
  const unsigned g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int j = 0; j < 4; j += 2) {
      const unsigned row = gemm_warp_row() + i / 2 * 16 + j / 2 * 8 + g;
      const unsigned col = gemm_warp_col() + i % 2 * 8 + 2 * t;
      *(float2 *)&result[row][col] = make_float2(sum[i][j], sum[i][j + 1]);
    }
  }
}

#endif

// ---------------------------------------------------------------------------------------------

template <int ROWS, class Product> struct GemmShared {
  GemmTiles<ROWS> tiles;
  typename Product::Step steps[2][Product::SHARED_STEPS ? GEMM_K : 1];
};

// sum = the product at (row, col), summed over begin .. end of k, as `multiply` deals it out. What
// it has behind m and n means nothing.
template <int ROWS, class Product>
__device__ inline void gemm_sums(const Product &product, GemmShared<ROWS, Product> &shared,
                                 unsigned m, unsigned n, unsigned row, unsigned col, unsigned begin,
                                 unsigned end, T (&sum)[4][4]) {
  typedef Share<ROWS, ROWS, Product::A_ALONG_K> ShareA;
  typedef Share<ROWS, GEMM_COLS, Product::B_ALONG_K> ShareB;
  typename Product::Row rows[ShareA::COUNT];
  typename Product::Col cols[ShareB::COUNT];
  T next_a[ShareA::COUNT], next_b[ShareB::COUNT];
  // Behind the last row or column stands that one again: no element needs a check.
#pragma unroll
  for (int i = 0; i < ShareA::COUNT; ++i) rows[i] = product.row(min(row + ShareA::place(i), m - 1));
#pragma unroll
  for (int i = 0; i < ShareB::COUNT; ++i) cols[i] = product.col(min(col + ShareB::place(i), n - 1));

  auto step = [&](unsigned k, int buffer, unsigned depth) -> typename Product::Step {
    if constexpr (Product::SHARED_STEPS) return shared.steps[buffer][depth];
    else return product.step(k + depth);
  };
  auto fetch = [&](unsigned k, int buffer) {
    const int left_a = (int)(end - k - ShareA::first_depth());
    const int left_b = (int)(end - k - ShareB::first_depth());
#pragma unroll
    for (int i = 0; i < ShareA::COUNT; ++i) {
      const bool inside = (int)ShareA::further(i) < left_a;
      next_a[i] = product.a(rows[i], step(k, buffer, ShareA::depth(i)), inside);
    }
#pragma unroll
    for (int i = 0; i < ShareB::COUNT; ++i) {
      const bool inside = (int)ShareB::further(i) < left_b;
      next_b[i] = product.b(cols[i], step(k, buffer, ShareB::depth(i)), inside);
    }
  };

#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) sum[i][j] = 0;
  }
  if constexpr (Product::SHARED_STEPS) {
    // Of the first two tiles.
    if (threadIdx.x < 2 * GEMM_K) {
      shared.steps[threadIdx.x / GEMM_K][threadIdx.x % GEMM_K] = product.step(begin + threadIdx.x);
    }
    __syncthreads();
  }
  fetch(begin, 0);
  int buffer = 0;
  for (unsigned k = begin; k < end; k += GEMM_K) {
    store<ShareA>(shared.tiles.a[buffer], next_a);
    store<ShareB>(shared.tiles.b[buffer], next_b);
    // Behind this barrier the tile is whole, and every thread is done with the tile before it, whose
    // place the next one takes; and with this tile's steps, whose place those of the next but one
    // take.
    __syncthreads();
    if (k + GEMM_K < end) {
      fetch(k + GEMM_K, buffer ^ 1);
      if constexpr (Product::SHARED_STEPS) {
        if (threadIdx.x < GEMM_K) {
          shared.steps[buffer][threadIdx.x] = product.step(k + 2 * GEMM_K + threadIdx.x);
        }
      }
    }
    multiply(shared.tiles, buffer, sum);
    buffer ^= 1;
  }
}

// The operands of a product on their way through shared memory, and after them its tile.
template <int ROWS, class Product> union GemmTileShared {
  GemmShared<ROWS, Product> operands;
  __align__(16) T tile[ROWS][GEMM_STRIDE];
};

// The tile at (row, col), summed over begin .. end of k, in shared memory: an epilogue reads it there
// by row and column in whatever order it likes, and need not know which thread computed what.
// Elements behind m and n mean nothing. Tiles are of ROWS x GEMM_COLS; all threads of the block must
// call it.
template <int ROWS, class Product>
__device__ inline void gemm_tile(const Product &product, GemmTileShared<ROWS, Product> &shared,
                                 unsigned m, unsigned n, unsigned row, unsigned col, unsigned begin,
                                 unsigned end) {
  T sum[4][4];
  gemm_sums(product, shared.operands, m, n, row, col, begin, end, sum);
  __syncthreads(); // every thread is done with the operands, whose place the tile takes
  store_result(sum, shared.tile);
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

// Slices that one block adds up: src/device/cuda/tuning.rs.
#ifndef GEMM_GROUP
#define GEMM_GROUP 8u
#endif

// The sum of a product's tile, over all slices, in shared memory: in the last block of the tile
// alone, for which it is true. The other blocks have nothing left to do.
//
// Block `block` of split.blocks() computes a slice. Of every GEMM_GROUP slices the last block to
// come adds up all, in order; of every GEMM_GROUP such sums the last adds up those, and so on, so
// that no block waits and none adds many. Each adds in Sum and leaves a T. Row and column of the tile
// are left in `row` and `col`.
template <class Sum = T, int ROWS, class Product>
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
    // As many parts at a time as registers have room for, beside the sums: their loads are all on their
    // way before the first sum, and where sums take more than T the next wait until these are added. A
    // part that the group does not have is 0.
    constexpr unsigned AT_ONCE = 16 / sizeof(Sum);
    Sum sums[4][4] = {};
    auto add = [&](unsigned some) {
      Quad quads[AT_ONCE][4];
#pragma unroll
      for (unsigned other = 0; other < AT_ONCE; ++other) {
#pragma unroll
        for (unsigned i = 0; i < 4; ++i) {
          const Quad *quad = (const Quad *)(level + (some + other) * size + i * 4 * threads);
          quads[other][i] = some + other < end ? *quad : Quad{};
        }
      }
#pragma unroll
      for (unsigned other = 0; other < AT_ONCE; ++other) {
#pragma unroll
        for (unsigned i = 0; i < 4; ++i) {
#pragma unroll
          for (unsigned j = 0; j < 4; ++j) sums[i][j] += quads[other][i].v[j];
        }
      }
    };
    if constexpr (sizeof(Sum) > sizeof(T)) {
#pragma unroll 1
      for (unsigned some = first; some < first + GEMM_GROUP; some += AT_ONCE) add(some);
    } else {
#pragma unroll
      for (unsigned some = first; some < first + GEMM_GROUP; some += AT_ONCE) add(some);
    }
#pragma unroll
    for (unsigned i = 0; i < 4; ++i) {
      Quad quad;
#pragma unroll
      for (unsigned j = 0; j < 4; ++j) quad.v[j] = (T)sums[i][j];
      *mine(i) = quad;
    }
    level += parts * size;
    counters += groups;
    part = group;
    parts = groups;
  }
  __syncthreads();
  return true;
}

// Writes a tile of c [m, n], one element after the other along a row. Columns are pixels of images one
// after the other, `pixels` each: element (row, col) belongs at [col / pixels, row, col % pixels] of
// the output [n / pixels, channels, pixels], whose first m channels these are. A plain matrix is one
// image of n pixels and m channels. A `bias` [m] or null is added.
template <int ROWS>
__device__ inline void gemm_tile_store(const T (&tile)[ROWS][GEMM_STRIDE], unsigned m, unsigned n,
                                       unsigned row, unsigned col, unsigned channels,
                                       unsigned pixels, const T *bias, T *output,
                                       int accumulate) {
  const unsigned column = col + threadIdx.x % GEMM_COLS;
  if (column >= n) return;
  T *first = output + (column / pixels * channels + row) * pixels + column % pixels;
  for (unsigned i = threadIdx.x / GEMM_COLS; i < ROWS && row + i < m; i += blockDim.x / GEMM_COLS) {
    const T value = tile[i][threadIdx.x % GEMM_COLS];
    put(first + i * pixels, bias ? value + bias[row + i] : value, accumulate);
  }
}

// Writes a tile of the gradients of a layer's parameters: columns below `weights` are the weight's
// [m, weights], the one behind them is the bias's [m].
template <int ROWS>
__device__ inline void gemm_tile_store_parameters(const T (&tile)[ROWS][GEMM_STRIDE], unsigned m,
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
