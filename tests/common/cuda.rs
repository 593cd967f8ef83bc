//! The CUDA device that tests run on: `SIGNET_TEST_CUDA=sim` (the default on Linux on x86-64) is
//! cusim, `real` a GPU. What is left out without a C++ compiler for cusim, `tests/needs` says.
#![allow(dead_code, reason = "each test binary uses some of it")]

use signet::Cuda;
use signet::device::Precision;
use signet::device::cuda::KernelCache;

/// Whether the tests run on cusim.
pub fn is_sim() -> bool {
    let can = cfg!(all(target_os = "linux", target_arch = "x86_64"));
    match std::env::var("SIGNET_TEST_CUDA") {
        Ok(chosen) => can && chosen == "sim",
        Err(_) => can,
    }
}

/// A device of the calling thread; `None` where there is none to be had, on other systems.
///
/// # Panics
/// If there should be a device and there is none.
pub fn device() -> Option<Cuda> {
    if is_sim() {
        load_sim();
        // cusim keeps what it compiled by itself, and its code has no place in the user's cache.
        return Some(in_f32(Cuda::open(0, KernelCache::none()).expect("cusim is a device")));
    }
    if std::env::var("SIGNET_TEST_CUDA").is_ok_and(|chosen| chosen == "real") {
        return Some(in_f32(Cuda::new(0).expect("SIGNET_TEST_CUDA=real asks for a GPU")));
    }
    if let Some(chosen) = std::env::var_os("SIGNET_TEST_CUDA") {
        panic!("SIGNET_TEST_CUDA={} is neither sim nor real", chosen.display());
    }
    None
}

/// The bounds of most tests are those of f32.
fn in_f32(device: Cuda) -> Cuda {
    device.set_precisions(Precision::F32).expect("every device has f32");
    device
}

/// Puts cusim where cudarc will look, which must come before its first call.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub fn load_sim() {
    cusim::Sim::load().expect("cusim was built with this test");
}

/// There is no cusim here.
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub fn load_sim() {}
