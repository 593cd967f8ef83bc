// Max pooling. Each window remembers where its maximum lay; backward, each input element looks at
// the windows over it, so overlapping windows need no atomics.

#include "max_pool2d.cuh"

// first .. end of something along one axis.
struct Range {
  unsigned first, end;
};

// The input rows (or columns) of output row `out`, clipped to the input.
__device__ inline Range window(unsigned size, unsigned kernel, unsigned stride, unsigned padding,
                               unsigned out) {
  const unsigned start = out * stride, end = start + kernel;
  return {start > padding ? start - padding : 0, min(end - padding, size)};
}

// The output rows (or columns) whose windows contain input row `in`.
__device__ inline Range windows_over(unsigned out_size, unsigned kernel, unsigned stride,
                                     unsigned padding, unsigned in) {
  const unsigned at = in + padding;
  const unsigned first = at < kernel ? 0 : (at - kernel) / stride + 1;
  return {first, min(at / stride + 1, out_size)};
}

// output = the maximum of each window, argmax = its index row * W + column in the input plane. The
// first maximum in row-major order wins; a NaN wins over everything, the last one of several.
//
// A thread owns one output element. KH * KW comparisons; reads the input KH * KW / (stride rows *
// stride columns) times, what overlaps from cache, and writes output and argmax.
extern "C" __global__ void max_pool2d_forward(MaxPool2dGeometry g,
                                              const T *__restrict__ input, // [planes, H, W]
                                              T *__restrict__ output,      // [planes, OH, OW]
                                              int *__restrict__ argmax) {  // [planes, OH, OW]
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  const unsigned out_pixels = g.out_height * g.out_width;
  if (i >= g.planes * out_pixels) return;
  const unsigned plane = i / out_pixels, pixel = i % out_pixels;
  const Range rows = window(g.height, g.kernel_size[0], g.stride[0], g.padding[0],
                            pixel / g.out_width);
  const Range columns = window(g.width, g.kernel_size[1], g.stride[1], g.padding[1],
                               pixel % g.out_width);
  const T *in = input + plane * g.height * g.width;
  unsigned best = rows.first * g.width + columns.first;
  T maximum = in[best];
  for (unsigned row = rows.first; row < rows.end; ++row) {
    for (unsigned column = columns.first; column < columns.end; ++column) {
      const T value = in[row * g.width + column];
      if (value > maximum || isnan(value)) {
        maximum = value;
        best = row * g.width + column;
      }
    }
  }
  output[i] = maximum;
  argmax[i] = (int)best;
}

// grad_input = the gradients of the windows whose maximum the element was.
//
// A thread owns one input element and asks the windows over it, in row-major order. Reads argmax
// and grad_output KH * KW / (stride rows * stride columns) times, what overlaps from cache.
extern "C" __global__ void max_pool2d_backward(MaxPool2dGeometry g,
                                               const int *__restrict__ argmax,    // [planes, OH, OW]
                                               const T *__restrict__ grad_output, // [planes, OH, OW]
                                               T *__restrict__ grad_input,        // [planes, H, W]
                                               int accumulate) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  const unsigned pixels = g.height * g.width;
  if (i >= g.planes * pixels) return;
  const unsigned plane = i / pixels, pixel = i % pixels;
  const Range rows = windows_over(g.out_height, g.kernel_size[0], g.stride[0], g.padding[0],
                                  pixel / g.width);
  const Range columns = windows_over(g.out_width, g.kernel_size[1], g.stride[1], g.padding[1],
                                     pixel % g.width);
  T sum = accumulate ? grad_input[i] : T(0);
  for (unsigned row = rows.first; row < rows.end; ++row) {
    for (unsigned column = columns.first; column < columns.end; ++column) {
      const unsigned at = (plane * g.out_height + row) * g.out_width + column;
      if (argmax[at] == (int)pixel) sum += grad_output[at];
    }
  }
  grad_input[i] = sum;
}
