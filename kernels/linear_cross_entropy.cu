// The last layer and the loss as one op: the fully connected layer, softmax and cross-entropy, of
// which nothing is written but the loss and its gradient.

#include "cross_entropy.cuh"
#include "linear.cuh"

// src/ops/linear_cross_entropy/mod.rs.
struct LinearCrossEntropyGeometry {
  CrossEntropyGeometry loss;
  unsigned in_features;
  unsigned padding;
};

// The product of two rows x, y [n], in every lane of the warp.
__device__ inline T warp_dot(const T *x, const T *y, unsigned n) {
  T sum = 0;
#pragma unroll 4
  for (unsigned k = WIDTH * (threadIdx.x % 32); k < n; k += WIDTH * 32) {
    const Pack a = load_pack(x, k, n), b = load_pack(y, k, n);
#pragma unroll
    for (unsigned j = 0; j < WIDTH; ++j) sum += a.v[j] * b.v[j];
  }
  return warp_sum(sum);
}

// The cross-entropy of logits = input weight^T + bias: loss, gradient and count of
// cross_entropy_forward in cross_entropy.cu, whose comment says what they are.
//
// A block owns a row at a time, b, b + gridDim.x, ...: its warps take the classes in turn, a lane
// every 32nd pack of the features; then one warp has the row's softmax, loss and gradient, which
// takes the logits' place. The last block adds the blocks' sums (`sum_of_blocks`). Every block counts
// for itself the rows that a mean is divided by. 2 * batch * in_features * classes FLOP; reads the
// weight once per row, mostly from cache, and the input once.
extern "C" __global__ void __launch_bounds__(THREADS)
    linear_cross_entropy_forward(LinearCrossEntropyGeometry g,
                                 const T *__restrict__ input,    // [batch, in_features]
                                 const T *__restrict__ weight,   // [classes, in_features]
                                 const T *__restrict__ bias,     // [classes] or null
                                 const int *__restrict__ target, // [batch]
                                 Loss *partials,                 // [blocks]
                                 unsigned *counter,              // [1]
                                 T *__restrict__ loss,           // [1]
                                 T *grad_logits,                 // [batch, classes]
                                 int *__restrict__ correct) {    // [1]
  int counted = 0;
  for (unsigned row = threadIdx.x; row < g.loss.batch; row += THREADS) {
    counted += target[row] != g.loss.ignore_index;
  }
  counted = block_sum(counted);
  const T scale = g.loss.mean ? T(1) / (T)counted : T(1);

  const unsigned lane = threadIdx.x % 32, classes = g.loss.classes;
  Loss all = {}; // in the first warp alone
  for (unsigned row = blockIdx.x; row < g.loss.batch; row += gridDim.x) {
    T *logits = grad_logits + row * classes;
    const int class_of_row = target[row];
    if (class_of_row == g.loss.ignore_index || (unsigned)class_of_row >= classes) {
      const bool ignored = class_of_row == g.loss.ignore_index;
      for (unsigned i = threadIdx.x; i < classes; i += THREADS) {
        logits[i] = ignored ? T(0) : NOT_A_NUMBER;
      }
      if (!ignored) all.loss = NOT_A_NUMBER;
      continue;
    }
    for (unsigned i = threadIdx.x / 32; i < classes; i += THREADS / 32) {
      const T product = warp_dot(input + row * g.in_features, weight + i * g.in_features,
                                 g.in_features);
      if (lane == 0) logits[i] = bias ? product + bias[i] : product;
    }
    __syncthreads();
    if (threadIdx.x < 32) {
      bool hit;
      all.loss += row_loss(g.loss, logits, class_of_row, scale, logits, &hit);
      all.correct += hit;
    }
  }
  if (sum_of_blocks(all, partials, blockIdx.x, gridDim.x, counter)) {
    *loss = (T)all.loss * scale;
    *correct = (int)all.correct;
  }
}

// The gradient of the logits: the loss's own times what comes from above.
struct ScaledGradient {
  const T *saved; // [batch, classes]
  T factor;

  __device__ T operator()(unsigned i, bool inside) const {
    const T value = load_if(saved + i, inside);
    return inside ? value * factor : T(0); // also where the factor is not finite
  }
};

// The gradients of the layer, whose output's is gradient[0] * saved; a null one is not computed.
//
// Blocks and threads as linear_relu_backward's. 4 * batch * in_features * classes FLOP. Reads
// `saved` once per 64 inputs, input and weight once per 32 classes or rows.
extern "C" __global__ void __launch_bounds__(128, 4)
    linear_cross_entropy_backward(LinearGeometry g,
                                  const T *__restrict__ input,    // [batch, in_features]
                                  const T *__restrict__ weight,   // [classes, in_features]
                                  const T *__restrict__ saved,    // [batch, classes]
                                  const T *__restrict__ gradient, // [1]
                                  GemmSplit of_weight, GemmSplit of_input,
                                  T *partials,                    // as `linear_backward` has it
                                  unsigned *counters,             // as `linear_backward` has it
                                  T *__restrict__ grad_weight,    // [classes, in_features] or null
                                  int accumulate_weight,
                                  T *__restrict__ grad_bias,      // [classes] or null
                                  int accumulate_bias,
                                  T *__restrict__ grad_input,     // [batch, in_features] or null
                                  int accumulate_input) {
  __shared__ LinearShared<ScaledGradient> shared;
  linear_backward(shared, g, of_weight, of_input, ScaledGradient{saved, gradient[0]}, input, weight,
                  partials, counters, grad_weight, accumulate_weight, grad_bias, accumulate_bias,
                  grad_input, accumulate_input);
}
