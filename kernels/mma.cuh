// Tensor cores: the product of two small matrices by a whole warp, and how operands are rounded for
// it. With load_if.cuh the only place with inline PTX; what stands beside it under CUSIM computes the
// same.
//
// A precision is tf32 (8 bits of exponent, 10 of mantissa) or bf16 (8 and 7); products are summed
// in f32. PTX ISA, "Matrix fragments for mma.m16n8k8" and "... mma.m16n8k16", says which lane holds
// what. Writing g = lane / 4 and t = lane % 4, of c [16, 8] += a [16, k] b [k, 8] a lane holds
//
//   c    [g, 2t], [g, 2t + 1], [g + 8, 2t], [g + 8, 2t + 1]
//   a    tf32, k = 8:   [g, t], [g + 8, t], [g, t + 4], [g + 8, t + 4]
//        bf16, k = 16:  the same with pairs: [g, 2t .. 2t + 1], ..., [g + 8, 2t + 8 .. 2t + 9]
//   b    tf32:          [t, g], [t + 4, g]
//        bf16:          [2t .. 2t + 1, g], [2t + 8 .. 2t + 9, g]
//
// Of a pair the smaller k is in the lower half of the register.

#pragma once

#define PRECISION_F32 0
#define PRECISION_TF32 1
#define PRECISION_BF16 2

// What the host asks for: `--precision`. Without a word, and in double, nothing is rounded.
#ifndef PRECISION
#define PRECISION PRECISION_F32
#endif

// Older targets know neither format, and the host asks for none there.
#if __CUDA_ARCH__ >= 800

#ifdef CUSIM

__device__ inline bool is_nan_bits(unsigned bits) { return (bits & 0x7fffffffu) > 0x7f800000u; }

// What all lanes of a warp hold, so that each can compute its elements of c.
struct WarpOperands {
  unsigned a[32][4], b[32][2];
};

// The operands of the calling warp. All lanes call, and again `__syncwarp` when they have read.
__device__ inline const WarpOperands &exchange(const unsigned (&a)[4], const unsigned (&b)[2]) {
  __shared__ WarpOperands warps[8]; // blocks have up to 256 threads
  WarpOperands &warp = warps[threadIdx.x / 32];
  for (int i = 0; i < 4; ++i) warp.a[threadIdx.x % 32][i] = a[i];
  for (int i = 0; i < 2; ++i) warp.b[threadIdx.x % 32][i] = b[i];
  __syncwarp();
  return warp;
}

#endif

// x to the nearest tf32, ties away from zero; the lower 13 bits are 0.
__device__ inline unsigned round_tf32(float x) {
#ifdef CUSIM
  const unsigned bits = __float_as_uint(x);
  return is_nan_bits(bits) ? 0x7fffe000u : (bits + 0x1000u) & 0xffffe000u;
#else
  unsigned rounded;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(x));
  return rounded;
#endif
}

// x to the nearest bf16, ties to even.
__device__ inline unsigned short round_bf16(float x) {
#ifdef CUSIM
  const unsigned bits = __float_as_uint(x);
  return is_nan_bits(bits) ? 0x7fff : (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
#else
  unsigned short rounded;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(rounded) : "f"(x));
  return rounded;
#endif
}

// c [16, 8] += a [16, 8] b [8, 8] in tf32, of which the lower 13 bits of an operand are no part.
__device__ inline void mma_tf32(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#ifdef CUSIM
  const WarpOperands &warp = exchange(a, b);
  for (int i = 0; i < 4; ++i) {
    const unsigned row = threadIdx.x % 32 / 4 + 8 * (i / 2), col = threadIdx.x % 4 * 2 + i % 2;
    for (unsigned k = 0; k < 8; ++k) {
      const unsigned of_a = warp.a[row % 8 * 4 + k % 4][row / 8 + k / 4 * 2];
      const unsigned of_b = warp.b[col * 4 + k % 4][k / 4];
      c[i] += __uint_as_float(of_a & 0xffffe000u) * __uint_as_float(of_b & 0xffffe000u);
    }
  }
  __syncwarp();
#else
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
               "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// c [16, 8] += a [16, 16] b [16, 8] in bf16.
__device__ inline void mma_bf16(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#ifdef CUSIM
  const WarpOperands &warp = exchange(a, b);
  for (int i = 0; i < 4; ++i) {
    const unsigned row = threadIdx.x % 32 / 4 + 8 * (i / 2), col = threadIdx.x % 4 * 2 + i % 2;
    for (unsigned k = 0; k < 16; ++k) {
      const unsigned of_a = warp.a[row % 8 * 4 + k % 8 / 2][row / 8 + k / 8 * 2];
      const unsigned of_b = warp.b[col * 4 + k % 8 / 2][k / 8];
      const unsigned shift = k % 2 ? 0 : 16; // to the upper half of a float
      c[i] += __uint_as_float(of_a << shift & 0xffff0000u) *
              __uint_as_float(of_b << shift & 0xffff0000u);
    }
  }
  __syncwarp();
#else
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
               "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

#endif
