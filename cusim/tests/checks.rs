//! Plants each kind of mistake and sees it named, with file and line; and sees correct kernels
//! pass. Each in a process of its own: check mode is a property of one, and errors stay.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use common::Device;
use cudarc::driver::sys::CUresult;
use cudarc::driver::{DriverError, LaunchConfig, PushKernelArg};
use cusim::{ChildOutput, Report, in_child};
use needs::test_on_cusim as test;

const CHECK: (&str, &str) = ("CUSIM_CHECK", "1");

fn config(grid: u32, block: u32, shared: u32) -> LaunchConfig {
    LaunchConfig { grid_dim: (grid, 1, 1), block_dim: (block, 1, 1), shared_mem_bytes: shared }
}

/// Launches `k(float* out, int n)` of `source` (called `name`) on 64 zeroed floats, and
/// synchronises.
fn run(name: &str, source: &str, config: LaunchConfig) -> Result<Vec<f32>, DriverError> {
    let device = Device::new();
    let kernel = device.kernel(name, source, "k");
    let mut out = device.stream.alloc_zeros::<f32>(64)?;
    let n = 64;
    // SAFETY: the arguments are the kernel's; what it does with them is what is tested.
    unsafe {
        let mut launch = device.stream.launch_builder(&kernel);
        launch.arg(&mut out).arg(&n).launch(config)?;
    }
    device.stream.synchronize()?;
    device.stream.clone_dtoh(&out)
}

/// The only report of a child.
fn only_report(child: &ChildOutput) -> &Report {
    assert_eq!(child.reports.len(), 1, "{:#?}\n{}", child.reports, child.output);
    &child.reports[0]
}

fn at(file: &str, line: u32) -> Option<(String, u32)> {
    Some((file.to_owned(), line))
}

#[test]
fn missing_barrier_is_a_race() {
    let Some(child) = in_child("missing_barrier_is_a_race", &[CHECK]) else {
        let source = r#"extern "C" __global__ void k(float* out, int n) {
            __shared__ float s[64];
            s[threadIdx.x] = threadIdx.x;
            // __syncthreads();
            out[threadIdx.x] = s[63 - threadIdx.x];
        }"#;
        // A race is reported and does not end the launch. What it read is anyone's guess.
        run("race.cu", source, config(1, 64, 0)).unwrap();
        return;
    };
    assert!(child.success, "{}", child.output);
    // Depending on who is first, the read is of something unwritten as well.
    let race = child.reports.iter().find(|r| r.kind == "race").expect("a race");
    assert_eq!(race.kernel, "k");
    let mut places = [race.at.clone(), race.other.clone()];
    places.sort();
    assert_eq!(places, [at("race.cu", 3), at("race.cu", 5)]);
    assert!(race.text.contains("shared `s`"), "{}", race.text);
}

#[test]
fn blocks_that_write_the_same_place_race() {
    let Some(child) = in_child("blocks_that_write_the_same_place_race", &[CHECK]) else {
        let source = r#"extern "C" __global__ void k(float* out, int n) {
            if (threadIdx.x == 0) out[7] += 1.0f;
        }"#;
        run("blocks.cu", source, config(4, 32, 0)).unwrap();
        return;
    };
    assert!(child.success, "{}", child.output);
    assert!(child.reports.iter().all(|r| r.kind == "race" && r.at == at("blocks.cu", 2)));
    assert!(child.reports[0].text.contains("byte 28 of an allocation of 256 bytes"));
}

#[test]
fn last_block_reduction_is_no_race() {
    let Some(child) = in_child("last_block_reduction_is_no_race", &[CHECK]) else {
        let source = r#"__device__ unsigned arrived;
        extern "C" __global__ void k(float* out, int n) {
            __shared__ bool last;
            if (threadIdx.x == 0) {
                out[blockIdx.x] = blockIdx.x;
                __threadfence();
                last = atomicAdd(&arrived, 1) == gridDim.x - 1;
                __threadfence();
            }
            __syncthreads();
            if (last && threadIdx.x == 0) {
                float sum = 0;
                for (int b = 0; b < gridDim.x; ++b) sum += out[b];
                out[63] = sum;
                arrived = 0;
            }
        }"#;
        let out = run("last.cu", source, config(8, 32, 0)).unwrap();
        assert_eq!(out[63], 28.0);
        return;
    };
    assert!(child.success, "{}", child.output);
    assert_eq!(child.reports, []);
}

#[test]
fn last_block_reduction_without_fence_is_a_race() {
    let Some(child) = in_child("last_block_reduction_without_fence_is_a_race", &[CHECK]) else {
        let source = r#"__device__ unsigned arrived;
        extern "C" __global__ void k(float* out, int n) {
            out[blockIdx.x] = blockIdx.x;
            if (atomicAdd(&arrived, 1) == gridDim.x - 1) {
                for (int b = 0; b < gridDim.x; ++b) out[63] += out[b];
            }
        }"#;
        run("nofence.cu", source, config(8, 1, 0)).unwrap();
        return;
    };
    assert!(child.success, "{}", child.output);
    let race = only_report(&child);
    assert_eq!((&race.at, &race.other), (&at("nofence.cu", 5), &at("nofence.cu", 3)));
}

#[test]
fn a_fence_of_each_side_makes_an_atomic_operation_order_accesses() {
    let Some(child) =
        in_child("a_fence_of_each_side_makes_an_atomic_operation_order_accesses", &[CHECK])
    else {
        // Without the fence behind the count, nothing that the last block reads is acquired.
        let source = r#"__device__ unsigned arrived;
        extern "C" __global__ void k(float* out, int n) {
            out[blockIdx.x] = blockIdx.x;
            __threadfence();
            if (atomicAdd(&arrived, 1) == gridDim.x - 1) {
                for (int b = 0; b < gridDim.x; ++b) out[63] += out[b];
            }
        }"#;
        run("noacquire.cu", source, config(8, 1, 0)).unwrap();
        return;
    };
    assert!(child.success, "{}", child.output);
    let race = only_report(&child);
    assert_eq!((&race.at, &race.other), (&at("noacquire.cu", 6), &at("noacquire.cu", 3)));
}

#[test]
fn a_thread_releases_with_its_own_fence() {
    let Some(child) = in_child("a_thread_releases_with_its_own_fence", &[CHECK]) else {
        // Each thread fences for itself, and thread 0 does so before the others have written.
        let source = r#"__device__ unsigned arrived;
        extern "C" __global__ void k(float* out, int n) {
            __shared__ bool last;
            out[blockIdx.x * 32 + threadIdx.x] = 1;
            __threadfence();
            __syncthreads();
            if (threadIdx.x == 0) {
                last = atomicAdd(&arrived, 1) == gridDim.x - 1;
                __threadfence();
            }
            __syncthreads();
            if (last && threadIdx.x == 0) {
                float sum = 0;
                for (int i = 0; i < 64; ++i) sum += out[i];
                out[0] = sum;
            }
        }"#;
        run("early.cu", source, config(2, 32, 0)).unwrap();
        return;
    };
    assert!(child.success, "{}", child.output);
    let race = only_report(&child);
    assert_eq!((&race.at, &race.other), (&at("early.cu", 14), &at("early.cu", 4)));
}

#[test]
fn a_shuffle_orders_no_memory() {
    let Some(child) = in_child("a_shuffle_orders_no_memory", &[CHECK]) else {
        let source = r#"extern "C" __global__ void k(float* out, int n) {
            __shared__ float s[32];
            s[threadIdx.x] = threadIdx.x;
            float v = __shfl_xor_sync(0xffffffff, 1.0f, 1);
            out[threadIdx.x] = v + s[threadIdx.x ^ 1];
        }"#;
        run("shuffle.cu", source, config(1, 32, 0)).unwrap();
        return;
    };
    assert!(child.success, "{}", child.output);
    assert!(!child.reports.is_empty());
    let lines = [at("shuffle.cu", 3), at("shuffle.cu", 5)];
    for race in &child.reports {
        let mut places = [race.at.clone(), race.other.clone()];
        places.sort();
        assert_eq!((&*race.kind, &places), ("race", &lines), "{}", race.text);
    }
}

#[test]
fn warp_barriers_order_accesses() {
    let Some(child) = in_child("warp_barriers_order_accesses", &[CHECK]) else {
        let source = r#"extern "C" __global__ void k(float* out, int n) {
            __shared__ float s[64];
            s[threadIdx.x] = threadIdx.x;
            __syncwarp();
            float v = s[threadIdx.x ^ 1];
            v += __shfl_xor_sync(0xffffffff, v, 1);
            out[threadIdx.x] = v;
        }"#;
        let out = run("warp.cu", source, config(1, 64, 0)).unwrap();
        assert!(out.iter().enumerate().all(|(i, &v)| v == (i / 2 * 4 + 1) as f32));
        return;
    };
    assert!(child.success, "{}", child.output);
    assert_eq!(child.reports, []);
}

#[test]
fn missing_warp_barrier_is_a_race() {
    let Some(child) = in_child("missing_warp_barrier_is_a_race", &[CHECK]) else {
        let source = r#"extern "C" __global__ void k(float* out, int n) {
            __shared__ float s[64];
            s[threadIdx.x] = threadIdx.x;
            out[threadIdx.x] = s[threadIdx.x & ~1];
        }"#;
        run("nowarp.cu", source, config(1, 64, 0)).unwrap();
        return;
    };
    assert!(child.success, "{}", child.output);
    // In another order than forward, the write may come second.
    let race = child.reports.iter().find(|r| r.kind == "race").expect("a race");
    let mut lines = [&race.at, &race.other].map(|l| l.as_ref().expect("both lines are known").1);
    lines.sort_unstable();
    assert_eq!(lines, [3, 4]);
}

#[test]
fn write_past_a_global_array() {
    let Some(child) = in_child("write_past_a_global_array", &[CHECK]) else {
        let source = r#"extern "C" __global__ void k(float* out, int n) {
            int i = threadIdx.x;
            if (i <= n)
                out[i] = 1.0f;
        }"#;
        let error = run("past.cu", source, config(1, 96, 0)).unwrap_err();
        assert_eq!(error.0, CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
        return;
    };
    assert!(child.success, "{}", child.output);
    let report = only_report(&child);
    assert_eq!((report.kind.as_str(), &report.at), ("out-of-bounds", &at("past.cu", 4)));
    assert!(report.text.contains("thread (64,0,0)"), "{}", report.text);
    assert!(report.text.contains("byte 256 of an allocation of 256 bytes"), "{}", report.text);
}

#[test]
fn wild_pointers_are_out_of_bounds() {
    let Some(child) = in_child("wild_pointers_are_out_of_bounds", &[CHECK]) else {
        let source = r#"__device__ float* other;
        extern "C" __global__ void k(float* out, int n) {
            float x = out == 0 ? 0.0f : ((float*)(size_t)16)[n];
            out[0] = x;
        }"#;
        let error = run("wild.cu", source, config(1, 1, 0)).unwrap_err();
        assert_eq!(error.0, CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
        return;
    };
    assert!(child.success, "{}", child.output);
    let report = only_report(&child);
    assert_eq!((report.kind.as_str(), &report.at), ("out-of-bounds", &at("wild.cu", 3)));
    assert!(report.text.contains("address 0x110"), "{}", report.text);
}

#[test]
fn write_past_a_shared_array() {
    let Some(child) = in_child("write_past_a_shared_array", &[CHECK]) else {
        let source = r#"extern "C" __global__ void k(float* out, int n) {
            __shared__ float a[32], b[32];
            a[threadIdx.x] = 1.0f;
            b[threadIdx.x] = 2.0f;
            __syncthreads();
            out[threadIdx.x] = a[threadIdx.x] + b[threadIdx.x];
        }"#;
        let error = run("shared.cu", source, config(1, 33, 0)).unwrap_err();
        assert_eq!(error.0, CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
        return;
    };
    assert!(child.success, "{}", child.output);
    let report = only_report(&child);
    assert_eq!((report.kind.as_str(), &report.at), ("out-of-bounds", &at("shared.cu", 3)));
    assert!(report.text.contains("byte 128 of shared `a`"), "{}", report.text);
}

#[test]
fn read_past_dynamic_shared_memory() {
    let Some(child) = in_child("read_past_dynamic_shared_memory", &[CHECK]) else {
        let source = r#"extern "C" __global__ void k(float* out, int n) {
            extern __shared__ float s[];
            s[threadIdx.x] = 1.0f;
            __syncthreads();
            out[threadIdx.x] = s[threadIdx.x + 1];
        }"#;
        let error = run("dynamic.cu", source, config(1, 32, 128)).unwrap_err();
        assert_eq!(error.0, CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
        return;
    };
    assert!(child.success, "{}", child.output);
    let report = only_report(&child);
    assert_eq!((report.kind.as_str(), &report.at), ("out-of-bounds", &at("dynamic.cu", 5)));
}

#[test]
fn uninitialised_shared_memory() {
    let Some(child) = in_child("uninitialised_shared_memory", &[CHECK]) else {
        let source = r#"extern "C" __global__ void k(float* out, int n) {
            __shared__ float s[64];
            if (threadIdx.x < 32) s[threadIdx.x] = 1.0f;
            __syncthreads();
            out[threadIdx.x] = s[threadIdx.x];
        }"#;
        let out = run("unset.cu", source, config(1, 64, 0)).unwrap();
        assert!(out[31] == 1.0 && out[32].is_nan());
        return;
    };
    assert!(child.success, "{}", child.output);
    let report = only_report(&child);
    assert_eq!((report.kind.as_str(), &report.at), ("uninitialised", &at("unset.cu", 5)));
}

#[test]
fn uninitialised_global_memory() {
    let Some(child) = in_child("uninitialised_global_memory", &[CHECK]) else {
        let device = Device::new();
        let kernel = device.kernel(
            "fresh.cu",
            "extern \"C\" __global__ void k(const float* in, float* out) {\n  *out =\n  in[3];\n}",
            "k",
        );
        // SAFETY: that it is not initialised is the point.
        let input = unsafe { device.stream.alloc::<f32>(4) }.unwrap();
        let mut out = device.stream.alloc_zeros::<f32>(1).unwrap();
        // SAFETY: the arguments are the kernel's.
        unsafe {
            let mut launch = device.stream.launch_builder(&kernel);
            launch.arg(&input).arg(&mut out).launch(config(1, 1, 0)).unwrap();
        }
        assert!(device.stream.clone_dtoh(&out).unwrap()[0].is_nan());
        return;
    };
    assert!(child.success, "{}", child.output);
    let report = only_report(&child);
    assert_eq!((report.kind.as_str(), &report.at), ("uninitialised", &at("fresh.cu", 3)));
}

#[test]
fn clean_kernels_are_left_alone() {
    let Some(child) = in_child("clean_kernels_are_left_alone", &[CHECK]) else {
        let source = r#"
        __constant__ float table[4] = {1, 2, 3, 4};
        __device__ float total[2];
        template <int N> __device__ float reduce(float v) {
            __shared__ float s[N];
            s[threadIdx.x] = v;
            __syncthreads();
            for (int half = N / 2; half > 0; half /= 2) {
                if (threadIdx.x < half) s[threadIdx.x] += s[threadIdx.x + half];
                __syncthreads();
            }
            float sum = s[0];
            __syncthreads();
            return sum;
        }
        extern "C" __global__ void k(float* out, int n) {
            extern __shared__ unsigned char bytes[];
            __shared__ int count;
            if (threadIdx.x == 0) count = 0;
            bytes[threadIdx.x] = (unsigned char)threadIdx.x;
            __syncthreads();
            atomicAdd(&count, bytes[63 - threadIdx.x] & 1);
            float local[8];
            for (int i = 0; i < 8; ++i) local[(i + threadIdx.x) % 8] = table[i % 4];
            float sum = reduce<64>(local[threadIdx.x % 8]) + reduce<64>(1.0f);
            __syncthreads();
            if (threadIdx.x == 0) total[blockIdx.x] = sum;
            if (threadIdx.x < 16) {
                float4* out4 = (float4*)out;
                float4 v = out4[threadIdx.x];
                v.x += 1.0f;
                if (blockIdx.x == 0) out4[threadIdx.x] = make_float4(v.x, sum, count, v.w);
            }
        }"#;
        // One block: the second would race with the first on `out`.
        let out = run("clean.cu", source, config(1, 64, 64)).unwrap();
        assert_eq!(out[..4], [1.0, 128.0, 32.0, 0.0]);
        return;
    };
    assert!(child.success, "{}", child.output);
    assert_eq!(child.reports, []);
}

#[test]
fn divergent_barrier() {
    let Some(child) = in_child("divergent_barrier", &[]) else {
        let source = r#"extern "C" __global__ void k(float* out, int n) {
            if (threadIdx.x < 5) return;
            __syncthreads();
            out[threadIdx.x] = 1.0f;
        }"#;
        let error = run("diverge.cu", source, config(1, 64, 0)).unwrap_err();
        assert_eq!(error.0, CUresult::CUDA_ERROR_LAUNCH_FAILED);
        return;
    };
    assert!(child.success, "{}", child.output);
    let report = only_report(&child);
    assert_eq!((report.kind.as_str(), &report.at), ("divergence", &at("diverge.cu", 3)));
    assert!(report.text.contains("59 threads"), "{}", report.text);
    assert!(report.text.contains("5 threads have returned"), "{}", report.text);
}

#[test]
fn barriers_in_different_places() {
    let Some(child) = in_child("barriers_in_different_places", &[]) else {
        let source = r#"extern "C" __global__ void k(float* out, int n) {
            if (threadIdx.x < 32) {
                __syncthreads();
            } else {
                __syncthreads();
            }
        }"#;
        let error = run("two.cu", source, config(1, 64, 0)).unwrap_err();
        assert_eq!(error.0, CUresult::CUDA_ERROR_LAUNCH_FAILED);
        return;
    };
    assert!(child.success, "{}", child.output);
    let report = only_report(&child);
    assert!(report.text.contains("two.cu:3") && report.text.contains("two.cu:5"), "{report:?}");
}

#[test]
fn shuffle_that_lanes_do_not_reach() {
    let Some(child) = in_child("shuffle_that_lanes_do_not_reach", &[]) else {
        let source = r#"extern "C" __global__ void k(float* out, int n) {
            if (threadIdx.x % 2)
                out[threadIdx.x] = __shfl_down_sync(0xffffffff, 1.0f, 1);
            __syncthreads();
        }"#;
        let error = run("lanes.cu", source, config(1, 64, 0)).unwrap_err();
        assert_eq!(error.0, CUresult::CUDA_ERROR_LAUNCH_FAILED);
        return;
    };
    assert!(child.success, "{}", child.output);
    assert!(only_report(&child).text.contains("lanes.cu:3"), "{}", child.output);
}

#[test]
fn illegal_address_is_sticky_and_located() {
    let Some(child) = in_child("illegal_address_is_sticky_and_located", &[]) else {
        let source = r#"extern "C" __global__ void k(float* out, int n) {
            if (threadIdx.x == 7 && blockIdx.x == 1)
                out[100000] = 1.0f;
        }"#;
        let device = Device::new();
        let kernel = device.kernel("wild.cu", source, "k");
        let mut out = device.stream.alloc_zeros::<f32>(64).unwrap();
        let n = 64;
        let mut launch = || {
            // SAFETY: the arguments are the kernel's; the access is the point.
            unsafe {
                let mut launch = device.stream.launch_builder(&kernel);
                launch.arg(&mut out).arg(&n).launch(config(2, 32, 0)).map(|_| ())
            }
        };
        // As on a GPU, the launch itself succeeds and everything after it fails.
        launch().unwrap();
        let illegal = Err(DriverError(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS));
        assert_eq!(device.stream.synchronize(), illegal);
        assert_eq!(launch(), illegal);
        assert_eq!(device.stream.alloc_zeros::<f32>(1).map(|_| ()), illegal);
        std::process::exit(0);
    };
    assert!(child.success, "{}", child.output);
    let report = only_report(&child);
    assert_eq!((report.kind.as_str(), &report.at), ("illegal-address", &at("wild.cu", 3)));
    assert!(report.text.contains("block (1,0,0) thread (7,0,0)"), "{}", report.text);
    assert!(report.text.contains("byte 400000 of an allocation of 256 bytes"), "{}", report.text);
}

#[test]
fn access_after_free_is_illegal() {
    let Some(child) = in_child("access_after_free_is_illegal", &[]) else {
        let source = r#"extern "C" __global__ void k(float* out) { *out = 1.0f; }"#;
        let device = Device::new();
        let kernel = device.kernel("freed.cu", source, "k");
        let out = device.stream.alloc_zeros::<f32>(64).unwrap();
        let address = {
            use cudarc::driver::DevicePtr;
            out.device_ptr(&device.stream).0
        };
        drop(out);
        // SAFETY: the address is as large as the kernel's pointer; using it is the point.
        unsafe {
            let mut launch = device.stream.launch_builder(&kernel);
            launch.arg(&address).launch(config(1, 1, 0)).unwrap();
        }
        let illegal = Err(DriverError(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS));
        assert_eq!(device.stream.synchronize(), illegal);
        std::process::exit(0);
    };
    assert!(child.success, "{}", child.output);
    assert!(only_report(&child).text.contains("in memory that was freed"), "{}", child.output);
}

#[test]
fn misaligned_vector_access() {
    let Some(child) = in_child("misaligned_vector_access", &[CHECK]) else {
        let source = r#"struct __align__(16) Pack { float v[4]; };
        extern "C" __global__ void k(float* out, int n) {
            Pack p = *(const Pack*)(out + 4);
            p = *(const Pack*)(out + (int)p.v[0] + 2);
            out[0] = p.v[1];
        }"#;
        let error = run("aligned.cu", source, config(1, 1, 0)).unwrap_err();
        assert_eq!(error.0, CUresult::CUDA_ERROR_MISALIGNED_ADDRESS);
        return;
    };
    assert!(child.success, "{}", child.output);
    let report = only_report(&child);
    assert_eq!((report.kind.as_str(), &report.at), ("misaligned", &at("aligned.cu", 4)));
    assert!(report.text.contains("no multiple of 16"), "{}", report.text);
}

#[test]
fn trap_is_a_launch_failure() {
    let Some(child) = in_child("trap_is_a_launch_failure", &[]) else {
        let source = "extern \"C\" __global__ void k(float* out, int n) {\n  if (n) __trap();\n}";
        let error = run("trap.cu", source, config(1, 1, 0)).unwrap_err();
        assert_eq!(error.0, CUresult::CUDA_ERROR_LAUNCH_FAILED);
        return;
    };
    assert!(child.success, "{}", child.output);
    assert_eq!(only_report(&child).at, at("trap.cu", 2));
}

#[test]
fn failed_assertion() {
    let Some(child) = in_child("failed_assertion", &[]) else {
        let source = "extern \"C\" __global__ void k(float* out, int n) {\n  assert(n == 1);\n}";
        let error = run("assert.cu", source, config(1, 1, 0)).unwrap_err();
        assert_eq!(error.0, CUresult::CUDA_ERROR_ASSERT);
        return;
    };
    assert!(child.success, "{}", child.output);
    let report = only_report(&child);
    assert_eq!((report.kind.as_str(), &report.at), ("assert", &at("assert.cu", 2)));
}

#[test]
fn stack_overflow_is_caught() {
    let Some(child) = in_child("stack_overflow_is_caught", &[]) else {
        let source = r#"__device__ float deep(float* out, int n) {
            volatile float x[64];
            x[n & 63] = n;
            return n == 0 ? x[0] : deep(out, n + 1) + x[n & 63];
        }
        extern "C" __global__ void k(float* out, int n) { out[0] = deep(out, n); }"#;
        let error = run("deep.cu", source, config(1, 1, 0)).unwrap_err();
        assert_eq!(error.0, CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
        return;
    };
    assert!(child.success, "{}", child.output);
    assert_eq!(only_report(&child).kind, "illegal-address");
}

#[test]
fn leaks_are_counted() {
    let Some(child) = in_child("leaks_are_counted", &[]) else {
        let device = Device::new();
        let kept = device.stream.alloc_zeros::<f32>(10).unwrap();
        assert_eq!(device.sim.allocated_bytes(), 40);
        let address = kept.leak();
        assert_ne!(address, 0);
        return;
    };
    assert!(child.success, "{}", child.output);
    let report = only_report(&child);
    assert_eq!(report.kind, "leak");
    assert_eq!(report.text, "leak: 40 bytes in 1 allocations");
}

#[test]
fn bytes_are_counted_once_however_often_they_are_touched() {
    let name = "bytes_are_counted_once_however_often_they_are_touched";
    let file = std::env::temp_dir().join(format!("cusim-touched-{}", std::process::id()));
    let path = file.to_str().expect("a temporary folder has a plain name");
    let Some(child) = in_child(name, &[CHECK, ("CUSIM_TOUCHED", path)]) else {
        // Two blocks read the first 32 numbers; of the other 32, 8 are written and 4 read as well.
        let source = r#"extern "C" __global__ void k(float* out, int n) {
            __shared__ float s[32];
            s[threadIdx.x] = out[threadIdx.x];
            __syncthreads();
            if (threadIdx.x < 4 && blockIdx.x == 0) out[32 + threadIdx.x] += s[threadIdx.x];
            if (threadIdx.x < 4 && blockIdx.x == 0) out[60 + threadIdx.x] = s[threadIdx.x];
        }"#;
        run("touched.cu", source, config(2, 32, 0)).unwrap();
        return;
    };
    assert!(child.success, "{}", child.output);
    let lines = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let expected = r#"{"kernel":"k","grid":[2, 1, 1],"block":[32, 1, 1],"read":144,"written":32,"touched":160,"sectors":11}"#;
    assert_eq!(lines.trim(), expected);
}

#[test]
fn a_sector_serves_all_lanes_of_a_warp_that_ask_for_it_at_once() {
    let name = "a_sector_serves_all_lanes_of_a_warp_that_ask_for_it_at_once";
    let file = std::env::temp_dir().join(format!("cusim-sectors-{}", std::process::id()));
    let path = file.to_str().expect("a temporary folder has a plain name");
    let Some(child) = in_child(name, &[CHECK, ("CUSIM_TOUCHED", path)]) else {
        // Both warps read 8 sectors twice: what the first time fetched is not kept for the second.
        // Then each writes 128 bytes, which are 4 sectors.
        let source = r#"extern "C" __global__ void k(float* out, int n) {
            float sum = 0;
            for (int i = 0; i < 2; ++i) sum += out[threadIdx.x % 8 * 8 + i];
            __syncthreads();
            out[threadIdx.x] = sum;
        }"#;
        run("sectors.cu", source, config(1, 64, 0)).unwrap();
        return;
    };
    assert!(child.success, "{}", child.output);
    let lines = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert!(lines.trim().ends_with(r#""sectors":40}"#), "{lines}");
}
