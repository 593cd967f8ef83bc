// c [m, n] = a [m, k] b [k, n]: a thread computes several results.
//
// A block of 256 threads owns 64 x 64 elements of c, a thread 4 x 4 of them: rows y, y + 16, ... and
// columns x, x + 16, ... Of eight elements that it loads from shared memory it makes sixteen products.
#define TILE 64
#define DEPTH 16

extern "C" __global__ void product(unsigned m, unsigned n, unsigned k,
                                   const float *__restrict__ a, // [m, k]
                                   const float *__restrict__ b, // [k, n]
                                   float *__restrict__ c) {     // [m, n]
  __shared__ float tile_a[TILE][DEPTH + 1]; // one more, so that rows begin in different banks
  __shared__ float tile_b[DEPTH][TILE];
  const unsigned x = threadIdx.x % 16, y = threadIdx.x / 16;
  const unsigned row = blockIdx.y * TILE, col = blockIdx.x * TILE;
  float sum[4][4] = {};
  for (unsigned first = 0; first < k; first += DEPTH) {
#pragma unroll
    for (unsigned i = 0; i < 4; ++i) {
      // Along k for a, along n for b: neighbouring threads fetch neighbours in memory.
      const unsigned place = y + 16 * i, depth = threadIdx.x / TILE + 4 * i;
      const unsigned column = threadIdx.x % TILE;
      const bool in_a = row + place < m && first + x < k;
      const bool in_b = first + depth < k && col + column < n;
      tile_a[place][x] = in_a ? a[(row + place) * k + first + x] : 0;
      tile_b[depth][column] = in_b ? b[(first + depth) * n + col + column] : 0;
    }
    __syncthreads();
    // ANCHOR: multiply
#pragma unroll
    for (unsigned depth = 0; depth < DEPTH; ++depth) {
#pragma unroll
      for (unsigned i = 0; i < 4; ++i) {
#pragma unroll
        for (unsigned j = 0; j < 4; ++j) {
          sum[i][j] += tile_a[y + 16 * i][depth] * tile_b[depth][x + 16 * j];
        }
      }
    }
    // ANCHOR_END: multiply
    __syncthreads();
  }
#pragma unroll
  for (unsigned i = 0; i < 4; ++i) {
#pragma unroll
    for (unsigned j = 0; j < 4; ++j) {
      const unsigned r = row + y + 16 * i, s = col + x + 16 * j;
      if (r < m && s < n) c[r * n + s] = sum[i][j];
    }
  }
}
