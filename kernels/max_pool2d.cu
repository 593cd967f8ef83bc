// Max pooling. Each window remembers where its maximum lay; backward, each input element looks at
// the windows over it, so overlapping windows need no atomics.

#include "max_pool2d.cuh"

// first .. end of something along one axis.
struct Range {
  unsigned first, end;
};

// How far a window reaches along an axis.
__device__ inline unsigned reach(const MaxPool2dGeometry &g, int axis) {
  return (g.kernel_size[axis] - 1) * g.dilation[axis] + 1;
}

// The input rows (or columns) of output row `out`, as far as they are in the input: from the first on
// every dilation-th.
__device__ inline Range window(const MaxPool2dGeometry &g, int axis, unsigned size, unsigned out) {
  const unsigned padding = g.padding[axis], dilation = g.dilation[axis];
  const unsigned start = out * g.stride[axis], end = start + reach(g, axis);
  const unsigned skipped = start < padding ? (padding - start + dilation - 1) / dilation : 0;
  return {start + skipped * dilation - padding, min(end - padding, size)};
}

// The output rows (or columns) whose windows reach over input row `in`.
__device__ inline Range windows_over(const MaxPool2dGeometry &g, int axis, unsigned out_size,
                                     unsigned in) {
  const unsigned at = in + g.padding[axis], stride = g.stride[axis], over = reach(g, axis);
  const unsigned first = at < over ? 0 : (at - over) / stride + 1;
  return {first, min(at / stride + 1, out_size)};
}

// output = the maximum of each window, argmax = its index row * W + column in the input plane. The
// first maximum in row-major order wins; a NaN wins over everything, the last one of several. A window
// that a dilation leaves no place in the input is minus infinity, of index -1.
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
  const Range rows = window(g, 0, g.height, pixel / g.out_width);
  const Range columns = window(g, 1, g.width, pixel % g.out_width);
  if (rows.first >= rows.end || columns.first >= columns.end) {
    output[i] = -INFINITE;
    argmax[i] = -1;
    return;
  }
  const T *in = input + plane * g.height * g.width;
  unsigned best = rows.first * g.width + columns.first;
  T maximum = in[best];
  for (unsigned row = rows.first; row < rows.end; row += g.dilation[0]) {
    for (unsigned column = columns.first; column < columns.end; column += g.dilation[1]) {
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
  const Range rows = windows_over(g, 0, g.out_height, pixel / g.width);
  const Range columns = windows_over(g, 1, g.out_width, pixel % g.width);
  T sum = accumulate ? grad_input[i] : T(0);
  for (unsigned row = rows.first; row < rows.end; ++row) {
    for (unsigned column = columns.first; column < columns.end; ++column) {
      const unsigned at = (plane * g.out_height + row) * g.out_width + column;
      if (argmax[at] == (int)pixel) sum += grad_output[at];
    }
  }
  grad_input[i] = sum;
}
