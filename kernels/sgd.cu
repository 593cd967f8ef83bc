// Stochastic gradient descent over a flat buffer.

#include "common.cuh"

// src/ops/sgd/mod.rs.
struct SgdStep {
  double momentum;
  double dampening;
  double weight_decay;
  unsigned long long nesterov;
};

// With g = gradient + weight_decay * p: without a velocity p -= lr g; with one
// b = momentum b + (1 - dampening) g, or b = g on the first step, where *steps is 0, and p -= lr b,
// or p -= lr (g + momentum b) for nesterov. Then, if is_last, *steps grows by 1.
//
// A thread owns WIDTH neighbouring elements. Moves 3 n elements, 5 n with a velocity. The last block
// to end writes the step, when all have read it.
extern "C" __global__ void sgd(SgdStep step, unsigned n,
                               const double *__restrict__ lr,   // [1]
                               unsigned long long *steps,       // [1]
                               int is_last,
                               unsigned *counter,               // [1]
                               T *__restrict__ parameters,      // [n]
                               const T *__restrict__ gradients, // [n]
                               T *__restrict__ velocity) {      // [n] or null
  const unsigned long long made = *steps;
  const bool is_first = made == 0;
  const T rate = (T)*lr, momentum = (T)step.momentum, decay = (T)step.weight_decay;
  const T share = (T)(1.0 - step.dampening);
  const unsigned i = first_of_pack();
  if (i < n) {
    Pack p = load_pack(parameters, i, n), g = load_pack(gradients, i, n), b = Pack();
    if (velocity && !is_first) b = load_pack(velocity, i, n);
#pragma unroll
    for (unsigned j = 0; j < WIDTH; ++j) {
      g.v[j] += decay * p.v[j];
      if (!velocity) {
        p.v[j] -= rate * g.v[j];
        continue;
      }
      b.v[j] = is_first ? g.v[j] : momentum * b.v[j] + share * g.v[j];
      p.v[j] -= rate * (step.nesterov ? g.v[j] + momentum * b.v[j] : b.v[j]);
    }
    store_pack(parameters, i, n, p);
    if (velocity) store_pack(velocity, i, n, b);
  }
  if (is_last && is_last_block(counter, gridDim.x) && threadIdx.x == 0) *steps = made + 1;
}
