// Adagrad over flat buffers: all parameters of a network in one launch.

#include "common.cuh"
#include "update.cuh"

// src/ops/adagrad/mod.rs.
struct AdagradGroup {
  double lr;
  double lr_decay;
  double weight_decay;
  double initial_accumulator_value;
  double eps;
  double maximize;
};

// By the options of the tile's group, with g = gradient, or -gradient to maximize, + weight_decay * p:
// s += g^2, which in the parameter's first step is initial_accumulator_value + g^2, and
// p -= lr / (1 + t lr_decay) * g / (sqrt(s) + eps), t being the steps that the parameter has made. Then
// the parameters first .. end have made one step more.
//
// A block owns a tile, a thread of it WIDTH neighbouring elements. Moves 5 n elements for about 7 FLOP
// each. The last block to end counts the steps, when all have read them.
extern "C" __global__ void adagrad(const UpdateTile *__restrict__ tiles,    // [blocks]
                                   const AdagradGroup *__restrict__ groups, // [groups]
                                   unsigned long long *steps,               // [parameters]
                                   unsigned first, unsigned end,
                                   unsigned *counter,                       // [1]
                                   T *__restrict__ parameters,              // [n]
                                   const T *__restrict__ gradients,         // [n]
                                   T *__restrict__ sums) {                  // [n]
  const UpdateTile tile = tiles[blockIdx.x];
  const AdagradGroup group = groups[tile.group];
  const unsigned long long made = steps[tile.parameter];
  const T rate = (T)(group.lr / (1.0 + (double)made * group.lr_decay));
  const T initial = (T)group.initial_accumulator_value, eps = (T)group.eps;
  const T decay = (T)group.weight_decay;
  // From the tile's first element on: packs are aligned alike there, and take fewer registers.
  parameters += tile.start;
  gradients += tile.start;
  sums += tile.start;
  const unsigned i = WIDTH * threadIdx.x, n = tile.end - tile.start;
  if (i < n) {
    Pack p = load_pack(parameters, i, n), s = load_pack(sums, i, n);
    const Pack gradient = load_pack(gradients, i, n);
#pragma unroll
    for (unsigned j = 0; j < WIDTH; ++j) {
      const T g = (group.maximize != 0 ? -gradient.v[j] : gradient.v[j]) + decay * p.v[j];
      s.v[j] = (made == 0 ? initial : s.v[j]) + g * g;
      p.v[j] -= rate * (g / (sqrt(s.v[j]) + eps));
    }
    store_pack(parameters, i, n, p);
    store_pack(sums, i, n, s);
  }
  count_steps(steps, first, end, counter);
}
