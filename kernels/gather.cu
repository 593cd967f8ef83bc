// A batch from the data set that lies on the device as bytes.

#include "common.cuh"

// src/ops/gather/mod.rs.
struct GatherGeometry {
  unsigned rows;
  unsigned width;
  unsigned batch_size;
};

#define GATHER_BYTES 4u

// images[i] = pixels[order[k]] / 255, targets[i] = labels[order[k]] with
// k = batch[0] * batch_size + i, or k = i without a batch.
//
// A thread owns 4 neighbouring elements of one row; the first thread of a row brings the label.
// Reads rows * width bytes and writes as many elements. The division is a true one: a product with
// 1 / 255 would round differently from the CPU.
extern "C" __global__ void gather(GatherGeometry g,
                                  const unsigned char *__restrict__ pixels, // [N, width]
                                  const int *__restrict__ labels,           // [N]
                                  const unsigned *__restrict__ order,       // [>= k]
                                  const unsigned long long *batch,          // [1] or null
                                  T *__restrict__ images,                   // [rows, width]
                                  int *__restrict__ targets) {              // [rows]
  const unsigned thread = blockIdx.x * blockDim.x + threadIdx.x;
  // A row of no bytes still has its label.
  const unsigned threads_per_row = max(1u, (g.width + GATHER_BYTES - 1) / GATHER_BYTES);
  const unsigned row = thread / threads_per_row;
  const unsigned column = thread % threads_per_row * GATHER_BYTES;
  if (row >= g.rows) return;
  const unsigned first = batch ? (unsigned)*batch * g.batch_size : 0;
  const unsigned source = order[first + row];
  if (column == 0) targets[row] = labels[source];

  const unsigned char *from = pixels + (size_t)source * g.width + column;
  T *to = images + row * g.width + column;
  unsigned char bytes[GATHER_BYTES] = {0, 0, 0, 0};
  if (column + GATHER_BYTES <= g.width && (size_t)from % GATHER_BYTES == 0) {
    const uchar4 four = *(const uchar4 *)from;
    bytes[0] = four.x, bytes[1] = four.y, bytes[2] = four.z, bytes[3] = four.w;
  } else {
#pragma unroll
    for (unsigned j = 0; j < GATHER_BYTES; ++j) {
      if (column + j < g.width) bytes[j] = from[j];
    }
  }
#pragma unroll
  for (unsigned byte = 0; byte < GATHER_BYTES; byte += WIDTH) {
    Pack pack;
#pragma unroll
    for (unsigned j = 0; j < WIDTH; ++j) pack.v[j] = (T)bytes[byte + j] / T(255);
    if (column + byte < g.width) store_pack(to, byte, g.width - column, pack);
  }
}
