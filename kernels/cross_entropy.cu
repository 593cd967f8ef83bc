// Softmax and cross-entropy in one pass, from logits.

#include "cross_entropy.cuh"

// loss = the mean (or sum) of -sum q log softmax(logits) over the rows that count, grad_logits =
// its gradient, correct = how many of these rows have their largest logit at the target. A target
// that is no class makes the loss and its row's gradient NaN.
//
// A warp owns a row at a time: warp w of all W takes rows w, w + W, ... and adds their losses in
// double, then the block adds its warps in order, and the last block adds the blocks
// (`sum_of_blocks`). Each block counts for itself the rows that a mean is divided by. Moves 4 batch *
// classes elements, most reads from cache; 2 exponentials an element.
extern "C" __global__ void __launch_bounds__(THREADS)
    cross_entropy_forward(CrossEntropyGeometry g,
                          const T *__restrict__ logits,   // [batch, classes]
                          const int *__restrict__ target, // [batch]
                          Loss *partials,                 // [blocks]
                          unsigned *counter,              // [1]
                          T *__restrict__ loss,           // [1]
                          T *__restrict__ grad_logits,    // [batch, classes]
                          int *__restrict__ correct) {    // [1]
  int counted = 0;
  for (unsigned row = threadIdx.x; row < g.batch; row += THREADS) {
    counted += target[row] != g.ignore_index;
  }
  counted = block_sum(counted);
  const T scale = g.mean ? T(1) / (T)counted : T(1);

  const unsigned lane = threadIdx.x % 32, warps = gridDim.x * (THREADS / 32);
  Loss all = {};
  for (unsigned row = (blockIdx.x * THREADS + threadIdx.x) / 32; row < g.batch; row += warps) {
    T *gradient = grad_logits + row * g.classes;
    const int class_of_row = target[row];
    if (class_of_row == g.ignore_index || (unsigned)class_of_row >= g.classes) {
      const bool ignored = class_of_row == g.ignore_index;
      for (unsigned i = lane; i < g.classes; i += 32) gradient[i] = ignored ? T(0) : NOT_A_NUMBER;
      if (!ignored) all.loss = NOT_A_NUMBER;
      continue;
    }
    bool hit;
    all.loss += row_loss(g, logits + row * g.classes, class_of_row, scale, gradient, &hit);
    all.correct += hit;
  }
  // Every lane of a warp holds the warp's sums; one of them enters the block's.
  all = block_sum(lane == 0 ? all : Loss{});
  if (sum_of_blocks(all, partials, blockIdx.x, gridDim.x, counter)) {
    *loss = (T)all.loss * scale;
    *correct = (int)all.correct;
  }
}

// grad_logits = gradient[0] * saved.
//
// A thread owns WIDTH neighbouring elements. Moves 2 n elements, 3 n to accumulate.
extern "C" __global__ void cross_entropy_backward(unsigned n,
                                                  const T *__restrict__ saved,    // [n]
                                                  const T *__restrict__ gradient, // [1]
                                                  T *__restrict__ grad_logits,    // [n]
                                                  int accumulate) {
  const unsigned i = first_of_pack();
  if (i >= n) return;
  Pack pack = load_pack(saved, i, n);
  const T factor = gradient[0];
#pragma unroll
  for (unsigned j = 0; j < WIDTH; ++j) pack.v[j] *= factor;
  store_pack(grad_logits, i, n, pack, accumulate);
}
