// Average pooling: windows of a fixed size, and windows that make an output of a fixed size. Backward,
// each input element looks at the windows over it, so overlapping windows need no atomics.

#include "common.cuh"

// [rows, columns] for each pair: src/ops/avg_pool2d/mod.rs.
struct AvgPool2dGeometry {
  unsigned planes;
  unsigned size[2];
  unsigned out[2];
  unsigned kernel_size[2]; // 0: windows are shares of the input
  unsigned stride[2];
  unsigned padding[2];
  unsigned divisor;       // 0: the elements of the window
  unsigned count_padding; // among these

  __device__ bool adaptive() const { return kernel_size[0] == 0; }
  __device__ unsigned in_pixels() const { return size[0] * size[1]; }
  __device__ unsigned out_pixels() const { return out[0] * out[1]; }
};

// a b / c, rounded down, and up.
__device__ inline unsigned scaled(unsigned a, unsigned b, unsigned c) {
  return (unsigned)((unsigned long long)a * b / c);
}
__device__ inline unsigned scaled_up(unsigned a, unsigned b, unsigned c) {
  return (unsigned)(((unsigned long long)a * b + c - 1) / c);
}

// first .. end of something along one axis, and how many elements are averaged.
struct Range {
  unsigned first, end, count;
};

// The input rows (or columns) of output row `out`.
__device__ inline Range window(const AvgPool2dGeometry &g, int axis, unsigned out) {
  const unsigned size = g.size[axis], padding = g.padding[axis];
  if (g.adaptive()) {
    const unsigned first = scaled(out, size, g.out[axis]);
    const unsigned end = scaled_up(out + 1, size, g.out[axis]);
    return {first, end, end - first};
  }
  const unsigned start = out * g.stride[axis];
  const unsigned stop = min(start + g.kernel_size[axis], size + 2 * padding);
  const unsigned first = start > padding ? start - padding : 0;
  const unsigned end = stop > padding ? min(stop - padding, size) : 0;
  const unsigned inside = end > first ? end - first : 0;
  return {first, end, g.count_padding ? stop - start : inside};
}

// The output rows (or columns) whose windows contain input row `in`.
__device__ inline Range windows_over(const AvgPool2dGeometry &g, int axis, unsigned in) {
  const unsigned outs = g.out[axis];
  if (g.adaptive()) {
    return {scaled(in, outs, g.size[axis]), scaled_up(in + 1, outs, g.size[axis]), 0};
  }
  const unsigned at = in + g.padding[axis], kernel = g.kernel_size[axis], stride = g.stride[axis];
  return {at < kernel ? 0 : (at - kernel) / stride + 1, min(at / stride + 1, outs), 0};
}

// What the sum of a window is divided by; one in the padding alone has nothing to divide.
__device__ inline T divisor(const AvgPool2dGeometry &g, const Range &rows, const Range &columns) {
  return (T)(g.divisor ? g.divisor : max(rows.count * columns.count, 1u));
}

// output = the sum of each window's elements, divided by how many they are or by the divisor.
//
// A thread owns one output element, and adds a row in T, the rows in double. Reads the input KH * KW /
// (stride rows * stride columns) times, what overlaps from cache, and writes the output.
extern "C" __global__ void avg_pool2d_forward(AvgPool2dGeometry g,
                                              const T *__restrict__ input, // [planes, H, W]
                                              T *__restrict__ output) {    // [planes, OH, OW]
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= g.planes * g.out_pixels()) return;
  const unsigned plane = i / g.out_pixels(), pixel = i % g.out_pixels();
  const Range rows = window(g, 0, pixel / g.out[1]), columns = window(g, 1, pixel % g.out[1]);
  const T *in = input + plane * g.in_pixels();
  double total = 0;
  for (unsigned row = rows.first; row < rows.end; ++row) {
    T sum = 0;
    for (unsigned column = columns.first; column < columns.end; ++column) {
      sum += in[row * g.size[1] + column];
    }
    total += sum;
  }
  output[i] = (T)total / divisor(g, rows, columns);
}

// grad_input = the gradients of the windows over the element, each divided as its sum was.
//
// A thread owns one input element and asks the windows over it, in row-major order. Reads grad_output
// KH * KW / (stride rows * stride columns) times, what overlaps from cache.
extern "C" __global__ void avg_pool2d_backward(AvgPool2dGeometry g,
                                               const T *__restrict__ grad_output, // [planes, OH, OW]
                                               T *__restrict__ grad_input,        // [planes, H, W]
                                               int accumulate) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= g.planes * g.in_pixels()) return;
  const unsigned plane = i / g.in_pixels(), pixel = i % g.in_pixels();
  const Range rows = windows_over(g, 0, pixel / g.size[1]);
  const Range columns = windows_over(g, 1, pixel % g.size[1]);
  T sum = accumulate ? grad_input[i] : T(0);
  for (unsigned row = rows.first; row < rows.end; ++row) {
    const Range its_rows = window(g, 0, row);
    for (unsigned column = columns.first; column < columns.end; ++column) {
      const T gradient = grad_output[plane * g.out_pixels() + row * g.out[1] + column];
      sum += gradient / divisor(g, its_rows, window(g, 1, column));
    }
  }
  grad_input[i] = sum;
}
