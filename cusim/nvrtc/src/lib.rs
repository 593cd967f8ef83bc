//! A stand-in for libnvrtc: compiles CUDA C++ for the CPU with g++.
//!
//! * `api.rs`: the functions cudarc calls.
//! * `options.rs`: which of NVRTC's options mean what here.
//! * `scan.rs`: finds the kernels in a program and rewrites what no macro can.
//! * `assembly.rs`: finds out which shared variables a kernel uses.
//! * `compile.rs`: runs g++ and keeps the results on disk.
//!
//! What makes CUDA C++ compile under g++ is `shim/cusim.h`. See the README of the crate `cusim`.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

pub mod api;
mod assembly;
mod compile;
mod options;
mod scan;
