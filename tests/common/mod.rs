//! What the tests share. Those of the program share some of it, with files of their own beside:
//! `program/tests/common`.
//!
//! | file | subject |
//! |---|---|
//! | `child.rs` | a test in a process of its own |
//! | `cuda.rs` | the CUDA device that tests run on |
//! | `device.rs` | running one test on every device |
//! | `host.rs` | tensors on the host, and random ones |
//! | `compare.rs` | how near is near enough, and what a failure says |
//! | `fixture.rs` | reading `tests/fixtures` |
//! | `registry/` | the ops, each with cases that cover its geometry |
//! | `models.rs` | the network in its full and its narrow size, and training it |
//! | `orders.rs` | running in every order of threads, and under checks |
//! | `pth.rs` | files as `torch.save` writes them, made by hand |
//! | `root.rs` | the repository, and Python with what was fetched for it |

// Every test binary compiles all of this and uses a part.
#![allow(dead_code)]

pub mod child;
pub mod compare;
pub mod cuda;
pub mod device;
pub mod fixture;
pub mod host;
pub mod models;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod orders;
pub mod pth;
pub mod registry;
pub mod root;
