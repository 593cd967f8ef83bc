// Softmax and its logarithm along one dimension: x [outer, channels, inner], where `channels` is that
// dimension. A row is the `channels` elements of one (outer, inner), `inner` apart.
//
// Each kernel comes in three forms, by who shares a row (rows.cuh): `_warps` and `_blocks` for
// neighbours in memory (inner == 1), `_columns` for rows side by side.

#include "rows.cuh"

// Where the row of this team is: its first element, and how many it has, 0 behind the last row.
struct RowOf {
  unsigned first, count;

  __device__ RowOf(const ChannelGeometry &g, const WarpTeam &) {
    const unsigned row = blockIdx.x * (THREADS / 32) + threadIdx.x / 32;
    first = row * g.channels;
    count = row < g.outer ? g.channels : 0;
  }
  __device__ RowOf(const ChannelGeometry &g, const BlockTeam &)
      : first(blockIdx.x * g.channels), count(g.channels) {}
  __device__ RowOf(const ChannelGeometry &g, const ColumnTeam &) {
    const unsigned blocks = (g.inner + TEAM_COLUMNS - 1) / TEAM_COLUMNS;
    const unsigned column = blockIdx.x % blocks * TEAM_COLUMNS + threadIdx.x;
    first = blockIdx.x / blocks * g.channels * g.inner + column;
    count = column < g.inner ? g.channels : 0;
  }
};

// y = exp(x - max) / sum, or its logarithm: x - max - log(sum).
template <class Team>
__device__ inline void softmax_forward(const ChannelGeometry &g, int log_form, const T *x, T *y) {
  const Team team;
  const RowOf row(g, team);
  x += row.first;
  y += row.first;
  // NaN is never the larger one: it stays in its exponential, and so reaches the whole row.
  T maximum = -INFINITE;
  for (unsigned j = team.rank(); j < row.count; j += Team::SIZE) {
    const T value = x[j * g.inner];
    if (value > maximum) maximum = value;
  }
  maximum = team.largest(maximum);
  // Shifted by the maximum, no exponential overflows.
  const T sum = (T)team_sum<T, double>(team, row.count,
                                       [&](unsigned j) { return exp(x[j * g.inner] - maximum); });
  const T log_sum = log(sum);
  for (unsigned j = team.rank(); j < row.count; j += Team::SIZE) {
    const T shifted = x[j * g.inner] - maximum;
    y[j * g.inner] = log_form ? shifted - log_sum : exp(shifted) / sum;
  }
}

// From the saved output: grad_x = y (grad_y - sum of y grad_y), or of the logarithm grad_y - exp(y)
// sum of grad_y.
template <class Team>
__device__ inline void softmax_backward(const ChannelGeometry &g, int log_form, const T *y,
                                        const T *grad_y, T *grad_x, int accumulate) {
  const Team team;
  const RowOf row(g, team);
  y += row.first;
  grad_y += row.first;
  grad_x += row.first;
  const T sum = (T)team_sum<T, double>(team, row.count, [&](unsigned j) {
    const unsigned i = j * g.inner;
    return log_form ? grad_y[i] : y[i] * grad_y[i];
  });
  for (unsigned j = team.rank(); j < row.count; j += Team::SIZE) {
    const unsigned i = j * g.inner;
    const T value = log_form ? grad_y[i] - exp(y[i]) * sum : y[i] * (grad_y[i] - sum);
    put(grad_x + i, value, accumulate);
  }
}

// A team owns a row. Reads x three times, of which cache serves two where the row is short, and
// writes y once; two exponentials an element, one for the logarithm.
#define SOFTMAX_FORWARD(name, Team)                                                                \
  extern "C" __global__ void __launch_bounds__(THREADS, 4)                                          \
      name(ChannelGeometry g, int log_form, const T *__restrict__ x, /* [outer, channels, inner] */ \
           T *__restrict__ y) {                                      /* [outer, channels, inner] */ \
    softmax_forward<Team>(g, log_form, x, y);                                                      \
  }

// A team owns a row. Reads y and grad_y twice, of which cache serves one where the row is short, and
// writes grad_x once, or reads it too.
#define SOFTMAX_BACKWARD(name, Team)                                                               \
  extern "C" __global__ void __launch_bounds__(THREADS, 4)                                          \
      name(ChannelGeometry g, int log_form, const T *__restrict__ y, /* [outer, channels, inner] */ \
           const T *__restrict__ grad_y,                             /* [outer, channels, inner] */ \
           T *__restrict__ grad_x,                                   /* [outer, channels, inner] */ \
           int accumulate) {                                                                       \
    softmax_backward<Team>(g, log_form, y, grad_y, grad_x, accumulate);                            \
  }

SOFTMAX_FORWARD(softmax_forward_warps, WarpTeam)
SOFTMAX_FORWARD(softmax_forward_blocks, BlockTeam)
SOFTMAX_FORWARD(softmax_forward_columns, ColumnTeam)
SOFTMAX_BACKWARD(softmax_backward_warps, WarpTeam)
SOFTMAX_BACKWARD(softmax_backward_blocks, BlockTeam)
SOFTMAX_BACKWARD(softmax_backward_columns, ColumnTeam)
