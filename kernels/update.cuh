// What the kernels of optimizers share: src/ops/update.rs.

// Elements start .. end of the flat buffers, at most a pack for each thread of a block: a part of
// `parameter`, which follows the options of `group`.
struct UpdateTile {
  unsigned start;
  unsigned end;
  unsigned parameter;
  unsigned group;
};

// Adds 1 to steps [first .. end] when every block has come here, and so has read them. All threads of
// all blocks must call it.
__device__ inline void count_steps(unsigned long long *steps, unsigned first, unsigned end,
                                   unsigned *counter) {
  if (!is_last_block(counter, gridDim.x)) return;
  for (unsigned i = first + threadIdx.x; i < end; i += blockDim.x) ++steps[i];
}
