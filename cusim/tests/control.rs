//! Injected faults, traces, counters, and how the libraries are found.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use needs::test_on_cusim as test;

use common::Device;
use cudarc::driver::sys::CUresult;
use cudarc::driver::{CudaContext, DriverError};
use cusim::{LinkDir, Sim, in_child};

#[test]
fn a_fault_from_the_environment() {
    let fault = ("CUSIM_FAULT", "cuMemAllocAsync:3:CUDA_ERROR_OUT_OF_MEMORY");
    let Some(child) = in_child("a_fault_from_the_environment", &[fault]) else {
        let device = Device::new();
        let allocate = || device.stream.alloc_zeros::<f32>(4).map(|_| ());
        assert_eq!([allocate(), allocate()], [Ok(()), Ok(())]);
        assert_eq!(allocate(), Err(DriverError(CUresult::CUDA_ERROR_OUT_OF_MEMORY)));
        assert_eq!(allocate(), Ok(()));
        return;
    };
    assert!(child.success, "{}", child.output);
    let allocations = child.calls.iter().filter(|c| *c == "cuMemAllocAsync");
    assert_eq!(allocations.count(), 4);
    assert_eq!(child.calls[0], "cuInit");
}

#[test]
fn a_lost_device_stays_lost() {
    let Some(child) = in_child("a_lost_device_stays_lost", &[]) else {
        let device = Device::new();
        let lost = Err(DriverError(CUresult::CUDA_ERROR_DEVICE_UNAVAILABLE));
        device.sim.arm("cuStreamSynchronize:1:CUDA_ERROR_DEVICE_UNAVAILABLE");
        assert_eq!(device.stream.synchronize(), lost);
        assert_eq!(device.stream.alloc_zeros::<f32>(4).map(|_| ()), lost);
        return;
    };
    assert!(child.success, "{}", child.output);
}

#[test]
fn any_call_can_fail() {
    let Some(child) = in_child("any_call_can_fail", &[]) else {
        let sim = Sim::load().unwrap();
        // Whatever cudarc calls first, and everything after it, up to where it gives up.
        for k in 1..=4 {
            sim.arm(&format!("*:{k}:CUDA_ERROR_UNKNOWN"));
            assert!(CudaContext::new(0).is_err(), "call {k}");
        }
        sim.arm("");
        assert!(CudaContext::new(0).is_ok());
        sim.arm_nvrtc("nvrtcCompileProgram:1:NVRTC_ERROR_OUT_OF_MEMORY");
        let log = common::compile("x.cu", "", &[]).unwrap_err();
        assert!(log.contains("NVRTC_ERROR_OUT_OF_MEMORY"), "{log}");
        return;
    };
    assert!(child.success, "{}", child.output);
}

#[test]
fn memory_runs_out() {
    let Some(child) = in_child("memory_runs_out", &[("CUSIM_MEMORY", "1M")]) else {
        let device = Device::new();
        let half = device.stream.alloc_zeros::<u8>(512 << 10).unwrap();
        assert_eq!(device.context.mem_get_info().unwrap(), (512 << 10, 1 << 20));
        let too_much = device.stream.alloc_zeros::<u8>((512 << 10) + 1).map(|_| ());
        assert_eq!(too_much, Err(DriverError(CUresult::CUDA_ERROR_OUT_OF_MEMORY)));
        drop(half);
        assert_eq!(device.sim.allocated_bytes(), 0);
        assert_eq!(device.sim.peak_bytes(), 512 << 10);
        return;
    };
    assert!(child.success, "{}", child.output);
    assert_eq!(child.reports, []);
}

#[test]
fn memory_held_to_the_end_is_reported_on_request() {
    let name = "memory_held_to_the_end_is_reported_on_request";
    let Some(child) = in_child(name, &[("CUSIM_LEAKS", "1")]) else {
        let device = Device::new();
        std::mem::forget(device.stream.alloc_zeros::<f32>(3).unwrap());
        std::mem::forget(device);
        return;
    };
    assert!(child.success, "{}", child.output);
    assert_eq!(child.reports[0].text, "leak: 12 bytes in 1 allocations");
}

#[test]
fn the_device_is_what_the_environment_says() {
    let variables = [("CUSIM_CC", "9.0"), ("CUSIM_SMS", "132")];
    let Some(child) = in_child("the_device_is_what_the_environment_says", &variables) else {
        let device = Device::new();
        assert_eq!(device.context.compute_capability().unwrap(), (9, 0));
        assert!(device.context.name().unwrap().starts_with("cusim"));
        return;
    };
    assert!(child.success, "{}", child.output);
}

#[test]
fn a_program_finds_the_libraries_by_their_real_names() {
    let links = LinkDir::new().unwrap();
    let search = links.search_path();
    let search = search.to_str().expect("these folders have plain names");
    let name = "a_program_finds_the_libraries_by_their_real_names";
    let Some(child) = in_child(name, &[("LD_LIBRARY_PATH", search)]) else {
        // Nothing has been loaded by hand.
        // SAFETY: loads libraries, ours.
        let present = unsafe {
            cudarc::driver::sys::is_culib_present() && cudarc::nvrtc::sys::is_culib_present()
        };
        assert!(present);
        let context = CudaContext::new(0).unwrap();
        assert!(context.name().unwrap().starts_with("cusim"));
        return;
    };
    assert!(child.success, "{}", child.output);
    let path = links.path().to_owned();
    drop(links);
    assert!(!path.exists());
}

#[test]
fn nothing_in_the_target_directory_passes_for_a_gpu() {
    // Cargo puts these directories on LD_LIBRARY_PATH, for `cargo run` too.
    let exe = std::env::current_exe().unwrap();
    for dir in exe.ancestors().skip(1).take(2) {
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            assert!(!name.starts_with("libcuda.so") && !name.starts_with("libnvrtc.so"), "{name}");
        }
    }
}
