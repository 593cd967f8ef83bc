//! Kernels of every kind, through unmodified cudarc, in all three orders.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use common::{Device, numbers};
use cudarc::driver::{DeviceRepr, LaunchConfig, PushKernelArg};
use cusim::Order;

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
