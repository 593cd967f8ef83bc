// Elementwise multiplication.

#include "common.cuh"

// y[i] = a[i] * b[i % repeat].
//
// A thread owns WIDTH neighbouring elements. Moves 2 n + repeat elements, 3 n to accumulate.
extern "C" __global__ void mul(unsigned n, unsigned repeat,
                               const T *__restrict__ a, // [n]
                               const T *__restrict__ b, // [repeat]
                               T *__restrict__ y,       // [n]
                               int accumulate) {
  const unsigned i = first_of_pack();
  if (i >= n) return;
  Pack product = load_pack(a, i, n);
  const Pack other = load_pack_repeated(b, i, repeat);
#pragma unroll
  for (unsigned j = 0; j < WIDTH; ++j) product.v[j] *= other.v[j];
  store_pack(y, i, n, product, accumulate);
}
