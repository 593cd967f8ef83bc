// Softmax and cross-entropy in one pass, from logits.

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

// Writes scale * (softmax - q) of one row of logits; returns its loss, and whether its largest
// logit is the target's, in every lane.
__device__ inline double row_loss(const CrossEntropyGeometry &g, const T *logits, unsigned target,
                                  T scale, T *gradient, bool *hit) {
  const unsigned lane = threadIdx.x % 32;
  const Candidate best = largest_of_row(logits, g.classes);
  *hit = best.index == target;
  const T sum = sum_of_exponentials(logits, g.classes, best.logit);
  // A class costs log_sum - (logit - maximum), never (log_sum + maximum) - logit: that would round
  // the sum away at a large maximum.
  const T log_sum = log(sum);

  // Exponentials are taken again rather than kept: most networks have few classes.
  const T smoothing = (T)g.label_smoothing, spread = smoothing / (T)g.classes;
  double spread_loss = 0;
  for (unsigned i = lane; i < g.classes; i += 32) {
    const T q = i == target ? T(1) - smoothing + spread : spread;
    gradient[i] = scale * (exp(logits[i] - best.logit) / sum - q);
    if (smoothing > 0) spread_loss += spread * (log_sum - (logits[i] - best.logit));
  }
  return (T(1) - smoothing) * (log_sum - (logits[target] - best.logit)) + warp_sum(spread_loss);
}

// loss = the mean (or sum) of -sum q log softmax(logits) over the rows that count, grad_logits =
// its gradient, correct = how many of these rows have their largest logit at the target. A target
// that is no class makes the loss and its row's gradient NaN.
//
// A warp owns a row at a time: warp w of all W takes rows w, w + W, ... and adds their losses in
// double, then the block adds its warps in order. A single block is the result; of several,
// cross_entropy_reduce adds the partial sums in order. Each block counts for itself the rows that a
// mean is divided by. Moves 4 batch * classes elements, most reads from cache; 2 exponentials an
// element.
extern "C" __global__ void __launch_bounds__(THREADS)
    cross_entropy_forward(CrossEntropyGeometry g,
                          const T *__restrict__ logits,       // [batch, classes]
                          const int *__restrict__ target,     // [batch]
                          double *__restrict__ partial_loss,  // [blocks]
                          int *__restrict__ partial_correct,  // [blocks]
                          T *__restrict__ loss,               // [1]
                          T *__restrict__ grad_logits,        // [batch, classes]
                          int *__restrict__ correct) {        // [1]
  int counted = 0;
  for (unsigned row = threadIdx.x; row < g.batch; row += THREADS) {
    counted += target[row] != g.ignore_index;
  }
  counted = block_sum(counted);
  const T scale = g.mean ? T(1) / (T)counted : T(1);

  const unsigned lane = threadIdx.x % 32, warps = gridDim.x * (THREADS / 32);
  double total = 0;
  int hits = 0;
  for (unsigned row = (blockIdx.x * THREADS + threadIdx.x) / 32; row < g.batch; row += warps) {
    T *gradient = grad_logits + row * g.classes;
    const int class_of_row = target[row];
    if (class_of_row == g.ignore_index || (unsigned)class_of_row >= g.classes) {
      const bool ignored = class_of_row == g.ignore_index;
      for (unsigned i = lane; i < g.classes; i += 32) gradient[i] = ignored ? T(0) : NOT_A_NUMBER;
      if (!ignored) total = NOT_A_NUMBER;
      continue;
    }
    bool hit;
    total += row_loss(g, logits + row * g.classes, class_of_row, scale, gradient, &hit);
    hits += hit;
  }
  // Every lane of a warp holds the warp's sums; one of them enters the block's.
  total = block_sum(lane == 0 ? total : 0.0);
  hits = block_sum(lane == 0 ? hits : 0);
  if (threadIdx.x > 0) return;
  if (gridDim.x == 1) {
    *loss = (T)total * scale;
    *correct = hits;
  } else {
    partial_loss[blockIdx.x] = total;
    partial_correct[blockIdx.x] = hits;
  }
}

// Adds the partial sums of cross_entropy_forward, in one block: thread t adds t, t + THREADS,
// ..., then the threads are added.
extern "C" __global__ void __launch_bounds__(THREADS)
    cross_entropy_reduce(CrossEntropyGeometry g, unsigned blocks,
                         const int *__restrict__ target,           // [batch]
                         const double *__restrict__ partial_loss,  // [blocks]
                         const int *__restrict__ partial_correct,  // [blocks]
                         T *__restrict__ loss,                     // [1]
                         int *__restrict__ correct) {              // [1]
  int counted = 0;
  for (unsigned row = threadIdx.x; row < g.batch; row += THREADS) {
    counted += target[row] != g.ignore_index;
  }
  counted = block_sum(counted);
  double total = 0;
  int hits = 0;
  for (unsigned block = threadIdx.x; block < blocks; block += THREADS) {
    total += partial_loss[block];
    hits += partial_correct[block];
  }
  total = block_sum(total);
  hits = block_sum(hits);
  if (threadIdx.x > 0) return;
  *loss = (T)total * (g.mean ? T(1) / (T)counted : T(1));
  *correct = hits;
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
