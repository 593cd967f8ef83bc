// RMSprop over flat buffers: all parameters of a network in one launch.

#include "common.cuh"
#include "update.cuh"

// src/ops/rmsprop/mod.rs.
struct RmspropGroup {
  double lr;
  double alpha;
  double eps;
  double weight_decay;
  double momentum;
  double centered;
  double maximize;
};

// By the options of the tile's group, with g = gradient, or -gradient to maximize, + weight_decay * p:
// v = alpha v + (1 - alpha) g^2, and centered m += (1 - alpha) (g - m); d = g / (sqrt(v) + eps), or
// centered g / (sqrt(v - m^2) + eps); p -= lr d, or with momentum b = momentum b + d and p -= lr b.
// Then the parameters first .. end have made one step more.
//
// A block owns a tile, a thread of it WIDTH neighbouring elements. Moves 5 n elements, and 2 n for each
// of m and b, for about 10 FLOP each. The last block to end counts the steps, when all have read them.
extern "C" __global__ void rmsprop(const UpdateTile *__restrict__ tiles,    // [blocks]
                                   const RmspropGroup *__restrict__ groups, // [groups]
                                   unsigned long long *steps,               // [parameters]
                                   unsigned first, unsigned end,
                                   unsigned *counter,                       // [1]
                                   T *__restrict__ parameters,              // [n]
                                   const T *__restrict__ gradients,         // [n]
                                   T *__restrict__ square_avg,              // [n]
                                   T *__restrict__ grad_avg,                // [n] or null
                                   T *__restrict__ velocity) {              // [n] or null
  const UpdateTile tile = tiles[blockIdx.x];
  const RmspropGroup group = groups[tile.group];
  const bool centered = grad_avg && group.centered != 0;
  const bool has_velocity = velocity && group.momentum != 0;
  const T rate = (T)group.lr, alpha = (T)group.alpha, share = (T)(1.0 - group.alpha);
  const T eps = (T)group.eps, decay = (T)group.weight_decay, momentum = (T)group.momentum;
  // From the tile's first element on: packs are aligned alike there, and take fewer registers.
  parameters += tile.start;
  gradients += tile.start;
  square_avg += tile.start;
  if (centered) grad_avg += tile.start;
  if (has_velocity) velocity += tile.start;
  const unsigned i = WIDTH * threadIdx.x, n = tile.end - tile.start;
  if (i < n) {
    Pack p = load_pack(parameters, i, n), v = load_pack(square_avg, i, n), m = Pack(), b = Pack();
    const Pack gradient = load_pack(gradients, i, n);
    if (centered) m = load_pack(grad_avg, i, n);
    if (has_velocity) b = load_pack(velocity, i, n);
#pragma unroll
    for (unsigned j = 0; j < WIDTH; ++j) {
      const T g = (group.maximize != 0 ? -gradient.v[j] : gradient.v[j]) + decay * p.v[j];
      v.v[j] = alpha * v.v[j] + share * (g * g);
      T variance = v.v[j];
      if (centered) {
        m.v[j] += share * (g - m.v[j]);
        variance -= m.v[j] * m.v[j];
      }
      T update = g / (sqrt(variance) + eps);
      if (has_velocity) update = b.v[j] = momentum * b.v[j] + update;
      p.v[j] -= rate * update;
    }
    store_pack(parameters, i, n, p);
    store_pack(square_avg, i, n, v);
    if (centered) store_pack(grad_avg, i, n, m);
    if (has_velocity) store_pack(velocity, i, n, b);
  }
  count_steps(steps, first, end, counter);
}
