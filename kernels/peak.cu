// How fast a GPU moves memory, multiplies and starts kernels: the peaks that the benchmarks hold all
// other kernels against (src/bench/cuda.rs, which also checks what these compute).

#include "common.cuh"

// Packs that one thread copies; all are on their way before the first is stored.
#define COPY_PACKS 4u
// Independent sums of one thread: more than a multiply-add takes cycles, so that none waits.
#define FMA_CHAINS 8u

// y = x.
//
// Block x owns THREADS * COPY_PACKS neighbouring packs of 16 bytes, its thread every THREADS-th of
// them. No FLOP; reads and writes n elements.
extern "C" __global__ void __launch_bounds__(THREADS)
    peak_copy(unsigned n, const T *__restrict__ x, // [n]
              T *__restrict__ y) {                 // [n]
  const unsigned first = WIDTH * (blockIdx.x * (THREADS * COPY_PACKS) + threadIdx.x);
  Pack packs[COPY_PACKS];
#pragma unroll
  for (unsigned p = 0; p < COPY_PACKS; ++p) {
    packs[p] = load_pack(x, first + p * THREADS * WIDTH, n);
  }
#pragma unroll
  for (unsigned p = 0; p < COPY_PACKS; ++p) {
    store_pack(y, first + p * THREADS * WIDTH, n, packs[p]);
  }
}

// sums[t] = the sum over c of chain c of thread t after so many rounds x = x / 2 + (c + 1) / 2, from
// x = c + 1 + t % 32: FMA_CHAINS * (FMA_CHAINS + 1) / 2 + FMA_CHAINS * (t % 32) / 2^rounds.
//
// A thread owns one sum. 2 * FMA_CHAINS * rounds FLOP a thread; writes one element each.
extern "C" __global__ void __launch_bounds__(THREADS) peak_fma(unsigned rounds,
                                                               T *__restrict__ sums) { // [threads]
  const unsigned thread = blockIdx.x * THREADS + threadIdx.x;
  T x[FMA_CHAINS];
#pragma unroll
  for (unsigned c = 0; c < FMA_CHAINS; ++c) x[c] = T(c + 1) + T(thread % 32);
#pragma unroll 16
  for (unsigned round = 0; round < rounds; ++round) {
#pragma unroll
    for (unsigned c = 0; c < FMA_CHAINS; ++c) x[c] = x[c] * T(0.5) + T(0.5) * T(c + 1);
  }
  T sum = 0;
#pragma unroll
  for (unsigned c = 0; c < FMA_CHAINS; ++c) sum += x[c];
  sums[thread] = sum;
}

// Nothing: what a launch costs.
//
// No thread owns anything.
extern "C" __global__ void peak_empty() {}
