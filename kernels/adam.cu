// Adam and AdamW over flat buffers: all parameters of a network in one launch.

#include "common.cuh"
#include "update.cuh"

// src/ops/adam/mod.rs.
struct AdamGroup {
  double lr;
  double beta1;
  double beta2;
  double eps;
  double weight_decay;
  double decoupled;
  double amsgrad;
  double maximize;
};

// Moments below the smallest normal number: slow on CPUs, and kept alike here for like results.
__device__ inline T flush(T x) { return fabs(x) < SMALLEST_NORMAL ? T(0) : x; }

// By the options of the tile's group, with g = gradient, or -gradient to maximize (+ weight_decay * p
// unless decoupled):
// m += (1 - beta1) (g - m), v = beta2 v + (1 - beta2) g^2, p = p (1 - lr weight_decay if decoupled)
// - lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps) in the parameter's step t, one more
// than it has made; with amsgrad the largest v so far, in max_exp_avg_sq, takes the place of v. Then
// the parameters first .. end have made one step more.
//
// A block owns a tile, a thread of it WIDTH neighbouring elements. Moves 7 n elements, 9 n with
// max_exp_avg_sq, for about 12 FLOP each. The last block to end counts the steps, when all have read
// them.
extern "C" __global__ void adam(const UpdateTile *__restrict__ tiles, // [blocks]
                                const AdamGroup *__restrict__ groups, // [groups]
                                unsigned long long *steps,            // [parameters]
                                unsigned first, unsigned end,
                                unsigned *counter,                    // [1]
                                T *__restrict__ parameters,           // [n]
                                const T *__restrict__ gradients,      // [n]
                                T *__restrict__ exp_avg,              // [n]
                                T *__restrict__ exp_avg_sq,           // [n]
                                T *__restrict__ max_exp_avg_sq) {     // [n] or null
  const UpdateTile tile = tiles[blockIdx.x];
  const AdamGroup *const group = groups + tile.group;
  const bool amsgrad = max_exp_avg_sq && group->amsgrad != 0, maximize = group->maximize != 0;
  // The scalars are taken in double, as the CPU takes them, by two threads, one for each power: many
  // GPUs are slow in double.
  __shared__ T shrink, decay, rate1, step_size, beta2, rate2, correction2, eps;
  if (threadIdx.x == 0) {
    const double t = (double)(steps[tile.parameter] + 1);
    shrink = (T)(group->decoupled != 0 ? 1.0 - group->lr * group->weight_decay : 1.0);
    decay = (T)(group->decoupled != 0 ? 0.0 : group->weight_decay);
    rate1 = (T)(1.0 - group->beta1);
    step_size = (T)(group->lr / (1.0 - pow(group->beta1, t)));
  } else if (threadIdx.x == 32) {
    const double t = (double)(steps[tile.parameter] + 1);
    beta2 = (T)group->beta2;
    rate2 = (T)(1.0 - group->beta2);
    correction2 = (T)sqrt(1.0 - pow(group->beta2, t));
    eps = (T)group->eps;
  }
  __syncthreads();

  // From the tile's first element on: packs are aligned alike there, and take fewer registers.
  parameters += tile.start;
  gradients += tile.start;
  exp_avg += tile.start;
  exp_avg_sq += tile.start;
  if (amsgrad) max_exp_avg_sq += tile.start;
  const unsigned i = WIDTH * threadIdx.x, n = tile.end - tile.start;
  if (i < n) {
    Pack p = load_pack(parameters, i, n), m = load_pack(exp_avg, i, n);
    Pack v = load_pack(exp_avg_sq, i, n);
    const Pack gradient = load_pack(gradients, i, n);
    Pack second = v;
    if (amsgrad) second = load_pack(max_exp_avg_sq, i, n);
#pragma unroll
    for (unsigned j = 0; j < WIDTH; ++j) {
      const T g = (maximize ? -gradient.v[j] : gradient.v[j]) + decay * p.v[j];
      m.v[j] = flush(m.v[j] + rate1 * (g - m.v[j]));
      v.v[j] = flush(beta2 * v.v[j] + rate2 * g * g);
      // Not max(): a NaN must not vanish.
      if (!amsgrad || v.v[j] > second.v[j] || isnan(v.v[j])) second.v[j] = v.v[j];
      const T update = m.v[j] / (sqrt(second.v[j]) / correction2 + eps);
      p.v[j] = p.v[j] * shrink - step_size * update;
    }
    store_pack(parameters, i, n, p);
    store_pack(exp_avg, i, n, m);
    store_pack(exp_avg_sq, i, n, v);
    if (amsgrad) store_pack(max_exp_avg_sq, i, n, second);
  }
  count_steps(steps, first, end, counter);
}
