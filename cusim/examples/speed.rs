//! How fast the simulator is: launches, threads, barriers, shuffles, arithmetic.
//!
//! `cargo run --release -p cusim --example speed`

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[path = "../tests/common/mod.rs"]
mod common;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn main() {
    use std::time::Instant;

    use cudarc::driver::{LaunchConfig, PushKernelArg};

    const SOURCE: &str = r#"
    extern "C" __global__ void touch(float* p, int n) {
        int i = blockIdx.x * blockDim.x + threadIdx.x;
        if (i < n) p[i] += 1.0f;
    }
    extern "C" __global__ void barriers(float* p, int n) {
        for (int i = 0; i < n; ++i) __syncthreads();
    }
    extern "C" __global__ void shuffles(float* p, int n) {
        float v = threadIdx.x;
        for (int i = 0; i < n; ++i) v += __shfl_xor_sync(0xffffffff, v, 1);
        p[threadIdx.x] = v;
    }
    // C += A B, 64 x 64 tiles, 4 x 4 of them a thread, as a real kernel would.
    extern "C" __global__ void __launch_bounds__(256) matmul(float* p, int n) {
        const float *a = p, *b = p + n * n;
        float* c = p + 2 * n * n;
        __shared__ float ta[16][64], tb[16][64];
        int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
        int row = blockIdx.y * 64, column = blockIdx.x * 64;
        float sum[4][4] = {};
        for (int k0 = 0; k0 < n; k0 += 16) {
            for (int i = threadIdx.x; i < 16 * 64; i += 256) {
                ta[i % 16][i / 16] = a[(row + i / 16) * n + k0 + i % 16];
                tb[i / 64][i % 64] = b[(k0 + i / 64) * n + column + i % 64];
            }
            __syncthreads();
            #pragma unroll
            for (int k = 0; k < 16; ++k) {
                float4 x = *(float4*)&ta[k][ty * 4], y = *(float4*)&tb[k][tx * 4];
                float xs[4] = {x.x, x.y, x.z, x.w}, ys[4] = {y.x, y.y, y.z, y.w};
                #pragma unroll
                for (int i = 0; i < 4; ++i)
                    #pragma unroll
                    for (int j = 0; j < 4; ++j) sum[i][j] += xs[i] * ys[j];
            }
            __syncthreads();
        }
        for (int i = 0; i < 4; ++i)
            for (int j = 0; j < 4; ++j) c[(row + ty * 4 + i) * n + column + tx * 4 + j] = sum[i][j];
    }"#;

    let device = common::Device::new();
    let stream = &device.stream;
    let mut memory = stream.alloc_zeros::<f32>(3 << 20).unwrap();
    let mut time = |kernel: &str, grid: (u32, u32), block: u32, n: i32, repeat: u32| {
        let function = device.kernel("speed.cu", SOURCE, kernel);
        let config = LaunchConfig {
            grid_dim: (grid.0, grid.1, 1),
            block_dim: (block, 1, 1),
            shared_mem_bytes: 0,
        };
        let mut once = || {
            // SAFETY: the arguments are the kernel's, and `memory` is large enough.
            unsafe {
                stream.launch_builder(&function).arg(&mut memory).arg(&n).launch(config).unwrap();
            }
        };
        once();
        // The best of several: others use the machine too.
        let batch = |_| {
            let start = Instant::now();
            (0..repeat).for_each(|_| once());
            start.elapsed().as_secs_f64() / f64::from(repeat)
        };
        (0..10).map(batch).fold(f64::INFINITY, f64::min)
    };
    println!("launch of one thread  {:8.0} ns", 1e9 * time("touch", (1, 1), 1, 1, 10_000));
    let threads = time("touch", (256, 1), 256, 65536, 20);
    println!("a thread              {:8.1} ns", 1e9 * threads / 65536.0);
    let barriers = time("barriers", (1, 1), 256, 1000, 3);
    println!("a thread at a barrier {:8.1} ns", 1e9 * barriers / 256e3);
    let shuffles = time("shuffles", (1, 1), 256, 1000, 3);
    println!("a thread at a shuffle {:8.1} ns", 1e9 * shuffles / 256e3);
    let n = 512;
    let matmul = time("matmul", (n / 64, n / 64), 256, n as i32, 1);
    println!("matmul {n}           {:8.2} GFLOP/s", 2e-9 * f64::from(n).powi(3) / matmul);
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn main() {}
