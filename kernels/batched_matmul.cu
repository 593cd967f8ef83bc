// Many matrix products in one launch, each of a matrix of a and one of b, which may serve several;
// and sums of such products: the gradient of a matrix that served several. Such a sum is one product
// whose k runs over the terms, one after the other. Tiles and barriers are those of gemm.cuh.

#include "matmul.cuh"

#define MATMUL_ROWS 32

// src/ops/matmul/batched.rs: dimensions that are counted through, the last one fastest, and how many
// elements of a and b one step along each is. Unused ones come first and have size 1.
#define BATCH_DIMS 6
struct Walk {
  unsigned sizes[BATCH_DIMS];
  unsigned a[BATCH_DIMS];
  unsigned b[BATCH_DIMS];
};

struct BatchedGeometry {
  MatmulGeometry product; // of one term; k is at least 1
  unsigned batches;       // matrices of the result
  unsigned terms;         // products that are summed in each
  Walk batch;             // through the batches
  Walk sum;               // through the terms
};

// Offsets in a and b.
struct Offsets {
  unsigned a, b;
};

__device__ inline Offsets offsets(const Walk &walk, unsigned i) {
  Offsets at = {0, 0};
  for (int d = BATCH_DIMS - 1; d >= 0 && i > 0; --d) {
    const unsigned here = i % walk.sizes[d];
    at.a += here * walk.a[d];
    at.b += here * walk.b[d];
    i /= walk.sizes[d];
  }
  return at;
}

template <bool TRANSPOSE_A, bool TRANSPOSE_B> struct BatchedProduct {
  typedef unsigned Row, Col; // where a row of a, a column of b begins
  typedef Offsets Step;      // how far from there the step's elements are
  static const bool A_ALONG_K = !TRANSPOSE_A, B_ALONG_K = TRANSPOSE_B, SHARED_STEPS = true;

  const BatchedGeometry &g;
  const T *matrix_a, *matrix_b;

  __device__ Row row(unsigned m) const { return TRANSPOSE_A ? m : m * g.product.k; }
  __device__ Col col(unsigned n) const { return TRANSPOSE_B ? n * g.product.k : n; }
  __device__ Step step(unsigned k) const {
    const unsigned depth = k % g.product.k;
    const Offsets term = offsets(g.sum, k / g.product.k);
    return {term.a + (TRANSPOSE_A ? depth * g.product.m : depth),
            term.b + (TRANSPOSE_B ? depth : depth * g.product.n)};
  }
  __device__ T a(Row row, Step step, bool inside) const {
    return load_if(matrix_a + row + step.a, inside);
  }
  __device__ T b(Col col, Step step, bool inside) const {
    return load_if(matrix_b + col + step.b, inside);
  }
};

template <class Product>
__device__ inline void batched_matmul(GemmTileShared<MATMUL_ROWS, Product> &shared,
                                      const BatchedGeometry &g, const GemmSplit &split, const T *a,
                                      const T *b, T *partials, unsigned *counters, T *c,
                                      int accumulate) {
  const unsigned batch = blockIdx.x / split.blocks(), block = blockIdx.x % split.blocks();
  const unsigned m = g.product.m, n = g.product.n;
  const Offsets at = offsets(g.batch, batch);
  partials += (size_t)batch * split.tiles * split.parts * (MATMUL_ROWS * GEMM_COLS);
  counters += batch * split.tiles * split.groups;
  unsigned row, col;
  if (!gemm_split<double>(Product{g, a + at.a, b + at.b}, shared, split, block, m, n,
                          g.product.k * g.terms, row, col, partials, counters)) {
    return;
  }
  const T *no_bias = 0;
  gemm_tile_store(shared.tile, m, n, row, col, m, n, no_bias, c + (size_t)batch * m * n, accumulate);
}

// c[i] = the sum over terms j of a[i, j] b[i, j].
//
// Block b of batches * split.blocks() computes a slice of a tile of matrix b / split.blocks() of c, as
// matmul_nn does of its one. 2 * batches * terms * m * n * k FLOP; reads each matrix of a once per 64
// columns and of b once per 32 rows; writes and reads each partial sum once, and writes c once.
extern "C" __global__ void __launch_bounds__(128, GEMM_BLOCKS)
    batched_matmul_nn(BatchedGeometry g, GemmSplit split,
                      const T *__restrict__ a, // matrices [m, k], as g.batch and g.sum find them
                      const T *__restrict__ b, // matrices [k, n]
                      T *partials,             // as `gemm_split` has it, for each batch
                      unsigned *counters,      // as `gemm_split` has it, for each batch
                      T *__restrict__ c,       // [batches, m, n]
                      int accumulate) {
  __shared__ GemmTileShared<MATMUL_ROWS, BatchedProduct<false, false>> shared;
  batched_matmul(shared, g, split, a, b, partials, counters, c, accumulate);
}

// c[i] = the sum over terms j of a[i, j] b[i, j]^T, otherwise as batched_matmul_nn.
extern "C" __global__ void __launch_bounds__(128, GEMM_BLOCKS)
    batched_matmul_nt(BatchedGeometry g, GemmSplit split,
                      const T *__restrict__ a, // matrices [m, k], as g.batch and g.sum find them
                      const T *__restrict__ b, // matrices [n, k]
                      T *partials,             // as `gemm_split` has it, for each batch
                      unsigned *counters,      // as `gemm_split` has it, for each batch
                      T *__restrict__ c,       // [batches, m, n]
                      int accumulate) {
  __shared__ GemmTileShared<MATMUL_ROWS, BatchedProduct<false, true>> shared;
  batched_matmul(shared, g, split, a, b, partials, counters, c, accumulate);
}

// c[i] = the sum over terms j of a[i, j]^T b[i, j], otherwise as batched_matmul_nn.
extern "C" __global__ void __launch_bounds__(128, GEMM_BLOCKS)
    batched_matmul_tn(BatchedGeometry g, GemmSplit split,
                      const T *__restrict__ a, // matrices [k, m], as g.batch and g.sum find them
                      const T *__restrict__ b, // matrices [k, n]
                      T *partials,             // as `gemm_split` has it, for each batch
                      unsigned *counters,      // as `gemm_split` has it, for each batch
                      T *__restrict__ c,       // [batches, m, n]
                      int accumulate) {
  __shared__ GemmTileShared<MATMUL_ROWS, BatchedProduct<true, false>> shared;
  batched_matmul(shared, g, split, a, b, partials, counters, c, accumulate);
}
