// Kernels for the launcher's own tests.
#ifdef SCALAR_IS_DOUBLE
#define HALF 0.5
#else
#define HALF 0.5f
#endif

struct Geometry {
    unsigned int count;
    unsigned int step;
};

// out[i] = in[i * step] / 2 (+ bias[i]) (+ out[i])
extern "C" __global__ void halve(Geometry g,
                                 const SCALAR* in,    // [count * step]
                                 const SCALAR* bias,  // [count] or null
                                 SCALAR* out,         // [count]
                                 int accumulate) {
    unsigned int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= g.count) return;
    SCALAR value = in[i * g.step] * HALF;
    if (bias) value += bias[i];
    out[i] = accumulate ? out[i] + value : value;
}

// out[block] = sum of the block's part of `in`, through dynamic shared memory.
extern "C" __global__ void block_sum(const SCALAR* in,  // [gridDim.x * blockDim.x]
                                     SCALAR* out) {     // [gridDim.x]
    extern __shared__ SCALAR partial[];
    partial[threadIdx.x] = in[blockIdx.x * blockDim.x + threadIdx.x];
    __syncthreads();
    if (threadIdx.x == 0) {
        SCALAR sum = 0;
        for (unsigned int i = 0; i < blockDim.x; ++i) sum += partial[i];
        out[blockIdx.x] = sum;
    }
}
