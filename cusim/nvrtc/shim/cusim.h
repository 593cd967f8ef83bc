// What nvcc gives CUDA C++ for free, for g++: included in front of every program.
//
// No standard header is included: programs for NVRTC include none either, and would clash with
// what they declare. The driver fills in `cusim_hooks` when it loads the result; everything that
// involves more than one thread (barriers, shuffles, votes, atomics, checks) goes through it.

#define __global__ __attribute__((noinline, used))
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __inline__ inline
#define __launch_bounds__(...)
#define __cluster_dims__(...)
#define __grid_constant__
#define __align__(n) __attribute__((aligned(n)))
#define __builtin_align__(n) __attribute__((aligned(n)))
#define __constant__ __attribute__((used))
#define __managed__
// Thread-local so that one section of the object holds exactly the shared variables, templates'
// and inline functions' included (g++ refuses those in a section of our own).
#define __shared__ static __thread

#define CUSIM_INLINE static inline __attribute__((always_inline, no_sanitize_thread, unused))
#define CUSIM_HIDDEN __attribute__((visibility("hidden")))
#define CUSIM_HERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

typedef __SIZE_TYPE__ size_t;
typedef __PTRDIFF_TYPE__ ptrdiff_t;
typedef long clock_t;

// ---------------------------------------------------------------------------------------------
// Vector types

#define CUSIM_VECTORS(T, name, unit)                                                           \
  struct __attribute__((aligned(unit))) name##1 { T x; };                                      \
  struct __attribute__((aligned(2 * unit))) name##2 { T x, y; };                               \
  struct name##3 { T x, y, z; };                                                               \
  struct __attribute__((aligned(4 * unit > 16 ? 16 : 4 * unit))) name##4 { T x, y, z, w; };    \
  CUSIM_INLINE name##1 make_##name##1(T x) { return {x}; }                                     \
  CUSIM_INLINE name##2 make_##name##2(T x, T y) { return {x, y}; }                             \
  CUSIM_INLINE name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; }                     \
  CUSIM_INLINE name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }

CUSIM_VECTORS(signed char, char, 1)
CUSIM_VECTORS(unsigned char, uchar, 1)
CUSIM_VECTORS(short, short, 2)
CUSIM_VECTORS(unsigned short, ushort, 2)
CUSIM_VECTORS(int, int, 4)
CUSIM_VECTORS(unsigned, uint, 4)
CUSIM_VECTORS(long, long, 8)
CUSIM_VECTORS(unsigned long, ulong, 8)
CUSIM_VECTORS(long long, longlong, 8)
CUSIM_VECTORS(unsigned long long, ulonglong, 8)
CUSIM_VECTORS(float, float, 4)
CUSIM_VECTORS(double, double, 8)

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
  constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
};

// ---------------------------------------------------------------------------------------------
// What the driver and a program know of each other (driver/src/module.rs mirrors these)

struct cusim_hooks_t {
  // Blocks until every thread of the block is here; combines the predicates.
  int (*barrier)(unsigned kind, int predicate, const char *file, int line);
  // Exchanges values within a warp.
  unsigned long long (*warp)(unsigned kind, unsigned mask, unsigned long long value,
                             unsigned argument, unsigned width, const char *file, int line);
  unsigned (*activemask)();
  // `what` is 0 for assert, 1 for __trap, 2 for an access that is not aligned.
  void (*trap)(unsigned what, const char *text, const char *file, int line);
  // Check mode only.
  void (*access)(const void *address, size_t size, unsigned flags, const void *pc);
  void (*fence)();
};
// Initialisers run before the driver has filled in the hooks, checked or not.
CUSIM_INLINE void cusim_no_access(const void *, size_t, unsigned, const void *) {}
CUSIM_INLINE void cusim_no_fence() {}
// Written by the driver, constant to a program: g++ neither reloads nor checks such variables.
extern "C" {
CUSIM_HIDDEN __attribute__((used)) cusim_hooks_t cusim_hooks_storage __asm__("cusim_hooks") = {
    nullptr, nullptr, nullptr, nullptr, &cusim_no_access, &cusim_no_fence};
extern const CUSIM_HIDDEN cusim_hooks_t cusim_hooks __asm__("cusim_hooks");
}

// Where this thread is. (No dim3: with a constructor it would not be constant to g++.)
struct cusim_position_t {
  uint3 thread, block, block_dim, grid_dim;
};
extern "C" {
CUSIM_HIDDEN __attribute__((used)) cusim_position_t cusim_position_storage __asm__("cusim_position");
extern const CUSIM_HIDDEN cusim_position_t cusim_position __asm__("cusim_position");
}
#define threadIdx (cusim_position.thread)
#define blockIdx (cusim_position.block)
#define blockDim (cusim_position.block_dim)
#define gridDim (cusim_position.grid_dim)
static const int warpSize = 32;

// Every `extern __shared__ T x[]` is an alias of this one.
#define CUSIM_DYNAMIC_BYTES (228 * 1024)
extern "C" {
__attribute__((visibility("hidden"), used, aligned(4096)))
char cusim_dynamic_storage[CUSIM_DYNAMIC_BYTES + 4096] __asm__("cusim_dynamic");
}

// Marks where this object's thread-local section lies.
static __thread char cusim_shared_anchor __attribute__((used));
extern "C" __attribute__((used)) char *cusim_shared_base() { return &cusim_shared_anchor; }

// ---------------------------------------------------------------------------------------------
// Kernels: how to call one with the driver's array of pointers to parameters

struct cusim_kernel {
  const void *function;
  void (*call)(void **parameters);
  const unsigned *sizes;
  unsigned count;
  unsigned bound;        // of __launch_bounds__, 0 if none
  const char *name;      // as written: a name expression or a qualified name
};

template <unsigned... I> struct cusim_indices {};
// A copy: where the host keeps a parameter, it need not be aligned as the kernel expects.
template <class T> union cusim_parameter {
  T value;
  char bytes[sizeof(T)];
  __attribute__((no_sanitize_thread)) cusim_parameter(const void *from) {
    __builtin_memcpy(bytes, from, sizeof(T));
  }
  ~cusim_parameter() {}
};
template <class F> struct cusim_unpack;
template <class... P> struct cusim_unpack<void (*)(P...)> {
  static constexpr unsigned count = sizeof...(P);
  static constexpr unsigned sizes[sizeof...(P) + 1] = {sizeof(P)..., 0};
  template <void (*F)(P...), unsigned... I>
  static __attribute__((no_sanitize_thread)) void spread(void **p, cusim_indices<I...>) {
    F(cusim_parameter<P>(p[I]).value...);
  }
  template <void (*F)(P...)> static __attribute__((no_sanitize_thread)) void call(void **p) {
    spread<F>(p, cusim_indices<__integer_pack(sizeof...(P))...>{});
  }
};
template <class... P> constexpr cusim_unpack<void (*)(P...)> cusim_signature(void (*)(P...));

#define CUSIM_KERNEL(bound, ...)                                                    \
  {(const void *)(void *)&__VA_ARGS__,                                                         \
   &decltype(cusim_signature(&__VA_ARGS__))::template call<&__VA_ARGS__>,                      \
   decltype(cusim_signature(&__VA_ARGS__))::sizes,                                             \
   decltype(cusim_signature(&__VA_ARGS__))::count,                                             \
   (unsigned)(bound),                                                                          \
   #__VA_ARGS__},

// ---------------------------------------------------------------------------------------------
// Barriers, fences, warp collectives (kinds as in driver/src/engine/)

CUSIM_INLINE void __syncthreads(CUSIM_HERE) { cusim_hooks.barrier(0, 0, file, line); }
CUSIM_INLINE int __syncthreads_count(int p, CUSIM_HERE) {
  return cusim_hooks.barrier(1, p, file, line);
}
CUSIM_INLINE int __syncthreads_and(int p, CUSIM_HERE) {
  return cusim_hooks.barrier(2, p, file, line);
}
CUSIM_INLINE int __syncthreads_or(int p, CUSIM_HERE) {
  return cusim_hooks.barrier(3, p, file, line);
}

CUSIM_INLINE void __threadfence() { cusim_hooks.fence(); }
CUSIM_INLINE void __threadfence_block() {}
CUSIM_INLINE void __threadfence_system() { cusim_hooks.fence(); }

#define CUSIM_FULL 0xffffffffu
CUSIM_INLINE void __syncwarp(unsigned mask = CUSIM_FULL, CUSIM_HERE) {
  cusim_hooks.warp(0, mask, 0, 0, 32, file, line);
}
CUSIM_INLINE unsigned __ballot_sync(unsigned mask, int p, CUSIM_HERE) {
  return (unsigned)cusim_hooks.warp(1, mask, p != 0, 0, 32, file, line);
}
CUSIM_INLINE int __any_sync(unsigned mask, int p, CUSIM_HERE) {
  return cusim_hooks.warp(1, mask, p != 0, 0, 32, file, line) != 0;
}
CUSIM_INLINE int __all_sync(unsigned mask, int p, CUSIM_HERE) {
  return cusim_hooks.warp(1, mask, p == 0, 0, 32, file, line) == 0;
}
CUSIM_INLINE unsigned __activemask() { return cusim_hooks.activemask(); }

#define CUSIM_SHUFFLES(T)                                                                      \
  CUSIM_INLINE T __shfl_sync(unsigned m, T v, int a, int w = 32, CUSIM_HERE) {                 \
    return cusim_shuffle(2, m, v, a, w, file, line);                                           \
  }                                                                                            \
  CUSIM_INLINE T __shfl_up_sync(unsigned m, T v, unsigned a, int w = 32, CUSIM_HERE) {         \
    return cusim_shuffle(3, m, v, a, w, file, line);                                           \
  }                                                                                            \
  CUSIM_INLINE T __shfl_down_sync(unsigned m, T v, unsigned a, int w = 32, CUSIM_HERE) {       \
    return cusim_shuffle(4, m, v, a, w, file, line);                                           \
  }                                                                                            \
  CUSIM_INLINE T __shfl_xor_sync(unsigned m, T v, int a, int w = 32, CUSIM_HERE) {             \
    return cusim_shuffle(5, m, v, a, w, file, line);                                           \
  }
template <class T>
CUSIM_INLINE T cusim_shuffle(unsigned kind, unsigned mask, T value, unsigned argument,
                             unsigned width, const char *file, int line) {
  unsigned long long bits = 0;
  __builtin_memcpy(&bits, &value, sizeof value);
  bits = cusim_hooks.warp(kind, mask, bits, argument, width, file, line);
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}
CUSIM_SHUFFLES(int)
CUSIM_SHUFFLES(unsigned)
CUSIM_SHUFFLES(long)
CUSIM_SHUFFLES(unsigned long)
CUSIM_SHUFFLES(long long)
CUSIM_SHUFFLES(unsigned long long)
CUSIM_SHUFFLES(float)
CUSIM_SHUFFLES(double)

#define CUSIM_REDUCE(name, T, expression)                                                      \
  CUSIM_INLINE T name(unsigned mask, T v, CUSIM_HERE) {                                        \
    /* Lane after lane, in order: what a GPU computes for integers in any order. */            \
    T r = v;                                                                                   \
    bool first = true;                                                                         \
    for (int lane = 0; lane < 32; ++lane)                                                      \
      if (mask >> lane & 1) {                                                                  \
        T o = cusim_shuffle(2, mask, v, lane, 32, file, line);                                 \
        r = first ? o : (expression);                                                          \
        first = false;                                                                         \
      }                                                                                        \
    return r;                                                                                  \
  }
CUSIM_REDUCE(__reduce_add_sync, unsigned, r + o)
CUSIM_REDUCE(__reduce_add_sync, int, r + o)
CUSIM_REDUCE(__reduce_min_sync, unsigned, o < r ? o : r)
CUSIM_REDUCE(__reduce_min_sync, int, o < r ? o : r)
CUSIM_REDUCE(__reduce_max_sync, unsigned, o > r ? o : r)
CUSIM_REDUCE(__reduce_max_sync, int, o > r ? o : r)
CUSIM_REDUCE(__reduce_and_sync, unsigned, r & o)
CUSIM_REDUCE(__reduce_or_sync, unsigned, r | o)
CUSIM_REDUCE(__reduce_xor_sync, unsigned, r ^ o)

// ---------------------------------------------------------------------------------------------
// Memory: atomics are plain operations (one thread runs at a time), made known to the checks

#define CUSIM_WRITE 1u
#define CUSIM_ATOMIC 2u
#ifdef CUSIM_CHECKED
// Out of line: inlined into a kernel, its accesses would be reported as plain ones.
#define CUSIM_ATOMIC_FUNCTION static __attribute__((noinline, no_sanitize_thread, unused))
#define CUSIM_NOTE_ATOMIC(p)                                                                   \
  cusim_hooks.access(p, sizeof *(p), CUSIM_WRITE | CUSIM_ATOMIC, __builtin_return_address(0))
#else
#define CUSIM_ATOMIC_FUNCTION CUSIM_INLINE
#define CUSIM_NOTE_ATOMIC(p) (void)0
#endif

#define CUSIM_RMW(name, T, expression)                                                         \
  CUSIM_ATOMIC_FUNCTION T name(T *p, T v) {                                                             \
    CUSIM_NOTE_ATOMIC(p);                                                                      \
    T old = *(volatile T *)p;                                                                  \
    *(volatile T *)p = (expression);                                                           \
    return old;                                                                                \
  }                                                                                            \
  CUSIM_INLINE T name##_block(T *p, T v) { return name(p, v); }                                \
  CUSIM_INLINE T name##_system(T *p, T v) { return name(p, v); }
#define CUSIM_INTEGER_ATOMICS(T)                                                               \
  CUSIM_RMW(atomicSub, T, old - v)                                                             \
  CUSIM_RMW(atomicMin, T, v < old ? v : old)                                                   \
  CUSIM_RMW(atomicMax, T, v > old ? v : old)                                                   \
  CUSIM_RMW(atomicAnd, T, old & v)                                                             \
  CUSIM_RMW(atomicOr, T, old | v)                                                              \
  CUSIM_RMW(atomicXor, T, old ^ v)                                                             \
  CUSIM_ATOMIC_FUNCTION T atomicCAS(T *p, T expected, T v) {                                            \
    CUSIM_NOTE_ATOMIC(p);                                                                      \
    T old = *(volatile T *)p;                                                                  \
    if (old == expected) *(volatile T *)p = v;                                                 \
    return old;                                                                                \
  }
#define CUSIM_COMMON_ATOMICS(T)                                                                \
  CUSIM_RMW(atomicAdd, T, old + v)                                                             \
  CUSIM_RMW(atomicExch, T, v)
CUSIM_COMMON_ATOMICS(int)
CUSIM_COMMON_ATOMICS(unsigned)
CUSIM_COMMON_ATOMICS(unsigned long long)
CUSIM_COMMON_ATOMICS(float)
CUSIM_COMMON_ATOMICS(double)
CUSIM_INTEGER_ATOMICS(int)
CUSIM_INTEGER_ATOMICS(unsigned)
CUSIM_INTEGER_ATOMICS(long long)
CUSIM_INTEGER_ATOMICS(unsigned long long)
CUSIM_RMW(atomicInc, unsigned, old >= v ? 0 : old + 1)
CUSIM_RMW(atomicDec, unsigned, old == 0 || old > v ? v : old - 1)

#define CUSIM_LOADS(name)                                                                      \
  template <class T> __attribute__((always_inline)) inline T name(const T *p) { return *p; }
#define CUSIM_STORES(name)                                                                     \
  template <class T> __attribute__((always_inline)) inline void name(T *p, T v) { *p = v; }
CUSIM_LOADS(__ldg)
CUSIM_LOADS(__ldca)
CUSIM_LOADS(__ldcg)
CUSIM_LOADS(__ldcs)
CUSIM_LOADS(__ldcv)
CUSIM_LOADS(__ldlu)
CUSIM_STORES(__stcg)
CUSIM_STORES(__stcs)
CUSIM_STORES(__stwb)
CUSIM_STORES(__stwt)

CUSIM_INLINE unsigned __cvta_generic_to_shared_(const void *p) { return (unsigned)(size_t)p; }

// ---------------------------------------------------------------------------------------------
// Integers and bits

CUSIM_INLINE int __popc(unsigned x) { return __builtin_popcount(x); }
CUSIM_INLINE int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
CUSIM_INLINE int __ffs(int x) { return __builtin_ffs(x); }
CUSIM_INLINE int __ffsll(long long x) { return __builtin_ffsll(x); }
CUSIM_INLINE int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
CUSIM_INLINE int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }
CUSIM_INLINE unsigned __brev(unsigned x) {
  unsigned r = 0;
  for (int i = 0; i < 32; ++i) r |= (x >> i & 1u) << (31 - i);
  return r;
}
CUSIM_INLINE unsigned __umulhi(unsigned a, unsigned b) {
  return (unsigned)((unsigned long long)a * b >> 32);
}
CUSIM_INLINE int __mulhi(int a, int b) { return (int)((long long)a * b >> 32); }
CUSIM_INLINE unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return (unsigned long long)((unsigned __int128)a * b >> 64);
}
CUSIM_INLINE int __mul24(int a, int b) { return (a << 8 >> 8) * (b << 8 >> 8); }
CUSIM_INLINE unsigned __umul24(unsigned a, unsigned b) {
  return (a & 0xffffffu) * (b & 0xffffffu);
}
CUSIM_INLINE unsigned __funnelshift_l(unsigned lo, unsigned hi, unsigned s) {
  return (unsigned)((((unsigned long long)hi << 32 | lo) << (s & 31)) >> 32);
}
CUSIM_INLINE unsigned __funnelshift_r(unsigned lo, unsigned hi, unsigned s) {
  return (unsigned)(((unsigned long long)hi << 32 | lo) >> (s & 31));
}
CUSIM_INLINE unsigned __byte_perm(unsigned x, unsigned y, unsigned s) {
  unsigned long long bytes = (unsigned long long)y << 32 | x;
  unsigned r = 0;
  for (int i = 0; i < 4; ++i) {
    unsigned selector = s >> (4 * i) & 0xf;
    unsigned byte = (unsigned)(bytes >> (8 * (selector & 7))) & 0xff;
    if (selector & 8) byte = byte & 0x80 ? 0xff : 0;
    r |= byte << (8 * i);
  }
  return r;
}

#define CUSIM_CAST(name, From, To)                                                             \
  CUSIM_INLINE To name(From x) {                                                               \
    To r;                                                                                      \
    __builtin_memcpy(&r, &x, sizeof r);                                                        \
    return r;                                                                                  \
  }
CUSIM_CAST(__float_as_uint, float, unsigned)
CUSIM_CAST(__float_as_int, float, int)
CUSIM_CAST(__uint_as_float, unsigned, float)
CUSIM_CAST(__int_as_float, int, float)
CUSIM_CAST(__double_as_longlong, double, long long)
CUSIM_CAST(__longlong_as_double, long long, double)

// ---------------------------------------------------------------------------------------------
// Mathematics: the host's library under CUDA's names

extern "C" {
#define CUSIM_M1(name) float name##f(float) noexcept; double name(double) noexcept;
#define CUSIM_M2(name) float name##f(float, float) noexcept; double name(double, double) noexcept;
CUSIM_M1(sqrt) CUSIM_M1(cbrt) CUSIM_M1(exp) CUSIM_M1(exp2) CUSIM_M1(expm1) CUSIM_M1(log)
CUSIM_M1(log2) CUSIM_M1(log10) CUSIM_M1(log1p) CUSIM_M1(sin) CUSIM_M1(cos) CUSIM_M1(tan)
CUSIM_M1(asin) CUSIM_M1(acos) CUSIM_M1(atan) CUSIM_M1(sinh) CUSIM_M1(cosh) CUSIM_M1(tanh)
CUSIM_M1(asinh) CUSIM_M1(acosh) CUSIM_M1(atanh) CUSIM_M1(erf) CUSIM_M1(erfc) CUSIM_M1(tgamma)
CUSIM_M1(lgamma) CUSIM_M1(floor) CUSIM_M1(ceil) CUSIM_M1(trunc) CUSIM_M1(round) CUSIM_M1(rint)
CUSIM_M1(nearbyint) CUSIM_M1(fabs)
CUSIM_M2(pow) CUSIM_M2(fmod) CUSIM_M2(remainder) CUSIM_M2(atan2) CUSIM_M2(hypot)
CUSIM_M2(fmin) CUSIM_M2(fmax) CUSIM_M2(copysign) CUSIM_M2(fdim) CUSIM_M2(nextafter)
float fmaf(float, float, float) noexcept;
double fma(double, double, double) noexcept;
float ldexpf(float, int) noexcept;
double ldexp(double, int) noexcept;
float frexpf(float, int *) noexcept;
double frexp(double, int *) noexcept;
float exp10f(float) noexcept;
double exp10(double) noexcept;
void sincosf(float, float *, float *) noexcept;
void sincos(double, double *, double *) noexcept;
int abs(int) noexcept;
long labs(long) noexcept;
long long llabs(long long) noexcept;
int printf(const char *, ...);
}
#define CUSIM_OVERLOAD1(name) CUSIM_INLINE float name(float x) { return name##f(x); }
#define CUSIM_OVERLOAD2(name)                                                                  \
  CUSIM_INLINE float name(float x, float y) { return name##f(x, y); }
CUSIM_OVERLOAD1(sqrt) CUSIM_OVERLOAD1(cbrt) CUSIM_OVERLOAD1(exp) CUSIM_OVERLOAD1(exp2)
CUSIM_OVERLOAD1(expm1) CUSIM_OVERLOAD1(log) CUSIM_OVERLOAD1(log2) CUSIM_OVERLOAD1(log10)
CUSIM_OVERLOAD1(log1p) CUSIM_OVERLOAD1(sin) CUSIM_OVERLOAD1(cos) CUSIM_OVERLOAD1(tan)
CUSIM_OVERLOAD1(asin) CUSIM_OVERLOAD1(acos) CUSIM_OVERLOAD1(atan) CUSIM_OVERLOAD1(sinh)
CUSIM_OVERLOAD1(cosh) CUSIM_OVERLOAD1(tanh) CUSIM_OVERLOAD1(erf) CUSIM_OVERLOAD1(erfc)
CUSIM_OVERLOAD1(floor) CUSIM_OVERLOAD1(ceil) CUSIM_OVERLOAD1(trunc) CUSIM_OVERLOAD1(round)
CUSIM_OVERLOAD1(rint) CUSIM_OVERLOAD1(fabs)
CUSIM_OVERLOAD2(pow) CUSIM_OVERLOAD2(fmod) CUSIM_OVERLOAD2(atan2) CUSIM_OVERLOAD2(hypot)
CUSIM_OVERLOAD2(fmin) CUSIM_OVERLOAD2(fmax) CUSIM_OVERLOAD2(copysign)
CUSIM_INLINE float fma(float a, float b, float c) { return fmaf(a, b, c); }
CUSIM_INLINE float pow(float x, int n) { return powf(x, (float)n); }
CUSIM_INLINE double pow(double x, int n) { return pow(x, (double)n); }
CUSIM_INLINE float abs(float x) { return fabsf(x); }
CUSIM_INLINE double abs(double x) { return fabs(x); }
CUSIM_INLINE long abs(long x) { return labs(x); }
CUSIM_INLINE long long abs(long long x) { return llabs(x); }
CUSIM_INLINE float rsqrtf(float x) { return 1.0f / sqrtf(x); }
CUSIM_INLINE double rsqrt(double x) { return 1.0 / sqrt(x); }
CUSIM_INLINE float rsqrt(float x) { return rsqrtf(x); }
CUSIM_INLINE float rcbrtf(float x) { return 1.0f / cbrtf(x); }
CUSIM_INLINE float sinpif(float x) { return (float)sin(x * 3.14159265358979323846); }
CUSIM_INLINE float cospif(float x) { return (float)cos(x * 3.14159265358979323846); }
CUSIM_INLINE double sinpi(double x) { return sin(x * 3.14159265358979323846); }
CUSIM_INLINE double cospi(double x) { return cos(x * 3.14159265358979323846); }
CUSIM_INLINE float saturate(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }
#define __saturatef saturate

// Approximate on a GPU; exact here.
CUSIM_INLINE float __expf(float x) { return expf(x); }
CUSIM_INLINE float __exp10f(float x) { return exp10f(x); }
CUSIM_INLINE float __logf(float x) { return logf(x); }
CUSIM_INLINE float __log2f(float x) { return log2f(x); }
CUSIM_INLINE float __log10f(float x) { return log10f(x); }
CUSIM_INLINE float __sinf(float x) { return sinf(x); }
CUSIM_INLINE float __cosf(float x) { return cosf(x); }
CUSIM_INLINE float __tanf(float x) { return tanf(x); }
CUSIM_INLINE float __powf(float x, float y) { return powf(x, y); }
CUSIM_INLINE float __fdividef(float x, float y) { return x / y; }
CUSIM_INLINE float fdividef(float x, float y) { return x / y; }

// Rounding to nearest, and never fused with what surrounds them.
#define CUSIM_UNFUSED(name, T, expression)                                                     \
  static __attribute__((noinline, unused, no_sanitize_thread)) T name(T a, T b) {              \
    return expression;                                                                         \
  }
CUSIM_UNFUSED(__fmul_rn, float, a * b)
CUSIM_UNFUSED(__fadd_rn, float, a + b)
CUSIM_UNFUSED(__fsub_rn, float, a - b)
CUSIM_UNFUSED(__dmul_rn, double, a * b)
CUSIM_UNFUSED(__dadd_rn, double, a + b)
CUSIM_UNFUSED(__dsub_rn, double, a - b)
CUSIM_INLINE float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
CUSIM_INLINE double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
CUSIM_INLINE float __fdiv_rn(float a, float b) { return a / b; }
CUSIM_INLINE float __frcp_rn(float a) { return 1.0f / a; }
CUSIM_INLINE float __fsqrt_rn(float a) { return sqrtf(a); }
CUSIM_INLINE float __frsqrt_rn(float a) { return 1.0f / sqrtf(a); }
CUSIM_INLINE double __ddiv_rn(double a, double b) { return a / b; }
CUSIM_INLINE double __drcp_rn(double a) { return 1.0 / a; }
CUSIM_INLINE double __dsqrt_rn(double a) { return sqrt(a); }

CUSIM_INLINE bool isnan(float x) { return __builtin_isnan(x); }
CUSIM_INLINE bool isnan(double x) { return __builtin_isnan(x); }
CUSIM_INLINE bool isinf(float x) { return __builtin_isinf(x); }
CUSIM_INLINE bool isinf(double x) { return __builtin_isinf(x); }
CUSIM_INLINE bool isfinite(float x) { return __builtin_isfinite(x); }
CUSIM_INLINE bool isfinite(double x) { return __builtin_isfinite(x); }
CUSIM_INLINE bool signbit(float x) { return __builtin_signbit(x); }
CUSIM_INLINE bool signbit(double x) { return __builtin_signbit(x); }
CUSIM_INLINE int __isnanf(float x) { return __builtin_isnan(x); }
CUSIM_INLINE int __isinff(float x) { return __builtin_isinf(x); }
CUSIM_INLINE int __finitef(float x) { return __builtin_isfinite(x); }
CUSIM_INLINE int __isnan(double x) { return __builtin_isnan(x); }
CUSIM_INLINE int __isinf(double x) { return __builtin_isinf(x); }

#define CUSIM_MINMAX(A, B, R)                                                                  \
  CUSIM_INLINE R min(A a, B b) { return (R)a < (R)b ? (R)a : (R)b; }                           \
  CUSIM_INLINE R max(A a, B b) { return (R)a > (R)b ? (R)a : (R)b; }
CUSIM_MINMAX(int, int, int)
CUSIM_MINMAX(unsigned, unsigned, unsigned)
CUSIM_MINMAX(int, unsigned, unsigned)
CUSIM_MINMAX(unsigned, int, unsigned)
CUSIM_MINMAX(long, long, long)
CUSIM_MINMAX(unsigned long, unsigned long, unsigned long)
CUSIM_MINMAX(long long, long long, long long)
CUSIM_MINMAX(unsigned long long, unsigned long long, unsigned long long)
CUSIM_INLINE float min(float a, float b) { return fminf(a, b); }
CUSIM_INLINE float max(float a, float b) { return fmaxf(a, b); }
CUSIM_INLINE double min(double a, double b) { return fmin(a, b); }
CUSIM_INLINE double max(double a, double b) { return fmax(a, b); }
CUSIM_INLINE double min(float a, double b) { return fmin((double)a, b); }
CUSIM_INLINE double max(float a, double b) { return fmax((double)a, b); }
CUSIM_INLINE double min(double a, float b) { return fmin(a, (double)b); }
CUSIM_INLINE double max(double a, float b) { return fmax(a, (double)b); }

// Conversions with a stated rounding.
CUSIM_INLINE int __float2int_rn(float x) { return (int)rintf(x); }
CUSIM_INLINE int __float2int_rz(float x) { return (int)x; }
CUSIM_INLINE int __float2int_rd(float x) { return (int)floorf(x); }
CUSIM_INLINE int __float2int_ru(float x) { return (int)ceilf(x); }
CUSIM_INLINE unsigned __float2uint_rn(float x) { return (unsigned)rintf(x); }
CUSIM_INLINE unsigned __float2uint_rz(float x) { return (unsigned)x; }
CUSIM_INLINE float __int2float_rn(int x) { return (float)x; }
CUSIM_INLINE float __uint2float_rn(unsigned x) { return (float)x; }
CUSIM_INLINE float __double2float_rn(double x) { return (float)x; }

// ---------------------------------------------------------------------------------------------
// The rest

#define CUDART_INF_F (__builtin_inff())
#define CUDART_NAN_F (__builtin_nanf(""))
#define CUDART_INF (__builtin_inf())
#define CUDART_NAN (__builtin_nan(""))
#define CUDART_MAX_NORMAL_F 3.402823466e38f
#define CUDART_PI_F 3.141592654f
#define CUDART_PI 3.1415926535897931e+0

CUSIM_INLINE long long clock64() { return (long long)__builtin_ia32_rdtsc(); }
CUSIM_INLINE clock_t clock() { return (clock_t)__builtin_ia32_rdtsc(); }
CUSIM_INLINE unsigned long long globaltimer() { return __builtin_ia32_rdtsc(); }
CUSIM_INLINE void __nanosleep(unsigned) {}
CUSIM_INLINE void __trap(CUSIM_HERE) { cusim_hooks.trap(1, "__trap()", file, line); }
CUSIM_INLINE void __brkpt() {}
CUSIM_INLINE void __prof_trigger(int) {}
#define __assume(x) (void)((x) ? 0 : (__builtin_unreachable(), 0))
#define __builtin_assume(x) __assume(x)
#ifdef NDEBUG
#define assert(x) ((void)0)
#else
#define assert(x) ((x) ? (void)0 : cusim_hooks.trap(0, "assert(" #x ")", __FILE__, __LINE__))
#endif

// Byte loops rather than library calls, so that check mode sees each access.
static inline __attribute__((unused)) void *memcpy(void *d, const void *s, size_t n) {
  for (size_t i = 0; i < n; ++i) ((char *)d)[i] = ((const char *)s)[i];
  return d;
}
static inline __attribute__((unused)) void *memset(void *d, int v, size_t n) {
  for (size_t i = 0; i < n; ++i) ((char *)d)[i] = (char)v;
  return d;
}

#ifdef CUSIM_CHECKED
// g++ -fsanitize=thread calls these before each access; libtsan is not linked.
extern "C" {
#define CUSIM_TSAN(n)                                                                          \
  CUSIM_HIDDEN __attribute__((no_sanitize_thread)) void __tsan_read##n(void *p) {              \
    cusim_hooks.access(p, n, 0, __builtin_return_address(0));                                  \
  }                                                                                            \
  CUSIM_HIDDEN __attribute__((no_sanitize_thread)) void __tsan_write##n(void *p) {             \
    cusim_hooks.access(p, n, CUSIM_WRITE, __builtin_return_address(0));                        \
  }
CUSIM_TSAN(1)
CUSIM_TSAN(2)
CUSIM_TSAN(4)
CUSIM_TSAN(8)
CUSIM_TSAN(16)
#define CUSIM_TSAN_ALIAS(name, n, flags)                                                       \
  CUSIM_HIDDEN __attribute__((no_sanitize_thread)) void __tsan_##name##n(void *p) {            \
    cusim_hooks.access(p, n, flags, __builtin_return_address(0));                              \
  }
#define CUSIM_TSAN_FAMILY(n)                                                                   \
  CUSIM_TSAN_ALIAS(unaligned_read, n, 0)                                                       \
  CUSIM_TSAN_ALIAS(unaligned_write, n, CUSIM_WRITE)                                            \
  CUSIM_TSAN_ALIAS(volatile_read, n, 0)                                                        \
  CUSIM_TSAN_ALIAS(volatile_write, n, CUSIM_WRITE)
CUSIM_TSAN_FAMILY(1)
CUSIM_TSAN_FAMILY(2)
CUSIM_TSAN_FAMILY(4)
CUSIM_TSAN_FAMILY(8)
CUSIM_TSAN_FAMILY(16)
CUSIM_HIDDEN __attribute__((no_sanitize_thread)) void __tsan_read_range(void *p, long n) {
  cusim_hooks.access(p, n, 0, __builtin_return_address(0));
}
CUSIM_HIDDEN __attribute__((no_sanitize_thread)) void __tsan_write_range(void *p, long n) {
  cusim_hooks.access(p, n, CUSIM_WRITE, __builtin_return_address(0));
}
// g++ -fsanitize=alignment calls this for an access that its type forbids, as a GPU does.
struct cusim_mismatch {
  const char *file;
  unsigned line, column;
  const void *type;
  unsigned char log_alignment, kind;
};
CUSIM_HIDDEN __attribute__((no_sanitize_thread, no_sanitize("alignment"))) void
__ubsan_handle_type_mismatch_v1(void *data, void *) {
  const cusim_mismatch *m = (const cusim_mismatch *)data;
  static const char *const texts[] = {"1", "2", "4", "8", "16", "32", "64", "128"};
  cusim_hooks.trap(2, texts[m->log_alignment & 7], m->file, (int)m->line);
}
CUSIM_HIDDEN void __tsan_init() {}
CUSIM_HIDDEN void __tsan_func_entry(void *) {}
CUSIM_HIDDEN void __tsan_func_exit(void *) {}
CUSIM_HIDDEN void __tsan_vptr_update(void *, void *) {}
CUSIM_HIDDEN void __tsan_vptr_read(void *) {}
}
#endif
