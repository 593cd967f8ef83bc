//! Kernels of every kind, through unmodified cudarc, in all three orders.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use common::{Device, compile, numbers};
use cudarc::driver::sys::{CUevent_flags, CUfunction_attribute, CUresult};
use cudarc::driver::{DeviceRepr, DeviceSlice, DriverError, LaunchConfig, PushKernelArg, result};
use cudarc::nvrtc::Ptx;
use cusim::Order;
use needs::test_on_cusim as test;

/// Runs `body` in each order and expects the same bits.
fn in_all_orders<T: PartialEq + std::fmt::Debug>(
    device: &Device,
    mut body: impl FnMut() -> T,
) -> T {
    let mut results = Order::ALL.map(|order| {
        device.sim.set_order(order);
        body()
    });
    device.sim.set_order(Order::Forward);
    assert_eq!(results[0], results[1], "reverse order");
    assert_eq!(results[0], results[2], "shuffled order");
    std::mem::replace(&mut results[0], body())
}

fn config(grid: u32, block: u32, shared: u32) -> LaunchConfig {
    LaunchConfig { grid_dim: (grid, 1, 1), block_dim: (block, 1, 1), shared_mem_bytes: shared }
}

#[test]
fn vector_add() {
    let device = Device::new();
    let kernel = device.kernel(
        "add.cu",
        r#"extern "C" __global__ void add(const float* a, const float* b, float* c, int n) {
            int i = blockIdx.x * blockDim.x + threadIdx.x;
            if (i < n) c[i] = a[i] + b[i];
        }"#,
        "add",
    );
    let n = 1000;
    let (a, b) = (numbers(n), numbers(2 * n).split_off(n));
    let stream = &device.stream;
    let (da, db) = (stream.clone_htod(&a).unwrap(), stream.clone_htod(&b).unwrap());
    let mut dc = stream.alloc_zeros::<f32>(n).unwrap();
    let count = n as i32;
    // SAFETY: the arguments are the kernel's.
    unsafe {
        let mut launch = stream.launch_builder(&kernel);
        launch.arg(&da).arg(&db).arg(&mut dc).arg(&count);
        launch.launch(config(4, 256, 0)).unwrap();
    }
    let c = stream.clone_dtoh(&dc).unwrap();
    assert!(c.iter().zip(a.iter().zip(&b)).all(|(c, (a, b))| *c == a + b));
}

const MATMUL: &str = r#"
#define TILE 16
struct Shape { int m, n, k; };
extern "C" __global__ void __launch_bounds__(TILE * TILE)
matmul(const float* __restrict__ a, const float* __restrict__ b, float* c, Shape s) {
  __shared__ float ta[TILE][TILE + 1], tb[TILE][TILE];
  int row = blockIdx.y * TILE + threadIdx.y, column = blockIdx.x * TILE + threadIdx.x;
  float sum = 0.0f;
  for (int k0 = 0; k0 < s.k; k0 += TILE) {
    int ka = k0 + threadIdx.x, kb = k0 + threadIdx.y;
    ta[threadIdx.y][threadIdx.x] = row < s.m && ka < s.k ? a[row * s.k + ka] : 0.0f;
    tb[threadIdx.y][threadIdx.x] = column < s.n && kb < s.k ? b[kb * s.n + column] : 0.0f;
    __syncthreads();
#pragma unroll
    for (int k = 0; k < TILE; ++k) sum += ta[threadIdx.y][k] * tb[k][threadIdx.x];
    __syncthreads();
  }
  if (row < s.m && column < s.n) c[row * s.n + column] = sum;
}
"#;

#[repr(C)]
#[derive(Clone, Copy)]
struct Shape {
    m: i32,
    n: i32,
    k: i32,
}
// SAFETY: plain data, laid out as in the kernel.
unsafe impl DeviceRepr for Shape {}

#[test]
fn tiled_matmul_with_a_struct_by_value() {
    let device = Device::new();
    let kernel = device.kernel("matmul.cu", MATMUL, "matmul");
    let (m, n, k) = (33, 50, 37);
    let (a, b) = (numbers(m * k), numbers(k * n));
    let stream = &device.stream;
    let (da, db) = (stream.clone_htod(&a).unwrap(), stream.clone_htod(&b).unwrap());
    let shape = Shape { m: m as i32, n: n as i32, k: k as i32 };
    let c = in_all_orders(&device, || {
        let mut dc = stream.alloc_zeros::<f32>(m * n).unwrap();
        let grid_dim = (n.div_ceil(16) as u32, m.div_ceil(16) as u32, 1);
        let config = LaunchConfig { grid_dim, block_dim: (16, 16, 1), shared_mem_bytes: 0 };
        // SAFETY: the arguments are the kernel's.
        unsafe {
            let mut launch = stream.launch_builder(&kernel);
            launch.arg(&da).arg(&db).arg(&mut dc).arg(&shape).launch(config).unwrap();
        }
        stream.clone_dtoh(&dc).unwrap()
    });
    for i in 0..m {
        for j in 0..n {
            let want: f64 = (0..k).map(|l| f64::from(a[i * k + l]) * f64::from(b[l * n + j])).sum();
            assert!((f64::from(c[i * n + j]) - want).abs() < 1e-5, "({i}, {j})");
        }
    }
}

/// Launches `k(float* out, int n)` on `n` zeroed floats.
fn launch(device: &Device, source: &str, config: LaunchConfig, n: usize) -> Vec<f32> {
    let kernel = device.kernel("kernel.cu", source, "k");
    let mut out = device.stream.alloc_zeros::<f32>(n).unwrap();
    let count = n as i32;
    // SAFETY: the arguments are the kernel's.
    unsafe {
        let mut launch = device.stream.launch_builder(&kernel);
        launch.arg(&mut out).arg(&count).launch(config).unwrap();
    }
    device.stream.clone_dtoh(&out).unwrap()
}

#[repr(C, packed(4))]
#[derive(Clone, Copy)]
struct Wide {
    id: i32,
    values: [f32; 4],
    scale: f64,
}
// SAFETY: plain data, laid out as in the kernel.
unsafe impl DeviceRepr for Wide {}

#[test]
fn parameters_need_not_be_aligned() {
    let device = Device::new();
    let source = r#"struct __attribute__((packed)) Wide { int id; float values[4]; double scale; };
    extern "C" __global__ void k(float4 v, float* out, const Wide w, char c, dim3 d, bool b) {
        *out = v.w * w.scale + w.values[3] + w.id + c + d.z + b;
    }"#;
    let kernel = device.kernel("wide.cu", source, "k");
    let mut out = device.stream.alloc_zeros::<f32>(1).unwrap();
    let wide = Wide { id: 100, values: [0.0, 0.0, 0.0, 5.0], scale: 2.0 };
    let words = [0.0_f32, 1.0, 2.0, 3.0, 4.0, 0.0];
    // At an odd multiple of four bytes, wherever the array is.
    let odd = usize::from((&raw const words).addr().is_multiple_of(8));
    let vector: &[f32; 4] = words[odd..odd + 4].try_into().unwrap();
    let w = vector[3];
    let (small, dims, yes) = (3_i8, [1_u32, 2, 7], true);
    let mut pointers = [
        std::ptr::from_ref(vector).cast_mut().cast::<std::ffi::c_void>(),
        std::ptr::null_mut(),
        std::ptr::from_ref(&wide).cast_mut().cast(),
        std::ptr::from_ref(&small).cast_mut().cast(),
        std::ptr::from_ref(&dims).cast_mut().cast(),
        std::ptr::from_ref(&yes).cast_mut().cast(),
    ];
    {
        use cudarc::driver::DevicePtrMut;
        let (address, _guard) = out.device_ptr_mut(&device.stream);
        pointers[1] = std::ptr::from_ref(&address).cast_mut().cast();
        let stream = device.stream.cu_stream();
        // SAFETY: the parameters are the kernel's.
        unsafe {
            let function = kernel.cu_function();
            result::launch_kernel(function, (1, 1, 1), (1, 1, 1), 0, stream, &mut pointers)
                .unwrap();
        }
    }
    assert_eq!(device.stream.clone_dtoh(&out).unwrap(), [w * 2.0 + 116.0]);
}

#[test]
fn warp_shuffle_reduction() {
    let device = Device::new();
    let source = r#"
    __device__ float warp_sum(float v) {
        for (int offset = 16; offset > 0; offset /= 2) v += __shfl_down_sync(~0u, v, offset);
        return v;
    }
    extern "C" __global__ void k(float* out, int n) {
        __shared__ float partial[32];
        int lane = threadIdx.x % warpSize, warp = threadIdx.x / warpSize;
        float v = warp_sum(blockIdx.x * blockDim.x + threadIdx.x);
        if (lane == 0) partial[warp] = v;
        __syncthreads();
        if (warp == 0) {
            v = warp_sum(lane < blockDim.x / warpSize ? partial[lane] : 0.0f);
            if (lane == 0) out[blockIdx.x] = v;
        }
    }"#;
    let sums = in_all_orders(&device, || launch(&device, source, config(3, 256, 0), 3));
    let want: Vec<f32> = (0..3).map(|b| (0..256).map(|t| (b * 256 + t) as f32).sum()).collect();
    assert_eq!(sums, want);
}

#[test]
fn every_shuffle_and_vote() {
    let device = Device::new();
    let source = r#"extern "C" __global__ void k(float* out, int n) {
        int t = threadIdx.x;
        unsigned all = 0xffffffffu;
        bool ok = __shfl_sync(all, t, 5) == 5;
        ok &= __shfl_sync(all, t, 1, 8) == t / 8 * 8 + 1;
        ok &= __shfl_up_sync(all, t, 3) == (t < 3 ? t : t - 3);
        ok &= __shfl_up_sync(all, t, 1, 16) == (t % 16 == 0 ? t : t - 1);
        ok &= __shfl_down_sync(all, (double)t, 4) == (t + 4 > 31 ? t : t + 4);
        ok &= __shfl_xor_sync(all, (long long)t << 33, 9) == (long long)(t ^ 9) << 33;
        ok &= __ballot_sync(all, t % 3 == 0) == 0x49249249u;
        ok &= __any_sync(all, t == 31) && !__any_sync(all, t > 31);
        ok &= __all_sync(all, t < 32) && !__all_sync(all, t < 31);
        // The halves of the warp on their own.
        unsigned half = t < 16 ? 0xffffu : 0xffff0000u;
        if (t < 16) ok &= __shfl_xor_sync(half, t, 1) == (t ^ 1);
        else ok &= __shfl_sync(half, t, 20) == 20;
        ok &= __activemask() == all;
        ok &= __reduce_add_sync(all, t) == 496 && __reduce_max_sync(all, (unsigned)t) == 31;
        ok &= __syncthreads_count(t < 7) == 7;
        ok &= __syncthreads_or(t == 3) && !__syncthreads_or(0);
        ok &= __syncthreads_and(1) && !__syncthreads_and(t);
        out[t] = ok;
    }"#;
    let out = in_all_orders(&device, || launch(&device, source, config(1, 32, 0), 32));
    assert_eq!(out, [1.0; 32]);
}

#[test]
fn integers_bits_and_mathematics() {
    let device = Device::new();
    let source = r#"
    #define CHECK(x) do { if (!(x)) out[0] = __LINE__; } while (0)
    extern "C" __global__ void k(float* out, int n) {
        CHECK(__popc(0xf0f0u) == 8 && __clz(1) == 31 && __clz(0) == 32 && __ffs(8) == 4);
        CHECK(__brev(1u) == 0x80000000u && __umulhi(1u << 31, 6) == 3 && __mul24(-3, 5) == -15);
        CHECK(__float_as_uint(1.0f) == 0x3f800000u && __int_as_float(0x40000000) == 2.0f);
        CHECK(__byte_perm(0x03020100u, 0x07060504u, 0x7531) == 0x07050301u);
        CHECK(__funnelshift_l(0x80000000u, 1u, 1) == 3u);
        CHECK(max(3, 5) == 5 && min(2.0f, -1.0f) == -1.0f && max(1u, 2u) == 2u);
        CHECK(fabsf(tanhf(0.5f) - 0.46211716f) < 1e-6f && fabs(exp(1.0) - 2.718281828459045) < 1e-12);
        CHECK(rsqrtf(4.0f) == 0.5f && sqrt(2.25f) == 1.5f && fmaf(2, 3, 4) == 10.0f);
        CHECK(fabsf(__expf(1.0f) - 2.7182817f) < 1e-6f && fabsf(__logf(2.0f) - 0.6931472f) < 1e-6f);
        CHECK(isnan(CUDART_NAN_F) && isinf(CUDART_INF_F) && !isfinite(-CUDART_INF_F));
        CHECK(__ldg((const float*)out + 0) == 0.0f);
        float4 v = make_float4(1, 2, 3, 4);
        CHECK(v.w == 4 && sizeof(float4) == 16 && alignof(float4) == 16 && sizeof(float3) == 12);
        CHECK(alignof(double4) == 16 && alignof(float2) == 8 && alignof(uchar4) == 4);
        dim3 d(7, 8);
        CHECK(d.z == 1 && blockDim.x == 1 && gridDim.x == 1);
        CHECK(__frcp_rn(4.0f) == 0.25f && __fsqrt_rn(9.0f) == 3.0f && __fdividef(1.0f, 2.0f) == 0.5f);
        CHECK(clock64() != 0 && __float2int_rn(2.5f) == 2);
    }"#;
    assert_eq!(launch(&device, source, config(1, 1, 0), 1), [0.0], "the failing line");
}

#[test]
fn atomics() {
    let device = Device::new();
    let source = r#"extern "C" __global__ void k(float* out, int n) {
        __shared__ int lowest, highest;
        __shared__ unsigned ticket, bits;
        if (threadIdx.x == 0) { lowest = 1000; highest = -1000; ticket = 0; bits = 0; }
        __syncthreads();
        int t = threadIdx.x;
        atomicMin(&lowest, t); atomicMax(&highest, t);
        atomicInc(&ticket, 9); atomicOr(&bits, 1u << (t % 32));
        atomicAdd(&out[0], 1.0f);
        int seen, *p = (int*)&out[4];
        do seen = atomicAdd(p, 0); while (atomicCAS(p, seen, seen + t) != seen);
        __syncthreads();
        if (t == 0 && blockIdx.x == 0) {
            out[1] = lowest; out[2] = highest; out[3] = ticket; out[5] = bits == ~0u;
        }
    }"#;
    let out = in_all_orders(&device, || launch(&device, source, config(2, 64, 0), 6));
    assert_eq!([out[0], out[1], out[2], out[3], out[5]], [128.0, 0.0, 63.0, 4.0, 1.0]);
    assert_eq!(out[4].to_bits(), 2 * 63 * 32);
}

#[test]
fn dynamic_shared_memory_beyond_the_default() {
    let device = Device::new();
    let source = r#"extern "C" __global__ void k(float* out, int n) {
        extern __shared__ __align__(16) float s[];
        for (int i = threadIdx.x; i < n; i += blockDim.x) s[n - 1 - i] = i;
        __syncthreads();
        for (int i = threadIdx.x; i < n; i += blockDim.x) out[i] = s[i];
    }"#;
    let n = 24 * 1024;
    let kernel = device.kernel("dynamic.cu", source, "k");
    let mut out = device.stream.alloc_zeros::<f32>(n).unwrap();
    let (count, bytes) = (n as i32, 4 * n as u32);
    let mut launch = || {
        // SAFETY: the arguments are the kernel's.
        unsafe {
            let mut launch = device.stream.launch_builder(&kernel);
            launch.arg(&mut out).arg(&count).launch(config(1, 128, bytes)).map(|_| ())
        }
    };
    assert_eq!(launch(), Err(DriverError(CUresult::CUDA_ERROR_INVALID_VALUE)));
    kernel
        .set_attribute(
            CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
            bytes as i32,
        )
        .unwrap();
    launch().unwrap();
    let out = device.stream.clone_dtoh(&out).unwrap();
    assert!(out.iter().rev().enumerate().all(|(i, &v)| v == i as f32));
}

#[test]
fn launch_limits() {
    let device = Device::new();
    let source = r#"extern "C" __global__ void __launch_bounds__(64) k(float* out, int n) {
        __shared__ float s[10 * 1024];
        s[threadIdx.x] = 1;
        __syncthreads();
        if (threadIdx.x == 0) out[0] = s[blockDim.x - 1];
    }"#;
    let kernel = device.kernel("limits.cu", source, "k");
    let mut out = device.stream.alloc_zeros::<f32>(1).unwrap();
    let mut launch = |grid, block, shared| {
        let n = 1;
        // SAFETY: the arguments are the kernel's.
        unsafe {
            let mut launch = device.stream.launch_builder(&kernel);
            launch.arg(&mut out).arg(&n).launch(config(grid, block, shared)).map_err(|e| e.0)
        }
    };
    assert!(launch(1, 64, 8 * 1024).is_ok());
    let invalid = CUresult::CUDA_ERROR_INVALID_VALUE;
    assert_eq!(launch(0, 64, 0).unwrap_err(), invalid);
    assert_eq!(launch(1, 0, 0).unwrap_err(), invalid);
    assert_eq!(launch(1, 1025, 0).unwrap_err(), invalid);
    assert_eq!(launch(1, 64, 8 * 1024 + 1).unwrap_err(), invalid);
    let resources = CUresult::CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
    assert_eq!(launch(1, 65, 0).unwrap_err(), resources);
    let blocks = kernel.occupancy_max_active_blocks_per_multiprocessor(64, 0, None).unwrap();
    assert_eq!(blocks, 2);
}

#[test]
fn shared_memory_is_counted_by_kernel() {
    let device = Device::new();
    let source = r#"
    template <int N> __device__ float first(float v) {
        __shared__ float s[N];
        s[threadIdx.x] = v;
        __syncthreads();
        return s[0];
    }
    __device__ __noinline__ float big(float v) { return first<10000>(v); }
    extern "C" __global__ void none(float* out) { *out = 1; }
    extern "C" __global__ void same(float* out) { *out = 1; }
    extern "C" __global__ void small(float* out) { *out = first<100>(2); }
    extern "C" __global__ void large(float* out) { __shared__ int x; x = 1; *out = big(2) + x; }"#;
    let attribute = CUfunction_attribute::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES;
    let bytes =
        |kernel: &str| device.kernel("count.cu", source, kernel).get_attribute(attribute).unwrap();
    assert_eq!(["none", "same", "small", "large"].map(bytes), [0, 0, 400, 40004]);
}

#[test]
fn module_variables() {
    let device = Device::new();
    let source = r#"__constant__ float scale[2]; __device__ int calls;
    extern "C" __global__ void k(float* out, int n) { out[0] = scale[0] * scale[1]; calls++; }"#;
    let image = compile("globals.cu", source, &["--gpu-architecture=sm_86"]).unwrap();
    let load = || device.context.load_module(Ptx::from_binary(image.clone())).unwrap();
    let (module, other) = (load(), load());
    let mut scale = module.get_global("scale", &device.stream).unwrap();
    assert_eq!(scale.num_bytes(), 8);
    let bytes: Vec<u8> = [2.0_f32, 21.0].iter().flat_map(|f| f.to_le_bytes()).collect();
    device.stream.memcpy_htod(&bytes, &mut scale).unwrap();
    let kernel = module.load_function("k").unwrap();
    let mut out = device.stream.alloc_zeros::<f32>(1).unwrap();
    let n = 1;
    // SAFETY: the arguments are the kernel's.
    unsafe {
        let mut launch = device.stream.launch_builder(&kernel);
        launch.arg(&mut out).arg(&n).launch(config(1, 1, 0)).unwrap();
    }
    assert_eq!(device.stream.clone_dtoh(&out).unwrap(), [42.0]);
    // The same program loaded twice has its variables twice.
    let calls = |module: &std::sync::Arc<cudarc::driver::CudaModule>| {
        let variable = module.get_global("calls", &device.stream).unwrap();
        device.stream.clone_dtoh(&variable).unwrap()
    };
    assert_eq!((calls(&module)[0], calls(&other)[0]), (1, 0));
}

#[test]
fn events_and_copies() {
    let device = Device::new();
    let flags = Some(CUevent_flags::CU_EVENT_DEFAULT);
    let start = device.stream.record_event(flags).unwrap();
    let mut a = device.stream.clone_htod(&numbers(1000)).unwrap();
    let b = device.stream.clone_dtod(&a).unwrap();
    device.stream.memset_zeros(&mut a).unwrap();
    let end = device.stream.record_event(flags).unwrap();
    end.synchronize().unwrap();
    assert!(start.elapsed_ms(&end).unwrap() >= 0.0);
    assert_eq!(device.stream.clone_dtoh(&b).unwrap(), numbers(1000));
    assert_eq!(device.stream.clone_dtoh(&a).unwrap(), [0.0; 1000]);
    // SAFETY: written before it is read.
    let mut pinned = unsafe { device.context.alloc_pinned::<f32>(1000) }.unwrap();
    device.stream.memcpy_dtoh(&b, &mut pinned).unwrap();
    assert_eq!(pinned.as_slice().unwrap(), numbers(1000));
}

#[test]
fn fresh_memory_is_nan() {
    let device = Device::new();
    // SAFETY: any bits are a float.
    let fresh = unsafe { device.stream.alloc::<f32>(100) }.unwrap();
    assert!(device.stream.clone_dtoh(&fresh).unwrap().iter().all(|v| v.is_nan()));
}
