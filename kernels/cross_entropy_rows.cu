// The cross-entropy of each row by itself, and the class that it is taken for.

#include "common.cuh"
#include "softmax.cuh"

// src/ops/cross_entropy_rows/mod.rs.
struct RowsGeometry {
  unsigned rows;
  unsigned classes;
};

// losses = -log softmax(logits)[target], predicted = the first of the largest logits of the row. The
// loss of a target that is no class is NaN.
//
// A warp owns a row. Moves rows * classes elements twice, the second time from cache; one
// exponential an element.
extern "C" __global__ void __launch_bounds__(THREADS)
    cross_entropy_rows(RowsGeometry g,
                       const T *__restrict__ logits,   // [rows, classes]
                       const int *__restrict__ target, // [rows]
                       T *__restrict__ losses,         // [rows]
                       int *__restrict__ predicted) {  // [rows]
  const unsigned row = (blockIdx.x * THREADS + threadIdx.x) / 32;
  if (row >= g.rows) return;
  const T *own = logits + row * g.classes;
  const Candidate best = largest_of_row(own, g.classes);
  const T sum = sum_of_exponentials(own, g.classes, best.logit);
  if (threadIdx.x % 32 > 0) return;
  const unsigned class_of_row = target[row];
  // As in cross_entropy.cu: the sum is not rounded away at a large maximum.
  const bool is_class = class_of_row < g.classes;
  losses[row] = is_class ? log(sum) - (own[class_of_row] - best.logit) : NOT_A_NUMBER;
  predicted[row] = (int)best.index;
}
