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
// The products of a small batch have few tiles and long sums: `gemm_split` cuts these into slices
// for more blocks, and one of them has the whole tile in the end. The launch bounds ask for two
// blocks of 256 threads a multiprocessor, or GEMM_BLOCKS of 128: left alone, the compiler aims at
// more, and spills.

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

template <int ROWS>
__device__ inline void convolve(GemmTileShared<ROWS, ForwardProduct> &shared,
                                const Conv2dGeometry &g, const GemmSplit &split, const T *input,
                                const T *weight, const T *bias, T *partials, unsigned *counters,
                                T *convolved, Part *parts) {
  const unsigned m = g.out_channels, n = g.batch * g.out_pixels();
  unsigned row, col;
  if (!gemm_split(ForwardProduct{g, input, weight}, shared, split, blockIdx.x, m, n,
                  g.in_channels * g.taps(), row, col, partials, counters)) {
    return;
  }
  gemm_tile_store(shared.tile, m, n, row, col, g.out_pixels(), bias, convolved, 0);
  if (!parts) return;

  // Four lanes to a channel, each with every fourth pixel.
  const unsigned size = min((unsigned)GEMM_COLS, n - col), quarter = threadIdx.x % 4;
  for (unsigned i = threadIdx.x / 4; i < ROWS; i += blockDim.x / 4) {
    const T shift = bias && row + i < m ? bias[row + i] : T(0);
    T sum = 0;
#pragma unroll
    for (unsigned j = 0; j < GEMM_COLS / 4; ++j) {
      sum += 4 * j + quarter < size ? shared.tile[i][4 * j + quarter] + shift : T(0);
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
          4 * j + quarter < size ? shared.tile[i][4 * j + quarter] + shift - around : T(0);
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
// Block b of split.blocks() computes a slice of the taps for a tile of 64 filters x 64 output
// pixels, its thread 4 x 4 of them; the last block of a tile adds the slices in order, then four
// lanes have a filter's pixels each. 2 * N * O * OH * OW * C * KH * KW FLOP, and 5 a pixel and
// filter. Reads the input about ceil(O / 64) * KH * KW times, mostly from cache, and the weight
// once per 64 pixels; writes and reads each partial sum once, and writes the output once, and 16
// bytes per filter and 64 pixels.
extern "C" __global__ void __launch_bounds__(256, 2)
    conv_block_conv(Conv2dGeometry g, GemmSplit split,
                    const T *__restrict__ input,  // [N, C, H, W]
                    const T *__restrict__ weight, // [O, C, KH, KW]
                    const T *__restrict__ bias,   // [O] or null
                    T *partials,                  // as `gemm_split` has it
                    unsigned *counters,           // as `gemm_split` has it
                    T *__restrict__ convolved,    // [N, O, OH, OW]
                    double *__restrict__ parts) { // [O, tiles, 2] as Part, or null
  __shared__ GemmTileShared<64, ForwardProduct> shared;
  convolve(shared, specialise(g), split, input, weight, bias, partials, counters, convolved,
           (Part *)parts);
}

// The same with tiles of 32 filters x 64 pixels, 128 threads.
extern "C" __global__ void __launch_bounds__(128, GEMM_BLOCKS)
    conv_block_conv_few(Conv2dGeometry g, GemmSplit split,
                        const T *__restrict__ input,  // [N, C, H, W]
                        const T *__restrict__ weight, // [O, C, KH, KW]
                        const T *__restrict__ bias,   // [O] or null
                        T *partials,                  // as `gemm_split` has it
                        unsigned *counters,           // as `gemm_split` has it
                        T *__restrict__ convolved,    // [N, O, OH, OW]
                        double *__restrict__ parts) { // [O, tiles, 2] as Part, or null
  __shared__ GemmTileShared<32, ForwardProduct> shared;
  convolve(shared, specialise(g), split, input, weight, bias, partials, counters, convolved,
           (Part *)parts);
}

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
                    const double *__restrict__ parts,            // [O, tiles, 2] as Part, or null
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
    merge_parts((const Part *)parts + (size_t)channel * tiles, count, &around, &variance);
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
// channel adds the sums of all, in order. Reads output, grad_output and argmax once, and of the
// convolution's output the maxima. 4 FLOP a pooled element.
extern "C" __global__ void __launch_bounds__(THREADS)
    conv_block_sums(ConvBlockGeometry any, unsigned chunks,
                    T factor,                                 // dropout's, or 1
                    const T *__restrict__ convolved,          // [N, O, OH, OW]
                    const T *__restrict__ mean,               // [O]
                    const T *__restrict__ invstd,             // [O]
                    const T *__restrict__ output,             // [N, O, PH, PW]
                    const T *__restrict__ grad_output,        // [N, O, PH, PW]
                    const unsigned char *__restrict__ argmax, // [N, O, PH, PW]
                    double *partials,                         // [O, chunks, 2]
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
  double gradient = 0, product = 0;
  for (unsigned i = chunk * THREADS + threadIdx.x; i < elements; i += chunks * THREADS) {
    const Pooled pooled(g, channel, i);
    const T passed = pooling.gradient(pooled.at);
    const unsigned place = pooling.place(pooled.at);
    const T x = convolved[pooled.window + place / width * g.pool.width + place % width];
    gradient += passed;
    product += passed * (x - around);
  }
  gradient = block_sum(gradient);
  product = block_sum(product);
  if (chunks > 1) {
    double *slot = partials + 2 * (size_t)channel * chunks;
    if (threadIdx.x == 0) {
      slot[2 * chunk] = gradient;
      slot[2 * chunk + 1] = product;
    }
    if (!is_last_block(counters + channel, chunks)) return;
    gradient = 0;
    product = 0;
    for (unsigned i = threadIdx.x; i < chunks; i += THREADS) {
      gradient += slot[2 * i];
      product += slot[2 * i + 1];
    }
    gradient = block_sum(gradient);
    product = block_sum(product);
  }
  if (threadIdx.x > 0) return;
  const T of_shift = (T)gradient, of_scale = (T)product * invstd[channel];
  sums[2 * channel] = of_shift;
  sums[2 * channel + 1] = of_scale;
  if (grad_shift) put(grad_shift + channel, of_shift, accumulate_shift);
  if (grad_scale) put(grad_scale + channel, of_scale, accumulate_scale);
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

// grad_w[o, (c,t)] as in conv.cuh, and behind it a column of ones, which makes the bias's gradient.
struct ParametersProduct : BackwardWeightProduct {
  struct Col {
    Place tap;     // of the ones, a row where all is padding
    float padding; // 1 for the ones, else 0; in double it takes half the registers
  };
  unsigned weights; // columns of the weight's gradient

  __device__ ParametersProduct(const Conv2dGeometry &g, const T *input, const T *grad_output,
                               unsigned weights)
      : BackwardWeightProduct{g, input, grad_output}, weights(weights) {}

  __device__ Col col(unsigned tap) const {
    if (tap < weights) return {tap_place(g, tap), 0};
    return {{0, 1 << 30, 0}, 1};
  }
  __device__ T b(const Col &col, const Step &step, bool inside) const {
    return patch(g, input, step.pixel, col.tap, inside, col.padding);
  }
};

template <int ROWS>
__device__ inline void backward_parameters(GemmTileShared<ROWS, ParametersProduct> &shared,
                                           const Conv2dGeometry &g, const GemmSplit &split,
                                           const T *input, const T *grad_convolved, T *partials,
                                           unsigned *counters, T *grad_weight,
                                           int accumulate_weight, T *grad_bias,
                                           int accumulate_bias) {
  const unsigned m = g.out_channels, weights = grad_weight ? g.in_channels * g.taps() : 0;
  const ParametersProduct product(g, input, grad_convolved, weights);
  unsigned row, col;
  if (gemm_split(product, shared, split, blockIdx.x, m, grad_bias ? weights + 1 : weights,
                 g.batch * g.out_pixels(), row, col, partials, counters)) {
    gemm_tile_store_parameters(shared.tile, m, weights, row, col, grad_weight, accumulate_weight,
                               grad_bias, accumulate_bias);
  }
}

// grad_weight[o, c, tap] = sum over the batch's output pixels of grad_convolved * the input under
// the tap, grad_bias[o] = sum of grad_convolved; a null one is not computed.
//
// Block b of split.blocks() computes a slice of the pixels for a tile of 64 filters x 64 taps, its
// thread 4 x 4 of them; the last block of a tile adds the slices in order (`gemm_split`). 2 * N *
// O * OH * OW * (C * KH * KW + 1) FLOP; reads grad_convolved once per 64 taps and the input about
// KH * KW times per 64 filters, mostly from cache; writes and reads each partial sum once.
extern "C" __global__ void __launch_bounds__(256, 2)
    conv_block_weight(Conv2dGeometry g, GemmSplit split,
                      const T *__restrict__ input,          // [N, C, H, W]
                      const T *__restrict__ grad_convolved, // [N, O, OH, OW]
                      T *partials,                          // as `gemm_split` has it
                      unsigned *counters,                   // as `gemm_split` has it
                      T *__restrict__ grad_weight,          // [O, C, KH, KW] or null
                      int accumulate_weight,
                      T *__restrict__ grad_bias,            // [O] or null
                      int accumulate_bias) {
  __shared__ GemmTileShared<64, ParametersProduct> shared;
  backward_parameters(shared, specialise(g), split, input, grad_convolved, partials, counters,
                      grad_weight, accumulate_weight, grad_bias, accumulate_bias);
}

// The same with tiles of 32 filters x 64 taps, 128 threads.
extern "C" __global__ void __launch_bounds__(128, GEMM_BLOCKS)
    conv_block_weight_few(Conv2dGeometry g, GemmSplit split,
                          const T *__restrict__ input,          // [N, C, H, W]
                          const T *__restrict__ grad_convolved, // [N, O, OH, OW]
                          T *partials,                          // as `gemm_split` has it
                          unsigned *counters,                   // as `gemm_split` has it
                          T *__restrict__ grad_weight,          // [O, C, KH, KW] or null
                          int accumulate_weight,
                          T *__restrict__ grad_bias,            // [O] or null
                          int accumulate_bias) {
  __shared__ GemmTileShared<32, ParametersProduct> shared;
  backward_parameters(shared, specialise(g), split, input, grad_convolved, partials, counters,
                      grad_weight, accumulate_weight, grad_bias, accumulate_bias);
}

template <int ROWS>
__device__ inline void
backward_input(GemmTileShared<ROWS, BackwardInputProduct> &shared, const Conv2dGeometry &g,
               const GemmSplit &split, const T *grad_convolved, const T *weight, T *partials,
               unsigned *counters, T *grad_input, int accumulate) {
  const unsigned m = g.in_channels, n = g.batch * g.in_pixels();
  unsigned row, col;
  if (gemm_split(BackwardInputProduct{g, grad_convolved, weight}, shared, split, blockIdx.x, m, n,
                 g.out_channels * g.taps(), row, col, partials, counters)) {
    gemm_tile_store(shared.tile, m, n, row, col, g.in_pixels(), (const T *)nullptr, grad_input,
                    accumulate);
  }
}

// grad_input as conv2d_backward_input in conv2d.cu has it.
//
// Block b of split.blocks() computes a slice of the sum for a tile of 64 channels x 64 input
// pixels, its thread 4 x 4 of them; the last block of a tile adds the slices in order
// (`gemm_split`). 2 * N * C * H * W * O * KH * KW FLOP; reads grad_convolved about KH * KW times
// per 64 channels, mostly from cache, and the weight once per 64 pixels; writes and reads each
// partial sum once.
extern "C" __global__ void __launch_bounds__(256, 2)
    conv_block_input(Conv2dGeometry g, GemmSplit split,
                     const T *__restrict__ grad_convolved, // [N, O, OH, OW]
                     const T *__restrict__ weight,         // [O, C, KH, KW]
                     T *partials,                          // as `gemm_split` has it
                     unsigned *counters,                   // as `gemm_split` has it
                     T *__restrict__ grad_input,           // [N, C, H, W]
                     int accumulate) {
  __shared__ GemmTileShared<64, BackwardInputProduct> shared;
  backward_input(shared, specialise(g), split, grad_convolved, weight, partials, counters,
                 grad_input, accumulate);
}

// The same with tiles of 32 channels x 64 pixels, 128 threads.
extern "C" __global__ void __launch_bounds__(128, GEMM_BLOCKS)
    conv_block_input_few(Conv2dGeometry g, GemmSplit split,
                         const T *__restrict__ grad_convolved, // [N, O, OH, OW]
                         const T *__restrict__ weight,         // [O, C, KH, KW]
                         T *partials,                          // as `gemm_split` has it
                         unsigned *counters,                   // as `gemm_split` has it
                         T *__restrict__ grad_input,           // [N, C, H, W]
                         int accumulate) {
  __shared__ GemmTileShared<32, BackwardInputProduct> shared;
  backward_input(shared, specialise(g), split, grad_convolved, weight, partials, counters,
                 grad_input, accumulate);
}
