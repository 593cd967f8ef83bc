// Functions of one number, element by element, and their gradients: a family, one line for each.

#include "common.cuh"

// y = f(x).
//
// A thread owns WIDTH neighbouring elements. Moves 2 n elements; the FLOP are the formula's.
template <class F>
__device__ inline void map(unsigned n, const T *x, T *y, F f) {
  const unsigned i = first_of_pack();
  if (i >= n) return;
  Pack pack = load_pack(x, i, n);
#pragma unroll
  for (unsigned j = 0; j < WIDTH; ++j) pack.v[j] = f(pack.v[j]);
  store_pack(y, i, n, pack);
}

// grad_x = f(saved, grad_y).
//
// A thread owns WIDTH neighbouring elements. Moves 3 n elements, 4 n to accumulate, one n less where
// f needs nothing saved.
template <class F>
__device__ inline void map_backward(unsigned n, const T *saved, const T *grad_y, T *grad_x,
                                    int accumulate, F f) {
  const unsigned i = first_of_pack();
  if (i >= n) return;
  const Pack known = load_pack(saved, i, n);
  Pack gradient = load_pack(grad_y, i, n);
#pragma unroll
  for (unsigned j = 0; j < WIDTH; ++j) gradient.v[j] = f(known.v[j], gradient.v[j]);
  store_pack(grad_x, i, n, gradient, accumulate);
}

// A function's two kernels. `value` is in terms of x and the parameters a and b. `gradient` is in
// terms of them, of the gradient dy, and of s, which is x or y as the table in src/ops/unary/mod.rs
// says.
#define UNARY(name, value, gradient)                                                               \
  extern "C" __global__ void name##_forward(unsigned n, T a, T b,                                  \
                                            const T *__restrict__ x_, /* [n] */                    \
                                            T *__restrict__ y) {      /* [n] */                    \
    map(n, x_, y, [=](T x) { return value; });                                                     \
  }                                                                                                \
  extern "C" __global__ void name##_backward(unsigned n, T a, T b,                                 \
                                             const T *__restrict__ saved,  /* [n] */               \
                                             const T *__restrict__ grad_y, /* [n] */               \
                                             T *__restrict__ grad_x,       /* [n] */               \
                                             int accumulate) {                                     \
    map_backward(n, saved, grad_y, grad_x, accumulate, [=](T s, T dy) { return gradient; });       \
  }

// 1 / (1 + e^-x).
__device__ inline T logistic(T x) { return T(1) / (T(1) + exp(-x)); }

// log(1 + e^x).
__device__ inline T soft(T x) { return log1p(exp(x)); }

// The share of a normal distribution that is below x, and its density there.
__device__ inline T normal_below(T x) { return T(0.5) * (T(1) + erf(x * T(0.7071067811865476))); }
__device__ inline T normal_at(T x) { return exp(T(-0.5) * x * x) * T(0.3989422804014327); }

// What gelu_tanh takes the tangent of: sqrt(2 / pi) (x + 0.044715 x^3), and its derivative.
__device__ inline T bent(T x) { return T(0.7978845608028654) * (x + T(0.044715) * x * x * x); }
__device__ inline T bent_slope(T x) { return T(0.7978845608028654) * (T(1) + T(0.134145) * x * x); }
__device__ inline T gelu_tanh_slope(T x) {
  const T t = tanh(bent(x));
  return T(0.5) * (T(1) + t) + T(0.5) * x * (T(1) - t * t) * bent_slope(x);
}

__device__ inline T silu_slope(T x) {
  const T share = logistic(x);
  return share * (T(1) + x * (T(1) - share));
}

// logistic, of straight lines.
__device__ inline T hard_share(T x) {
  return x <= -3 ? T(0) : x >= 3 ? T(1) : x / 6 + T(0.5);
}

__device__ inline T hardswish_slope(T x) {
  return x <= -3 ? T(0) : x >= 3 ? T(1) : x / 3 + T(0.5);
}

// x between bounds, of which one that is NaN is none.
__device__ inline T clamped(T x, T min, T max) {
  const T above = x < min ? min : x;
  return above > max ? max : above;
}

// Comparisons are false for NaN. They stand such that a NaN gives what PyTorch gives.
UNARY(neg, -x, -dy)
UNARY(abs, fabs(x), s > 0 ? dy : s < 0 ? -dy : dy * 0)
UNARY(exp, exp(x), dy * s)
UNARY(expm1, expm1(x), dy * (s + 1))
UNARY(log, log(x), dy / s)
UNARY(log1p, log1p(x), dy / (s + 1))
UNARY(sqrt, sqrt(x), dy / (2 * s))
UNARY(rsqrt, T(1) / sqrt(x), T(-0.5) * dy * s * s * s)
UNARY(square, x * x, 2 * s * dy)
UNARY(reciprocal, T(1) / x, -dy * s * s)
UNARY(pow, pow(x, a), a == 0 ? T(0) : dy * a * pow(s, a - 1))
UNARY(sin, sin(x), dy * cos(s))
UNARY(cos, cos(x), -dy * sin(s))
UNARY(floor, floor(x), T(0))
UNARY(ceil, ceil(x), T(0))
UNARY(round, rint(x), T(0))
UNARY(trunc, trunc(x), T(0))
UNARY(erf, erf(x), dy * T(1.1283791670955126) * exp(-s * s))
UNARY(add_scalar, x + a, dy)
UNARY(mul_scalar, x * a, dy * a)
UNARY(clamp, clamped(x, a, b), s <= a || s >= b || s != s ? T(0) : dy)
UNARY(relu, x <= 0 ? T(0) : x, s <= 0 ? T(0) : dy)
UNARY(leaky_relu, x > 0 ? x : x * a, s > 0 ? dy : dy * a)
UNARY(elu, x > 0 ? x : a * expm1(x), s > 0 ? dy : dy * a * exp(s))
UNARY(sigmoid, logistic(x), dy * (1 - s) * s)
UNARY(logsigmoid, fmin(x, T(0)) - soft(-fabs(x)), dy * logistic(-s))
UNARY(tanh, tanh(x), dy * (1 - s * s))
UNARY(gelu, x * normal_below(x), dy * (normal_below(s) + s * normal_at(s)))
UNARY(gelu_tanh, T(0.5) * x * (T(1) + tanh(bent(x))), dy * gelu_tanh_slope(s))
UNARY(silu, x * logistic(x), dy * silu_slope(s))
UNARY(softplus, x * a > b ? x : soft(x * a) / a, s * a > b ? dy : dy * logistic(s * a))
UNARY(hardsigmoid, hard_share(x), s > -3 && s < 3 ? dy / 6 : T(0))
UNARY(hardswish, x * hard_share(x), dy * hardswish_slope(s))
