// A block of a convolutional network as one op: convolution, batch normalisation, rectifier,
// dropout and max pooling over windows that lie apart.
//
// Forward in two launches: conv_block_conv writes the convolution and what is left of its
// statistics, conv_block_pool does all the rest in one pass over it. The network's next layer sees
// the pooled output alone; of the others' outputs only the convolution's is ever in memory.
//
// Backward, the pooled output says where a gradient passes: what the rectifier or dropout set to 0
// is not positive (and not NaN). So a window's gradient goes to its maximum or nowhere.
// conv_block_sums adds what the normalisation's gradients need, over the pooled elements alone;
// conv_block_unpool writes the gradient of the convolution's output; conv_block_weight and
// conv_block_input take it from there.
//
// The products, and what a block does of them, are those of conv.cuh, each in two tile sizes
// (GEMM_KERNEL). Those of a small batch have few tiles and long sums: `gemm_split` cuts these into
// slices for more blocks, and one of them has the whole tile in the end.

#include "batch_norm.cuh"
#include "conv.cuh"
#include "dropout.cuh"
#include "max_pool2d.cuh"

// src/ops/conv_block/mod.rs.
struct ConvBlockGeometry {
  Conv2dGeometry conv;
  MaxPool2dGeometry pool;

  __device__ unsigned pooled_pixels() const { return pool.out_height * pool.out_width; }
  // Where a window has its maximum is kept in a byte if that is enough, else in four.
  __device__ bool in_bytes() const { return pool.kernel_size[0] * pool.kernel_size[1] <= 256; }
};

// In a module that was compiled for one geometry, all but the batch is known to the compiler: it
// turns divisions into multiplications, and leaves out what stride, padding or bounds rule out.
__device__ inline ConvBlockGeometry specialise(const ConvBlockGeometry &g) {
#ifdef GEOMETRY
  ConvBlockGeometry known = {g.conv.batch, GEOMETRY};
  known.pool.planes = g.conv.batch * known.conv.out_channels;
  return known;
#else
  return g;
#endif
}

__device__ inline Conv2dGeometry specialise(const Conv2dGeometry &g) {
  ConvBlockGeometry block = {};
  block.conv = g;
  return specialise(block).conv;
}

// Of some elements of one channel: src/ops/conv_block/cuda.rs knows that it is two doubles.
struct __align__(16) Part {
  double mean;
  double squares; // sum of (x - mean)^2
};

// ---------------------------------------------------------------------------------------------
// Forward

// Of each channel of a tile, the mean of its pixels and their squares around it.
template <int ROWS>
__device__ inline void tile_statistics(const T (&tile)[ROWS][GEMM_STRIDE], unsigned m, unsigned n,
                                       unsigned row, unsigned col, const T *bias, Part *parts) {
  // Four lanes to a channel, each with every fourth pixel.
  const unsigned size = min((unsigned)GEMM_COLS, n - col), quarter = threadIdx.x % 4;
  for (unsigned i = threadIdx.x / 4; i < ROWS; i += blockDim.x / 4) {
    const T shift = bias && row + i < m ? bias[row + i] : T(0);
    T sum = 0;
#pragma unroll
    for (unsigned j = 0; j < GEMM_COLS / 4; ++j) {
      sum += 4 * j + quarter < size ? tile[i][4 * j + quarter] + shift : T(0);
    }
    sum += __shfl_xor_sync(0xffffffffu, sum, 1);
    sum += __shfl_xor_sync(0xffffffffu, sum, 2);
    // Rounded to T, so that the differences below are exact to T. What the rounding took from the
    // mean comes back as the sum of differences, which would else be 0.
    const T around = sum / (T)size;
    T differences = 0, squares = 0;
#pragma unroll
    for (unsigned j = 0; j < GEMM_COLS / 4; ++j) {
      const T difference =
          4 * j + quarter < size ? tile[i][4 * j + quarter] + shift - around : T(0);
      differences += difference;
      squares += difference * difference;
    }
    differences += __shfl_xor_sync(0xffffffffu, differences, 1);
    differences += __shfl_xor_sync(0xffffffffu, differences, 2);
    squares += __shfl_xor_sync(0xffffffffu, squares, 1);
    squares += __shfl_xor_sync(0xffffffffu, squares, 2);
    if (quarter > 0 || row + i >= m) continue;
    const double left = (double)differences / size;
    parts[(row + i) * ((n + GEMM_COLS - 1) / GEMM_COLS) + col / GEMM_COLS] = {
        around + left, (double)squares - left * left * size};
  }
}

// convolved = conv2d(input, weight) + bias, and of each channel the mean and the squares around it
// in every tile of 64 pixels.
//
// Blocks as those of conv2d_forward in conv2d.cu; when a tile is whole, four lanes have a filter's
// pixels each. 5 FLOP a pixel and filter beside that kernel's, and 16 bytes more written per filter
// and 64 pixels.
GEMM_KERNEL(conv_block_conv,
            (Conv2dGeometry any, GemmSplit split,
             T *partials,                  // as `gemm_split` has it
             unsigned *counters,           // as `gemm_split` has it
             const T *__restrict__ input,  // [N, C, H, W]
             const T *__restrict__ weight, // [O, C, KH, KW]
             const T *__restrict__ bias,   // [O] or null
             T *__restrict__ convolved,    // [N, O, OH, OW]
             Part *__restrict__ parts), {  // [O, tiles] or null
  __shared__ GemmTileShared<ROWS, ForwardProduct> shared;
  const Conv2dGeometry g = specialise(any);
  unsigned row, col;
  if (convolve(shared, g, split, input, weight, bias, partials, counters, convolved, row, col) &&
      parts) {
    tile_statistics(shared.tile, g.out_channels, g.batch * g.out_pixels(), row, col, bias, parts);
  }
})

// The mean and the biased variance of `count` elements in tiles of GEMM_COLS, in every thread of
// the block. The mean first, then the squares around it: nothing cancels.
__device__ inline void merge_parts(const Part *parts, unsigned count, T *mean, T *variance) {
  const unsigned tiles = (count + GEMM_COLS - 1) / GEMM_COLS;
  double sum = 0, squares = 0;
  for (unsigned i = threadIdx.x; i < tiles; i += THREADS) {
    sum += min((unsigned)GEMM_COLS, count - i * GEMM_COLS) * parts[i].mean;
  }
  const double around = block_sum(sum) / count;
  for (unsigned i = threadIdx.x; i < tiles; i += THREADS) {
    const double distance = parts[i].mean - around;
    squares += parts[i].squares +
               min((unsigned)GEMM_COLS, count - i * GEMM_COLS) * distance * distance;
  }
  *mean = (T)around;
  *variance = (T)(block_sum(squares) / count);
}

// A pooled element of a channel, by its number over [N, PH, PW]: where it is in the output, and
// where its window starts in the convolution's output.
struct Pooled {
  unsigned at, window;

  __device__ Pooled(const ConvBlockGeometry &g, unsigned channel, unsigned i) {
    const unsigned plane = i / g.pooled_pixels() * g.conv.out_channels + channel;
    const unsigned pixel = i % g.pooled_pixels();
    const unsigned y = pixel / g.pool.out_width, x = pixel % g.pool.out_width;
    at = plane * g.pooled_pixels() + pixel;
    window = (plane * g.pool.height + y * g.pool.stride[0]) * g.pool.width + x * g.pool.stride[1];
  }
};

// The maximum of a window of KH x KW (of any size if these are 0) that starts at element `start`,
// and its place in the window, row-major: the first maximum, or the last NaN.
template <unsigned KH, unsigned KW>
__device__ inline T window_maximum(const MaxPool2dGeometry &g, const T *convolved, unsigned start,
                                   T mean, T scale, T shift, DropoutMask &mask, unsigned *best) {
  const unsigned height = KH ? KH : g.kernel_size[0], width = KW ? KW : g.kernel_size[1];
  T maximum = -1; // no value is negative
#pragma unroll
  for (unsigned row = 0; row < height; ++row) {
#pragma unroll
    for (unsigned column = 0; column < width; ++column) {
      const unsigned at = start + row * g.width + column;
      T value = (convolved[at] - mean) * scale + shift;
      // `value <= 0` is false for NaN, which so stays.
      value = value <= 0 || !mask.keeps(at) ? T(0) : value * mask.scale();
      if (value > maximum || isnan(value)) {
        maximum = value;
        *best = row * width + column;
      }
    }
  }
  return maximum;
}

// output = max_pool(dropout(relu((convolved - mean) * invstd * scale + shift))) and where each
// window has its maximum, with the statistics that `parts` says, or the running ones without it.
// The running statistics step as in batch_norm2d.cu.
//
// Block (channel c, chunk h), numbered c * chunks + h, merges the parts of its channel, each block
// of it in the same order; that of chunk 0 writes what becomes of them. Then a thread owns a window
// at a time. Reads the convolution's output once, and the parts once per chunk; writes the output
// and a byte an element. 5 FLOP an element of the convolution, and dropout's random numbers. The
// launch bounds ask for four blocks a multiprocessor: left alone, the compiler aims at eight, and
// spills.
extern "C" __global__ void __launch_bounds__(THREADS, 4)
    conv_block_pool(ConvBlockGeometry any, DropoutGeometry drop, unsigned chunks, T eps, T momentum,
                    const T *__restrict__ convolved,             // [N, O, OH, OW]
                    const Part *__restrict__ parts,              // [O, tiles] or null
                    const T *__restrict__ scale,                 // [O] or null
                    const T *__restrict__ shift,                 // [O] or null
                    const unsigned long long *__restrict__ step, // [1] or null
                    T *running_mean,                             // [O], or null with parts
                    T *running_var,                              // [O], or null with parts
                    T *__restrict__ output,                      // [N, O, PH, PW]
                    T *__restrict__ mean,                        // [O] or null
                    T *__restrict__ invstd,                      // [O], null with mean
                    unsigned char *__restrict__ argmax) {        // [N, O, PH, PW], null with mean
  const ConvBlockGeometry g = specialise(any);
  const unsigned channel = blockIdx.x / chunks, chunk = blockIdx.x % chunks;
  const unsigned count = g.conv.batch * g.conv.out_pixels();
  T around, variance;
  if (parts) {
    const unsigned tiles = (count + GEMM_COLS - 1) / GEMM_COLS;
    merge_parts(parts + (size_t)channel * tiles, count, &around, &variance);
  } else {
    around = running_mean[channel];
    variance = running_var[channel];
  }
  const T inverse = inverse_std(variance, eps);
  if (chunk == 0 && threadIdx.x == 0) {
    if (mean) {
      mean[channel] = around;
      invstd[channel] = inverse;
    }
    if (parts && running_mean) {
      track(running_mean + channel, running_var + channel, momentum, around, variance, count);
    }
  }

  const T factor = scale ? inverse * scale[channel] : inverse;
  const T offset = shift ? shift[channel] : T(0);
  const bool small = g.pool.kernel_size[0] == 2 && g.pool.kernel_size[1] == 2;
  DropoutMask mask(drop, step);
  const unsigned elements = g.conv.batch * g.pooled_pixels();
  for (unsigned i = chunk * THREADS + threadIdx.x; i < elements; i += chunks * THREADS) {
    const Pooled pooled(g, channel, i);
    unsigned best = 0;
    output[pooled.at] = small ? window_maximum<2, 2>(g.pool, convolved, pooled.window, around,
                                                     factor, offset, mask, &best)
                              : window_maximum<0, 0>(g.pool, convolved, pooled.window, around,
                                                     factor, offset, mask, &best);
    if (!argmax) continue;
    if (g.in_bytes()) {
      argmax[pooled.at] = (unsigned char)best;
    } else {
      ((unsigned *)argmax)[pooled.at] = best;
    }
  }
}

// ---------------------------------------------------------------------------------------------
// Backward

// What the forward pass left of the pooling, and the gradient from above.
struct Pooling {
  const T *output, *grad_output; // [N, O, PH, PW]
  const unsigned char *argmax;   // [N, O, PH, PW]
  T factor;                      // dropout's, or 1
  bool in_bytes;

  // The gradient that passes through pooled element `at`.
  __device__ T gradient(unsigned at) const {
    return output[at] <= 0 ? T(0) : grad_output[at] * factor;
  }
  // Where its window has the maximum.
  __device__ unsigned place(unsigned at) const {
    return in_bytes ? argmax[at] : ((const unsigned *)argmax)[at];
  }
};

// With g the gradient that passes: grad_shift = the sum of g, grad_scale = the sum of g * xhat,
// xhat = (convolved - mean) * invstd; and both as `sums` for conv_block_unpool. g is 0 but for
// maxima.
//
// Blocks as those of conv_block_pool, a thread owns a pooled element at a time; the last block of a
// channel adds the sums of all (`sum_of_blocks`). Reads output, grad_output and argmax once, and of
// the convolution's output the maxima. 4 FLOP a pooled element.
extern "C" __global__ void __launch_bounds__(THREADS)
    conv_block_sums(ConvBlockGeometry any, unsigned chunks,
                    T factor,                                 // dropout's, or 1
                    const T *__restrict__ convolved,          // [N, O, OH, OW]
                    const T *__restrict__ mean,               // [O]
                    const T *__restrict__ invstd,             // [O]
                    const T *__restrict__ output,             // [N, O, PH, PW]
                    const T *__restrict__ grad_output,        // [N, O, PH, PW]
                    const unsigned char *__restrict__ argmax, // [N, O, PH, PW]
                    Sums *partials,                           // [O, chunks]
                    unsigned *counters,                       // [O]
                    T *__restrict__ sums,                     // [O, 2]
                    T *__restrict__ grad_scale,               // [O] or null
                    int accumulate_scale,
                    T *__restrict__ grad_shift,               // [O] or null
                    int accumulate_shift) {
  const ConvBlockGeometry g = specialise(any);
  const unsigned channel = blockIdx.x / chunks, chunk = blockIdx.x % chunks;
  const Pooling pooling = {output, grad_output, argmax, factor, g.in_bytes()};
  const T around = mean[channel];
  const unsigned elements = g.conv.batch * g.pooled_pixels(), width = g.pool.kernel_size[1];
  Sums all = {};
  for (unsigned i = chunk * THREADS + threadIdx.x; i < elements; i += chunks * THREADS) {
    const Pooled pooled(g, channel, i);
    const T passed = pooling.gradient(pooled.at);
    const unsigned place = pooling.place(pooled.at);
    const T x = convolved[pooled.window + place / width * g.pool.width + place % width];
    all.gradient += passed;
    all.product += passed * (x - around);
  }
  all = block_sum(all);
  if (sum_of_blocks(all, partials + channel * chunks, chunk, chunks, counters + channel)) {
    finish_sums(all, channel, invstd, sums, grad_scale, accumulate_scale, grad_shift,
                accumulate_shift);
  }
}

// The gradient of the convolution's output: scale * invstd * (g - grad_shift / M - xhat *
// grad_scale / M), M = N * OH * OW; without the last two terms when the statistics were not the
// batch's (`sums` is null). g is the window's gradient at its maximum, 0 elsewhere and between
// windows.
//
// A thread owns WIDTH neighbouring elements, mostly of one row. Reads the convolution's output once
// and pooled elements about KW times, but for the first from cache; writes the gradient once. 5
// FLOP an element.
extern "C" __global__ void __launch_bounds__(THREADS)
    conv_block_unpool(ConvBlockGeometry any,
                      T factor,                                 // dropout's, or 1
                      const T *__restrict__ convolved,          // [N, O, OH, OW]
                      const T *__restrict__ mean,               // [O]
                      const T *__restrict__ invstd,             // [O]
                      const T *__restrict__ scale,              // [O] or null
                      const T *__restrict__ output,             // [N, O, PH, PW]
                      const T *__restrict__ grad_output,        // [N, O, PH, PW]
                      const unsigned char *__restrict__ argmax, // [N, O, PH, PW]
                      const T *__restrict__ sums,               // [O, 2] or null
                      T *__restrict__ grad_convolved) {         // [N, O, OH, OW]
  const ConvBlockGeometry g = specialise(any);
  const unsigned i = first_of_pack();
  const unsigned pixels = g.conv.out_pixels(), n = g.conv.batch * g.conv.out_channels * pixels;
  if (i >= n) return;
  const Pooling pooling = {output, grad_output, argmax, factor, g.in_bytes()};
  const T count = (T)(g.conv.batch * pixels);
  const Pack value = load_pack(convolved, i, n);
  unsigned plane = i / pixels, row = i % pixels / g.pool.width, column = i % pixels % g.pool.width;
  Pack gradient;
  T around, multiplier, from_mean, from_var;
  auto enter_plane = [&] {
    const unsigned channel = plane % g.conv.out_channels;
    const Normalisation normalisation(mean, invstd, scale, channel);
    around = normalisation.mean;
    multiplier = normalisation.scale;
    from_mean = sums ? sums[2 * channel] / count : T(0);
    from_var = sums ? sums[2 * channel + 1] / count * invstd[channel] : T(0);
  };
  enter_plane();
#pragma unroll
  for (unsigned j = 0; j < WIDTH; ++j) {
    if (i + j >= n) break;
    const unsigned y = row / g.pool.stride[0], x = column / g.pool.stride[1];
    // Inside the window, or between it and the next.
    const unsigned down = row - y * g.pool.stride[0], right = column - x * g.pool.stride[1];
    T passed = 0;
    if (y < g.pool.out_height && x < g.pool.out_width && right < g.pool.kernel_size[1]) {
      const unsigned at = (plane * g.pool.out_height + y) * g.pool.out_width + x;
      // Below the window no place is this one.
      if (pooling.place(at) == down * g.pool.kernel_size[1] + right) passed = pooling.gradient(at);
    }
    gradient.v[j] = multiplier * (passed - from_mean - (value.v[j] - around) * from_var);
    if (++column == g.pool.width) {
      column = 0;
      if (++row == g.pool.height) {
        row = 0;
        ++plane;
        if (i + j + 1 < n) enter_plane();
      }
    }
  }
  store_pack(grad_convolved, i, n, gradient);
}

// grad_weight[o, c, tap] = sum over the batch's output pixels of grad_convolved * the input under
// the tap, grad_bias[o] = sum of grad_convolved; a null one is not computed.
//
// Blocks as those of conv2d_backward_weight in conv2d.cu, where the bias is one more tap, whose inputs
// are 1; they add slices in T.
GEMM_KERNEL(conv_block_weight,
            (Conv2dGeometry g, GemmSplit split,
             T *partials,                          // as `gemm_split` has it
             unsigned *counters,                   // as `gemm_split` has it
             const T *__restrict__ input,          // [N, C, H, W]
             const T *__restrict__ grad_convolved, // [N, O, OH, OW]
             T *__restrict__ grad_weight,          // [O, C, KH, KW] or null
             int accumulate_weight,
             T *__restrict__ grad_bias,            // [O] or null
             int accumulate_bias), {
  __shared__ GemmTileShared<ROWS, BackwardWeightProduct> shared;
  convolve_backward_parameters<T>(shared, specialise(g), split, input, grad_convolved, partials,
                                  counters, grad_weight, accumulate_weight, grad_bias,
                                  accumulate_bias);
})

// grad_input as conv2d_backward_input in conv2d.cu has it, with its blocks.
GEMM_KERNEL(conv_block_input,
            (Conv2dGeometry g, GemmSplit split,
             T *partials,                          // as `gemm_split` has it
             unsigned *counters,                   // as `gemm_split` has it
             const T *__restrict__ grad_convolved, // [N, O, OH, OW]
             const T *__restrict__ weight,         // [O, C, KH, KW]
             T *__restrict__ grad_input,           // [N, C, H, W]
             int accumulate), {
  __shared__ GemmTileShared<ROWS, BackwardInputProduct> shared;
  convolve_backward_input(shared, specialise(g), split, grad_convolved, weight, partials, counters,
                          grad_input, accumulate);
})
