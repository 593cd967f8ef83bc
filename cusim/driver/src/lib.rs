//! A stand-in for libcuda: runs CUDA kernels compiled by `cusim_nvrtc` on the CPU.
//!
//! The API, one file for each subject: `context`, `device`, `memory`, `stream`,
//! `event`, `graph`, `module`, `launch`, `error`; `api` is the frame around each
//! function and `state` what they all share.
//!
//! Under it:
//! * `heap`: device memory with guard pages.
//! * `engine`: runs grids, each CUDA thread a fibre.
//! * `shadow`: check mode's races, bounds and uninitialised reads.
//! * `report`, `lines`: saying what was found, and where in the source.
//! * `config`, `control`: settings from the environment, and at run time.
//!
//! See the README of the crate `cusim`.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod api;
mod config;
pub mod context;
pub mod control;
pub mod device;
mod engine;
pub mod error;
pub mod event;
pub mod graph;
mod heap;
pub mod launch;
mod lines;
pub mod memory;
pub mod module;
mod report;
mod shadow;
mod state;
pub mod stream;
