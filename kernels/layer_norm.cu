// Layer and group normalisation: rows of neighbours in memory, each with its own mean and variance,
// and a scale and a shift for each channel.
//
// Both kernels come in two forms, by who shares a row (rows.cuh): `_warps` and `_blocks`.

#include "rows.cuh"

// src/ops/layer_norm/mod.rs: rows of `channels` times `inner` elements. Row r has channels
// (r % groups) * channels and those after it.
struct NormGeometry {
  unsigned rows;
  unsigned groups;
  unsigned channels;
  unsigned inner;

  __device__ unsigned width() const { return channels * inner; }
  // The channel of a row's element j.
  __device__ unsigned channel(unsigned row, unsigned j) const {
    return row % groups * channels + (inner == 1 ? j : j / inner);
  }
};

// Two numbers that are summed side by side.
template <class S> struct Two {
  S first, second;

  template <class Other> __device__ Two &operator+=(const Two<Other> &other) {
    first += other.first;
    second += other.second;
    return *this;
  }
};

template <class S> __device__ inline Two<S> shuffle(const Two<S> &two, int distance) {
  return {shuffle(two.first, distance), shuffle(two.second, distance)};
}

__device__ inline unsigned row_of(const WarpTeam &) {
  return blockIdx.x * (THREADS / 32) + threadIdx.x / 32;
}
__device__ inline unsigned row_of(const BlockTeam &) { return blockIdx.x; }

template <class Team>
__device__ inline void layer_norm_forward(const NormGeometry &g, T eps, const T *x, const T *weight,
                                          const T *bias, T *y, T *mean, T *invstd) {
  const Team team;
  const unsigned row = row_of(team), width = g.width();
  if (row >= g.rows) return;
  x += row * width;
  y += row * width;
  // Rounded to T, so that the differences below are exact to T. What the rounding took from the mean
  // comes back as the sum of differences, which would else be 0.
  const T around = (T)(team_sum<T, double>(team, width, [&](unsigned j) { return x[j]; }) / width);
  const auto sums = team_sum<Two<T>, Two<double>>(team, width, [&](unsigned j) {
    const T difference = x[j] - around;
    return Two<T>{difference, difference * difference};
  });
  const double left = sums.first / width;
  const T row_mean = (T)(around + left);
  const T scale = T(1) / sqrt((T)(sums.second / width - left * left) + eps);
  if (team.rank() == 0) {
    mean[row] = row_mean;
    invstd[row] = scale;
  }
  for (unsigned j = team.rank(); j < width; j += Team::SIZE) {
    const unsigned channel = g.channel(row, j);
    const T factor = weight ? weight[channel] * scale : scale;
    y[j] = (x[j] - row_mean) * factor + (bias ? bias[channel] : T(0));
  }
}

template <class Team>
__device__ inline void layer_norm_backward(const NormGeometry &g, const T *x, const T *mean,
                                           const T *invstd, const T *weight, const T *grad_y,
                                           T *grad_x, int accumulate, T *products) {
  const Team team;
  const unsigned row = row_of(team), width = g.width();
  if (row >= g.rows) return;
  x += row * width;
  grad_y += row * width;
  const T around = mean[row], scale = invstd[row];
  auto scaled = [&](unsigned j) {
    return weight ? grad_y[j] * weight[g.channel(row, j)] : grad_y[j];
  };
  T from_mean = 0, from_var = 0;
  if (grad_x) {
    const auto sums = team_sum<Two<T>, Two<double>>(team, width, [&](unsigned j) {
      const T gradient = scaled(j);
      return Two<T>{gradient, gradient * (x[j] - around)};
    });
    from_mean = (T)(sums.first / width);
    from_var = (T)(sums.second / width) * scale * scale;
  }
  for (unsigned j = team.rank(); j < width; j += Team::SIZE) {
    const T centred = x[j] - around;
    if (products) products[row * width + j] = grad_y[j] * centred * scale;
    if (grad_x) {
      const T value = scale * (scaled(j) - from_mean - centred * from_var);
      put(grad_x + row * width + j, value, accumulate);
    }
  }
}

// y = (x - mean) * invstd * weight + bias, and each row's mean and invstd = 1 / sqrt(biased variance
// + eps).
//
// A team owns a row. Reads x three times, of which cache serves two where the row is short, and
// writes y once; 8 FLOP an element.
#define LAYER_NORM_FORWARD(name, Team)                                                             \
  extern "C" __global__ void __launch_bounds__(THREADS, 4)                                          \
      name(NormGeometry g, T eps,                                                                  \
           const T *__restrict__ x,      /* [rows, channels, inner] */                             \
           const T *__restrict__ weight, /* [groups, channels] or null */                          \
           const T *__restrict__ bias,   /* [groups, channels] or null */                          \
           T *__restrict__ y,            /* [rows, channels, inner] */                             \
           T *__restrict__ mean,         /* [rows] */                                              \
           T *__restrict__ invstd) {     /* [rows] */                                              \
    layer_norm_forward<Team>(g, eps, x, weight, bias, y, mean, invstd);                            \
  }

// With xhat = (x - mean) * invstd and g = grad_y * weight: grad_x = invstd * (g - mean of g - xhat *
// mean of g xhat), and products = grad_y * xhat, which the gradient of the weight sums.
//
// A team owns a row. Reads x and grad_y twice, of which cache serves one where the row is short, and
// writes what is wanted once; 10 FLOP an element.
#define LAYER_NORM_BACKWARD(name, Team)                                                            \
  extern "C" __global__ void __launch_bounds__(THREADS, 4)                                          \
      name(NormGeometry g,                                                                         \
           const T *__restrict__ x,      /* [rows, channels, inner] */                             \
           const T *__restrict__ mean,   /* [rows] */                                              \
           const T *__restrict__ invstd, /* [rows] */                                              \
           const T *__restrict__ weight, /* [groups, channels] or null */                          \
           const T *__restrict__ grad_y, /* [rows, channels, inner] */                             \
           T *__restrict__ grad_x,       /* [rows, channels, inner] or null */                     \
           int accumulate,                                                                         \
           T *__restrict__ products) {   /* [rows, channels, inner] or null */                     \
    layer_norm_backward<Team>(g, x, mean, invstd, weight, grad_y, grad_x, accumulate, products);   \
  }

LAYER_NORM_FORWARD(layer_norm_forward_warps, WarpTeam)
LAYER_NORM_FORWARD(layer_norm_forward_blocks, BlockTeam)
LAYER_NORM_BACKWARD(layer_norm_backward_warps, WarpTeam)
LAYER_NORM_BACKWARD(layer_norm_backward_blocks, BlockTeam)
