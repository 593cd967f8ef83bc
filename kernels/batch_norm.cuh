// What one channel's batch normalisation is made of.

#pragma once

#include "common.cuh"

__device__ inline T inverse_std(T variance, T eps) { return T(1) / sqrt(variance + eps); }

// Moves a channel's running statistics towards those of a batch of `count` elements, the variance
// towards the unbiased one.
__device__ inline void track(T *running_mean, T *running_var, T momentum, T mean, T variance,
                             double count) {
  const T unbias = (T)(count / (count - 1));
  *running_mean = (T(1) - momentum) * *running_mean + momentum * mean;
  *running_var = (T(1) - momentum) * *running_var + momentum * (variance * unbias);
}

// What one channel's elements are normalised with.
struct Normalisation {
  T mean, scale;

  __device__ Normalisation(const T *means, const T *invstd, const T *weight, unsigned channel)
      : mean(means[channel]),
        scale(weight ? invstd[channel] * weight[channel] : invstd[channel]) {}
};
