// The matrix product, in the four forms of transposed and plain operands; the linear layer's
// forward pass is `nt`, its gradients are `nn` and `tn`. Tiles and barriers are those of gemm.cuh.
// The launch bounds ask for four blocks a multiprocessor: left alone, the compiler squeezes the
// registers until more fit, and spills.

#include "matmul.cuh"

#define MATMUL_ROWS 32

template <class Product>
__device__ inline void matmul(GemmTileShared<MATMUL_ROWS, Product> &shared, const MatmulGeometry &g,
                              const GemmSplit &split, const T *a, const T *b, const T *bias,
                              T *partials, unsigned *counters, T *c, int accumulate) {
  unsigned row, col;
  if (!gemm_split<double>(Product{g, a, b}, shared, split, blockIdx.x, g.m, g.n, g.k, row, col,
                          partials, counters)) {
    return;
  }
  const unsigned column = col + threadIdx.x % GEMM_COLS;
  if (column >= g.n) return;
  const T shift = bias ? bias[column] : T(0);
  for (unsigned i = threadIdx.x / GEMM_COLS; i < MATMUL_ROWS && row + i < g.m;
       i += blockDim.x / GEMM_COLS) {
    put(c + (row + i) * g.n + column, shared.tile[i][threadIdx.x % GEMM_COLS] + shift, accumulate);
  }
}

// c = a b + bias.
//
// Block b of split.blocks() computes a slice of k for a tile of 32 x 64 elements of c, its 128 threads
// 4 x 4 of them each; the last block of a tile adds its slices in order (`gemm_split`), in double, and
// a thread finishes every second element of a column. 2 * m * n * k FLOP; reads a once per 64 columns
// and b once per 32 rows; writes and reads each partial sum once, and writes c once.
extern "C" __global__ void __launch_bounds__(128, 4)
    matmul_nn(MatmulGeometry g, GemmSplit split,
              const T *__restrict__ a,    // [m, k]
              const T *__restrict__ b,    // [k, n]
              const T *__restrict__ bias, // [n] or null
              T *partials,                // as `gemm_split` has it
              unsigned *counters,         // as `gemm_split` has it
              T *__restrict__ c,          // [m, n]
              int accumulate) {
  __shared__ GemmTileShared<MATMUL_ROWS, MatmulProduct<false, false>> shared;
  matmul(shared, g, split, a, b, bias, partials, counters, c, accumulate);
}

// c = a b^T + bias, otherwise as matmul_nn.
extern "C" __global__ void __launch_bounds__(128, 4)
    matmul_nt(MatmulGeometry g, GemmSplit split,
              const T *__restrict__ a,    // [m, k]
              const T *__restrict__ b,    // [n, k]
              const T *__restrict__ bias, // [n] or null
              T *partials,                // as `gemm_split` has it
              unsigned *counters,         // as `gemm_split` has it
              T *__restrict__ c,          // [m, n]
              int accumulate) {
  __shared__ GemmTileShared<MATMUL_ROWS, MatmulProduct<false, true>> shared;
  matmul(shared, g, split, a, b, bias, partials, counters, c, accumulate);
}

// c = a^T b + bias, otherwise as matmul_nn.
extern "C" __global__ void __launch_bounds__(128, 4)
    matmul_tn(MatmulGeometry g, GemmSplit split,
              const T *__restrict__ a,    // [k, m]
              const T *__restrict__ b,    // [k, n]
              const T *__restrict__ bias, // [n] or null
              T *partials,                // as `gemm_split` has it
              unsigned *counters,         // as `gemm_split` has it
              T *__restrict__ c,          // [m, n]
              int accumulate) {
  __shared__ GemmTileShared<MATMUL_ROWS, MatmulProduct<true, false>> shared;
  matmul(shared, g, split, a, b, bias, partials, counters, c, accumulate);
}

// c = a^T b^T + bias, otherwise as matmul_nn.
extern "C" __global__ void __launch_bounds__(128, 4)
    matmul_tt(MatmulGeometry g, GemmSplit split,
              const T *__restrict__ a,    // [k, m]
              const T *__restrict__ b,    // [n, k]
              const T *__restrict__ bias, // [n] or null
              T *partials,                // as `gemm_split` has it
              unsigned *counters,         // as `gemm_split` has it
              T *__restrict__ c,          // [m, n]
              int accumulate) {
  __shared__ GemmTileShared<MATMUL_ROWS, MatmulProduct<true, true>> shared;
  matmul(shared, g, split, a, b, bias, partials, counters, c, accumulate);
}
