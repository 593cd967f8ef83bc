// Stochastic gradient descent over a flat buffer.

#include "common.cuh"

// src/ops/sgd/mod.rs.
struct SgdStep {
  double lr;
  double momentum;
  double dampening;
  double weight_decay;
  unsigned nesterov;
  unsigned first;
};

// With g = gradient + weight_decay * p: without a velocity p -= lr g; with one
// b = momentum b + (1 - dampening) g, or b = g on the first step, and p -= lr b, or
// p -= lr (g + momentum b) for nesterov.
//
// A thread owns WIDTH neighbouring elements. Moves 3 n elements, 5 n with a velocity.
extern "C" __global__ void sgd(SgdStep step, unsigned n,
                               T *__restrict__ parameters,      // [n]
                               const T *__restrict__ gradients, // [n]
                               T *__restrict__ velocity) {      // [n] or null
  const unsigned i = first_of_pack();
  if (i >= n) return;
  const T lr = (T)step.lr, momentum = (T)step.momentum, decay = (T)step.weight_decay;
  const T rate = (T)(1.0 - step.dampening);
  Pack p = load_pack(parameters, i, n), g = load_pack(gradients, i, n), b = Pack();
  if (velocity && !step.first) b = load_pack(velocity, i, n);
#pragma unroll
  for (unsigned j = 0; j < WIDTH; ++j) {
    g.v[j] += decay * p.v[j];
    if (!velocity) {
      p.v[j] -= lr * g.v[j];
      continue;
    }
    b.v[j] = step.first ? g.v[j] : momentum * b.v[j] + rate * g.v[j];
    p.v[j] -= lr * (step.nesterov ? g.v[j] + momentum * b.v[j] : b.v[j]);
  }
  store_pack(parameters, i, n, p);
  if (velocity) store_pack(velocity, i, n, b);
}
