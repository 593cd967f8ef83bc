// Random changes of images: where each pixel comes from, and how bright it becomes.

#include "common.cuh"

// src/ops/augment/mod.rs.
struct AugmentGeometry {
  unsigned long long seed;
  double rotation;
  double shift;
  double zoom;
  double zoom_range;
  double brightness;
  double contrast;
  double light;
  double shear;
  double aspect;
  unsigned flip;
  unsigned stream;
  unsigned batch;
  unsigned channels;
  unsigned height;
  unsigned width;
};

__device__ inline T cut(T x, T least, T most) { return min(max(x, least), most); }

// How one image is changed: `Draw` and `image` of src/ops/augment, name by name.
struct Change {
  T centre_x, centre_y, sin, cos, zoom, mirror, slant, wide, shift_x, shift_y;
  T brightness, slope_x, slope_y, contrast;

  // What output pixel (row, column) of one channel becomes, before the contrast.
  __device__ T value(const AugmentGeometry &g, const T *channel, unsigned row,
                     unsigned column) const {
    const T x = (T)column - centre_x, y = (T)row - centre_y;
    const T from_x = (mirror * x + slant * y) * wide, from_y = y / wide;
    const T at_x = cut((cos * from_x - sin * from_y) / zoom + shift_x, T(0), (T)(g.width - 1));
    const T at_y = cut((sin * from_x + cos * from_y) / zoom + shift_y, T(0), (T)(g.height - 1));
    const unsigned left = (unsigned)at_x, top = (unsigned)at_y;
    const unsigned right = min(left + 1, g.width - 1), low = min(top + 1, g.height - 1);
    const T right_share = at_x - (T)left, low_share = at_y - (T)top;
    const T *high_row = channel + top * g.width, *low_row = channel + low * g.width;
    const T above = high_row[left] + (high_row[right] - high_row[left]) * right_share;
    const T below = low_row[left] + (low_row[right] - low_row[left]) * right_share;
    const T lit = T(1) + slope_x * x + slope_y * y;
    return cut((above + (below - above) * low_share) * brightness * lit, T(0), T(1));
  }
};

__device__ inline Change draw_change(const AugmentGeometry &g, unsigned image,
                                     unsigned long long step) {
  const uint4 a = philox(g.seed, g.stream, step, 3 * image);
  const uint4 b = philox(g.seed, g.stream, step, 3 * image + 1);
  const uint4 c = philox(g.seed, g.stream, step, 3 * image + 2);
  Change change;
  change.centre_x = ((T)g.width - T(1)) * T(0.5);
  change.centre_y = ((T)g.height - T(1)) * T(0.5);
  const T angle = (T)g.rotation * both_sides(a.x);
  change.sin = sin(angle);
  change.cos = cos(angle);
  change.zoom = (T)g.zoom + (T)g.zoom_range * share(a.w);
  change.mirror = b.x < g.flip ? T(-1) : T(1);
  change.slant = tan((T)g.shear * both_sides(c.y));
  change.wide = T(1) + (T)g.aspect * both_sides(c.z);
  change.shift_x = change.centre_x + (T)g.shift * both_sides(a.y) * (T)g.width;
  change.shift_y = change.centre_y + (T)g.shift * both_sides(a.z) * (T)g.height;
  change.brightness = T(1) + (T)g.brightness * both_sides(b.y);
  const T direction = T(6.283185307179586) * share(c.x), light = (T)g.light * share(b.w);
  change.slope_x = light * cos(direction) / max(change.centre_x, T(1));
  change.slope_y = light * sin(direction) / max(change.centre_y, T(1));
  change.contrast = T(1) + (T)g.contrast * both_sides(b.z);
  return change;
}

// Each image rotated, shifted, zoomed, slanted, stretched and mirrored (bilinear, edges repeated),
// then its light and contrast changed, by random amounts of its own.
//
// Block n owns image n, its thread t the pixels t, t + THREADS, ...: it reads back only what it
// wrote itself. About 60 FLOP a pixel; reads the image once, mostly, and moves the output three
// times.
extern "C" __global__ void __launch_bounds__(THREADS)
    augment(AugmentGeometry g,
            const unsigned long long *__restrict__ step, // [1]
            const T *__restrict__ input,                 // [N, C, H, W]
            T *__restrict__ output) {                    // [N, C, H, W]
  __shared__ Change change;
  if (threadIdx.x == 0) change = draw_change(g, blockIdx.x, *step);
  __syncthreads();
  const unsigned plane = g.height * g.width, count = g.channels * plane;
  const T *image = input + blockIdx.x * count;
  T *result = output + blockIdx.x * count;
  T sum = 0;
  for (unsigned i = threadIdx.x; i < count; i += THREADS) {
    const unsigned pixel = i % plane;
    const T value = change.value(g, image + (i - pixel), pixel / g.width, pixel % g.width);
    result[i] = value;
    sum += value;
  }
  const T mean = (T)(block_sum((double)sum) / count);
  for (unsigned i = threadIdx.x; i < count; i += THREADS) {
    result[i] = cut(mean + (result[i] - mean) * change.contrast, T(0), T(1));
  }
}
