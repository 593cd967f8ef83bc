// Batch normalisation over [N, C, H, W], per channel: ChannelGeometry {N, C, H * W}.
//
// A channel's M = N * H * W elements are cut into chunks as in sum.cu: `tiles` tiles of REDUCE_TILE
// a chunk, block (channel c, chunk h) numbered c * chunks + h. The last block of a channel combines
// what all of them found, in order (`sum_of_blocks`).

#include "batch_norm.cuh"

// What is known of a set of numbers.
struct Moments {
  double count;
  double mean;
  double squares; // sum of (x - mean)^2

  // The moments of both sets together: Chan, Golub, LeVeque, "Updating formulae and a pairwise
  // algorithm for computing sample variances", 1979. Nothing cancels, unlike in E[x^2] - mean^2.
  __device__ Moments &operator+=(const Moments &other) {
    if (other.count == 0) return *this;
    if (count == 0) return *this = other;
    const double all = count + other.count, distance = other.mean - mean;
    const double share = other.count / all;
    mean += distance * share;
    squares += other.squares + distance * distance * count * share;
    count = all;
    return *this;
  }
};

__device__ inline Moments shuffle(const Moments &moments, int distance) {
  return {shuffle(moments.count, distance), shuffle(moments.mean, distance),
          shuffle(moments.squares, distance)};
}

// Writes one channel's statistics, and moves the running ones towards them. The batch is normalised
// with the biased variance.
__device__ inline void finish_statistics(const Moments &all, T eps, T momentum, unsigned channel,
                                         T *mean, T *invstd, T *running_mean, T *running_var) {
  const T channel_mean = all.count > 0 ? (T)all.mean : NOT_A_NUMBER;
  const T variance = (T)(all.squares / all.count);
  mean[channel] = channel_mean;
  invstd[channel] = inverse_std(variance, eps);
  if (running_mean) {
    track(running_mean + channel, running_var + channel, momentum, channel_mean, variance,
          all.count);
  }
}

// mean and invstd = 1 / sqrt(biased variance + eps) of each channel, and the running statistics'
// step.
//
// A thread keeps its 16 elements of a tile in registers, so two passes over them (the mean, then
// the squares around it) read the input once. Tiles and chunks are merged in double. Reads x once,
// 4 FLOP an element.
extern "C" __global__ void __launch_bounds__(THREADS)
    batch_norm2d_statistics(ChannelGeometry g, unsigned chunks, unsigned tiles, T eps, T momentum,
                            const T *__restrict__ input,   // [N, C, H, W]
                            Moments *partials,             // [C, chunks]
                            unsigned *counters,            // [C]
                            T *__restrict__ mean,          // [C]
                            T *__restrict__ invstd,        // [C]
                            T *__restrict__ running_mean,  // [C] or null
                            T *__restrict__ running_var) { // [C] or null
  const unsigned channel = blockIdx.x / chunks, chunk = blockIdx.x % chunks;
  const unsigned count = g.outer * g.inner;
  const unsigned begin = chunk * tiles * REDUCE_TILE;
  const unsigned end = min(begin + tiles * REDUCE_TILE, count);
  Moments all = {0, 0, 0};
  ChannelWalk walk(g, begin + threadIdx.x);
  for (unsigned tile = begin; tile < end; tile += REDUCE_TILE) {
    T x[REDUCE_ITEMS], sum = 0;
#pragma unroll
    for (unsigned item = 0; item < REDUCE_ITEMS; ++item) {
      const bool inside = tile + item * THREADS + threadIdx.x < end;
      x[item] = inside ? input[walk.index(g, channel)] : T(0);
      sum += x[item];
      walk.step(g);
    }
    const double size = min(REDUCE_TILE, end - tile);
    // Rounded to T, so that the differences below are exact to T. What the rounding took from the
    // mean comes back as the sum of differences, which would else be 0.
    const T around = (T)(block_sum((double)sum) / size);
    T differences = 0, squares = 0;
#pragma unroll
    for (unsigned item = 0; item < REDUCE_ITEMS; ++item) {
      const bool inside = tile + item * THREADS + threadIdx.x < end;
      const T difference = inside ? x[item] - around : T(0);
      differences += difference;
      squares += difference * difference;
    }
    const double left = block_sum((double)differences), total = block_sum((double)squares);
    all += {size, around + left / size, total - left * left / size};
  }
  if (sum_of_blocks(all, partials + channel * chunks, chunk, chunks, counters + channel)) {
    finish_statistics(all, eps, momentum, channel, mean, invstd, running_mean, running_var);
  }
}

// invstd = 1 / sqrt(var + eps). A thread owns one channel.
extern "C" __global__ void batch_norm2d_invstd(unsigned channels, T eps,
                                               const T *__restrict__ var, // [C]
                                               T *__restrict__ invstd) {  // [C]
  const unsigned channel = blockIdx.x * blockDim.x + threadIdx.x;
  if (channel < channels) invstd[channel] = inverse_std(var[channel], eps);
}

// output = (input - mean) * invstd * weight + bias + residual, and 0 where that is below, with `relu`.
//
// A thread owns WIDTH neighbouring elements, mostly of one channel. Moves 2 N * C * H * W elements, 3
// with a residual, 3 FLOP each.
extern "C" __global__ void
    batch_norm2d_normalize(ChannelGeometry g, int relu,
                           const T *__restrict__ input,    // [N, C, H, W]
                           const T *__restrict__ mean,     // [C]
                           const T *__restrict__ invstd,   // [C]
                           const T *__restrict__ weight,   // [C] or null
                           const T *__restrict__ bias,     // [C] or null
                           const T *__restrict__ residual, // [N, C, H, W] or null
                           T *__restrict__ output) {       // [N, C, H, W]
  const unsigned i = first_of_pack();
  const unsigned n = g.outer * g.channels * g.inner;
  if (i >= n) return;
  Pack pack = load_pack(input, i, n), more;
  if (residual) more = load_pack(residual, i, n);
  ChannelOf at(g, i);
  Normalisation channel(mean, invstd, weight, at.channel);
  T shift = bias ? bias[at.channel] : T(0);
#pragma unroll
  for (unsigned j = 0; j < WIDTH; ++j) {
    pack.v[j] = (pack.v[j] - channel.mean) * channel.scale + shift;
    if (residual) pack.v[j] += more.v[j];
    if (relu && pack.v[j] <= 0) pack.v[j] = 0;
    if (at.next(g)) {
      channel = Normalisation(mean, invstd, weight, at.channel);
      shift = bias ? bias[at.channel] : T(0);
    }
  }
  store_pack(output, i, n, pack);
}

// With xhat = (input - mean) * invstd: grad_bias = sum of grad_output, grad_weight = sum of
// grad_output * xhat, and both as `sums` for batch_norm2d_backward_input. Where output is given it was
// rectified: grad_output counts as 0 where output <= 0.
//
// Reads input, grad_output and output once, 4 FLOP an element.
extern "C" __global__ void __launch_bounds__(THREADS)
    batch_norm2d_backward_sums(ChannelGeometry g, unsigned chunks, unsigned tiles,
                               const T *__restrict__ input,       // [N, C, H, W]
                               const T *__restrict__ mean,        // [C]
                               const T *__restrict__ invstd,      // [C]
                               const T *__restrict__ output,      // [N, C, H, W] or null
                               const T *__restrict__ grad_output, // [N, C, H, W]
                               Sums *partials,                    // [C, chunks]
                               unsigned *counters,                // [C]
                               T *__restrict__ sums,              // [C, 2]
                               T *__restrict__ grad_weight,       // [C] or null
                               int accumulate_weight,
                               T *__restrict__ grad_bias,         // [C] or null
                               int accumulate_bias) {
  const unsigned channel = blockIdx.x / chunks, chunk = blockIdx.x % chunks;
  const unsigned count = g.outer * g.inner;
  const unsigned begin = chunk * tiles * REDUCE_TILE;
  const unsigned end = min(begin + tiles * REDUCE_TILE, count);
  const T around = mean[channel];
  Sums all = {0, 0};
  ChannelWalk walk(g, begin + threadIdx.x);
  for (unsigned tile = begin + threadIdx.x; tile < end; tile += REDUCE_TILE) {
    T gradient = 0, product = 0;
#pragma unroll
    for (unsigned item = 0; item < REDUCE_ITEMS; ++item) {
      if (tile + item * THREADS < end) {
        const unsigned i = walk.index(g, channel);
        const T dy = output && output[i] <= 0 ? T(0) : grad_output[i];
        gradient += dy;
        product += dy * (input[i] - around);
      }
      walk.step(g);
    }
    all.gradient += gradient;
    all.product += product;
  }
  all = block_sum(all);
  if (sum_of_blocks(all, partials + channel * chunks, chunk, chunks, counters + channel)) {
    finish_sums(all, channel, invstd, sums, grad_weight, accumulate_weight, grad_bias,
                accumulate_bias);
  }
}

// grad_input = weight * invstd * (grad_output - grad_bias / M - xhat * grad_weight / M); without
// the last two terms when the statistics were not the batch's. grad_residual = grad_output. Where output
// is given, grad_output counts as 0 where output <= 0.
//
// A thread owns WIDTH neighbouring elements, mostly of one channel. Moves 3 N * C * H * W elements, one
// more each for output, for grad_residual and to accumulate.
extern "C" __global__ void batch_norm2d_backward_input(
    ChannelGeometry g, int batch_statistics,
    const T *__restrict__ input,       // [N, C, H, W]
    const T *__restrict__ mean,        // [C]
    const T *__restrict__ invstd,      // [C]
    const T *__restrict__ weight,      // [C] or null
    const T *__restrict__ output,      // [N, C, H, W] or null
    const T *__restrict__ grad_output, // [N, C, H, W]
    const T *__restrict__ sums,        // [C, 2]; not read unless batch_statistics
    T *__restrict__ grad_input,        // [N, C, H, W] or null
    int accumulate,
    T *__restrict__ grad_residual,     // [N, C, H, W] or null
    int accumulate_residual) {
  const unsigned i = first_of_pack();
  const unsigned n = g.outer * g.channels * g.inner;
  if (i >= n) return;
  Pack gradient = load_pack(grad_output, i, n);
  if (output) {
    const Pack y = load_pack(output, i, n);
#pragma unroll
    for (unsigned j = 0; j < WIDTH; ++j) {
      if (y.v[j] <= 0) gradient.v[j] = 0;
    }
  }
  if (grad_residual) store_pack(grad_residual, i, n, gradient, accumulate_residual);
  if (!grad_input) return;
  const T count = (T)(g.outer * g.inner);
  const Pack x = load_pack(input, i, n);
  // What the mean and the variance pass on, the latter by (input - mean).
  T from_mean = 0, from_var = 0;
  auto load_sums = [&](unsigned channel) {
    if (!batch_statistics) return;
    from_mean = sums[2 * channel] / count;
    from_var = sums[2 * channel + 1] / count * invstd[channel];
  };
  ChannelOf at(g, i);
  Normalisation channel(mean, invstd, weight, at.channel);
  load_sums(at.channel);
#pragma unroll
  for (unsigned j = 0; j < WIDTH; ++j) {
    const T centred = x.v[j] - channel.mean;
    gradient.v[j] = channel.scale * (gradient.v[j] - from_mean - centred * from_var);
    if (at.next(g)) {
      channel = Normalisation(mean, invstd, weight, at.channel);
      load_sums(at.channel);
    }
  }
  store_pack(grad_input, i, n, gradient, accumulate);
}
