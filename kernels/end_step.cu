// The end of a training step: its loss is put away and the clock goes on.

#include "common.cuh"

// With clock = [step, batch]: losses[batch] = [loss, correct], then both count on. A batch beyond
// losses leaves it as it is.
//
// One thread does it all: five numbers read, four written.
extern "C" __global__ void end_step(unsigned batches,
                                    const T *__restrict__ loss,      // [1]
                                    const int *__restrict__ correct, // [1]
                                    T *__restrict__ losses,          // [batches, 2]
                                    unsigned long long *clock) {     // [2]
  const unsigned long long batch = clock[1];
  if (batch < batches) {
    losses[2 * batch] = *loss;
    losses[2 * batch + 1] = (T)*correct;
  }
  clock[0] += 1;
  clock[1] = batch + 1;
}
