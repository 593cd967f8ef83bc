//! Every kernel compiles for every target of the real NVRTC, which needs no GPU.
//!
//! Skips, and says so, where there is no `libnvrtc`; `pip install nvidia-cuda-nvrtc` has one.

use signet::device::cuda::{NoGpu, compile_all, nvrtc_info};
use std::io::Write;

#[test]
fn every_kernel_compiles_for_every_target() {
    let nvrtc = match nvrtc_info() {
        Ok(nvrtc) => nvrtc,
        Err(reason @ NoGpu::NoNvrtc) => {
            // Not `println`: libtest shows the output of failed tests alone.
            let _ = writeln!(std::io::stderr(), "SKIPPED: no kernel was compiled: {reason}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let path = nvrtc.path.as_deref().map(|path| path.display().to_string());
    println!("NVRTC {:?} at {}", nvrtc.version, path.unwrap_or_else(|| "?".into()));
    for &target in nvrtc.targets.iter().filter(|&&target| target >= 75) {
        for file in compile_all(target).unwrap_or_else(|error| panic!("{error}")) {
            assert!(!file.log.contains("warning"), "{} sm_{target}:\n{}", file.file, file.log);
            println!("sm_{target} {} {}: {} bytes", file.file, file.scalar, file.bytes);
        }
    }
}
