// c [m, n] = a [m, k] b [k, n]: the next tile is on its way while this one is multiplied.
//
// As the step before, but a tile's elements first go into registers, and shared memory has room for
// two tiles: so loads from global memory have a whole tile's multiplications to arrive in, and one
// barrier a tile is enough.
#define TILE 64
#define DEPTH 16
#define STRIDE (TILE + 4) // keeps 16 bytes aligned and moves the banks

extern "C" __global__ void product(unsigned m, unsigned n, unsigned k,
                                   const float *__restrict__ a, // [m, k]
                                   const float *__restrict__ b, // [k, n]
                                   float *__restrict__ c) {     // [m, n]
  __shared__ __align__(16) float tile_a[2][DEPTH][STRIDE];
  __shared__ __align__(16) float tile_b[2][DEPTH][STRIDE];
  const unsigned x = threadIdx.x % 16, y = threadIdx.x / 16;
  const unsigned column = threadIdx.x % TILE, depth_b = threadIdx.x / TILE;
  const unsigned row = blockIdx.y * TILE, col = blockIdx.x * TILE;
  float sum[4][4] = {}, next_a[4], next_b[4];
  auto fetch = [&](unsigned first) {
#pragma unroll
    for (unsigned i = 0; i < 4; ++i) {
      const unsigned place = y + 16 * i, depth = depth_b + 4 * i;
      const bool in_a = row + place < m && first + x < k;
      const bool in_b = first + depth < k && col + column < n;
      next_a[i] = in_a ? a[(row + place) * k + first + x] : 0;
      next_b[i] = in_b ? b[(first + depth) * n + col + column] : 0;
    }
  };
  // ANCHOR: loop
  fetch(0);
  unsigned now = 0;
  for (unsigned first = 0; first < k; first += DEPTH) {
#pragma unroll
    for (unsigned i = 0; i < 4; ++i) {
      tile_a[now][x][y + 16 * i] = next_a[i];
      tile_b[now][depth_b + 4 * i][column] = next_b[i];
    }
    // Behind this barrier the tile is whole, and all are done with the tile before it, whose place
    // the next one takes.
    __syncthreads();
    if (first + DEPTH < k) fetch(first + DEPTH);
#pragma unroll
    for (unsigned depth = 0; depth < DEPTH; ++depth) {
      const float4 p = *(const float4 *)&tile_a[now][depth][4 * y];
      const float4 q = *(const float4 *)&tile_b[now][depth][4 * x];
      const float left[4] = {p.x, p.y, p.z, p.w}, right[4] = {q.x, q.y, q.z, q.w};
#pragma unroll
      for (unsigned i = 0; i < 4; ++i) {
#pragma unroll
        for (unsigned j = 0; j < 4; ++j) sum[i][j] += left[i] * right[j];
      }
    }
    now ^= 1;
  }
  // ANCHOR_END: loop
#pragma unroll
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned r = row + 4 * y + i, s = col + 4 * x;
    if (r < m && s < n && n % 4 == 0) {
      *(float4 *)&c[r * n + s] = make_float4(sum[i][0], sum[i][1], sum[i][2], sum[i][3]);
    } else {
#pragma unroll
      for (unsigned j = 0; j < 4; ++j) {
        if (r < m && s + j < n) c[r * n + s + j] = sum[i][j];
      }
    }
  }
}
