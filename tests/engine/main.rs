//! The library's own promises, on the CPU and on the simulated GPU.
//!
//! | file | subject |
//! |---|---|
//! | `fixtures.rs`, `fixtures_elementwise.rs`, `fixtures_network.rs` | ops, optimizers and whole networks against PyTorch's values |
//! | `gradcheck.rs`, `backward.rs` | gradients against finite differences, and what backward adds to |
//! | `properties.rs` | random geometries: every op is its definition |
//! | `tape.rs`, `optim.rs`, `network.rs`, `train.rs`, `data.rs` | the tape, optimizers, the whole network, the trainer, data |
//! | `archives.rs` | data in archives, and under other names |
//! | `cpu_simd.rs` | the vector kernels against plain ones |
//! | `cuda_registry.rs`, `cuda_precision.rs`, `cuda_network.rs` | the CUDA ops and networks, in every order of threads and under checks (single kernels: `src/ops/cuda_tests.rs`) |
//! | `fused.rs` | ops of several layers against the layers |
//! | `threads.rs` | threads that share a device |
//! | `devices.rs` | tensors on several devices, and gradients of the wrong size |
//! | `empty.rs` | tensors without elements, absurd shapes, numbers outside their range |
//! | `sums.rs` | sums of many numbers, and whatever rests on them |
//! | `tensor_ops.rs` | copies, reductions over dimensions and picking by index |
//! | `examples.rs`, `plans.rs` | the examples' networks against PyTorch's, and what a step launches |
//! | `compare.rs` | the comparison itself |

#[path = "../common/mod.rs"]
mod common;

/// Those of the examples.
// Where there is no stand-in, nobody asks for their plans.
#[cfg_attr(not(all(target_os = "linux", target_arch = "x86_64")), allow(dead_code))]
#[path = "../../examples/step_time/networks.rs"]
mod networks;

mod archives;
mod backward;
mod compare;
mod cpu_simd;
mod cuda_network;
mod cuda_precision;
mod cuda_registry;
mod data;
mod devices;
mod empty;
mod examples;
mod fixtures;
mod fixtures_elementwise;
mod fixtures_network;
mod fixtures_products;
mod fused;
mod gradcheck;
mod network;
mod optim;
mod plans;
mod properties;
mod steps;
mod sums;
mod tape;
mod tensor_ops;
mod threads;
mod train;
