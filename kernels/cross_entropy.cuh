// Softmax and cross-entropy of one row of logits.

#pragma once

#include "common.cuh"
#include "softmax.cuh"

// src/ops/cross_entropy/mod.rs.
struct CrossEntropyGeometry {
  unsigned batch;
  unsigned classes;
  int ignore_index;
  unsigned mean;
  double label_smoothing;
};

// What some rows contribute.
struct Loss {
  double loss;
  long long correct; // rows whose largest logit is the target's

  __device__ Loss &operator+=(const Loss &other) {
    loss += other.loss;
    correct += other.correct;
    return *this;
  }
};

__device__ inline Loss shuffle(const Loss &loss, int distance) {
  return {shuffle(loss.loss, distance), shuffle(loss.correct, distance)};
}

// Writes scale * (softmax - q) of one row of logits; returns its loss, and whether its largest
// logit is the target's, in every lane. A warp's work; the gradient may take the place of the
// logits.
__device__ inline double row_loss(const CrossEntropyGeometry &g, const T *logits, unsigned target,
                                  T scale, T *gradient, bool *hit) {
  const unsigned lane = threadIdx.x % 32;
  const Candidate best = largest_of_row(logits, g.classes);
  *hit = best.index == target;
  const T at_target = logits[target] - best.logit;

  const T sum = sum_of_exponentials(logits, g.classes, best.logit);
  // A class costs log_sum - (logit - maximum), never (log_sum + maximum) - logit: that would round
  // the sum away at a large maximum.
  const T log_sum = log(sum);

  // Every lane has read the target's logit (shuffles order no memory); from here on each writes where
  // it alone reads.
  __syncwarp();

  // Exponentials are taken again rather than kept: most networks have few classes.
  const T smoothing = (T)g.label_smoothing, spread = smoothing / (T)g.classes;
  double spread_loss = 0;
  for (unsigned i = lane; i < g.classes; i += 32) {
    const T q = i == target ? T(1) - smoothing + spread : spread;
    const T logit = logits[i] - best.logit;
    gradient[i] = scale * (exp(logit) / sum - q);
    if (smoothing > 0) spread_loss += spread * (log_sum - logit);
  }
  return (T(1) - smoothing) * (log_sum - at_target) + warp_sum(spread_loss);
}
