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

// The two sums of one channel that its gradients are made of.
struct Sums {
  double gradient; // of what comes from above
  double product;  // of that * (input - mean)

  __device__ Sums &operator+=(const Sums &other) {
    gradient += other.gradient;
    product += other.product;
    return *this;
  }
};

__device__ inline Sums shuffle(const Sums &sums, int distance) {
  return {shuffle(sums.gradient, distance), shuffle(sums.product, distance)};
}

// Writes one channel's sums, as gradients where they are wanted, and for the input's gradient.
__device__ inline void finish_sums(const Sums &all, unsigned channel, const T *invstd, T *sums,
                                   T *grad_weight, int accumulate_weight, T *grad_bias,
                                   int accumulate_bias) {
  const T gradient = (T)all.gradient, product = (T)all.product * invstd[channel];
  sums[2 * channel] = gradient;
  sums[2 * channel + 1] = product;
  if (grad_bias) put(grad_bias + channel, gradient, accumulate_bias);
  if (grad_weight) put(grad_weight + channel, product, accumulate_weight);
}

// What one channel's elements are normalised with.
struct Normalisation {
  T mean, scale;

  __device__ Normalisation(const T *means, const T *invstd, const T *weight, unsigned channel)
      : mean(means[channel]),
        scale(weight ? invstd[channel] * weight[channel] : invstd[channel]) {}
};
