// Random convolution: each image through a filter of its own, its light kept.

#include "some_images.cuh"

#define MOST_SIZE 5u
// Philox blocks of an image: one says whether and how, seven hold the weights.
#define BLOCKS (1u + (MOST_SIZE * MOST_SIZE + 3u) / 4u)
// A standard deviation of what is flat.
#define FLAT 1e-3

struct Filter {
  unsigned size; // rows and columns; 0 leaves the image as it is
  T kept;
  T weights[MOST_SIZE * MOST_SIZE];
};

// The part of the filter that its thread owns: thread t, t < MOST_SIZE^2, draws weight t.
__device__ inline void draw_filter(const SomeImages &g, unsigned long long step,
                                   Filter &filter) {
  const unsigned first = BLOCKS * blockIdx.x;
  if (threadIdx.x < MOST_SIZE * MOST_SIZE) {
    const uint4 random = philox(g.seed, g.stream, step, first + 1 + threadIdx.x / 4);
    // Chosen, not looked up: an array would lie in local memory.
    const unsigned place = threadIdx.x % 4;
    const unsigned word = place < 2 ? (place == 0 ? random.x : random.y)
                                    : (place == 2 ? random.z : random.w);
    filter.weights[threadIdx.x] = both_sides(word);
  }
  if (threadIdx.x == 0) {
    const uint4 random = philox(g.seed, g.stream, step, first);
    // 1, 3 (twice as often) or 5.
    const unsigned size = 1 + 2 * ((random.y % 4 + 1) / 2);
    filter.size = g.has(random.x) ? size : 0;
    filter.kept = share(random.z);
  }
}

__device__ inline T convolved(const SomeImages &g, const Filter &filter, const T *channel,
                              int row, int column) {
  const int size = (int)filter.size, width = (int)g.width, height = (int)g.height;
  T sum = 0;
  for (int tap = 0; tap < size * size; ++tap) {
    const int y = row + tap / size - size / 2, x = column + tap % size - size / 2;
    const int at = min(max(y, 0), height - 1) * width + min(max(x, 0), width - 1);
    sum += filter.weights[tap] * channel[at];
  }
  return sum;
}

// The standard deviation of `count` values with these sums.
__device__ inline double deviation(double sum, double squares, unsigned count) {
  const double mean = sum / count;
  return sqrt(max(squares / count - mean * mean, 0.0));
}

// Each image through a random filter, or as it is.
//
// Block n owns image n, its thread t the pixels t, t + THREADS, ...: it reads back only what it
// wrote itself. A filter of k rows costs 2 k^2 FLOP a pixel; reads the image k^2 times, mostly from
// the cache, and moves the output three times.
extern "C" __global__ void __launch_bounds__(THREADS)
    random_filter(SomeImages g,
                  const unsigned long long *__restrict__ step, // [1]
                  const T *__restrict__ input,                 // [N, C, H, W]
                  T *__restrict__ output) {                    // [N, C, H, W]
  __shared__ Filter filter;
  draw_filter(g, *step, filter);
  __syncthreads();
  const unsigned plane = g.height * g.width, count = g.channels * plane;
  const T *image = input + blockIdx.x * count;
  T *result = output + blockIdx.x * count;
  if (filter.size == 0) {
    for (unsigned i = threadIdx.x; i < count; i += THREADS) result[i] = image[i];
    return;
  }
  double sum = 0, squares = 0, its_sum = 0, its_squares = 0;
  for (unsigned i = threadIdx.x; i < count; i += THREADS) {
    const unsigned pixel = i % plane;
    const T *channel = image + (i - pixel);
    const T y = convolved(g, filter, channel, (int)(pixel / g.width), (int)(pixel % g.width));
    const double x = (double)image[i], its = (double)y;
    result[i] = y;
    sum += x;
    squares += x * x;
    its_sum += its;
    its_squares += its * its;
  }
  sum = block_sum(sum);
  squares = block_sum(squares);
  its_sum = block_sum(its_sum);
  its_squares = block_sum(its_squares);
  const double its_deviation = deviation(its_sum, its_squares, count);
  const double to_own = its_deviation > FLAT ? deviation(sum, squares, count) / its_deviation : 0.0;
  const T rest = T(1) - filter.kept;
  const T gain = rest * (T)to_own, offset = rest * (T)(sum / count - its_sum / count * to_own);
  for (unsigned i = threadIdx.x; i < count; i += THREADS) {
    result[i] = filter.kept * image[i] + gain * result[i] + offset;
  }
}
