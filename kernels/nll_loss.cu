// The cross-entropy of log-probabilities [outer, classes, inner] against class indices, or against
// probabilities of the same shape, for each of the outer * inner positions.

#include "rows.cuh"

// src/ops/nll_loss/mod.rs.
struct NllGeometry {
  unsigned outer;
  unsigned classes;
  unsigned inner;
  int ignore_index;
  double label_smoothing;
};

// A position for each thread, so that neighbouring threads read neighbouring positions.
struct ThreadTeam {
  static const unsigned SIZE = 1;
  __device__ unsigned rank() const { return 0; }
  template <class S> __device__ S sum(S value) const { return value; }
};

__device__ inline unsigned position_of(const WarpTeam &) {
  return blockIdx.x * (THREADS / 32) + threadIdx.x / 32;
}
__device__ inline unsigned position_of(const ThreadTeam &) {
  return blockIdx.x * THREADS + threadIdx.x;
}

template <class Team>
__device__ inline void nll_forward(const NllGeometry &g, const T *log_p, const int *target,
                                   const T *probabilities, const T *weight, T *losses,
                                   T *weights) {
  const Team team;
  const unsigned position = position_of(team);
  if (position >= g.outer * g.inner) return;
  const unsigned first = position / g.inner * g.classes * g.inner + position % g.inner;
  const T smoothing = (T)g.label_smoothing, spread = smoothing / (T)g.classes;
  auto weight_of = [&](unsigned c) { return weight ? weight[c] : T(1); };
  T loss = 0, counted = 1;
  if (target) {
    const int of_position = target[position];
    if (of_position == g.ignore_index) {
      counted = 0;
    } else if ((unsigned)of_position >= g.classes) {
      loss = NOT_A_NUMBER;
    } else {
      counted = weight_of(of_position);
      loss = -(T(1) - smoothing) * counted * log_p[first + of_position * g.inner];
      if (smoothing > 0) {
        loss -= spread * (T)team_sum<T, double>(team, g.classes, [&](unsigned c) {
                  return weight_of(c) * log_p[first + c * g.inner];
                });
      }
    }
  } else {
    loss = -(T)team_sum<T, double>(team, g.classes, [&](unsigned c) {
      const unsigned i = first + c * g.inner;
      const T q = (T(1) - smoothing) * probabilities[i] + spread;
      return weight_of(c) * q * log_p[i];
    });
  }
  if (team.rank() == 0) {
    losses[position] = loss;
    weights[position] = counted;
  }
}

// With q the smoothed target of a position: its loss, -sum of weight q log_p over the classes, and
// the weight with which it counts in a mean: that of its class, 0 where it is ignored, 1 for
// probabilities. A target that is no class makes the loss NaN.
//
// A warp owns a position, or a thread where positions lie side by side. Reads of each position one
// element, or all with smoothing or probabilities; 3 FLOP each.
#define NLL_FORWARD(name, Team)                                                                    \
  extern "C" __global__ void __launch_bounds__(THREADS, 4)                                          \
      name(NllGeometry g,                                                                          \
           const T *__restrict__ log_p,         /* [outer, classes, inner] */                      \
           const int *__restrict__ target,      /* [outer, inner], or null */                      \
           const T *__restrict__ probabilities, /* [outer, classes, inner], without a target */    \
           const T *__restrict__ weight,        /* [classes] or null */                            \
           T *__restrict__ losses,              /* [outer, inner] */                               \
           T *__restrict__ weights) {           /* [outer, inner] */                               \
    nll_forward<Team>(g, log_p, target, probabilities, weight, losses, weights);                   \
  }

NLL_FORWARD(nll_forward_warps, WarpTeam)
NLL_FORWARD(nll_forward_threads, ThreadTeam)

// loss = sum / divisor. One thread's work.
extern "C" __global__ void nll_mean(const T *__restrict__ sum,     // [1]
                                    const T *__restrict__ divisor, // [1]
                                    T *__restrict__ loss) {        // [1]
  *loss = *sum / *divisor;
}

// With g the gradient of a position's loss, divided by the divisor where there is one: grad_log_p =
// -g weight q, and grad_probabilities = -g weight (1 - label_smoothing) log_p.
//
// A thread owns one element. Moves an element for each gradient, two for that of probabilities, and
// reads what it adds to; 4 FLOP an element.
extern "C" __global__ void __launch_bounds__(THREADS)
    nll_backward(NllGeometry g, unsigned one_gradient,
                 const T *__restrict__ log_p,         // [outer, classes, inner]; of probabilities alone
                 const int *__restrict__ target,      // [outer, inner], or null
                 const T *__restrict__ probabilities, // [outer, classes, inner], without a target
                 const T *__restrict__ weight,        // [classes] or null
                 const T *__restrict__ divisor,       // [1] or null
                 const T *__restrict__ gradient,      // [1] or [outer, inner]
                 T *__restrict__ grad_log_p,          // [outer, classes, inner] or null
                 int accumulate_log_p,
                 T *__restrict__ grad_probabilities,  // [outer, classes, inner] or null
                 int accumulate_probabilities) {
  const unsigned i = blockIdx.x * THREADS + threadIdx.x;
  if (i >= g.outer * g.classes * g.inner) return;
  const unsigned c = i / g.inner % g.classes;
  const unsigned position = i / g.inner / g.classes * g.inner + i % g.inner;
  const T smoothing = (T)g.label_smoothing, spread = smoothing / (T)g.classes;
  T upstream = gradient[one_gradient ? 0 : position];
  if (divisor) upstream /= *divisor;
  if (weight) upstream *= weight[c];
  if (grad_log_p) {
    T value;
    if (target) {
      const int of_position = target[position];
      const T q = (unsigned)of_position == c ? T(1) - smoothing + spread : spread;
      value = -upstream * q;
      if (of_position == g.ignore_index) value = 0;
      else if ((unsigned)of_position >= g.classes) value = NOT_A_NUMBER;
    } else {
      value = -upstream * ((T(1) - smoothing) * probabilities[i] + spread);
    }
    put(grad_log_p + i, value, accumulate_log_p);
  }
  if (grad_probabilities) {
    put(grad_probabilities + i, -upstream * (T(1) - smoothing) * log_p[i],
        accumulate_probabilities);
  }
}
