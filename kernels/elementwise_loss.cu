// Losses of single elements: what a number costs that should be another, and the slopes of that. A
// member is its line in `value` and its line in `slopes`.

#include "common.cuh"

// src/ops/elementwise_loss/mod.rs, in the same order.
enum Kind { MSE, L1, SMOOTH_L1, HUBER, BCE_WITH_LOGITS };

// A factor that repeats: element i has factor i / inner % count.
struct Repeat {
  unsigned count;
  unsigned inner;
};

struct LossGeometry {
  unsigned n;
  unsigned kind;
  Repeat weight;
  Repeat pos_weight;
  double parameter; // beta of SMOOTH_L1, delta of HUBER
};

__device__ inline T sign(T x) { return x > 0 ? T(1) : x < 0 ? T(-1) : T(0); }
// log(1 + exp(-x)), without an overflow.
__device__ inline T softplus_of_minus(T x) {
  return log1p(exp(-fabs(x))) + (x < 0 ? -x : T(0));
}
__device__ inline T sigmoid(T x) { return T(1) / (T(1) + exp(-x)); }

// x: the input, t: the target, p: the weight of a positive target.
__device__ inline T value(const LossGeometry &g, T x, T t, T p) {
  const T d = x - t, size = fabs(d), c = (T)g.parameter;
  switch (g.kind) {
  case MSE: return d * d;
  case L1: return size;
  case SMOOTH_L1: return size < c ? T(0.5) * d * d / c : size - T(0.5) * c;
  case HUBER: return size <= c ? T(0.5) * d * d : c * (size - T(0.5) * c);
  default: return (T(1) - t) * x + ((p - T(1)) * t + T(1)) * softplus_of_minus(x);
  }
}

// By the input and by the target.
struct Slopes {
  T input, target;
};

__device__ inline Slopes of_difference(T slope) { return {slope, -slope}; }

__device__ inline Slopes slopes(const LossGeometry &g, T x, T t, T p) {
  const T d = x - t, size = fabs(d), c = (T)g.parameter;
  switch (g.kind) {
  case MSE: return of_difference(T(2) * d);
  case L1: return of_difference(sign(d));
  case SMOOTH_L1: return of_difference(size >= c ? sign(d) : d / c);
  case HUBER: return of_difference(size >= c ? c * sign(d) : d);
  default:
    return {((p - T(1)) * t + T(1)) * sigmoid(x) - p * t,
            p * softplus_of_minus(x) - softplus_of_minus(-x)};
  }
}

__device__ inline T factor(const T *factors, const Repeat &repeat, unsigned i) {
  return factors ? factors[i / repeat.inner % repeat.count] : T(1);
}

// losses = weight * value(input, target).
//
// A thread owns WIDTH neighbouring elements. Moves 3 n elements, and the factors.
extern "C" __global__ void __launch_bounds__(THREADS)
    elementwise_loss_forward(LossGeometry g,
                             const T *__restrict__ input,      // [n]
                             const T *__restrict__ target,     // [n]
                             const T *__restrict__ weight,     // [g.weight.count] or null
                             const T *__restrict__ pos_weight, // [g.pos_weight.count] or null
                             T *__restrict__ losses) {         // [n]
  const unsigned i = first_of_pack();
  if (i >= g.n) return;
  Pack x = load_pack(input, i, g.n);
  const Pack t = load_pack(target, i, g.n);
#pragma unroll
  for (unsigned j = 0; j < WIDTH; ++j) {
    const T p = factor(pos_weight, g.pos_weight, i + j);
    x.v[j] = factor(weight, g.weight, i + j) * value(g, x.v[j], t.v[j], p);
  }
  store_pack(losses, i, g.n, x);
}

// grad_input = gradient * scale * weight * slope, and the same for the target.
//
// A thread owns WIDTH neighbouring elements. Moves 2 n elements and one for each gradient, two to
// accumulate, and the factors.
extern "C" __global__ void __launch_bounds__(THREADS)
    elementwise_loss_backward(LossGeometry g, unsigned one_gradient, T scale,
                              const T *__restrict__ input,      // [n]
                              const T *__restrict__ target,     // [n]
                              const T *__restrict__ weight,     // [g.weight.count] or null
                              const T *__restrict__ pos_weight, // [g.pos_weight.count] or null
                              const T *__restrict__ gradient,   // [1] or [n]
                              T *__restrict__ grad_input,       // [n] or null
                              int accumulate_input,
                              T *__restrict__ grad_target,      // [n] or null
                              int accumulate_target) {
  const unsigned i = first_of_pack();
  if (i >= g.n) return;
  Pack x = load_pack(input, i, g.n), t = load_pack(target, i, g.n), upstream;
  if (!one_gradient) upstream = load_pack(gradient, i, g.n);
#pragma unroll
  for (unsigned j = 0; j < WIDTH; ++j) {
    const T p = factor(pos_weight, g.pos_weight, i + j);
    const T above = (one_gradient ? gradient[0] : upstream.v[j]) * scale;
    const T times = above * factor(weight, g.weight, i + j);
    const Slopes slope = slopes(g, x.v[j], t.v[j], p);
    x.v[j] = times * slope.input;
    t.v[j] = times * slope.target;
  }
  if (grad_input) store_pack(grad_input, i, g.n, x, accumulate_input);
  if (grad_target) store_pack(grad_target, i, g.n, t, accumulate_target);
}
