// A hidden layer as one op: the fully connected layer, dropout and the rectifier, of which nothing
// but the result is written.

#include "dropout.cuh"
#include "linear.cuh"

// output = relu(dropout(input weight^T + bias)).
//
// Block b of split.blocks() computes a slice of a tile of 32 rows x 64 features, a thread 4 x 4
// elements of it; the last block of a tile adds its slices in order (`gemm_split`) and a thread
// finishes 4 neighbouring features at a time, which mostly share a Philox block. 2 * rows *
// in_features * out_features FLOP. Reads the input once per 64 features and the weight once per 32
// rows; writes and reads each partial sum once, and the output once.
extern "C" __global__ void __launch_bounds__(128, 4)
    linear_relu_forward(LinearGeometry g, GemmSplit split, DropoutGeometry drop,
                        const T *__restrict__ input,                 // [rows, in_features]
                        const T *__restrict__ weight,                // [out_features, in_features]
                        const T *__restrict__ bias,                  // [out_features] or null
                        const unsigned long long *__restrict__ step, // [1] or null
                        T *partials,                                 // as `gemm_split` has it
                        unsigned *counters,                          // as `gemm_split` has it
                        T *__restrict__ output) {                    // [rows, out_features]
  typedef MatmulProduct<false, true> Product;
  __shared__ GemmTileShared<LINEAR_ROWS, Product> shared;
  const MatmulGeometry product = {g.rows, g.out_features, g.in_features, 0, 1};
  unsigned row, col;
  if (!gemm_split(Product{product, input, weight}, shared, split, blockIdx.x, product.m, product.n,
                  product.k, row, col, partials, counters)) {
    return;
  }
  DropoutMask mask(drop, step);
  const unsigned my_col = threadIdx.x % (GEMM_COLS / 4) * 4;
  for (unsigned i = threadIdx.x / (GEMM_COLS / 4); i < LINEAR_ROWS && row + i < g.rows;
       i += blockDim.x / (GEMM_COLS / 4)) {
#pragma unroll
    for (unsigned j = 0; j < 4; ++j) {
      const unsigned feature = col + my_col + j;
      if (feature >= g.out_features) break;
      const unsigned at = (row + i) * g.out_features + feature;
      const T value = shared.tile[i][my_col + j] + (bias ? bias[feature] : T(0));
      // `value <= 0` is false for NaN, which so stays.
      output[at] = value <= 0 || !mask.keeps(at) ? T(0) : value * mask.scale();
    }
  }
}

// What dropout and rectifier let through of the gradient: where the output is positive or NaN.
struct PassedGradient {
  const T *output, *grad_output; // [rows, out_features]
  T scale;                       // dropout's, or 1

  __device__ T operator()(unsigned i, bool inside) const {
    const T passes = load_if(output + i, inside), gradient = load_if(grad_output + i, inside);
    return passes <= 0 ? T(0) : gradient * scale;
  }
};

// The gradients of a hidden layer; a null one is not computed.
//
// The first of_weight.blocks() blocks compute the gradients of weight and bias, as the products of
// 32 features x 64 inputs (the bias's input is 1); the others that of the input, 32 rows x 64
// inputs. A thread has 4 x 4 elements of a slice, and the last block of a tile adds its slices in
// order. 4 * rows * in_features * out_features FLOP. Reads the gradient once per 64 inputs, input
// and weight once per 32 features or rows.
extern "C" __global__ void __launch_bounds__(128, 4)
    linear_relu_backward(LinearGeometry g,
                         T scale,                           // dropout's, or 1
                         const T *__restrict__ input,       // [rows, in_features]
                         const T *__restrict__ weight,      // [out_features, in_features]
                         const T *__restrict__ output,      // [rows, out_features]
                         const T *__restrict__ grad_output, // [rows, out_features]
                         GemmSplit of_weight, GemmSplit of_input,
                         T *partials,                       // as `linear_backward` has it
                         unsigned *counters,                // as `linear_backward` has it
                         T *__restrict__ grad_weight,       // [out_features, in_features] or null
                         int accumulate_weight,
                         T *__restrict__ grad_bias,         // [out_features] or null
                         int accumulate_bias,
                         T *__restrict__ grad_input,        // [rows, in_features] or null
                         int accumulate_input) {
  __shared__ LinearShared<PassedGradient> shared;
  linear_backward(shared, g, of_weight, of_input, PassedGradient{output, grad_output, scale}, input,
                  weight, partials, counters, grad_weight, accumulate_weight, grad_bias,
                  accumulate_bias, grad_input, accumulate_input);
}
