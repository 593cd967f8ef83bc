// Reductions over some dimensions of a tensor: sums of a term of each element, and extremes.
//
// x is seen as [k1, r1, k2, r2]: result (a, b) of [k1, k2] is that of x[a, i, b, j] over all i and j,
// numbered e = i * r2 + j. A new member of the sums is a struct with the term and what becomes of the
// sum, its derivative, and a kernel of each.

#include "common.cuh"

// src/ops/reduce/geometry.rs.
struct ReduceGeometry {
  unsigned k1, r1, k2, r2;

  __device__ unsigned results() const { return k1 * k2; }
};

// How the work is cut, by the shape alone: src/ops/reduce/cuda.rs. A block has THREADS / `lanes`
// neighbouring results, each with `lanes` threads (a power of two) that share its elements; those of one
// result are neighbours, or with `by_columns` those of neighbouring results. The elements of a result are
// cut into `chunks` of `length`, each for a block of its own, the last of which adds them up.
struct ReducePlan {
  unsigned lanes;
  unsigned by_columns;
  unsigned chunks;
  unsigned length;
};

// Which part of the work this thread has.
struct Seat {
  unsigned groups, group; // results of a block, and which of them
  unsigned lane;
  unsigned block, chunk;
  unsigned result;

  __device__ Seat(const ReducePlan &plan) {
    groups = THREADS / plan.lanes;
    group = plan.by_columns ? threadIdx.x % groups : threadIdx.x / plan.lanes;
    lane = plan.by_columns ? threadIdx.x / groups : threadIdx.x % plan.lanes;
    block = blockIdx.x / plan.chunks;
    chunk = blockIdx.x % plan.chunks;
    result = block * groups + group;
  }
};

// What the lanes of a result have, combined in a fixed order, in all of them. All threads must call.
template <class Total>
__device__ inline Total combine_lanes(const Seat &seat, unsigned lanes, Total total) {
  __shared__ Total all[THREADS];
  all[seat.lane * seat.groups + seat.group] = total;
  for (unsigned half = lanes / 2; half > 0; half /= 2) {
    __syncthreads();
    if (seat.lane < half) {
      all[seat.lane * seat.groups + seat.group].take(all[(seat.lane + half) * seat.groups + seat.group]);
    }
  }
  __syncthreads();
  total = all[seat.group];
  __syncthreads(); // the next call writes `all` again
  return total;
}

// The reduction of `member` for result `seat.result`; true for the one thread that has it in `total`.
// Each lane takes REDUCE_ITEMS elements at a time, which it adds in T before they go on in double.
template <class Member, class Total>
__device__ inline bool reduce(const ReduceGeometry &g, const ReducePlan &plan, const Seat &seat,
                              const Member &member, const T *x, double *partials, unsigned *counters,
                              Total &total) {
  total = Total::none();
  if (seat.result < g.results()) {
    const unsigned begin = seat.chunk * plan.length;
    const unsigned end = min(begin + plan.length, g.r1 * g.r2);
    const T *first = x + ((seat.result / g.k2 * g.r1 * g.k2 + seat.result % g.k2) * g.r2);
    unsigned outer = (begin + seat.lane) / g.r2, inside = (begin + seat.lane) % g.r2;
    const unsigned outer_step = plan.lanes / g.r2, inside_step = plan.lanes % g.r2;
    for (unsigned e = begin + seat.lane; e < end; e += plan.lanes * REDUCE_ITEMS) {
      typename Member::Near near = Member::Near::none();
#pragma unroll
      for (unsigned item = 0; item < REDUCE_ITEMS; ++item) {
        const unsigned at = e + item * plan.lanes;
        if (at < end) member.add(near, first[outer * g.k2 * g.r2 + inside], at);
        outer += outer_step;
        inside += inside_step;
        if (inside >= g.r2) {
          inside -= g.r2;
          ++outer;
        }
      }
      total.take(near);
    }
  }
  total = combine_lanes(seat, plan.lanes, total);
  if (plan.chunks > 1) {
    Total *parts = (Total *)partials + seat.result * plan.chunks; // [results, chunks]
    if (seat.lane == 0 && seat.result < g.results()) parts[seat.chunk] = total;
    if (!is_last_block(counters + seat.block, plan.chunks)) return false;
    total = Total::none();
    if (seat.result < g.results()) {
      for (unsigned i = seat.lane; i < plan.chunks; i += plan.lanes) total.take(parts[i]);
    }
    total = combine_lanes(seat, plan.lanes, total);
  }
  return seat.lane == 0 && seat.result < g.results();
}

// ---------------------------------------------------------------------------------------------
// Sums.

// A sum of terms, and for a variance that of other terms beside it.
template <class S> struct Sums {
  S sum, beside;

  static __device__ Sums none() { return {S(0), S(0)}; }

  template <class Other> __device__ void take(const Sums<Other> &other) {
    sum += (S)other.sum;
    beside += (S)other.beside;
  }
};

// -1, 0 or 1, and 0 for NaN, as PyTorch's.
__device__ inline T sign(T x) { return x > 0 ? T(1) : x < 0 ? T(-1) : T(0); }

// What all members have: a number of its own, and a value `c` for each result.
struct Member {
  typedef Sums<T> Near;
  T parameter;
  T c;
};

// scale * sum x.
struct Sum : Member {
  __device__ void add(Near &near, T x, unsigned) const { near.sum += x; }
  __device__ T finish(const Sums<double> &total, unsigned) const { return parameter * (T)total.sum; }
  __device__ T derivative(T) const { return parameter; }
};

// The p-norm: (sum |x|^p)^(1/p); for p = 0 the number of elements that are not 0. `c` is the norm.
struct Norm : Member {
  __device__ void add(Near &near, T x, unsigned) const {
    if (parameter == 2) near.sum += x * x;
    else if (parameter == 1) near.sum += fabs(x);
    else if (parameter == 0) near.sum += x != 0 ? T(1) : T(0);
    else near.sum += pow(fabs(x), parameter);
  }
  __device__ T finish(const Sums<double> &total, unsigned) const {
    if (parameter == 2) return (T)sqrt(total.sum);
    if (parameter == 1 || parameter == 0) return (T)total.sum;
    return (T)pow(total.sum, 1 / (double)parameter);
  }
  __device__ T derivative(T x) const {
    if (parameter == 1) return sign(x);
    if (parameter == 0 || c == 0 || x == 0) return 0;
    if (parameter == 2) return x / c;
    const T size = pow(fabs(x), parameter - 1) * pow(c, 1 - parameter);
    return x < 0 ? -size : size;
  }
};

// scale * sum (x - mean)^2, where `c` is nearly the mean; the sum of x - c sets right what is missing.
struct Variance : Member {
  __device__ void add(Near &near, T x, unsigned) const {
    near.sum += (x - c) * (x - c);
    near.beside += x - c;
  }
  __device__ T finish(const Sums<double> &total, unsigned count) const {
    const double squares = total.sum - total.beside * total.beside / count;
    return (T)(parameter * (squares < 0 ? 0 : squares));
  }
  __device__ T derivative(T x) const { return 2 * parameter * (x - c); }
};

// log sum exp x. `c` is the largest x, 0 where that is infinite; for the derivative the result.
struct LogSumExp : Member {
  __device__ void add(Near &near, T x, unsigned) const { near.sum += exp(x - c); }
  __device__ T finish(const Sums<double> &total, unsigned) const { return (T)(log(total.sum) + c); }
  __device__ T derivative(T x) const { return exp(x - c); }
};

// How many elements are the extreme `c`; by their magnitude where `parameter` is 1, which finds NaN too.
struct Ties : Member {
  __device__ bool is_one(T x) const {
    return parameter == 0 ? x == c : fabs(x) == c || (isnan(x) && isnan(c));
  }
  __device__ void add(Near &near, T x, unsigned) const { near.sum += is_one(x) ? T(1) : T(0); }
  __device__ T finish(const Sums<double> &total, unsigned) const { return (T)total.sum; }
  __device__ T derivative(T x) const {
    if (!is_one(x)) return 0;
    if (parameter == 0) return 1;
    return sign(x);
  }
};

template <class M>
__device__ inline void sum_up(const ReduceGeometry &g, const ReducePlan &plan, T parameter, const T *x,
                              const T *c, double *partials, unsigned *counters, T *y, int accumulate) {
  const Seat seat(plan);
  M member;
  member.parameter = parameter;
  member.c = c && seat.result < g.results() ? c[seat.result] : T(0);
  Sums<double> total;
  if (reduce(g, plan, seat, member, x, partials, counters, total)) {
    put(y + seat.result, member.finish(total, g.r1 * g.r2), accumulate);
  }
}

// The kernels of the sums: y[a, b] from all x[a, i, b, j], and a value c[a, b] for members that have one.
// Each reads x once; the terms cost 1 FLOP (sums, ties), 2 (norms), 4 (variances) or 3 (log-sum-exp).

// y = parameter * sum x.
extern "C" __global__ void __launch_bounds__(THREADS)
    reduce_sum(ReduceGeometry g, ReducePlan plan, T parameter,
               const T *__restrict__ x, // [k1, r1, k2, r2]
               const T *__restrict__ c, // null
               double *partials,        // [results, chunks, 2]
               unsigned *counters,      // [blocks of results]
               T *__restrict__ y,       // [k1, k2]
               int accumulate) {
  sum_up<Sum>(g, plan, parameter, x, c, partials, counters, y, accumulate);
}

// y = the norm with p = parameter. Left alone, the compiler squeezes the registers of its powers until more
// blocks fit, and spills.
extern "C" __global__ void __launch_bounds__(THREADS, 2)
    reduce_norm(ReduceGeometry g, ReducePlan plan, T parameter,
                const T *__restrict__ x, // [k1, r1, k2, r2]
                const T *__restrict__ c, // null
                double *partials,        // [results, chunks, 2]
                unsigned *counters,      // [blocks of results]
                T *__restrict__ y,       // [k1, k2]
                int accumulate) {
  sum_up<Norm>(g, plan, parameter, x, c, partials, counters, y, accumulate);
}

// y = parameter * sum (x - mean)^2.
extern "C" __global__ void __launch_bounds__(THREADS)
    reduce_variance(ReduceGeometry g, ReducePlan plan, T parameter,
                    const T *__restrict__ x, // [k1, r1, k2, r2]
                    const T *__restrict__ c, // [k1, k2], the means
                    double *partials,        // [results, chunks, 2]
                    unsigned *counters,      // [blocks of results]
                    T *__restrict__ y,       // [k1, k2]
                    int accumulate) {
  sum_up<Variance>(g, plan, parameter, x, c, partials, counters, y, accumulate);
}

// y = log sum exp x.
extern "C" __global__ void __launch_bounds__(THREADS)
    reduce_log_sum_exp(ReduceGeometry g, ReducePlan plan, T parameter,
                       const T *__restrict__ x, // [k1, r1, k2, r2]
                       const T *__restrict__ c, // [k1, k2], the largest, or null for 0
                       double *partials,        // [results, chunks, 2]
                       unsigned *counters,      // [blocks of results]
                       T *__restrict__ y,       // [k1, k2]
                       int accumulate) {
  const Seat seat(plan);
  LogSumExp member;
  member.parameter = parameter;
  const T largest = c && seat.result < g.results() ? c[seat.result] : T(0);
  // Infinity from infinity would be no number.
  member.c = isinf(largest) ? T(0) : largest;
  Sums<double> total;
  if (reduce(g, plan, seat, member, x, partials, counters, total)) {
    put(y + seat.result, member.finish(total, g.r1 * g.r2), accumulate);
  }
}

// y = how many elements are the extreme c.
extern "C" __global__ void __launch_bounds__(THREADS)
    reduce_ties(ReduceGeometry g, ReducePlan plan, T parameter,
                const T *__restrict__ x, // [k1, r1, k2, r2]
                const T *__restrict__ c, // [k1, k2], the extremes
                double *partials,        // [results, chunks, 2]
                unsigned *counters,      // [blocks of results]
                T *__restrict__ y,       // [k1, k2]
                int accumulate) {
  sum_up<Ties>(g, plan, parameter, x, c, partials, counters, y, accumulate);
}

// ---------------------------------------------------------------------------------------------
// Extremes.

// A number of an element, as wide as T, so that what holds both has no gap.
#ifdef SCALAR_IS_DOUBLE
typedef unsigned long long Place;
#else
typedef unsigned Place;
#endif
#define NO_PLACE (~Place(0))

// The largest key so far, NaN larger than all, and the first element that has it.
struct Extreme {
  T key;
  Place at;

  static __device__ Extreme none() { return {T(0), NO_PLACE}; }

  __device__ void take(const Extreme &other) {
    if (other.at == NO_PLACE) return;
    const bool equal = key == other.key || (isnan(key) && isnan(other.key));
    const bool larger = other.key > key || (isnan(other.key) && !isnan(key));
    if (at == NO_PLACE || larger || (equal && other.at < at)) *this = other;
  }
};

struct Largest {
  typedef Extreme Near;
  T direction;   // -1 turns the smallest into the largest
  int magnitude; // 1 compares |x|

  __device__ void add(Near &near, T x, unsigned e) const {
    near.take({direction * (magnitude ? fabs(x) : x), e});
  }
};

// values[a, b] = the largest x (direction 1) or the smallest (-1), of |x| where magnitude is 1, and its
// first e in indices. NaN is both. Reads x once, 3 FLOP an element.
extern "C" __global__ void __launch_bounds__(THREADS)
    reduce_extreme(ReduceGeometry g, ReducePlan plan, T direction, int magnitude,
                   const T *__restrict__ x,   // [k1, r1, k2, r2]
                   double *partials,          // [results, chunks, 2]
                   unsigned *counters,        // [blocks of results]
                   T *__restrict__ values,    // [k1, k2]
                   int *__restrict__ indices) // [k1, k2]
{
  const Seat seat(plan);
  Extreme total;
  if (reduce(g, plan, seat, Largest{direction, magnitude}, x, partials, counters, total)) {
    values[seat.result] = direction * total.key;
    indices[seat.result] = (int)total.at;
  }
}

// ---------------------------------------------------------------------------------------------
// Gradients.

// The result that flat element i of x belongs to.
struct ResultOf {
  unsigned row, b, inside; // row numbers [k1, r1]

  __device__ ResultOf(const ReduceGeometry &g, unsigned i)
      : row(i / g.r2 / g.k2), b(i / g.r2 % g.k2), inside(i % g.r2) {}

  __device__ unsigned result(const ReduceGeometry &g) const { return row / g.r1 * g.k2 + b; }

  // Its number among the elements of the result.
  __device__ unsigned element(const ReduceGeometry &g) const { return row % g.r1 * g.r2 + inside; }

  __device__ void next(const ReduceGeometry &g) {
    if (++inside < g.r2) return;
    inside = 0;
    if (++b < g.k2) return;
    b = 0;
    ++row;
  }
};

// grad_x = grad_y * derivative, divided by shares where there are some. Up to 3 n elements move.
template <class M>
__device__ inline void spread(const ReduceGeometry &g, T parameter, const T *x, const T *c,
                              const T *shares, const T *grad_y, T *grad_x, int accumulate) {
  const unsigned n = g.k1 * g.r1 * g.k2 * g.r2;
  const unsigned i = first_of_pack();
  if (i >= n) return;
  Pack pack = {};
  if (x) pack = load_pack(x, i, n);
  M member;
  member.parameter = parameter;
  ResultOf at(g, i);
#pragma unroll
  for (unsigned j = 0; j < WIDTH; ++j) {
    if (i + j < n) {
      const unsigned result = at.result(g);
      member.c = c ? c[result] : T(0);
      // What is shared among none is NaN, as in PyTorch.
      pack.v[j] = grad_y[result] * member.derivative(pack.v[j]);
      if (shares) pack.v[j] /= shares[result];
      at.next(g);
    }
  }
  store_pack(grad_x, i, n, pack, accumulate);
}

// The kernels of the gradients. A thread owns WIDTH neighbouring elements of x.

// grad_x = parameter * grad_y.
extern "C" __global__ void reduce_sum_backward(ReduceGeometry g, T parameter,
                                               const T *x,                      // null
                                               const T *c,                      // null
                                               const T *shares,                 // null
                                               const T *__restrict__ grad_y,    // [k1, k2]
                                               T *__restrict__ grad_x,          // [k1, r1, k2, r2]
                                               int accumulate) {
  spread<Sum>(g, parameter, x, c, shares, grad_y, grad_x, accumulate);
}

// grad_x = grad_y * sign x (|x| / y)^(p - 1), with p = parameter; 0 where the norm y is 0.
extern "C" __global__ void reduce_norm_backward(ReduceGeometry g, T parameter,
                                                const T *__restrict__ x,      // [k1, r1, k2, r2]
                                                const T *__restrict__ c,      // [k1, k2], the norms
                                                const T *shares,              // null
                                                const T *__restrict__ grad_y, // [k1, k2]
                                                T *__restrict__ grad_x,       // [k1, r1, k2, r2]
                                                int accumulate) {
  spread<Norm>(g, parameter, x, c, shares, grad_y, grad_x, accumulate);
}

// grad_x = grad_y * 2 parameter (x - mean).
extern "C" __global__ void reduce_variance_backward(ReduceGeometry g, T parameter,
                                                    const T *__restrict__ x, // [k1, r1, k2, r2]
                                                    const T *__restrict__ c, // [k1, k2], the means
                                                    const T *shares,         // null
                                                    const T *__restrict__ grad_y, // [k1, k2]
                                                    T *__restrict__ grad_x, // [k1, r1, k2, r2]
                                                    int accumulate) {
  spread<Variance>(g, parameter, x, c, shares, grad_y, grad_x, accumulate);
}

// grad_x = grad_y * exp(x - y).
extern "C" __global__ void reduce_log_sum_exp_backward(ReduceGeometry g, T parameter,
                                                       const T *__restrict__ x, // [k1, r1, k2, r2]
                                                       const T *__restrict__ c, // [k1, k2], the results
                                                       const T *shares,         // null
                                                       const T *__restrict__ grad_y, // [k1, k2]
                                                       T *__restrict__ grad_x, // [k1, r1, k2, r2]
                                                       int accumulate) {
  spread<LogSumExp>(g, parameter, x, c, shares, grad_y, grad_x, accumulate);
}

// grad_x = grad_y / shares where x is the extreme, with the sign of x where parameter is 1; else 0.
extern "C" __global__ void reduce_ties_backward(ReduceGeometry g, T parameter,
                                                const T *__restrict__ x,      // [k1, r1, k2, r2]
                                                const T *__restrict__ c,      // [k1, k2], the extremes
                                                const T *__restrict__ shares, // [k1, k2], how many
                                                const T *__restrict__ grad_y, // [k1, k2]
                                                T *__restrict__ grad_x,       // [k1, r1, k2, r2]
                                                int accumulate) {
  spread<Ties>(g, parameter, x, c, shares, grad_y, grad_x, accumulate);
}

// grad_x = grad_y at the element that `indices` names, else 0.
//
// A thread owns WIDTH neighbouring elements of x. Writes n elements, and reads them to accumulate.
extern "C" __global__ void reduce_pick_backward(ReduceGeometry g,
                                                const int *__restrict__ indices, // [k1, k2]
                                                const T *__restrict__ grad_y,    // [k1, k2]
                                                T *__restrict__ grad_x, // [k1, r1, k2, r2]
                                                int accumulate) {
  const unsigned n = g.k1 * g.r1 * g.k2 * g.r2;
  const unsigned i = first_of_pack();
  if (i >= n) return;
  Pack pack = {};
  ResultOf at(g, i);
#pragma unroll
  for (unsigned j = 0; j < WIDTH; ++j) {
    if (i + j < n) {
      const unsigned result = at.result(g);
      if (at.element(g) == (unsigned)indices[result]) pack.v[j] = grad_y[result];
      at.next(g);
    }
  }
  store_pack(grad_x, i, n, pack, accumulate);
}
