// The rectifier.

#include "common.cuh"

// y = max(x, 0), and NaN for NaN.
//
// A thread owns WIDTH neighbouring elements. Moves 2 n elements.
extern "C" __global__ void relu_forward(unsigned n,
                                        const T *__restrict__ x, // [n]
                                        T *__restrict__ y) {     // [n]
  const unsigned i = first_of_pack();
  if (i >= n) return;
  Pack pack = load_pack(x, i, n);
#pragma unroll
  for (unsigned j = 0; j < WIDTH; ++j) {
    // `x <= 0` is false for NaN, which so stays.
    pack.v[j] = pack.v[j] <= 0 ? T(0) : pack.v[j];
  }
  store_pack(y, i, n, pack);
}

// grad_x = grad_y where y > 0 or y is NaN, else 0.
//
// A thread owns WIDTH neighbouring elements. Moves 3 n elements, 4 n to accumulate.
extern "C" __global__ void relu_backward(unsigned n,
                                         const T *__restrict__ y,      // [n]
                                         const T *__restrict__ grad_y, // [n]
                                         T *__restrict__ grad_x,       // [n]
                                         int accumulate) {
  const unsigned i = first_of_pack();
  if (i >= n) return;
  const Pack saved = load_pack(y, i, n);
  Pack gradient = load_pack(grad_y, i, n);
#pragma unroll
  for (unsigned j = 0; j < WIDTH; ++j) {
    if (saved.v[j] <= 0) gradient.v[j] = 0;
  }
  store_pack(grad_x, i, n, gradient, accumulate);
}
