// What the kernels share: the scalar type, 16-byte packs, ordered reductions, the random numbers.
//
// Every source is compiled once per scalar type, with SCALAR (and SCALAR_IS_DOUBLE) defined: the
// kernels that train in float are the ones whose gradients are checked in double.
//
// Rules of all kernels:
//  - A result depends on the shape alone. Sums are cut into pieces by the shape and combined in a
//    fixed order; there are no atomics on floating-point numbers.
//  - Indices are 32-bit: the host checked that no tensor has more than 2^31 - 1 elements.
//  - Tensors are contiguous and row-major. A comment behind each pointer gives its shape.
//  - An `accumulate` belongs to the pointer before it: 1 adds to what is there, 0 overwrites.
//  - Kernels run on any grid that the host side in src/ops/<op>/cuda.rs describes; constants that
//    both sides know are named alike.

#pragma once

typedef SCALAR T;

#ifdef SCALAR_IS_DOUBLE
#define SMALLEST_NORMAL 2.2250738585072014e-308
#else
#define SMALLEST_NORMAL 1.17549435e-38f
#endif

// Threads of a block, where a kernel asks for no other number.
#define THREADS 256u

#define INFINITE T(__uint_as_float(0x7f800000u))
#define NOT_A_NUMBER T(__uint_as_float(0x7fc00000u))

// ---------------------------------------------------------------------------------------------
// Elementwise kernels: a thread owns WIDTH neighbouring elements, which one instruction of 16
// bytes moves. A view may start anywhere inside a buffer, so both helpers fall back to single
// elements where an address is not aligned, and at the end.

#define WIDTH (16 / (unsigned)sizeof(T))

struct __align__(16) Pack {
  T v[WIDTH];
};

// The first element that this thread owns.
__device__ inline unsigned first_of_pack() {
  return WIDTH * (blockIdx.x * blockDim.x + threadIdx.x);
}

__device__ inline bool is_pack(const T *x) { return ((size_t)x & 15) == 0; }

// x[i .. i + WIDTH] of x [n], 0 behind the end.
__device__ inline Pack load_pack(const T *x, unsigned i, unsigned n) {
  if (i + WIDTH <= n && is_pack(x + i)) return *(const Pack *)(x + i);
  Pack pack;
#pragma unroll
  for (unsigned j = 0; j < WIDTH; ++j) pack.v[j] = i + j < n ? x[i + j] : T(0);
  return pack;
}

// y[i .. i + WIDTH] = pack, or += pack, as far as y [n] reaches.
__device__ inline void store_pack(T *y, unsigned i, unsigned n, Pack pack, int accumulate = 0) {
  if (i + WIDTH <= n && is_pack(y + i)) {
    if (accumulate) {
      const Pack old = *(const Pack *)(y + i);
#pragma unroll
      for (unsigned j = 0; j < WIDTH; ++j) pack.v[j] = old.v[j] + pack.v[j];
    }
    *(Pack *)(y + i) = pack;
    return;
  }
#pragma unroll
  for (unsigned j = 0; j < WIDTH; ++j) {
    if (i + j < n) y[i + j] = accumulate ? y[i + j] + pack.v[j] : pack.v[j];
  }
}

// y[i .. i + WIDTH] of y [n] repeated without end; n is not 0.
__device__ inline Pack load_pack_repeated(const T *y, unsigned i, unsigned n) {
  unsigned at = i < n ? i : i % n;
  if (at + WIDTH <= n && is_pack(y + at)) return *(const Pack *)(y + at);
  Pack pack;
#pragma unroll
  for (unsigned j = 0; j < WIDTH; ++j) {
    pack.v[j] = y[at];
    at = at + 1 == n ? 0 : at + 1;
  }
  return pack;
}

// *slot = value, or += value.
__device__ inline void put(T *slot, T value, int accumulate) {
  *slot = accumulate ? *slot + value : value;
}

// ---------------------------------------------------------------------------------------------
// Geometries of any number of dimensions, outermost first. An index that only the run knows would put
// such an array into local memory: loops over it are unrolled, over all it has room for.

#define MAX_DIMS 8u

// of[rank - 1], which is that of the innermost dimension.
template <class X> __device__ inline X innermost(const X (&of)[MAX_DIMS], unsigned rank) {
  X found = of[0];
#pragma unroll
  for (unsigned d = 1; d < MAX_DIMS; ++d) {
    if (d < rank) found = of[d];
  }
  return found;
}

// ---------------------------------------------------------------------------------------------
// A tensor seen as [outer, channels, inner]: src/ops/sum/mod.rs.

struct ChannelGeometry {
  unsigned outer;
  unsigned channels;
  unsigned inner;
};

// Elements that one thread takes from one tile of a channel, and elements of a tile. A thread's
// part is summed in T, on few enough elements that rounding does not pile up; tiles and threads are
// combined in double, which is a small share of the work on any device.
#define REDUCE_ITEMS 16u
#define REDUCE_TILE (THREADS * REDUCE_ITEMS)

// The elements e, e + THREADS, ... of one channel, where e counts over [outer, inner]. One
// division to start, none per step.
struct ChannelWalk {
  unsigned outer, inside;          // where the walk is
  unsigned outer_step, inside_step; // what THREADS elements are in these terms

  __device__ ChannelWalk(const ChannelGeometry &g, unsigned e)
      : outer(e / g.inner), inside(e % g.inner), outer_step(THREADS / g.inner),
        inside_step(THREADS % g.inner) {}

  __device__ unsigned index(const ChannelGeometry &g, unsigned channel) const {
    return (outer * g.channels + channel) * g.inner + inside;
  }

  __device__ void step(const ChannelGeometry &g) {
    outer += outer_step;
    inside += inside_step;
    if (inside >= g.inner) {
      inside -= g.inner;
      ++outer;
    }
  }
};

// The channel of flat element i and of the elements after it. Two divisions to start.
struct ChannelOf {
  unsigned channel, inside;

  __device__ ChannelOf(const ChannelGeometry &g, unsigned i)
      : channel(i / g.inner % g.channels), inside(i % g.inner) {}

  // Moves on by one element; whether that begins another channel.
  __device__ bool next(const ChannelGeometry &g) {
    if (++inside < g.inner) return false;
    inside = 0;
    channel = channel + 1 == g.channels ? 0 : channel + 1;
    return true;
  }
};

// ---------------------------------------------------------------------------------------------
// Sums in a fixed order. All threads of the warp, or of a one-dimensional block of whole warps,
// must call them.

// The value of the lane `distance` away. What is summed and is no number has a `shuffle` of its own.
template <class S> __device__ inline S shuffle(S value, int distance) {
  return __shfl_xor_sync(0xffffffffu, value, distance);
}

// The sum over the warp, in every lane: a + b = b + a makes the lanes of a sum of numbers agree to the
// last bit.
template <class S> __device__ inline S warp_sum(S value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    value += shuffle(value, distance);
  }
  return value;
}

// The sum over the block, in every thread.
template <class S> __device__ inline S block_sum(S value) {
  __shared__ S warps[32];
  value = warp_sum(value);
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = value;
  __syncthreads();
  S total = {};
  for (unsigned warp = 0; warp < blockDim.x / 32; ++warp) total += warps[warp];
  __syncthreads(); // the next call writes `warps` again
  return total;
}

// Whether this block is the last of `blocks` to come here, in all its threads, which all must call:
// what the others wrote before they came is then there to read. So the last block of a group can
// combine the parts of all, in a fixed order, without a second launch. `counter` is 0 before and
// after (Launch::counters in src/device/cuda/launch.rs).
//
// PTX's memory model in words: the first barrier brings the block's writes before thread 0, whose
// first fence and count release them; its count and second fence acquire what the others released,
// and the second barrier passes it on to the block.
__device__ inline bool is_last_block(unsigned *counter, unsigned blocks) {
  __shared__ bool last;
  __syncthreads();
  if (threadIdx.x == 0 && threadIdx.y == 0) {
    __threadfence();
    last = atomicAdd(counter, 1u) + 1 == blocks;
    __threadfence();
    if (last) *counter = 0;
  }
  __syncthreads();
  return last;
}

// Whether this thread has the sum over the blocks `block` = 0 .. blocks of what their first threads
// give as `sum`, which is then in `sum`: true for the first thread of the last block to come. Thread l
// of its first warp adds parts l, l + 32, ..., then the lanes are added. All threads must call.
template <class S>
__device__ inline bool sum_of_blocks(S &sum, S *parts, // [blocks]; not used by a single block
                                     unsigned block, unsigned blocks, unsigned *counter) {
  if (blocks > 1) {
    if (threadIdx.x == 0) parts[block] = sum;
    if (!is_last_block(counter, blocks) || threadIdx.x >= 32) return false;
    sum = {};
#pragma unroll 4
    for (unsigned i = threadIdx.x; i < blocks; i += 32) sum += parts[i];
    sum = warp_sum(sum);
  }
  return threadIdx.x == 0;
}

// ---------------------------------------------------------------------------------------------
// Philox-4x32-10, bit for bit as src/rng.rs: four random words at `block` of (stream, step).

__device__ inline uint4 philox(unsigned long long seed, unsigned stream, unsigned long long step,
                               unsigned block) {
  uint4 counter = make_uint4(block, stream, (unsigned)step, (unsigned)(step >> 32));
  unsigned key0 = (unsigned)seed, key1 = (unsigned)(seed >> 32);
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const unsigned long long a = 0xD2511F53ull * counter.x;
    const unsigned long long b = 0xCD9E8D57ull * counter.z;
    counter = make_uint4((unsigned)(b >> 32) ^ counter.y ^ key0, (unsigned)b,
                         (unsigned)(a >> 32) ^ counter.w ^ key1, (unsigned)a);
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

// 24 bits of a word as a share of 1: exact in float, so that both precisions draw the same.
__device__ inline T share(unsigned word) { return (T)(word >> 8) / T(1 << 24); }
// A word as a number from -1 to 1.
__device__ inline T both_sides(unsigned word) { return share(word) + share(word) - T(1); }
