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
// The products, and what a block does of them, are those of conv.cuh; tiles and barriers those of
// gemm.cuh. Each kernel comes in two tile sizes (GEMM_KERNEL).

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

// output = conv2d(input, weight) + bias.
//
// Block b of split.blocks() computes a slice of the taps for a tile of ROWS filters x 64 output
// pixels; the last block of a tile adds the slices in order. 2 * N * O * OH * OW * C * KH * KW FLOP.
// Reads the input about ceil(O / ROWS) * KH * KW times, mostly from cache, and the weight once per 64
// pixels; writes and reads each partial sum once, and writes the output once.
GEMM_KERNEL(conv2d_forward,
            (Conv2dGeometry g, GemmSplit split,
             T *partials,                  // as `gemm_split` has it
             unsigned *counters,           // as `gemm_split` has it
             const T *__restrict__ input,  // [N, C, H, W]
             const T *__restrict__ weight, // [O, C, KH, KW]
             const T *__restrict__ bias,   // [O] or null
             T *__restrict__ output), {    // [N, O, OH, OW]
  __shared__ GemmTileShared<ROWS, ForwardProduct> shared;
  unsigned row, col;
  convolve(shared, specialise(g), split, input, weight, bias, partials, counters, output, row, col);
})

// grad_input[n, c, q] = sum over o and taps of weight[o, c, tap] * grad_output[n, o, p], where p is
// the output pixel that has q under that tap, if there is one. Each input pixel gathers its terms,
// so there is nothing to be added atomically.
//
// Block b of split.blocks() computes a slice of the sum for a tile of ROWS channels x 64 input pixels;
// the last block of a tile adds the slices in order. 2 * N * C * H * W * O * KH * KW FLOP; with a
// stride all but one in (stride rows * stride columns) of them multiply a zero. Reads grad_output
// about KH * KW times per ROWS channels, mostly from cache, and the weight once per 64 pixels; writes
// and reads each partial sum once.
GEMM_KERNEL(conv2d_backward_input,
            (Conv2dGeometry g, GemmSplit split,
             T *partials,                       // as `gemm_split` has it
             unsigned *counters,                // as `gemm_split` has it
             const T *__restrict__ grad_output, // [N, O, OH, OW]
             const T *__restrict__ weight,      // [O, C, KH, KW]
             T *__restrict__ grad_input,        // [N, C, H, W]
             int accumulate), {
  __shared__ GemmTileShared<ROWS, BackwardInputProduct> shared;
  convolve_backward_input(shared, specialise(g), split, grad_output, weight, partials, counters,
                          grad_input, accumulate);
})

// grad_weight[o, c, tap] = sum over the batch's output pixels of grad_output * the input under the
// tap.
//
// Block b of split.blocks() computes a slice of the pixels for a tile of ROWS filters x 64 taps; the
// last block of a tile adds the slices in order, in double. 2 * N * O * OH * OW * C * KH * KW FLOP;
// reads grad_output once per 64 taps and the input about KH * KW times per ROWS filters, mostly from
// cache; writes and reads each partial sum once.
GEMM_KERNEL(conv2d_backward_weight,
            (Conv2dGeometry g, GemmSplit split,
             T *partials,                       // as `gemm_split` has it
             unsigned *counters,                // as `gemm_split` has it
             const T *__restrict__ input,       // [N, C, H, W]
             const T *__restrict__ grad_output, // [N, O, OH, OW]
             T *__restrict__ grad_weight,       // [O, C, KH, KW]
             int accumulate), {
  __shared__ GemmTileShared<ROWS, BackwardWeightProduct> shared;
  convolve_backward_parameters<double>(shared, specialise(g), split, input, grad_output, partials,
                                       counters, grad_weight, accumulate, (T *)nullptr, 0);
})
