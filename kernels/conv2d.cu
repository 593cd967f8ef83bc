// Two-dimensional convolution as a matrix product whose second operand, the patches under the
// filter, is never written to memory ("implicit GEMM"): each element is fetched from where it lies
// when its tile is needed.
//
// Writing n for an image, o and c for channels of one group of G, p and q for pixels, t = (i, j) for a
// filter tap:
//
//                     c [m, n]          =  a [m, k]            b [k, n]
//   forward           output[o, (n,p)]  =  weight[o, (c,t)]    patches[(c,t), (n,p)]
//   backward_input    grad_x[c, (n,q)]  =  weight[c, (o,t)]    gathered grad_y[(o,t), (n,q)]
//   backward_weight   grad_w[o, (c,t)]  =  grad_y[o, (n,p)]    patches[(n,p), (c,t)]
//
// Of several groups of channels each is such a product of its own. The products, and what a block does
// of them, are those of conv.cuh; tiles and barriers those of gemm.cuh. Each kernel comes in two tile
// sizes (GEMM_KERNEL). Groups of few channels, of which a tile would be mostly empty, have kernels
// without tiles (conv2d_narrow_..).

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
// Block b of the split.blocks() of a group computes a slice of the taps for a tile of ROWS filters x 64
// output pixels; the last block of a tile adds the slices in order. 2 * G * N * O * OH * OW * C * KH *
// KW FLOP. Reads the input about ceil(O / ROWS) * KH * KW times, mostly from cache, and the weight once
// per 64 pixels; writes and reads each partial sum once, and writes the output once.
GEMM_KERNEL(conv2d_forward,
            (Conv2dGeometry g, GemmSplit split,
             T *partials,                  // as `gemm_split` has it
             unsigned *counters,           // as `gemm_split` has it
             const T *__restrict__ input,  // [N, G * C, H, W]
             const T *__restrict__ weight, // [G * O, C, KH, KW]
             const T *__restrict__ bias,   // [G * O] or null
             T *__restrict__ output), {    // [N, G * O, OH, OW]
  __shared__ GemmTileShared<ROWS, ForwardProduct> shared;
  unsigned row, col;
  convolve(shared, specialise(g), split, input, weight, bias, partials, counters, output, row, col);
})

// grad_input[n, c, q] = sum over o and taps of weight[o, c, tap] * grad_output[n, o, p], where p is
// the output pixel that has q under that tap, if there is one. Each input pixel gathers its terms,
// so there is nothing to be added atomically.
//
// Block b of the split.blocks() of a group computes a slice of the sum for a tile of ROWS channels x 64
// input pixels; the last block of a tile adds the slices in order. 2 * G * N * C * H * W * O * KH * KW
// FLOP; with a stride all but one in (stride rows * stride columns) of them multiply a zero. Reads
// grad_output about KH * KW times per ROWS channels, mostly from cache, and the weight once per 64
// pixels; writes and reads each partial sum once.
GEMM_KERNEL(conv2d_backward_input,
            (Conv2dGeometry g, GemmSplit split,
             T *partials,                       // as `gemm_split` has it
             unsigned *counters,                // as `gemm_split` has it
             const T *__restrict__ grad_output, // [N, G * O, OH, OW]
             const T *__restrict__ weight,      // [G * O, C, KH, KW]
             T *__restrict__ grad_input,        // [N, G * C, H, W]
             int accumulate), {
  __shared__ GemmTileShared<ROWS, BackwardInputProduct> shared;
  convolve_backward_input(shared, specialise(g), split, grad_output, weight, partials, counters,
                          grad_input, accumulate);
})

// grad_weight[o, c, tap] = sum over the batch's output pixels of grad_output * the input under the
// tap.
//
// Block b of the split.blocks() of a group computes a slice of the pixels for a tile of ROWS filters x
// 64 taps; the last block of a tile adds the slices in order, in double. 2 * G * N * O * OH * OW * C *
// KH * KW FLOP; reads grad_output once per 64 taps and the input about KH * KW times per ROWS filters, mostly from
// cache; writes and reads each partial sum once.
GEMM_KERNEL(conv2d_backward_weight,
            (Conv2dGeometry g, GemmSplit split,
             T *partials,                       // as `gemm_split` has it
             unsigned *counters,                // as `gemm_split` has it
             const T *__restrict__ input,       // [N, G * C, H, W]
             const T *__restrict__ grad_output, // [N, G * O, OH, OW]
             T *__restrict__ grad_weight,       // [G * O, C, KH, KW]
             int accumulate), {
  __shared__ GemmTileShared<ROWS, BackwardWeightProduct> shared;
  convolve_backward_parameters<double>(shared, specialise(g), split, input, grad_output, partials,
                                       counters, grad_weight, accumulate, (T *)nullptr, 0);
})

// ---------------------------------------------------------------------------------------------
// Groups of few channels, depthwise convolutions above all: every sum is short, and a thread adds it
// alone. What a thread reads its neighbours read too, so nearly all of it comes from cache.

// output = conv2d(input, weight) + bias.
//
// A thread owns one output pixel. 2 * G * N * O * OH * OW * C * KH * KW FLOP. Reads an input element
// KH * KW * O / (stride rows * stride columns) times and a filter once per pixel, mostly from cache,
// and writes the output once.
extern "C" __global__ void __launch_bounds__(THREADS)
    conv2d_narrow_forward(Conv2dGeometry any,
                          const T *__restrict__ input,  // [N, G * C, H, W]
                          const T *__restrict__ weight, // [G * O, C, KH, KW]
                          const T *__restrict__ bias,   // [G * O] or null
                          T *__restrict__ output) {     // [N, G * O, OH, OW]
  const Conv2dGeometry g = specialise(any);
  const unsigned i = blockIdx.x * THREADS + threadIdx.x;
  if (i >= g.batch * g.out_image()) return;
  const unsigned image = i / g.out_image(), inside = i % g.out_pixels();
  const unsigned filter = i / g.out_pixels() % (g.groups * g.out_channels);
  const Place pixel = pixel_place(g, image * g.out_pixels() + inside);
  const T *plane = input + filter / g.out_channels * g.in_group();
  const T *tap = weight + filter * g.in_channels * g.taps();
  T sum = 0;
  for (unsigned c = 0; c < g.in_channels; ++c) {
    for (unsigned ky = 0; ky < g.kernel_size[0]; ++ky) {
      const int row = (int)(ky * g.dilation[0]);
      for (unsigned kx = 0; kx < g.kernel_size[1]; ++kx, ++tap) {
        const int column = (int)(kx * g.dilation[1]);
        // Negative numbers are large ones then.
        if ((unsigned)(pixel.y + row) < g.height && (unsigned)(pixel.x + column) < g.width) {
          sum += *tap * plane[pixel.offset + row * (int)g.width + column];
        }
      }
    }
    plane += g.in_pixels();
  }
  output[i] = bias ? sum + bias[filter] : sum;
}

// grad_input[n, c, q] = sum over o and taps of weight[o, c, tap] * grad_output[n, o, p], where p is
// the output pixel that has q under that tap, if there is one.
//
// A thread owns one input pixel. At most 2 * G * N * C * H * W * O * KH * KW FLOP; a stride leaves out
// all but one in (stride rows * stride columns). Reads grad_output C * KH * KW times, mostly from cache.
extern "C" __global__ void __launch_bounds__(THREADS)
    conv2d_narrow_backward_input(Conv2dGeometry any,
                                 const T *__restrict__ grad_output, // [N, G * O, OH, OW]
                                 const T *__restrict__ weight,      // [G * O, C, KH, KW]
                                 T *__restrict__ grad_input,        // [N, G * C, H, W]
                                 int accumulate) {
  const Conv2dGeometry g = specialise(any);
  const unsigned i = blockIdx.x * THREADS + threadIdx.x;
  if (i >= g.batch * g.in_image()) return;
  const unsigned image = i / g.in_image(), inside = i % g.in_pixels();
  const unsigned channel = i / g.in_pixels() % (g.groups * g.in_channels);
  const unsigned group = channel / g.in_channels;
  const int y = (int)(inside / g.width + g.padding[0]), x = (int)(inside % g.width + g.padding[1]);
  const T *plane = grad_output + image * g.out_image() + group * g.out_group();
  const T *taps = weight + group * g.weight_group() + channel % g.in_channels * g.taps();
  T sum = 0;
  for (unsigned o = 0; o < g.out_channels; ++o) {
    for (unsigned ky = 0; ky < g.kernel_size[0]; ++ky) {
      const int down = y - (int)(ky * g.dilation[0]), row = down / (int)g.stride[0];
      if (down < 0 || down % (int)g.stride[0] != 0 || row >= (int)g.out_height) continue;
      for (unsigned kx = 0; kx < g.kernel_size[1]; ++kx) {
        const int right = x - (int)(kx * g.dilation[1]), column = right / (int)g.stride[1];
        if (right < 0 || right % (int)g.stride[1] != 0 || column >= (int)g.out_width) continue;
        sum += taps[ky * g.kernel_size[1] + kx] * plane[row * (int)g.out_width + column];
      }
    }
    plane += g.out_pixels();
    taps += g.in_channels * g.taps();
  }
  put(grad_input + i, sum, accumulate);
}

// grad_weight[o, c, tap] = sum over the batch's output pixels of grad_output * the input under the
// tap.
//
// The pixels of each weight are cut into chunks of `tiles` tiles of REDUCE_TILE, as those of a channel
// in sum.cu. Block (weight w, chunk h), numbered w * chunks + h, adds one chunk, a thread up to
// REDUCE_ITEMS pixels of each tile; the last block of a weight adds its chunks (`sum_of_blocks`).
// 2 * G * N * O * OH * OW * C * KH * KW FLOP; reads grad_output C * KH * KW times and the input KH *
// KW * O / (stride rows * stride columns) times, mostly from cache.
extern "C" __global__ void __launch_bounds__(THREADS)
    conv2d_narrow_backward_weight(Conv2dGeometry any, unsigned chunks, unsigned tiles,
                                  const T *__restrict__ input,       // [N, G * C, H, W]
                                  const T *__restrict__ grad_output, // [N, G * O, OH, OW]
                                  double *partials,                  // [weights, chunks]
                                  unsigned *counters,                // [weights]
                                  T *__restrict__ grad_weight,       // [G * O, C, KH, KW]
                                  int accumulate) {
  const Conv2dGeometry g = specialise(any);
  const unsigned w = blockIdx.x / chunks, chunk = blockIdx.x % chunks;
  const unsigned filter = w / (g.in_channels * g.taps());
  const Place tap = tap_place(g, w % (g.in_channels * g.taps()));
  input += filter / g.out_channels * g.in_group();
  grad_output += filter * g.out_pixels();
  const unsigned begin = chunk * tiles * REDUCE_TILE;
  const unsigned end = min(begin + tiles * REDUCE_TILE, g.batch * g.out_pixels());
  double total = 0;
  for (unsigned tile = begin + threadIdx.x; tile < end; tile += REDUCE_TILE) {
    T sum = 0;
    for (unsigned item = 0; item < REDUCE_ITEMS; ++item) {
      const unsigned i = tile + item * THREADS;
      if (i >= end) break;
      const Place pixel = pixel_place(g, i);
      // Negative numbers are large ones then.
      if ((unsigned)(pixel.y + tap.y) < g.height && (unsigned)(pixel.x + tap.x) < g.width) {
        const unsigned image = i / g.out_pixels(), inside = i % g.out_pixels();
        sum += grad_output[image * g.out_image() + inside] * input[pixel.offset + tap.offset];
      }
    }
    total += sum;
  }
  total = block_sum(total);
  if (sum_of_blocks(total, partials + (size_t)w * chunks, chunk, chunks, counters + w)) {
    put(grad_weight + w, (T)total, accumulate);
  }
}
