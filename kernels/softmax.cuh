// A row of logits, shared by a warp: its largest, and the denominator of its softmax.

#pragma once

#include "common.cuh"

// A logit and its class.
struct Candidate {
  T logit;
  unsigned index;
};

// Whether b comes before a: NaN counts as the largest, and the first of equals wins. A total order,
// so lanes may be compared in any.
__device__ inline bool beats(const Candidate &b, const Candidate &a) {
  if (isnan(a.logit) != isnan(b.logit)) return isnan(b.logit);
  if (isnan(a.logit) || b.logit == a.logit) return b.index < a.index;
  return b.logit > a.logit;
}

// The first of the largest of logits [classes], in every lane; the whole warp must call.
__device__ inline Candidate largest_of_row(const T *logits, unsigned classes) {
  // The last of all in the order of `beats`: lanes without a class start with it.
  Candidate best = {-INFINITE, 0xffffffffu};
  for (unsigned i = threadIdx.x % 32; i < classes; i += 32) {
    const Candidate other = {logits[i], i};
    if (beats(other, best)) best = other;
  }
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    const Candidate other = {__shfl_xor_sync(0xffffffffu, best.logit, distance),
                             __shfl_xor_sync(0xffffffffu, best.index, distance)};
    if (beats(other, best)) best = other;
  }
  return best;
}

// The sum of exp(logits - maximum), in every lane; the whole warp must call. Shifted by the maximum,
// no exponential overflows.
__device__ inline T sum_of_exponentials(const T *logits, unsigned classes, T maximum) {
  T sum = 0;
  for (unsigned i = threadIdx.x % 32; i < classes; i += 32) sum += exp(logits[i] - maximum);
  return warp_sum(sum);
}
