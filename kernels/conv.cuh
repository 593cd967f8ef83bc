// What kernels with a convolution share: where things lie in the tensors, and the matrix products
// that it is made of, as rules for gemm.cuh.

#pragma once

#include "gemm.cuh"

// [rows, columns] for each pair: src/ops/conv2d/mod.rs.
struct Conv2dGeometry {
  unsigned batch;
  unsigned in_channels;
  unsigned height;
  unsigned width;
  unsigned out_channels;
  unsigned out_height;
  unsigned out_width;
  unsigned kernel_size[2];
  unsigned stride[2];
  unsigned padding[2];
  unsigned dilation[2];

  __device__ unsigned taps() const { return kernel_size[0] * kernel_size[1]; }
  __device__ unsigned in_pixels() const { return height * width; }
  __device__ unsigned out_pixels() const { return out_height * out_width; }
};

// In a module that was compiled for one geometry, all but the batch is known to the compiler: it
// turns divisions into multiplications, and leaves out what stride, padding or bounds rule out.
__device__ inline Conv2dGeometry specialise(const Conv2dGeometry &g) {
#ifdef GEOMETRY
  return {g.batch, GEOMETRY};
#else
  return g;
#endif
}

// Where something is in a tensor, and at which row and column of a plane: the sum of a pixel's
// place and a tap's is the place of the input pixel under that tap. Numbers are negative in the
// padding.
struct Place {
  int offset, y, x;
};

// The input's place of the first tap of output pixel `pixel` of the batch, counted over [N, OH,
// OW].
__device__ inline Place pixel_place(const Conv2dGeometry &g, unsigned pixel) {
  const unsigned image = pixel / g.out_pixels(), inside = pixel % g.out_pixels();
  const int y = (int)(inside / g.out_width * g.stride[0]) - (int)g.padding[0];
  const int x = (int)(inside % g.out_width * g.stride[1]) - (int)g.padding[1];
  const int offset = (int)(image * g.in_channels * g.in_pixels()) + y * (int)g.width + x;
  return {offset, y, x};
}

// What tap `tap`, counted over [C, KH, KW], adds to the place of an output pixel.
__device__ inline Place tap_place(const Conv2dGeometry &g, unsigned tap) {
  const unsigned channel = tap / g.taps(), inside = tap % g.taps();
  const int y = (int)(inside / g.kernel_size[1] * g.dilation[0]);
  const int x = (int)(inside % g.kernel_size[1] * g.dilation[1]);
  return {(int)(channel * g.in_pixels()) + y * (int)g.width + x, y, x};
}

// The input under `pixel` and `tap`, 0 in the padding.
__device__ inline T patch(const Conv2dGeometry &g, const T *input, const Place &pixel,
                          const Place &tap) {
  const unsigned y = (unsigned)(pixel.y + tap.y), x = (unsigned)(pixel.x + tap.x);
  return y < g.height && x < g.width ? input[pixel.offset + tap.offset] : T(0);
}

// This block's tile: neighbouring blocks share their columns, so patches come from the cache.
__device__ inline unsigned tile_row(unsigned m, unsigned rows) {
  return blockIdx.x % ((m + rows - 1) / rows) * rows;
}
__device__ inline unsigned tile_col(unsigned m, unsigned rows) {
  return blockIdx.x / ((m + rows - 1) / rows) * GEMM_COLS;
}

// ---------------------------------------------------------------------------------------------

// output[o, (n,p)] = weight[o, (c,t)] * patches[(c,t), (n,p)]: see conv2d.cu.
struct ForwardProduct {
  typedef unsigned Row; // where the filter starts
  typedef Place Col;    // of the output pixel
  struct Step {
    Place tap;
    unsigned k;
  };
  static const bool A_ALONG_K = true, B_ALONG_K = false;

  const Conv2dGeometry &g;
  const T *input, *weight;

  __device__ Row row(unsigned o) const { return o * g.in_channels * g.taps(); }
  __device__ Col col(unsigned pixel) const { return pixel_place(g, pixel); }
  __device__ Step step(unsigned k) const { return {tap_place(g, k), k}; }
  __device__ T a(Row filter, const Step &step) const { return weight[filter + step.k]; }
  __device__ T b(const Col &pixel, const Step &step) const {
    return patch(g, input, pixel, step.tap);
  }
};

// grad_x[c, (n,q)] = weight[c, (o,t)] * gathered grad_y[(o,t), (n,q)].
struct BackwardInputProduct {
  typedef unsigned Row; // where the input channel starts inside a filter
  typedef Place Col;    // of the input pixel: the image in grad_output, row and column padded
  struct Step {
    unsigned weight, output; // where filter and output channel start, the tap included
    int y, x;                // of the tap
  };
  static const bool A_ALONG_K = true, B_ALONG_K = false;

  const Conv2dGeometry &g;
  const T *grad_output, *weight;

  __device__ Row row(unsigned c) const { return c * g.taps(); }
  __device__ Col col(unsigned pixel) const {
    const unsigned image = pixel / g.in_pixels(), inside = pixel % g.in_pixels();
    return {(int)(image * g.out_channels * g.out_pixels()),
            (int)(inside / g.width + g.padding[0]), (int)(inside % g.width + g.padding[1])};
  }
  __device__ Step step(unsigned k) const {
    const unsigned o = k / g.taps(), tap = k % g.taps();
    return {o * g.in_channels * g.taps() + tap, o * g.out_pixels(),
            (int)(tap / g.kernel_size[1] * g.dilation[0]),
            (int)(tap % g.kernel_size[1] * g.dilation[1])};
  }
  __device__ T a(Row channel, const Step &step) const { return weight[step.weight + channel]; }
  // The output pixel whose tap lay over this input pixel; with a stride there is not always one.
  __device__ T b(const Col &pixel, const Step &step) const {
    int y = pixel.y - step.y, x = pixel.x - step.x;
    if (y < 0 || x < 0) return 0;
    if (g.stride[0] > 1 || g.stride[1] > 1) {
      if (y % g.stride[0] != 0 || x % g.stride[1] != 0) return 0;
      y /= g.stride[0];
      x /= g.stride[1];
    }
    if (y >= (int)g.out_height || x >= (int)g.out_width) return 0;
    return grad_output[pixel.offset + step.output + y * g.out_width + x];
  }
};

// grad_w[o, (c,t)] = grad_y[o, (n,p)] * patches[(n,p), (c,t)].
struct BackwardWeightProduct {
  typedef unsigned Row; // where the output channel starts inside an image
  typedef Place Col;    // of the tap
  struct Step {
    Place pixel;
    unsigned output; // the pixel in the first channel of grad_output
  };
  static const bool A_ALONG_K = true, B_ALONG_K = true;

  const Conv2dGeometry &g;
  const T *input, *grad_output;

  __device__ Row row(unsigned o) const { return o * g.out_pixels(); }
  __device__ Col col(unsigned tap) const { return tap_place(g, tap); }
  __device__ Step step(unsigned pixel) const {
    const unsigned image = pixel / g.out_pixels(), inside = pixel % g.out_pixels();
    return {pixel_place(g, pixel), image * g.out_channels * g.out_pixels() + inside};
  }
  __device__ T a(Row channel, const Step &step) const {
    return grad_output[step.output + channel];
  }
  __device__ T b(const Col &tap, const Step &step) const {
    return patch(g, input, step.pixel, tap);
  }
};
