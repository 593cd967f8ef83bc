// Other backgrounds behind hands.

#include "some_images.cuh"

#define STEP (T)(5.5 / 255.0)
#define MOST_PIXELS (1u << 14)
#define SLOPE T(0.1)
#define WAVE T(0.3)
#define WAVES T(16)

// `Backdrop` of src/ops/background, name by name.
struct Backdrop {
  bool shown;
  T grey, slope_x, slope_y, wave, waves_x, waves_y, phase;

  // At x, y from the middle, in parts of the width and height.
  __device__ T at(T x, T y) const {
    const T even = grey + T(2) * (slope_x * x + slope_y * y);
    const T waves = wave * sin(phase + waves_x * x + waves_y * y);
    return min(max(even + waves, T(0)), T(1));
  }
};

__device__ inline Backdrop draw_backdrop(const SomeImages &g, unsigned long long step) {
  const uint4 a = philox(g.seed, g.stream, step, 3 * blockIdx.x);
  const uint4 b = philox(g.seed, g.stream, step, 3 * blockIdx.x + 1);
  const uint4 c = philox(g.seed, g.stream, step, 3 * blockIdx.x + 2);
  Backdrop backdrop;
  backdrop.shown = g.has(a.x);
  backdrop.grey = share(a.y);
  backdrop.slope_x = SLOPE * both_sides(a.z);
  backdrop.slope_y = SLOPE * both_sides(a.w);
  backdrop.wave = WAVE * max(both_sides(b.x), T(0));
  backdrop.waves_x = WAVES * both_sides(b.y);
  backdrop.waves_y = WAVES * both_sides(b.z);
  backdrop.phase = T(3.141592653589793) * both_sides(c.x);
  return backdrop;
}

// Carries the background on along one row or column of `count` pixels from `first`, to and fro; how
// many it has got.
__device__ inline unsigned carry(const SomeImages &g, const T *image, unsigned char *found,
                                 unsigned first, unsigned stride, unsigned count) {
  const unsigned plane = g.height * g.width;
  unsigned got = 0;
  for (unsigned k = 1; k < 2 * count - 1; ++k) {
    const bool back = k >= count;
    const unsigned at = first + (back ? 2 * (count - 1) - k : k) * stride;
    const unsigned from = back ? at + stride : at - stride;
    if (found[at] || !found[from]) continue;
    bool alike = true;
    for (unsigned c = 0; c < g.channels; ++c) {
      alike = alike && abs(image[c * plane + from] - image[c * plane + at]) <= STEP;
    }
    if (alike) found[at] = 1, ++got;
  }
  return got;
}

// Each image with its background replaced, or as it is.
//
// Block n owns image n. In the search, thread t carries the background on along the rows t,
// t + THREADS, ..., then along as many columns, until none has got more: what is found does not
// depend on the order. Some five rounds for a hand, 4 comparisons a pixel in each, of values that
// are in the cache. Then thread t owns the pixels t, t + THREADS, ...; about 10 FLOP and a sine for
// one. Reads and writes each value once.
extern "C" __global__ void __launch_bounds__(THREADS)
    background(SomeImages g,
               const unsigned long long *__restrict__ step, // [1]
               const T *__restrict__ input,                 // [N, C, H, W]
               T *__restrict__ output) {                    // [N, C, H, W]
  __shared__ unsigned char found[MOST_PIXELS];
  const Backdrop backdrop = draw_backdrop(g, *step);
  const unsigned plane = g.height * g.width, count = g.channels * plane;
  const T *image = input + blockIdx.x * count;
  T *result = output + blockIdx.x * count;
  if (!backdrop.shown) {
    for (unsigned i = threadIdx.x; i < count; i += THREADS) result[i] = image[i];
    return;
  }
  for (unsigned i = threadIdx.x; i < plane; i += THREADS) found[i] = i == 0 || i == g.width - 1;
  __syncthreads();
  unsigned got;
  do {
    unsigned mine = 0;
    for (unsigned y = threadIdx.x; y < g.height; y += THREADS) {
      mine += carry(g, image, found, y * g.width, 1, g.width);
    }
    __syncthreads();
    for (unsigned x = threadIdx.x; x < g.width; x += THREADS) {
      mine += carry(g, image, found, x, g.width, g.height);
    }
    got = block_sum(mine); // and so all wait for the columns
  } while (got > 0);
  const T last_x = max((T)g.width - T(1), T(1)), last_y = max((T)g.height - T(1), T(1));
  const T middle_x = g.width > 1 ? T(0.5) : T(0), middle_y = g.height > 1 ? T(0.5) : T(0);
  for (unsigned i = threadIdx.x; i < count; i += THREADS) {
    const unsigned pixel = i % plane;
    const T x = (T)(pixel % g.width) / last_x - middle_x;
    const T y = (T)(pixel / g.width) / last_y - middle_y;
    result[i] = found[pixel] ? backdrop.at(x, y) : image[i];
  }
}
