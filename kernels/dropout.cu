// Dropout, its mask drawn from Philox and never stored: the backward pass draws it anew.

#include "dropout.cuh"

// y = x * scale where the element's random word is at least `threshold`, else 0: forward on
// values, backward on gradients.
//
// A thread owns the 4 elements that share one Philox block. Moves 2 n elements, 3 n to accumulate;
// about 30 integer instructions an element, 20 of them 32 x 32 -> 64 bit multiplications per block.
extern "C" __global__ void dropout(DropoutGeometry g, unsigned n,
                                   const unsigned long long *__restrict__ step, // [1]
                                   const T *__restrict__ x,                     // [n]
                                   T *__restrict__ y,                           // [n]
                                   int accumulate) {
  const unsigned block = blockIdx.x * blockDim.x + threadIdx.x;
  if (4 * block >= n) return;
  const uint4 random = philox(g.seed, g.stream, *step, block);
  const unsigned words[4] = {random.x, random.y, random.z, random.w};
  const T scale = (T)g.scale;
#pragma unroll
  for (unsigned first = 0; first < 4; first += WIDTH) {
    const unsigned i = 4 * block + first;
    if (i >= n) return;
    Pack pack = load_pack(x, i, n);
#pragma unroll
    for (unsigned j = 0; j < WIDTH; ++j) {
      pack.v[j] = words[first + j] >= g.threshold ? pack.v[j] * scale : T(0);
    }
    store_pack(y, i, n, pack, accumulate);
  }
}
