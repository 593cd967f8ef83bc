// Stochastic gradient descent over flat buffers: all parameters of a network in one launch.

#include "common.cuh"
#include "update.cuh"

// src/ops/sgd/mod.rs.
struct SgdGroup {
  double lr;
  double momentum;
  double dampening;
  double weight_decay;
  double nesterov;
  double maximize;
};

// By the options of the tile's group, with g = gradient, or -gradient to maximize, + weight_decay * p:
// without momentum p -= lr g; with it b = momentum b + (1 - dampening) g, or b = g in the parameter's first step, where
// it has made none, and p -= lr b, or p -= lr (g + momentum b) for nesterov. Then the parameters
// first .. end have made one step more.
//
// A block owns a tile, a thread of it WIDTH neighbouring elements. Moves 3 n elements, 5 n with a
// velocity. The last block to end counts the steps, when all have read them.
extern "C" __global__ void sgd(const UpdateTile *__restrict__ tiles, // [blocks]
                               const SgdGroup *__restrict__ groups,  // [groups]
                               unsigned long long *steps,            // [parameters]
                               unsigned first, unsigned end,
                               unsigned *counter,                    // [1]
                               T *__restrict__ parameters,           // [n]
                               const T *__restrict__ gradients,      // [n]
                               T *__restrict__ velocity) {           // [n] or null
  const UpdateTile tile = tiles[blockIdx.x];
  const SgdGroup group = groups[tile.group];
  const bool is_first = steps[tile.parameter] == 0, has_velocity = velocity && group.momentum != 0;
  const T rate = (T)group.lr, momentum = (T)group.momentum, decay = (T)group.weight_decay;
  const T share = (T)(1.0 - group.dampening);
  // From the tile's first element on: packs are aligned alike there, and take fewer registers.
  parameters += tile.start;
  gradients += tile.start;
  if (has_velocity) velocity += tile.start;
  const unsigned i = WIDTH * threadIdx.x, n = tile.end - tile.start;
  if (i < n) {
    Pack p = load_pack(parameters, i, n), g = load_pack(gradients, i, n), b = Pack();
    if (has_velocity && !is_first) b = load_pack(velocity, i, n);
#pragma unroll
    for (unsigned j = 0; j < WIDTH; ++j) {
      g.v[j] = (group.maximize != 0 ? -g.v[j] : g.v[j]) + decay * p.v[j];
      if (!has_velocity) {
        p.v[j] -= rate * g.v[j];
        continue;
      }
      b.v[j] = is_first ? g.v[j] : momentum * b.v[j] + share * g.v[j];
      p.v[j] -= rate * (group.nesterov != 0 ? g.v[j] + momentum * b.v[j] : b.v[j]);
    }
    store_pack(parameters, i, n, p);
    if (has_velocity) store_pack(velocity, i, n, b);
  }
  count_steps(steps, first, end, counter);
}
