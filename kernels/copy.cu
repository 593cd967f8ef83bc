// Copies from strided to strided memory: other orders and parts of a tensor's elements.

#include "common.cuh"

// src/ops/copy/geometry.rs.
struct CopyGeometry {
  unsigned rank;
  unsigned from, to; // where index 0 comes from and goes
  unsigned sizes[MAX_DIMS];
  int from_strides[MAX_DIMS];
  unsigned to_strides[MAX_DIMS];
};

// to[at i] = from[at i] for every index i of sizes [rank], the innermost dimension last.
//
// A thread owns up to WIDTH neighbours of the innermost dimension, moved at once where they lie side by
// side; its rows are numbered as in the target, so that neighbouring threads write neighbouring places.
// Moves 2 n elements, 3 n to accumulate. Two divisions per dimension but the innermost.
extern "C" __global__ void copy_strided(CopyGeometry g, unsigned rows,
                                        const T *__restrict__ from, // read at `from_strides`
                                        T *__restrict__ to,         // written at `to_strides`
                                        int accumulate) {
  const unsigned inner = innermost(g.sizes, g.rank);
  const unsigned packs = (inner + WIDTH - 1) / WIDTH;
  const unsigned thread = blockIdx.x * blockDim.x + threadIdx.x;
  unsigned row = thread / packs;
  if (row >= rows) return;
  const unsigned i = thread % packs * WIDTH;
  from += g.from;
  to += g.to;
#pragma unroll
  for (unsigned d = MAX_DIMS - 1; d-- > 0;) {
    if (d + 1 < g.rank) {
      const int index = (int)(row % g.sizes[d]);
      row /= g.sizes[d];
      from += index * g.from_strides[d];
      to += index * (int)g.to_strides[d];
    }
  }
  const int from_stride = innermost(g.from_strides, g.rank);
  const unsigned to_stride = innermost(g.to_strides, g.rank);
  Pack pack;
  if (from_stride == 1) {
    pack = load_pack(from, i, inner);
  } else {
#pragma unroll
    for (unsigned j = 0; j < WIDTH; ++j) {
      pack.v[j] = i + j < inner ? from[(int)(i + j) * from_stride] : T(0);
    }
  }
  if (to_stride == 1) {
    store_pack(to, i, inner, pack, accumulate);
  } else {
#pragma unroll
    for (unsigned j = 0; j < WIDTH; ++j) {
      if (i + j < inner) put(to + (i + j) * to_stride, pack.v[j], accumulate);
    }
  }
}

// y = value everywhere.
//
// A thread owns WIDTH neighbouring elements. Writes n elements.
extern "C" __global__ void fill(unsigned n, T value,
                                T *__restrict__ y) { // [n]
  const unsigned i = first_of_pack();
  if (i >= n) return;
  Pack pack;
#pragma unroll
  for (unsigned j = 0; j < WIDTH; ++j) pack.v[j] = value;
  store_pack(y, i, n, pack);
}
