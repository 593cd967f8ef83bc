// Gradients kept within bounds: by the norm of all of them, and each by itself.

#include "common.cuh"

// The largest of some numbers, as a sum that `sum_of_blocks` takes: NaN is larger than all.
struct Largest {
  double value;

  __device__ Largest &operator+=(const Largest &other) {
    if (other.value > value || isnan(other.value)) value = other.value;
    return *this;
  }
};

__device__ inline Largest shuffle(const Largest &largest, int distance) {
  return {shuffle(largest.value, distance)};
}

// |x|^p, p not infinite.
__device__ inline T power(T x, double p) {
  if (p == 2) return x * x;
  return p == 1 ? fabs(x) : pow(fabs(x), (T)p);
}

// total = the sum of |x|^p, or the largest |x| where p is infinite; or with what is there.
//
// Elements are cut into chunks of `tiles` tiles of REDUCE_TILE, as those of a channel in sum.cu. Block h
// adds one chunk, a thread REDUCE_ITEMS of each tile in T, then in double; the last block adds the
// chunks (`sum_of_blocks`). Reads x once; 2 FLOP an element.
extern "C" __global__ void __launch_bounds__(THREADS)
    grad_power(unsigned n, unsigned tiles, double p,
               const T *__restrict__ x, // [n]
               double *partials,        // [chunks]
               unsigned *counter,       // [1]
               double *total,           // [1]
               int accumulate) {
  const bool infinite = isinf(p);
  const unsigned begin = blockIdx.x * tiles * REDUCE_TILE, end = min(begin + tiles * REDUCE_TILE, n);
  double sum = 0;
  Largest largest = {0};
  for (unsigned tile = begin + threadIdx.x; tile < end; tile += REDUCE_TILE) {
    T few = 0;
#pragma unroll
    for (unsigned item = 0; item < REDUCE_ITEMS; ++item) {
      const unsigned i = tile + item * THREADS;
      if (i >= end) continue;
      if (infinite) largest += Largest{(double)fabs(x[i])};
      else few += power(x[i], p);
    }
    sum += few;
  }
  if (infinite) {
    largest = block_sum(largest);
    if (sum_of_blocks(largest, (Largest *)partials, blockIdx.x, gridDim.x, counter)) {
      if (accumulate) largest += Largest{*total};
      *total = largest.value;
    }
  } else {
    sum = block_sum(sum);
    if (sum_of_blocks(sum, partials, blockIdx.x, gridDim.x, counter)) {
      *total = accumulate ? *total + sum : sum;
    }
  }
}

// norm = total^(1 / p), or total where p is infinite, and x *= min(max_norm / (norm + 1e-6), 1), NaN
// where the norm is.
//
// A thread owns WIDTH neighbouring elements, and takes the factor by itself. Moves 2 n elements.
extern "C" __global__ void grad_scale(unsigned n, double p, double max_norm,
                                      const double *__restrict__ total, // [1]
                                      T *__restrict__ x,                // [n]
                                      T *__restrict__ norm) {           // [1] or null
  __shared__ double shared_norm;
  if (threadIdx.x == 0) {
    shared_norm = isinf(p) ? *total : p == 2 ? sqrt(*total) : p == 1 ? *total : pow(*total, 1 / p);
    if (blockIdx.x == 0 && norm) *norm = (T)shared_norm;
  }
  __syncthreads();
  const double share = max_norm / (shared_norm + 1e-6);
  // Not min(): a NaN must not vanish.
  const T factor = share > 1 ? T(1) : (T)share;
  const unsigned i = first_of_pack();
  if (i >= n) return;
  Pack pack = load_pack(x, i, n);
#pragma unroll
  for (unsigned j = 0; j < WIDTH; ++j) pack.v[j] *= factor;
  store_pack(x, i, n, pack);
}

// x = x, or the nearest of -most and most; NaN stays.
//
// A thread owns WIDTH neighbouring elements. Moves 2 n elements.
extern "C" __global__ void grad_clamp(unsigned n, T most, T *__restrict__ x) { // [n]
  const unsigned i = first_of_pack();
  if (i >= n) return;
  Pack pack = load_pack(x, i, n);
#pragma unroll
  for (unsigned j = 0; j < WIDTH; ++j) {
    const T value = pack.v[j];
    pack.v[j] = value > most ? most : value < -most ? -most : value;
  }
  store_pack(x, i, n, pack);
}
