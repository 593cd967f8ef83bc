// What kernels with a convolution share: where things lie in the tensors, the matrix products that it
// is made of, as rules for gemm.cuh, and what a block does of each.

#pragma once

#include "gemm.cuh"

// [rows, columns] for each pair, channels of one group: src/ops/conv2d/mod.rs.
struct Conv2dGeometry {
  unsigned batch;
  unsigned groups;
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
  // Elements of an image, of all groups.
  __device__ unsigned in_image() const { return groups * in_channels * in_pixels(); }
  __device__ unsigned out_image() const { return groups * out_channels * out_pixels(); }
  // Elements of one group: of an image, and of the weight.
  __device__ unsigned in_group() const { return in_channels * in_pixels(); }
  __device__ unsigned out_group() const { return out_channels * out_pixels(); }
  __device__ unsigned weight_group() const { return out_channels * in_channels * taps(); }
};

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
  const int offset = (int)(image * g.in_image()) + y * (int)g.width + x;
  return {offset, y, x};
}

// What tap `tap`, counted over [C, KH, KW], adds to the place of an output pixel.
__device__ inline Place tap_place(const Conv2dGeometry &g, unsigned tap) {
  const unsigned channel = tap / g.taps(), inside = tap % g.taps();
  const int y = (int)(inside / g.kernel_size[1] * g.dilation[0]);
  const int x = (int)(inside % g.kernel_size[1] * g.dilation[1]);
  return {(int)(channel * g.in_pixels()) + y * (int)g.width + x, y, x};
}

// The input under `pixel` and `tap`; in the padding, and where it is not wanted, `otherwise`.
__device__ inline T patch(const Conv2dGeometry &g, const T *input, const Place &pixel,
                          const Place &tap, bool wanted, T otherwise = 0) {
  const unsigned y = (unsigned)(pixel.y + tap.y), x = (unsigned)(pixel.x + tap.x);
  return load_if(input + (pixel.offset + tap.offset), wanted & (y < g.height) & (x < g.width),
                 otherwise);
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
  static const bool A_ALONG_K = true, B_ALONG_K = false, SHARED_STEPS = true;

  const Conv2dGeometry &g;
  const T *input, *weight;

  __device__ Row row(unsigned o) const { return o * g.in_channels * g.taps(); }
  __device__ Col col(unsigned pixel) const { return pixel_place(g, pixel); }
  __device__ Step step(unsigned k) const { return {tap_place(g, k), k}; }
  __device__ T a(Row filter, const Step &step, bool inside) const {
    return load_if(weight + (filter + step.k), inside);
  }
  __device__ T b(const Col &pixel, const Step &step, bool inside) const {
    return patch(g, input, pixel, step.tap, inside);
  }
};

// grad_x[c, (n,q)] = weight[c, (o,t)] * gathered grad_y[(o,t), (n,q)].
struct BackwardInputProduct {
  typedef unsigned Row; // where the input channel starts inside a filter
  // Of the input pixel: the row and column of the output pixel that has it under its first tap, and
  // where that is in grad_output; with a stride, where the image is.
  typedef Place Col;
  struct Step {
    unsigned weight; // where the filter starts, the tap included
    int output;      // what output channel and tap add to the place in grad_output
    int y, x;        // of the tap
  };
  static const bool A_ALONG_K = true, B_ALONG_K = false, SHARED_STEPS = true;

  const Conv2dGeometry &g;
  const T *grad_output, *weight;

  __device__ bool strided() const { return g.stride[0] > 1 || g.stride[1] > 1; }
  // Where a row and column are in a plane of grad_output, if no stride comes between.
  __device__ int in_plane(int y, int x) const { return strided() ? 0 : y * (int)g.out_width + x; }

  __device__ Row row(unsigned c) const { return c * g.taps(); }
  __device__ Col col(unsigned pixel) const {
    const unsigned image = pixel / g.in_pixels(), inside = pixel % g.in_pixels();
    const int y = (int)(inside / g.width + g.padding[0]);
    const int x = (int)(inside % g.width + g.padding[1]);
    return {(int)(image * g.out_image()) + in_plane(y, x), y, x};
  }
  __device__ Step step(unsigned k) const {
    const unsigned o = k / g.taps(), tap = k % g.taps();
    const int y = (int)(tap / g.kernel_size[1] * g.dilation[0]);
    const int x = (int)(tap % g.kernel_size[1] * g.dilation[1]);
    return {o * g.in_channels * g.taps() + tap, (int)(o * g.out_pixels()) - in_plane(y, x), y, x};
  }
  __device__ T a(Row channel, const Step &step, bool inside) const {
    return load_if(weight + (step.weight + channel), inside);
  }
  // The output pixel whose tap lay over this input pixel; with a stride there is not always one.
  __device__ T b(const Col &pixel, const Step &step, bool inside) const {
    int y = pixel.y - step.y, x = pixel.x - step.x, at = pixel.offset + step.output;
    if (strided()) {
      const int down = (int)g.stride[0], right = (int)g.stride[1];
      inside = inside & (y % down == 0) & (x % right == 0);
      y /= down;
      x /= right;
      at += y * (int)g.out_width + x;
    }
    // Negative numbers are large ones then.
    inside = inside & ((unsigned)y < g.out_height) & ((unsigned)x < g.out_width);
    return load_if(grad_output + at, inside);
  }
};

// grad_w[o, (c,t)] = grad_y[o, (n,p)] * patches[(n,p), (c,t)], and behind it a column of ones, which
// makes the bias's gradient.
struct BackwardWeightProduct {
  typedef unsigned Row; // where the output channel starts inside an image
  struct Col {
    Place tap;     // of the ones, a row where all is padding
    float padding; // 1 for the ones, else 0; in double it takes half the registers
  };
  struct Step {
    Place pixel;
    unsigned output; // the pixel in the first channel of grad_output
  };
  static const bool A_ALONG_K = true, B_ALONG_K = true, SHARED_STEPS = true;

  const Conv2dGeometry &g;
  const T *input, *grad_output;
  unsigned weights; // columns of the weight's gradient

  __device__ Row row(unsigned o) const { return o * g.out_pixels(); }
  __device__ Col col(unsigned tap) const {
    if (tap < weights) return {tap_place(g, tap), 0};
    return {{0, 1 << 30, 0}, 1};
  }
  __device__ Step step(unsigned pixel) const {
    const unsigned image = pixel / g.out_pixels(), inside = pixel % g.out_pixels();
    return {pixel_place(g, pixel), image * g.out_image() + inside};
  }
  __device__ T a(Row channel, const Step &step, bool inside) const {
    return load_if(grad_output + (step.output + channel), inside);
  }
  __device__ T b(const Col &col, const Step &step, bool inside) const {
    return patch(g, input, step.pixel, col.tap, inside, col.padding);
  }
};

// ---------------------------------------------------------------------------------------------
// What a block does of a product: a slice of the sum for a tile of ROWS x 64 elements, a thread 4 x 4
// of them; the last block of a tile adds its slices in order (`gemm_split`). Each group of channels is
// a product of its own, of split.blocks() blocks.

// The group that this block works for, and the block's number among those of its group.
struct GroupBlock {
  unsigned group, block;

  __device__ GroupBlock(const Conv2dGeometry &g, const GemmSplit &split)
      : group(g.groups == 1 ? 0 : blockIdx.x / split.blocks()),
        block(blockIdx.x - group * split.blocks()) {}

  // Where the partial sums of the group begin, and its counters.
  template <int ROWS> __device__ size_t partials(const GemmSplit &split) const {
    return (size_t)group * split.tiles * split.parts * (ROWS * GEMM_COLS);
  }
  __device__ unsigned counters(const GemmSplit &split) const {
    return group * split.tiles * split.groups;
  }
};

// output = conv2d(input, weight) + bias. Whether this block has a whole tile in the end: it is in
// shared memory then, without the bias, and begins at (row, col).
template <int ROWS>
__device__ inline bool convolve(GemmTileShared<ROWS, ForwardProduct> &shared,
                                const Conv2dGeometry &g, const GemmSplit &split, const T *input,
                                const T *weight, const T *bias, T *partials, unsigned *counters,
                                T *output, unsigned &row, unsigned &col) {
  const unsigned m = g.out_channels, n = g.batch * g.out_pixels();
  const GroupBlock at(g, split);
  input += at.group * g.in_group();
  weight += at.group * g.weight_group();
  if (!gemm_split(ForwardProduct{g, input, weight}, shared, split, at.block, m, n,
                  g.in_channels * g.taps(), row, col, partials + at.partials<ROWS>(split),
                  counters + at.counters(split))) {
    return false;
  }
  gemm_tile_store(shared.tile, m, n, row, col, g.groups * m, g.out_pixels(),
                  bias ? bias + at.group * m : bias, output + at.group * g.out_group(), 0);
  return true;
}

// The gradient of the input.
template <int ROWS>
__device__ inline void
convolve_backward_input(GemmTileShared<ROWS, BackwardInputProduct> &shared, const Conv2dGeometry &g,
                        const GemmSplit &split, const T *grad_output, const T *weight, T *partials,
                        unsigned *counters, T *grad_input, int accumulate) {
  const unsigned m = g.in_channels, n = g.batch * g.in_pixels();
  const GroupBlock at(g, split);
  grad_output += at.group * g.out_group();
  weight += at.group * g.weight_group();
  unsigned row, col;
  if (gemm_split(BackwardInputProduct{g, grad_output, weight}, shared, split, at.block, m, n,
                 g.out_channels * g.taps(), row, col, partials + at.partials<ROWS>(split),
                 counters + at.counters(split))) {
    gemm_tile_store(shared.tile, m, n, row, col, g.groups * m, g.in_pixels(), (const T *)nullptr,
                    grad_input + at.group * g.in_group(), accumulate);
  }
}

// The gradients of weight and bias, of which one may be null.
template <class Sum, int ROWS>
__device__ inline void
convolve_backward_parameters(GemmTileShared<ROWS, BackwardWeightProduct> &shared,
                             const Conv2dGeometry &g, const GemmSplit &split, const T *input,
                             const T *grad_output, T *partials, unsigned *counters, T *grad_weight,
                             int accumulate_weight, T *grad_bias, int accumulate_bias) {
  const unsigned m = g.out_channels, weights = grad_weight ? g.in_channels * g.taps() : 0;
  const GroupBlock at(g, split);
  const BackwardWeightProduct product = {g, input + at.group * g.in_group(),
                                         grad_output + at.group * g.out_group(), weights};
  unsigned row, col;
  if (gemm_split<Sum>(product, shared, split, at.block, m, grad_bias ? weights + 1 : weights,
                      g.batch * g.out_pixels(), row, col, partials + at.partials<ROWS>(split),
                      counters + at.counters(split))) {
    gemm_tile_store_parameters(shared.tile, m, weights, row, col,
                               grad_weight ? grad_weight + at.group * m * weights : grad_weight,
                               accumulate_weight, grad_bias ? grad_bias + at.group * m : grad_bias,
                               accumulate_bias);
  }
}
