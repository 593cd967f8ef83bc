// Loads under a predicate. With mma.cuh the only place with inline PTX.
//
// `valid ? *p : T(0)` is a branch around the load wherever the compiler thinks so, and then each load
// waits for the one before; in PTX it cannot be one, so all are on their way at once. What stands
// beside it under CUSIM computes the same.

#pragma once

// *p where it is valid, else `otherwise`. The memory is not written while the kernel runs.
__device__ inline float load_if(const float *p, bool valid, float otherwise = 0) {
#ifdef CUSIM
  return valid ? *p : otherwise;
#else
  asm("{ .reg .pred valid; setp.ne.u32 valid, %2, 0; @valid ld.global.nc.f32 %0, [%1]; }"
      : "+f"(otherwise)
      : "l"(__cvta_generic_to_global(p)), "r"((unsigned)valid));
  return otherwise;
#endif
}

__device__ inline double load_if(const double *p, bool valid, double otherwise = 0) {
#ifdef CUSIM
  return valid ? *p : otherwise;
#else
  asm("{ .reg .pred valid; setp.ne.u32 valid, %2, 0; @valid ld.global.nc.f64 %0, [%1]; }"
      : "+d"(otherwise)
      : "l"(__cvta_generic_to_global(p)), "r"((unsigned)valid));
  return otherwise;
#endif
}
