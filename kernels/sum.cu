// Sums over everything but the channels, and the gradient that spreads a value over its channel.
// The bias of a convolution and of a linear layer, `add`'s second operand and full sums use them.

#include "common.cuh"

// sums[c] = scale * sum over o, i of x[o, c, i].
//
// A channel's outer * inner elements are cut into chunks of `tiles` tiles of REDUCE_TILE. Block
// (channel c, chunk h), numbered c * chunks + h, adds one chunk: neighbouring threads read
// neighbouring elements. The last block of a channel adds its chunks (`sum_of_blocks`). Reads x once.
extern "C" __global__ void __launch_bounds__(THREADS)
    channel_sum(ChannelGeometry g, unsigned chunks, unsigned tiles, T scale,
                const T *__restrict__ x, // [outer, channels, inner]
                double *partials,        // [channels, chunks]
                unsigned *counters,      // [channels]
                T *__restrict__ sums,    // [channels]
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
  if (sum_of_blocks(total, partials + channel * chunks, chunk, chunks, counters + channel)) {
    put(sums + channel, scale * (T)total, accumulate);
  }
}

// The sum of column `column` of x [rows, columns], in the threads with threadIdx.y 0. The block is
// COLUMN_THREADS columns wide and ROW_THREADS high: thread (x, y) adds rows y, y + ROW_THREADS, ...
// of the rows begin .. end, in tiles of REDUCE_ITEMS rows in X, then the y are added in order.
// Reads are coalesced along a row.
#define COLUMN_THREADS 32u
#define ROW_THREADS 8u

template <class X>
__device__ inline double column_sum(const X *x, unsigned columns, unsigned column, unsigned begin,
                                    unsigned end) {
  __shared__ double sums[ROW_THREADS][COLUMN_THREADS];
  double total = 0;
  if (column < columns) {
    const X *next = x + (size_t)(begin + threadIdx.y) * columns + column;
    const size_t step = (size_t)ROW_THREADS * columns;
    for (unsigned row = begin + threadIdx.y; row < end; row += ROW_THREADS * REDUCE_ITEMS) {
      X sum = 0;
#pragma unroll
      for (unsigned item = 0; item < REDUCE_ITEMS; ++item) {
        if (row + item * ROW_THREADS < end) sum += *next;
        next += step;
      }
      total += sum;
    }
  }
  sums[threadIdx.y][threadIdx.x] = total;
  __syncthreads();
  if (threadIdx.y > 0) return 0;
  total = 0;
#pragma unroll
  for (unsigned y = 0; y < ROW_THREADS; ++y) total += sums[y][threadIdx.x];
  return total;
}

// The same for inner == 1, where a channel is a column of x [outer, channels] and neighbouring
// elements belong to neighbouring channels.
//
// Block (columns b, chunk h), numbered b * chunks + h, adds `rows` rows of 32 columns
// (`column_sum`); the last block of these columns adds their chunks in the same way. Reads x once.
extern "C" __global__ void __launch_bounds__(256)
    channel_sum_columns(ChannelGeometry g, unsigned chunks, unsigned rows, T scale,
                        const T *__restrict__ x, // [outer, channels]
                        double *partials,        // [chunks, channels]
                        unsigned *counters,      // [ceil(channels / 32)]
                        T *__restrict__ sums,    // [channels]
                        int accumulate) {
  const unsigned columns = blockIdx.x / chunks, chunk = blockIdx.x % chunks;
  const unsigned channel = columns * COLUMN_THREADS + threadIdx.x;
  const bool is_mine = threadIdx.y == 0 && channel < g.channels;
  const unsigned begin = chunk * rows, end = min(begin + rows, g.outer);
  double total = column_sum(x, g.channels, channel, begin, end);
  if (chunks > 1) {
    if (is_mine) partials[chunk * g.channels + channel] = total;
    if (!is_last_block(counters + columns, chunks)) return;
    total = column_sum(partials, g.channels, channel, 0, chunks);
  }
  if (is_mine) put(sums + channel, scale * (T)total, accumulate);
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
