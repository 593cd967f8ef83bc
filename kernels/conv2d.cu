// Two-dimensional convolution as a matrix product whose second operand, the patches under the
// filter, is never written to memory ("implicit GEMM"): each element is fetched from where it lies
// when its tile is needed.
//
// Writing n for an image, o and c for channels, p and q for pixels, t = (i, j) for a filter tap:
//
//                     c [m, n]          =  a [m, k]            b [k, n]
//   forward           output[o, (n,p)]  =  weight[o, (c,t)]    patches[(c,t), (n,p)]
//   backward_input    grad_x[c, (n,q)]  =  weight[c, (o,t)]    gathered grad_y[(o,t), (n,q)]
//   backward_weight   grad_w[o, (c,t)]  =  grad_y[o, (n,p)]    patches[(n,p), (c,t)]
//
// The products are those of conv.cuh, their tiles and barriers those of gemm.cuh. Each kernel has a
// twin for few rows, `_few`, with tiles of 32 rows instead of 64. The launch bounds ask for two
// blocks of 256 threads a multiprocessor, or GEMM_BLOCKS of 128: left alone, the compiler squeezes the
// registers until more fit, and spills.

#include "conv.cuh"

// In a module that was compiled for one geometry, all but the batch is known to the compiler: it
// turns divisions into multiplications, and leaves out what stride, padding or bounds rule out.
__device__ inline Conv2dGeometry specialise(const Conv2dGeometry &g) {
#ifdef GEOMETRY
  return {g.batch, GEOMETRY};
#else
  return g;
#endif
}

// ---------------------------------------------------------------------------------------------

template <int ROWS>
__device__ inline void forward(GemmShared<ROWS, ForwardProduct> &shared, const Conv2dGeometry &g,
                               const T *input, const T *weight, const T *bias, T *output) {
  const unsigned m = g.out_channels, n = g.batch * g.out_pixels();
  const unsigned row = tile_row(m, ROWS), col = tile_col(m, ROWS);
  T sum[4][4];
  gemm(ForwardProduct{g, input, weight}, shared, m, n, row, col, 0, g.in_channels * g.taps(), sum);
  const unsigned my_row = row + gemm_thread_row(), my_col = col + gemm_thread_col();
  if (bias) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (my_row + i >= m) break;
#pragma unroll
      for (int j = 0; j < 4; ++j) sum[i][j] += bias[my_row + i];
    }
  }
  gemm_store(sum, m, n, my_row, my_col, g.out_pixels(), output, 0);
}

// output = conv2d(input, weight) + bias.
//
// Block x owns the 64 filters x 64 output pixels of tile x, its thread 4 x 4 of them.
// 2 * N * O * OH * OW * C * KH * KW FLOP. Reads the input about ceil(O / 64) * KH * KW times, mostly
// from cache, and the weight once per 64 pixels; writes the output once.
extern "C" __global__ void __launch_bounds__(256, 2)
    conv2d_forward(Conv2dGeometry g,
                   const T *__restrict__ input,  // [N, C, H, W]
                   const T *__restrict__ weight, // [O, C, KH, KW]
                   const T *__restrict__ bias,   // [O] or null
                   T *__restrict__ output) {     // [N, O, OH, OW]
  __shared__ GemmShared<64, ForwardProduct> shared;
  forward(shared, specialise(g), input, weight, bias, output);
}

// The same with tiles of 32 filters x 64 pixels, 128 threads.
extern "C" __global__ void __launch_bounds__(128, GEMM_BLOCKS)
    conv2d_forward_few(Conv2dGeometry g,
                       const T *__restrict__ input,  // [N, C, H, W]
                       const T *__restrict__ weight, // [O, C, KH, KW]
                       const T *__restrict__ bias,   // [O] or null
                       T *__restrict__ output) {     // [N, O, OH, OW]
  __shared__ GemmShared<32, ForwardProduct> shared;
  forward(shared, specialise(g), input, weight, bias, output);
}

// ---------------------------------------------------------------------------------------------

template <int ROWS>
__device__ inline void backward_input(GemmShared<ROWS, BackwardInputProduct> &shared,
                                      const Conv2dGeometry &g, const T *grad_output,
                                      const T *weight, T *grad_input, int accumulate) {
  const unsigned m = g.in_channels, n = g.batch * g.in_pixels();
  const unsigned row = tile_row(m, ROWS), col = tile_col(m, ROWS);
  T sum[4][4];
  gemm(BackwardInputProduct{g, grad_output, weight}, shared, m, n, row, col, 0,
       g.out_channels * g.taps(), sum);
  gemm_store(sum, m, n, row + gemm_thread_row(), col + gemm_thread_col(), g.in_pixels(),
             grad_input, accumulate);
}

// grad_input[n, c, q] = sum over o and taps of weight[o, c, tap] * grad_output[n, o, p], where p is
// the output pixel that has q under that tap, if there is one. Each input pixel gathers its terms,
// so there is nothing to be added atomically.
//
// Block x owns 64 channels x 64 input pixels, its thread 4 x 4 of them. 2 * N * C * H * W * O * KH
// * KW FLOP; with a stride all but one in (stride rows * stride columns) of them multiply a zero.
extern "C" __global__ void __launch_bounds__(256, 2)
    conv2d_backward_input(Conv2dGeometry g,
                          const T *__restrict__ grad_output, // [N, O, OH, OW]
                          const T *__restrict__ weight,      // [O, C, KH, KW]
                          T *__restrict__ grad_input,        // [N, C, H, W]
                          int accumulate) {
  __shared__ GemmShared<64, BackwardInputProduct> shared;
  backward_input(shared, specialise(g), grad_output, weight, grad_input, accumulate);
}

// The same with tiles of 32 channels x 64 pixels, 128 threads.
extern "C" __global__ void __launch_bounds__(128, GEMM_BLOCKS)
    conv2d_backward_input_few(Conv2dGeometry g,
                              const T *__restrict__ grad_output, // [N, O, OH, OW]
                              const T *__restrict__ weight,      // [O, C, KH, KW]
                              T *__restrict__ grad_input,        // [N, C, H, W]
                              int accumulate) {
  __shared__ GemmShared<32, BackwardInputProduct> shared;
  backward_input(shared, specialise(g), grad_output, weight, grad_input, accumulate);
}

// ---------------------------------------------------------------------------------------------

template <int ROWS>
__device__ inline void backward_weight(GemmShared<ROWS, BackwardWeightProduct> &shared,
                                       const Conv2dGeometry &g, unsigned slice, const T *input,
                                       const T *grad_output, T *grad_weight, int accumulate) {
  const unsigned m = g.out_channels, n = g.in_channels * g.taps();
  const unsigned row = tile_row(m, ROWS), col = tile_col(m, ROWS);
  const unsigned pixels = g.batch * g.out_pixels();
  const unsigned begin = blockIdx.y * slice;
  T sum[4][4];
  gemm(BackwardWeightProduct{g, input, grad_output}, shared, m, n, row, col, begin,
       min(begin + slice, pixels), sum);
  gemm_store(sum, m, n, row + gemm_thread_row(), col + gemm_thread_col(), n,
             grad_weight + (size_t)blockIdx.y * m * n, accumulate);
}

// grad_weight[o, c, tap] = sum over the batch's output pixels of grad_output * the input under the
// tap. The weight is small and the sum long, so the pixels are cut into slices: slice y becomes
// partial sum y, and conv2d_backward_weight_reduce adds them in order. A single slice is written to
// the gradient itself.
//
// Block (x, y) owns 64 filters x 64 taps of partial sum y, its thread 4 x 4 of them. 2 * N * O * OH
// * OW * C * KH * KW FLOP; reads grad_output once per 64 taps and the input about KH * KW times per
// 64 filters, mostly from cache.
extern "C" __global__ void __launch_bounds__(256, 2)
    conv2d_backward_weight(Conv2dGeometry g,
                           unsigned slice,                    // pixels of a slice
                           const T *__restrict__ input,       // [N, C, H, W]
                           const T *__restrict__ grad_output, // [N, O, OH, OW]
                           T *__restrict__ grad_weight,       // [slices, O, C, KH, KW]
                           int accumulate) {
  __shared__ GemmShared<64, BackwardWeightProduct> shared;
  backward_weight(shared, specialise(g), slice, input, grad_output, grad_weight, accumulate);
}

// The same with tiles of 32 filters x 64 taps, 128 threads.
extern "C" __global__ void __launch_bounds__(128, GEMM_BLOCKS)
    conv2d_backward_weight_few(Conv2dGeometry g,
                               unsigned slice,                    // pixels of a slice
                               const T *__restrict__ input,       // [N, C, H, W]
                               const T *__restrict__ grad_output, // [N, O, OH, OW]
                               T *__restrict__ grad_weight,       // [slices, O, C, KH, KW]
                               int accumulate) {
  __shared__ GemmShared<32, BackwardWeightProduct> shared;
  backward_weight(shared, specialise(g), slice, input, grad_output, grad_weight, accumulate);
}

// grad_weight[i] = the sum over slices of partials[slice, i], in double and in a fixed order.
//
// Block x owns 32 elements of the gradient, each summed by the 8 threads of its column
// (`column_sum`). Reads every partial sum once.
extern "C" __global__ void __launch_bounds__(256)
    conv2d_backward_weight_reduce(unsigned slices, unsigned weights,
                                  const T *__restrict__ partials, // [slices, O * C * KH * KW]
                                  T *__restrict__ grad_weight,    // [O * C * KH * KW]
                                  int accumulate) {
  const unsigned i = blockIdx.x * COLUMN_THREADS + threadIdx.x;
  const double total = column_sum(partials, weights, i, 0, slices);
  if (threadIdx.y == 0 && i < weights) put(grad_weight + i, (T)total, accumulate);
}
