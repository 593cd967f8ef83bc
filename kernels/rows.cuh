// Rows that several threads share: who they are, and their sums.
//
// A team is a warp, a block, or the threads of one column of a block. It has SIZE threads, of which
// this is number rank(); all of its block must call `sum` and `largest`, but for a warp's.

#pragma once

#include "common.cuh"

__device__ inline T warp_largest(T value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    const T other = shuffle(value, distance);
    if (other > value) value = other;
  }
  return value;
}

// A row for each warp.
struct WarpTeam {
  static const unsigned SIZE = 32;
  __device__ unsigned rank() const { return threadIdx.x % 32; }
  template <class S> __device__ S sum(S value) const { return warp_sum(value); }
  __device__ T largest(T value) const { return warp_largest(value); }
};

// A row for each block of THREADS.
struct BlockTeam {
  static const unsigned SIZE = THREADS;
  __device__ unsigned rank() const { return threadIdx.x; }
  template <class S> __device__ S sum(S value) const { return block_sum(value); }
  __device__ T largest(T value) const {
    __shared__ T warps[THREADS / 32];
    value = warp_largest(value);
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = value;
    __syncthreads();
    value = warps[0];
#pragma unroll
    for (unsigned warp = 1; warp < THREADS / 32; ++warp) {
      if (warps[warp] > value) value = warps[warp];
    }
    __syncthreads(); // the next call writes `warps` again
    return value;
  }
};

// A row for each of 32 columns of a block of 32 x 8 threads, so that neighbouring threads read
// neighbouring rows.
#define TEAM_COLUMNS 32u
struct ColumnTeam {
  static const unsigned SIZE = 8;
  __device__ unsigned rank() const { return threadIdx.y; }
  template <class S> __device__ S sum(S value) const {
    __shared__ S parts[SIZE][TEAM_COLUMNS];
    parts[threadIdx.y][threadIdx.x] = value;
    __syncthreads();
    S total = {};
#pragma unroll
    for (unsigned y = 0; y < SIZE; ++y) total += parts[y][threadIdx.x];
    __syncthreads(); // the next call writes `parts` again
    return total;
  }
  __device__ T largest(T value) const {
    __shared__ T parts[SIZE][TEAM_COLUMNS];
    parts[threadIdx.y][threadIdx.x] = value;
    __syncthreads();
#pragma unroll
    for (unsigned y = 0; y < SIZE; ++y) {
      if (parts[y][threadIdx.x] > value) value = parts[y][threadIdx.x];
    }
    __syncthreads(); // the next call writes `parts` again
    return value;
  }
};

// The sum of f(j) over j = 0 .. count, in every thread of the team: thread r adds terms r, r + SIZE,
// ..., REDUCE_ITEMS of them as Near and the sums of these as Far, in double.
template <class Near, class Far, class Team, class F>
__device__ inline Far team_sum(const Team &team, unsigned count, const F &f) {
  Far total = {};
  for (unsigned first = team.rank(); first < count; first += REDUCE_ITEMS * Team::SIZE) {
    Near sum = {};
#pragma unroll 4
    for (unsigned item = 0; item < REDUCE_ITEMS; ++item) {
      const unsigned j = first + item * Team::SIZE;
      if (j < count) sum += f(j);
    }
    total += sum;
  }
  return team.sum(total);
}
