// A step from one tensor towards another, in place.

#include "common.cuh"

// x += weight (end - x).
//
// A thread owns WIDTH neighbouring elements. 3 n FLOP; moves 3 n elements.
extern "C" __global__ void lerp(unsigned n, T weight,
                                const T *__restrict__ end, // [n]
                                T *__restrict__ x) {       // [n]
  const unsigned i = first_of_pack();
  if (i >= n) return;
  const Pack target = load_pack(end, i, n);
  Pack pack = load_pack(x, i, n);
#pragma unroll
  for (unsigned j = 0; j < WIDTH; ++j) pack.v[j] += weight * (target.v[j] - pack.v[j]);
  store_pack(x, i, n, pack);
}
