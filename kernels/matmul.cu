// The matrix product, in the four forms of transposed and plain operands; the linear layer's
// forward pass is `nt`, its gradients are `nn` and `tn`. Tiles and barriers are those of gemm.cuh.
// The launch bounds ask for four blocks a multiprocessor: left alone, the compiler squeezes the
// registers until more fit, and spills.

#include "matmul.cuh"

#define MATMUL_ROWS 32

template <class Product>
__device__ inline void matmul(GemmShared<MATMUL_ROWS, Product> &shared, const MatmulGeometry &g,
                              unsigned slice, const T *a, const T *b, const T *bias, T *c,
                              int accumulate) {
  // Neighbouring blocks share their columns of b.
  const unsigned tiles_m = (g.m + MATMUL_ROWS - 1) / MATMUL_ROWS;
  const unsigned row = blockIdx.x % tiles_m * MATMUL_ROWS, col = blockIdx.x / tiles_m * GEMM_COLS;
  const unsigned begin = blockIdx.y * slice;
  T sum[4][4];
  gemm(Product{g, a, b}, shared, g.m, g.n, row, col, begin, min(begin + slice, g.k), sum);
  const unsigned my_row = row + gemm_thread_row(), my_col = col + gemm_thread_col();
  if (bias) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (my_col + j >= g.n) break;
#pragma unroll
      for (int i = 0; i < 4; ++i) sum[i][j] += bias[my_col + j];
    }
  }
  gemm_store(sum, g.m, g.n, my_row, my_col, g.n, c + (size_t)blockIdx.y * g.m * g.n, accumulate);
}

// c = a b + bias.
//
// Block (x, y) owns 32 x 64 elements of c, its 128 threads 4 x 4 of them each, summed over slice y
// of k. With one slice the result is written to c itself; with several (c small and k large) each
// becomes a partial sum, and matmul_reduce adds them in order. 2 * m * n * k FLOP; reads a once per
// 64 columns and b once per 32 rows.
extern "C" __global__ void __launch_bounds__(128, 4)
    matmul_nn(MatmulGeometry g, unsigned slice,
              const T *__restrict__ a,    // [m, k]
              const T *__restrict__ b,    // [k, n]
              const T *__restrict__ bias, // [n] or null
              T *__restrict__ c,          // [slices, m, n]
              int accumulate) {
  __shared__ GemmShared<MATMUL_ROWS, MatmulProduct<false, false>> shared;
  matmul(shared, g, slice, a, b, bias, c, accumulate);
}

// c = a b^T + bias, otherwise as matmul_nn.
extern "C" __global__ void __launch_bounds__(128, 4)
    matmul_nt(MatmulGeometry g, unsigned slice,
              const T *__restrict__ a,    // [m, k]
              const T *__restrict__ b,    // [n, k]
              const T *__restrict__ bias, // [n] or null
              T *__restrict__ c,          // [slices, m, n]
              int accumulate) {
  __shared__ GemmShared<MATMUL_ROWS, MatmulProduct<false, true>> shared;
  matmul(shared, g, slice, a, b, bias, c, accumulate);
}

// c = a^T b + bias, otherwise as matmul_nn.
extern "C" __global__ void __launch_bounds__(128, 4)
    matmul_tn(MatmulGeometry g, unsigned slice,
              const T *__restrict__ a,    // [k, m]
              const T *__restrict__ b,    // [k, n]
              const T *__restrict__ bias, // [n] or null
              T *__restrict__ c,          // [slices, m, n]
              int accumulate) {
  __shared__ GemmShared<MATMUL_ROWS, MatmulProduct<true, false>> shared;
  matmul(shared, g, slice, a, b, bias, c, accumulate);
}

// c = a^T b^T + bias, otherwise as matmul_nn.
extern "C" __global__ void __launch_bounds__(128, 4)
    matmul_tt(MatmulGeometry g, unsigned slice,
              const T *__restrict__ a,    // [k, m]
              const T *__restrict__ b,    // [n, k]
              const T *__restrict__ bias, // [n] or null
              T *__restrict__ c,          // [slices, m, n]
              int accumulate) {
  __shared__ GemmShared<MATMUL_ROWS, MatmulProduct<true, true>> shared;
  matmul(shared, g, slice, a, b, bias, c, accumulate);
}

// c[i] = the sum over slices of partials[slice, i], in double and in a fixed order, + bias.
//
// Block x owns 32 elements of c, each summed by the 8 threads of its column (`column_sum`). Reads
// every partial sum once.
extern "C" __global__ void __launch_bounds__(256)
    matmul_reduce(unsigned slices, unsigned elements, unsigned n,
                  const T *__restrict__ partials, // [slices, m * n]
                  const T *__restrict__ bias,     // [n] or null
                  T *__restrict__ c,              // [m * n]
                  int accumulate) {
  const unsigned i = blockIdx.x * COLUMN_THREADS + threadIdx.x;
  double total = column_sum(partials, elements, i, 0, slices);
  if (threadIdx.y > 0 || i >= elements) return;
  if (bias) total += bias[i % n];
  put(c + i, (T)total, accumulate);
}
