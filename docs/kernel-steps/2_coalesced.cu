// c [m, n] = a [m, k] b [k, n]: the same, with x and y exchanged.
//
// Thread x counts columns: at each step of k the lanes of a warp read 32 neighbours of b, which come
// together, and one element of a, which serves them all.
extern "C" __global__ void product(unsigned m, unsigned n, unsigned k,
                                   const float *__restrict__ a, // [m, k]
                                   const float *__restrict__ b, // [k, n]
                                   float *__restrict__ c) {     // [m, n]
  // ANCHOR: place
  const unsigned row = blockIdx.y * blockDim.y + threadIdx.y;
  const unsigned col = blockIdx.x * blockDim.x + threadIdx.x;
  // ANCHOR_END: place
  if (row >= m || col >= n) return;
  float sum = 0;
  for (unsigned i = 0; i < k; ++i) sum += a[row * k + i] * b[i * n + col];
  c[row * n + col] = sum;
}
