// c [m, n] = a [m, k] b [k, n]: operands pass through shared memory.
//
// A block owns 32 x 32 elements of c, a thread one of them. The block walks k in tiles of 32: its
// threads fetch a tile of a and one of b, an element each, and use every element 32 times.
#define TILE 32

extern "C" __global__ void product(unsigned m, unsigned n, unsigned k,
                                   const float *__restrict__ a, // [m, k]
                                   const float *__restrict__ b, // [k, n]
                                   float *__restrict__ c) {     // [m, n]
  __shared__ float tile_a[TILE][TILE];
  __shared__ float tile_b[TILE][TILE];
  const unsigned x = threadIdx.x, y = threadIdx.y;
  const unsigned row = blockIdx.y * TILE + y, col = blockIdx.x * TILE + x;
  float sum = 0;
  // ANCHOR: loop
  for (unsigned first = 0; first < k; first += TILE) {
    tile_a[y][x] = row < m && first + x < k ? a[row * k + first + x] : 0;
    tile_b[y][x] = first + y < k && col < n ? b[(first + y) * n + col] : 0;
    __syncthreads(); // the tile is whole
#pragma unroll
    for (unsigned i = 0; i < TILE; ++i) sum += tile_a[y][i] * tile_b[i][x];
    __syncthreads(); // and now all are done with it
  }
  // ANCHOR_END: loop
  if (row < m && col < n) c[row * n + col] = sum;
}
