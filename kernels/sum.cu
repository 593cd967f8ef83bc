// Sums over everything but the channels, and the gradient that spreads a value over its channel.
// The bias of a convolution and of a linear layer, `add`'s second operand and full sums use them.

#include "common.cuh"

// sums[c] = scale * sum over o, i of x[o, c, i].
//
// A channel's outer * inner elements are cut into chunks of `tiles` tiles of REDUCE_TILE. Block
// (channel c, chunk h), numbered c * chunks + h, adds one chunk: neighbouring threads read
// neighbouring elements. A single chunk is the result; of several, channel_sum_reduce adds the
// partial sums in order. Reads x once.
extern "C" __global__ void __launch_bounds__(THREADS)
    channel_sum(ChannelGeometry g, unsigned chunks, unsigned tiles, T scale,
                const T *__restrict__ x,         // [outer, channels, inner]
                double *__restrict__ partials,   // [channels, chunks]
                T *__restrict__ sums,            // [channels]
                int accumulate) {
  const unsigned channel = blockIdx.x / chunks, chunk = blockIdx.x % chunks;
  const unsigned count = g.outer * g.inner;
  const unsigned begin = chunk * tiles * REDUCE_TILE;
  const unsigned end = min(begin + tiles * REDUCE_TILE, count);
  double total = 0;
  ChannelWalk walk(g, begin + threadIdx.x);
  for (unsigned tile = begin + threadIdx.x; tile < end; tile += REDUCE_TILE) {
    T sum = 0;
#pragma unroll
    for (unsigned item = 0; item < REDUCE_ITEMS; ++item) {
      if (tile + item * THREADS < end) sum += x[walk.index(g, channel)];
      walk.step(g);
    }
    total += sum;
  }
  total = block_sum(total);
  if (threadIdx.x > 0) return;
  if (chunks == 1) {
    put(sums + channel, scale * (T)total, accumulate);
  } else {
    partials[blockIdx.x] = total;
  }
}

// The same for inner == 1, where a channel is a column of x [outer, channels] and neighbouring
// elements belong to neighbouring channels.
//
// Block (columns b, chunk h), numbered b * chunks + h, adds `rows` rows of 32 columns
// (`column_sum`). Reads x once.
extern "C" __global__ void __launch_bounds__(256)
    channel_sum_columns(ChannelGeometry g, unsigned chunks, unsigned rows, T scale,
                        const T *__restrict__ x,       // [outer, channels]
                        double *__restrict__ partials, // [channels, chunks]
                        T *__restrict__ sums,          // [channels]
                        int accumulate) {
  const unsigned channel = blockIdx.x / chunks * COLUMN_THREADS + threadIdx.x;
  const unsigned chunk = blockIdx.x % chunks;
  const unsigned begin = chunk * rows, end = min(begin + rows, g.outer);
  const double total = column_sum(x, g.channels, channel, begin, end);
  if (threadIdx.y > 0 || channel >= g.channels) return;
  if (chunks == 1) {
    put(sums + channel, scale * (T)total, accumulate);
  } else {
    partials[channel * chunks + chunk] = total;
  }
}

// sums[c] = scale * sum over h of partials[c, h].
//
// A warp owns one channel: lane l adds partial sums l, l + 32, ..., then the lanes are added.
extern "C" __global__ void channel_sum_reduce(unsigned channels, unsigned chunks, T scale,
                                              const double *__restrict__ partials, // [channels, chunks]
                                              T *__restrict__ sums,                // [channels]
                                              int accumulate) {
  const unsigned channel = (blockIdx.x * blockDim.x + threadIdx.x) / 32;
  if (channel >= channels) return;
  double total = 0;
  for (unsigned chunk = threadIdx.x % 32; chunk < chunks; chunk += 32) {
    total += partials[channel * chunks + chunk];
  }
  total = warp_sum(total);
  if (threadIdx.x % 32 == 0) put(sums + channel, scale * (T)total, accumulate);
}

// x[o, c, i] = scale * values[c].
//
// A thread owns WIDTH neighbouring elements. Writes x once, and reads it to accumulate.
extern "C" __global__ void channel_expand(ChannelGeometry g, T scale,
                                          const T *__restrict__ values, // [channels]
                                          T *__restrict__ x,            // [outer, channels, inner]
                                          int accumulate) {
  const unsigned i = first_of_pack();
  const unsigned n = g.outer * g.channels * g.inner;
  if (i >= n) return;
  ChannelOf at(g, i);
  T value = scale * values[at.channel];
  Pack pack;
#pragma unroll
  for (unsigned j = 0; j < WIDTH; ++j) {
    pack.v[j] = value;
    if (at.next(g)) value = scale * values[at.channel];
  }
  store_pack(x, i, n, pack, accumulate);
}
