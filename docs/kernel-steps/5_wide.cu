// c [m, n] = a [m, k] b [k, n]: one instruction loads four operands.
//
// A thread's 4 x 4 elements of c are neighbours, and the tile of a is stored transposed, so that what
// a thread needs at one depth are four neighbours of each tile: two loads of 16 bytes. Four neighbours
// of c are written at once, too.
#define TILE 64
#define DEPTH 16
#define STRIDE (TILE + 4) // keeps 16 bytes aligned and moves the banks

extern "C" __global__ void product(unsigned m, unsigned n, unsigned k,
                                   const float *__restrict__ a, // [m, k]
                                   const float *__restrict__ b, // [k, n]
                                   float *__restrict__ c) {     // [m, n]
  __shared__ __align__(16) float tile_a[DEPTH][STRIDE];
  __shared__ __align__(16) float tile_b[DEPTH][STRIDE];
  const unsigned x = threadIdx.x % 16, y = threadIdx.x / 16;
  const unsigned row = blockIdx.y * TILE, col = blockIdx.x * TILE;
  float sum[4][4] = {};
  for (unsigned first = 0; first < k; first += DEPTH) {
#pragma unroll
    for (unsigned i = 0; i < 4; ++i) {
      const unsigned place = y + 16 * i, depth = threadIdx.x / TILE + 4 * i;
      const unsigned column = threadIdx.x % TILE;
      const bool in_a = row + place < m && first + x < k;
      const bool in_b = first + depth < k && col + column < n;
      tile_a[x][place] = in_a ? a[(row + place) * k + first + x] : 0;
      tile_b[depth][column] = in_b ? b[(first + depth) * n + col + column] : 0;
    }
    __syncthreads();
    // ANCHOR: multiply
#pragma unroll
    for (unsigned depth = 0; depth < DEPTH; ++depth) {
      const float4 p = *(const float4 *)&tile_a[depth][4 * y];
      const float4 q = *(const float4 *)&tile_b[depth][4 * x];
      const float left[4] = {p.x, p.y, p.z, p.w}, right[4] = {q.x, q.y, q.z, q.w};
#pragma unroll
      for (unsigned i = 0; i < 4; ++i) {
#pragma unroll
        for (unsigned j = 0; j < 4; ++j) sum[i][j] += left[i] * right[j];
      }
    }
    // ANCHOR_END: multiply
    __syncthreads();
  }
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
