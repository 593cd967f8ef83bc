// c [m, n] = a [m, k] b [k, n]: the definition, one thread for each element of c.
//
// Thread x counts rows, thread y columns, as one writes a loop over i and j. The lanes of a warp
// differ in x: at each step of k they read 32 rows of a, which lie k elements apart.
extern "C" __global__ void product(unsigned m, unsigned n, unsigned k,
                                   const float *__restrict__ a, // [m, k]
                                   const float *__restrict__ b, // [k, n]
                                   float *__restrict__ c) {     // [m, n]
  const unsigned row = blockIdx.x * blockDim.x + threadIdx.x;
  const unsigned col = blockIdx.y * blockDim.y + threadIdx.y;
  if (row >= m || col >= n) return;
  float sum = 0;
  for (unsigned i = 0; i < k; ++i) sum += a[row * k + i] * b[i * n + col];
  c[row * n + col] = sum;
}
