// Kernels for the tests of mma.cuh: every warp of a block multiplies matrices of its own, which lie
// one after the other. Lanes take their operands from where the PTX ISA says.
#include "mma.cuh"

// c [16, 8] += a [16, 8] b [8, 8]
extern "C" __global__ void tf32(const unsigned* a,  // [warps, 16, 8], the bits of floats
                                const unsigned* b,  // [warps, 8, 8]
                                float* c) {         // [warps, 16, 8]
    const unsigned warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    a += warp * 16 * 8;
    b += warp * 8 * 8;
    c += warp * 16 * 8;
    const unsigned of_a[4] = {a[g * 8 + t], a[(g + 8) * 8 + t], a[g * 8 + t + 4],
                              a[(g + 8) * 8 + t + 4]};
    const unsigned of_b[2] = {b[t * 8 + g], b[(t + 4) * 8 + g]};
    float *upper = c + g * 8 + 2 * t, *lower = upper + 8 * 8;
    float sum[4] = {upper[0], upper[1], lower[0], lower[1]};
    mma_tf32(sum, of_a, of_b);
    upper[0] = sum[0];
    upper[1] = sum[1];
    lower[0] = sum[2];
    lower[1] = sum[3];
}

// The elements of row `row` of a, or column `row` of the transposed b, from k on.
__device__ inline unsigned pair(const unsigned* matrix, unsigned row, unsigned k) {
    return matrix[row * 16 + k] >> 16 | (matrix[row * 16 + k + 1] & 0xffff0000u);
}

// c [16, 8] += a [16, 16] b [16, 8]
extern "C" __global__ void bf16(const unsigned* a,  // [warps, 16, 16], the bits of floats
                                const unsigned* b,  // [warps, 8, 16], transposed
                                float* c) {         // [warps, 16, 8]
    const unsigned warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    a += warp * 16 * 16;
    b += warp * 8 * 16;
    c += warp * 16 * 8;
    const unsigned of_a[4] = {pair(a, g, 2 * t), pair(a, g + 8, 2 * t), pair(a, g, 2 * t + 8),
                              pair(a, g + 8, 2 * t + 8)};
    const unsigned of_b[2] = {pair(b, g, 2 * t), pair(b, g, 2 * t + 8)};
    float *upper = c + g * 8 + 2 * t, *lower = upper + 8 * 8;
    float sum[4] = {upper[0], upper[1], lower[0], lower[1]};
    mma_bf16(sum, of_a, of_b);
    upper[0] = sum[0];
    upper[1] = sum[1];
    lower[0] = sum[2];
    lower[1] = sum[3];
}

// Each number in both formats, as the bits of a float.
extern "C" __global__ void round_both(const float* x,      // [threads]
                                      unsigned* as_tf32,   // [threads]
                                      unsigned* as_bf16) { // [threads]
    as_tf32[threadIdx.x] = round_tf32(x[threadIdx.x]);
    as_bf16[threadIdx.x] = (unsigned)round_bf16(x[threadIdx.x]) << 16;
}
