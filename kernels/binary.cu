// Functions of two numbers, element by element with NumPy's broadcasting, and their gradients: a family,
// one line for each; comparisons; the choice by a mask. And what gradients of broadcast operands need.

#include "common.cuh"

// How the elements of up to three operands meet: src/ops/binary/geometry.rs.
struct Broadcast {
  unsigned n;                    // elements of the result
  unsigned repeats;              // 1: the operands repeat without end; 0: sizes and strides say
  unsigned repeat[3];            // elements of each operand
  unsigned rank;                 // dimensions, merged where they may be
  unsigned sizes[MAX_DIMS];      // of the result
  unsigned strides[3][MAX_DIMS]; // of each operand; 0 along which it is repeated
};

// The places of each operand's element for element i of the result. A division for each dimension to
// start, none for the elements behind it in a row.
struct Walk {
  unsigned at[3], inside, size, steps[3];

  __device__ Walk(const Broadcast &g, unsigned i) : size(innermost(g.sizes, g.rank)) {
#pragma unroll
    for (unsigned k = 0; k < 3; ++k) steps[k] = innermost(g.strides[k], g.rank);
    find(g, i);
  }

  __device__ void find(const Broadcast &g, unsigned i) {
    at[0] = at[1] = at[2] = 0;
    inside = i % size;
#pragma unroll
    for (unsigned d = MAX_DIMS; d-- > 0;) {
      if (d >= g.rank) continue;
      const unsigned along = i % g.sizes[d];
      i /= g.sizes[d];
#pragma unroll
      for (unsigned k = 0; k < 3; ++k) at[k] += along * g.strides[k][d];
    }
  }

  // Moves on to element i, the next.
  __device__ void next(const Broadcast &g, unsigned i) {
    if (++inside == size) return find(g, i);
#pragma unroll
    for (unsigned k = 0; k < 3; ++k) at[k] += steps[k];
  }
};

// WIDTH elements of a mask.
struct __align__(WIDTH) Bytes {
  unsigned char v[WIDTH];
};

__device__ inline Bytes load_pack_repeated(const unsigned char *y, unsigned i, unsigned n) {
  Bytes bytes;
#pragma unroll
  for (unsigned j = 0; j < WIDTH; ++j) bytes.v[j] = y[(i + j) % n];
  return bytes;
}

__device__ inline void store_pack(unsigned char *y, unsigned i, unsigned n, Bytes bytes) {
  if (i + WIDTH <= n && ((size_t)(y + i) & (WIDTH - 1)) == 0) {
    *(Bytes *)(y + i) = bytes;
    return;
  }
#pragma unroll
  for (unsigned j = 0; j < WIDTH; ++j) {
    if (i + j < n) y[i + j] = bytes.v[j];
  }
}

// In place of an operand that a function has not.
struct Nothing {
  int v[WIDTH];
  __device__ int operator[](unsigned) const { return 0; }
};
__device__ inline Nothing load_pack_repeated(const Nothing &nothing, unsigned, unsigned) {
  return nothing;
}

// f(a, b, c) for elements i .. i + WIDTH of the result.
template <class R, class C, class F>
__device__ inline R combine(const Broadcast &g, unsigned i, const T *a, const T *b, C c, F f) {
  R result;
  if (g.repeats) {
    const Pack x = load_pack_repeated(a, i, g.repeat[0]);
    const Pack y = load_pack_repeated(b, i, g.repeat[1]);
    const auto z = load_pack_repeated(c, i, g.repeat[2]);
#pragma unroll
    for (unsigned j = 0; j < WIDTH; ++j) result.v[j] = f(x.v[j], y.v[j], z.v[j]);
  } else {
    Walk walk(g, i);
#pragma unroll
    for (unsigned j = 0; j < WIDTH; ++j) {
      if (i + j >= g.n) break;
      result.v[j] = f(a[walk.at[0]], b[walk.at[1]], c[walk.at[2]]);
      walk.next(g, i + j + 1);
    }
  }
  return result;
}

// y = f(a, b).
//
// A thread owns WIDTH neighbouring elements of the result. Reads both operands, writes n elements.
#define BINARY(name, value)                                                                        \
  extern "C" __global__ void name##_forward(Broadcast g, const T *__restrict__ a_, /* [..] */      \
                                            const T *__restrict__ b_,              /* [..] */      \
                                            T *__restrict__ y) {                   /* [n] */       \
    const unsigned i = first_of_pack();                                                            \
    if (i >= g.n) return;                                                                          \
    const auto f = [](T a, T b, int) { return value; };                                            \
    store_pack(y, i, g.n, combine<Pack>(g, i, a_, b_, Nothing(), f));                              \
  }

// What grad_y is for an element of one operand, before the sum over where it was repeated: the gradient
// by a, or by b, in terms of a, b and the gradient dy.
//
// A thread owns WIDTH neighbouring elements of the result. Reads grad_y and what the line names, writes
// n elements, and reads them to accumulate.
#define SLOPE(name, gradient)                                                                      \
  extern "C" __global__ void name(Broadcast g, const T *__restrict__ a_,   /* [..] */              \
                                  const T *__restrict__ b_,                /* [..] */              \
                                  const T *__restrict__ grad_y,            /* [n] */               \
                                  T *__restrict__ grad,                    /* [n] */               \
                                  int accumulate) {                                                \
    const unsigned i = first_of_pack();                                                            \
    if (i >= g.n) return;                                                                          \
    const auto f = [](T a, T b, T dy) { return gradient; };                                        \
    store_pack(grad, i, g.n, combine<Pack>(g, i, a_, b_, grad_y, f), accumulate);                  \
  }
#define SLOPES(name, by_a, by_b) SLOPE(name##_by_a, by_a) SLOPE(name##_by_b, by_b)

// y = 1 where it is true of a and b, else 0.
//
// A thread owns WIDTH neighbouring elements of the result. Reads both operands, writes n bytes.
#define COMPARISON(name, condition)                                                                \
  extern "C" __global__ void name##_forward(Broadcast g, const T *__restrict__ a_, /* [..] */      \
                                            const T *__restrict__ b_,              /* [..] */      \
                                            unsigned char *__restrict__ y) {       /* [n] */       \
    const unsigned i = first_of_pack();                                                            \
    if (i >= g.n) return;                                                                          \
    const auto f = [](T a, T b, int) { return (unsigned char)(condition); };                       \
    store_pack(y, i, g.n, combine<Bytes>(g, i, a_, b_, Nothing(), f));                             \
  }

// NaN with anything is NaN.
__device__ inline T larger(T a, T b) { return a > b || isnan(a) ? a : b; }
__device__ inline T smaller(T a, T b) { return a < b || isnan(a) ? a : b; }

BINARY(add, a + b)
BINARY(sub, a - b)
BINARY(mul, a * b)
SLOPES(mul, dy * b, dy * a)
BINARY(div, a / b)
SLOPES(div, dy / b, -dy * (a / b) / b)
// Where the exponent is 0, so is the gradient by the base, of NaN and infinity too. At a base of 0, whose
// logarithm is infinite, a power of 0 stays 0 for larger exponents.
BINARY(pow_tensor, pow(a, b))
SLOPES(pow_tensor, b == 0 ? T(0) : dy * (b * pow(a, b - 1)),
       a == 0 && b >= 0 ? T(0) : dy * (pow(a, b) * log(a)))
// Equal ones share the gradient.
BINARY(maximum, larger(a, b))
SLOPES(maximum, a < b ? T(0) : a == b ? dy / 2 : dy, a > b ? T(0) : a == b ? dy / 2 : dy)
BINARY(minimum, smaller(a, b))
SLOPES(minimum, a > b ? T(0) : a == b ? dy / 2 : dy, a < b ? T(0) : a == b ? dy / 2 : dy)
COMPARISON(eq, a == b)
COMPARISON(ne, a != b)
COMPARISON(lt, a < b)
COMPARISON(le, a <= b)
COMPARISON(gt, a > b)
COMPARISON(ge, a >= b)

// y = mask ? a : b.
//
// A thread owns WIDTH neighbouring elements of the result. Reads the operands, writes n elements.
extern "C" __global__ void where_forward(Broadcast g, const unsigned char *__restrict__ mask, // [..]
                                         const T *__restrict__ a,                             // [..]
                                         const T *__restrict__ b,                             // [..]
                                         T *__restrict__ y) {                                 // [n]
  const unsigned i = first_of_pack();
  if (i >= g.n) return;
  const auto f = [](T a, T b, unsigned char is_a) { return is_a ? a : b; };
  store_pack(y, i, g.n, combine<Pack>(g, i, a, b, mask, f));
}

// grad = grad_y where whether the mask is set is `set`, else 0.
//
// A thread owns WIDTH neighbouring elements of the result. Reads mask and grad_y, writes n elements, and
// reads them to accumulate.
extern "C" __global__ void where_backward(Broadcast g, unsigned set,
                                          const unsigned char *__restrict__ mask, // [..]
                                          const T *__restrict__ grad_y,           // [n]
                                          T *__restrict__ grad,                   // [n]
                                          int accumulate) {
  const unsigned i = first_of_pack();
  if (i >= g.n) return;
  const auto f = [=](T dy, T, unsigned char is_a) { return (is_a != 0) == set ? dy : T(0); };
  store_pack(grad, i, g.n, combine<Pack>(g, i, grad_y, grad_y, mask, f), accumulate);
}

// y = x, or y += x: a gradient that is passed on.
//
// A thread owns WIDTH neighbouring elements. Moves 2 n elements, 3 n to accumulate.
extern "C" __global__ void accumulate(unsigned n,
                                      const T *__restrict__ x, // [n]
                                      T *__restrict__ y,       // [n]
                                      int accumulate) {
  const unsigned i = first_of_pack();
  if (i < n) store_pack(y, i, n, load_pack(x, i, n), accumulate);
}
