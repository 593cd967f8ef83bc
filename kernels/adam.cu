// Adam and AdamW over a flat buffer: all parameters of a network in one launch.

#include "common.cuh"

// src/ops/adam/mod.rs.
struct AdamStep {
  double beta1;
  double beta2;
  double eps;
  double weight_decay;
  unsigned long long decoupled;
};

// Moments below the smallest normal number: slow on CPUs, and kept alike here for like results.
__device__ inline T flush(T x) { return fabs(x) < SMALLEST_NORMAL ? T(0) : x; }

// With g = gradient (+ weight_decay * p unless decoupled): m += (1 - beta1) (g - m),
// v = beta2 v + (1 - beta2) g^2, p = p (1 - lr weight_decay if decoupled)
// - lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps) in step t = *steps + 1; with
// max_exp_avg_sq the largest v so far takes the place of v. Then, if is_last, *steps = t.
//
// A thread owns WIDTH neighbouring elements. Moves 7 n elements, 9 n with max_exp_avg_sq, for
// about 12 FLOP each. The last block to end writes the step, when all have read it.
extern "C" __global__ void adam(AdamStep step, unsigned n,
                                const double *__restrict__ lr,    // [1]
                                unsigned long long *steps,        // [1]
                                int is_last,
                                unsigned *counter,                // [1]
                                T *__restrict__ parameters,       // [n]
                                const T *__restrict__ gradients,  // [n]
                                T *__restrict__ exp_avg,          // [n]
                                T *__restrict__ exp_avg_sq,       // [n]
                                T *__restrict__ max_exp_avg_sq) { // [n] or null
  // The scalars are taken in double, as the CPU takes them, by two threads, one for each power: many
  // GPUs are slow in double.
  __shared__ T shrink, decay, step_size, correction2;
  __shared__ unsigned long long t;
  if (threadIdx.x == 0) {
    t = *steps + 1;
    shrink = (T)(step.decoupled ? 1.0 - *lr * step.weight_decay : 1.0);
    decay = (T)(step.decoupled ? 0.0 : step.weight_decay);
    step_size = (T)(*lr / (1.0 - pow(step.beta1, (double)t)));
  } else if (threadIdx.x == 32) {
    correction2 = (T)sqrt(1.0 - pow(step.beta2, (double)(*steps + 1)));
  }
  __syncthreads();
  const T rate1 = (T)(1.0 - step.beta1), rate2 = (T)(1.0 - step.beta2), beta2 = (T)step.beta2;
  const T eps = (T)step.eps;

  const unsigned i = first_of_pack();
  if (i < n) {
    Pack p = load_pack(parameters, i, n), m = load_pack(exp_avg, i, n);
    Pack v = load_pack(exp_avg_sq, i, n);
    const Pack gradient = load_pack(gradients, i, n);
    Pack second = v;
    if (max_exp_avg_sq) second = load_pack(max_exp_avg_sq, i, n);
#pragma unroll
    for (unsigned j = 0; j < WIDTH; ++j) {
      const T g = gradient.v[j] + decay * p.v[j];
      m.v[j] = flush(m.v[j] + rate1 * (g - m.v[j]));
      v.v[j] = flush(beta2 * v.v[j] + rate2 * g * g);
      // Not max(): a NaN must not vanish.
      if (!max_exp_avg_sq || v.v[j] > second.v[j] || isnan(v.v[j])) second.v[j] = v.v[j];
      const T update = m.v[j] / (sqrt(second.v[j]) / correction2 + eps);
      p.v[j] = p.v[j] * shrink - step_size * update;
    }
    store_pack(parameters, i, n, p);
    store_pack(exp_avg, i, n, m);
    store_pack(exp_avg_sq, i, n, v);
    if (max_exp_avg_sq) store_pack(max_exp_avg_sq, i, n, second);
  }
  if (is_last && is_last_block(counter, gridDim.x) && threadIdx.x == 0) *steps = t;
}
