//! What only cusim can play: little memory, old and new devices, calls that fail, leaks.

use super::super::{
    GpuInfo, KernelCache, KernelStatistics, NoGpu, driver_version, gpus, nvrtc_info,
};
use super::{assert_says, block_sum, halve, message};
use crate::common::cuda::{is_sim, load_sim};
use crate::device::{Backend, Device, DeviceChoice, Pending, Precision, Precisions, choose};
use crate::{Cuda, Error, Tensor};
use cusim::{Report, Sim, in_child};
use needs::test_on_cusim as test;
use std::sync::{Arc, Mutex};

/// Runs a test of this file in a child in which cusim is loaded: `true` in the parent, whose work
/// is done.
fn is_parent(test: &str, variables: &[(&str, &str)]) -> bool {
    let child = child(test, variables);
    if let Some(reports) = &child {
        assert!(reports.is_empty(), "{reports:?}");
    }
    child.is_some()
}

/// What cusim reported in the child; `None` in the child itself.
fn child(test: &str, variables: &[(&str, &str)]) -> Option<Vec<Report>> {
    if !is_sim() {
        return Some(Vec::new());
    }
    // What cusim compiles has no place in the user's cache.
    let variables = [variables, &[("SIGNET_KERNEL_CACHE", "")]].concat();
    let child =
        in_child(&format!("{}::{test}", module_path!().replacen("signet::", "", 1)), &variables);
    match child {
        Some(child) => {
            assert!(child.success, "{}", child.output);
            Some(child.reports)
        }
        None => {
            load_sim();
            None
        }
    }
}

fn sim() -> &'static Sim {
    Sim::load().unwrap()
}

fn open() -> Result<Cuda, NoGpu> {
    Cuda::open(0, KernelCache::none())
}

/// A step with every kind of call: memory, launches, copies both ways, a graph.
fn step(device: &Cuda) -> crate::Result<()> {
    let out = halve(device, [64, 2], &[2_f32; 128], Some(&[1.0; 64]), &[0.0; 64], false)?;
    assert_eq!(out, [2.0; 64]);
    let mut buffer = device.upload(&[1_f64; 64])?;
    let other = device.upload(&[3_f64; 64])?;
    device.copy(Cuda::view(&other), Cuda::view_mut(&mut buffer))?;
    device.zero(Cuda::view_mut(&mut buffer))?;
    assert_eq!(device.read(Cuda::view(&buffer))?, [0.0; 64]);
    assert_eq!(block_sum(device, 2, 32, 60 * 1024)?, [32.0; 2]);
    if let Some(graph) =
        device.capture(|| device.copy(Cuda::view(&other), Cuda::view_mut(&mut buffer)))?
    {
        device.replay(&graph)?;
        let later = device.read_later(Cuda::view(&buffer))?;
        // A device that lags may not have come so far.
        later.is_ready()?;
        assert_eq!(later.wait()?, [3.0; 64]);
    }
    device.synchronize()
}

#[test]
fn everything_is_freed_with_the_last_handle() {
    if is_parent("everything_is_freed_with_the_last_handle", &[]) {
        return;
    }
    let device = open().unwrap();
    step(&device).unwrap();
    device.start_profile();
    step(&device).unwrap();
    let kept = device.upload(&[1_f32; 1000]).unwrap();
    assert!(sim().allocated_bytes() > 4000);
    drop(device);
    assert!(sim().allocated_bytes() > 4000, "a buffer keeps its device");
    drop(kept);
    assert_eq!((sim().allocated_bytes(), sim().allocations()), (0, 0));
    assert_eq!(sim().calls("cuEventCreate"), sim().calls("cuEventDestroy"));
    assert_eq!(sim().calls("cuModuleLoadData"), sim().calls("cuModuleUnload"));
    assert_eq!(sim().calls("cuStreamCreate"), sim().calls("cuStreamDestroy"));
    // The step's own, and one for each of the two kernels that the profile timed.
    assert_eq!(sim().calls("cuGraphInstantiateWithFlags"), 3);
    assert_eq!((sim().calls("cuGraphExecDestroy"), sim().calls("cuGraphDestroy")), (3, 3));
    assert_eq!((sim().calls("cuMemHostAlloc"), sim().calls("cuMemFreeHost")), (1, 1));
    assert_eq!(sim().calls("cuDevicePrimaryCtxRetain"), sim().calls("cuDevicePrimaryCtxRelease"));
}

#[test]
fn a_launch_makes_few_calls() {
    if is_parent("a_launch_makes_few_calls", &[]) {
        return;
    }
    let device = open().unwrap();
    step(&device).unwrap();
    let (all, allocations) = (sim().calls("*"), sim().calls("cuMemAlloc"));
    block_sum(&device, 2, 32, 60 * 1024).unwrap();
    assert_eq!(sim().calls("cuMemAlloc"), allocations);
    // Two uploads with their fills, a launch, a read, and the current context before each.
    assert!(sim().calls("*") - all < 25, "{} calls", sim().calls("*") - all);
}

#[test]
fn kernels_run_clean_in_check_mode() {
    if is_parent("kernels_run_clean_in_check_mode", &[("CUSIM_CHECK", "1")]) {
        return;
    }
    step(&open().unwrap()).unwrap();
}

#[test]
fn device_information_is_read() {
    if is_parent(
        "device_information_is_read",
        &[("CUSIM_CC", "9.0"), ("CUSIM_SMS", "132"), ("CUSIM_MEMORY", "80G")],
    ) {
        return;
    }
    let [GpuInfo { ordinal: 0, capability: (9, 0), memory, multiprocessors: 132, name }] =
        &gpus().unwrap()[..]
    else {
        panic!("{:?}", gpus());
    };
    assert_eq!(*memory, 80 << 30);
    assert!(driver_version().unwrap() >= (12, 0));
    let nvrtc = nvrtc_info().unwrap();
    assert!(nvrtc.targets.contains(&90));
    assert!(nvrtc.path.unwrap().to_string_lossy().contains("cusim_nvrtc"));
    let chosen = choose(DeviceChoice::Auto, None).unwrap();
    let line = chosen.to_string();
    let Device::Cuda(device) = chosen.device else { panic!("{line}") };
    assert_eq!(device.name(), "cuda:0");
    assert_eq!((device.info().multiprocessors, device.info().capability), (132, (9, 0)));
    assert_says(&line, &["cuda:0", name, "80.0 GiB", "9.0"]);
}

#[test]
fn a_newer_device_than_nvrtc_knows_gets_ptx() {
    if is_parent("a_newer_device_than_nvrtc_knows_gets_ptx", &[("CUSIM_CC", "13.0")]) {
        return;
    }
    step(&open().unwrap()).unwrap();
}

#[test]
fn an_old_device_is_refused() {
    if is_parent("an_old_device_is_refused", &[("CUSIM_CC", "7.0")]) {
        return;
    }
    let reason = open().unwrap_err();
    assert!(matches!(reason, NoGpu::TooOld { capability: (7, 0), .. }));
    assert_says(&reason.to_string(), &["7.0", "7.5", "Turing"]);
    let chosen = choose(DeviceChoice::Auto, Some(1)).unwrap();
    assert!(matches!(chosen.device, Device::Cpu(_)));
    assert_says(&chosen.to_string(), &["cpu (1 thread), as there is no GPU: ", "Turing"]);
    assert!(choose(DeviceChoice::Cuda(0), None).is_err());
}

#[test]
fn an_older_device_has_no_tensor_cores() {
    if is_parent("an_older_device_has_no_tensor_cores", &[("CUSIM_CC", "7.5")]) {
        return;
    }
    let device = open().unwrap();
    assert_eq!(device.precisions(), Precision::F32.into());
    for precision in [Precision::Tf32, Precision::Bf16] {
        let text = message(device.set_precisions(precision));
        let name = precision.to_string();
        assert_says(&text, &["precision", &name, "cusim", "7.5", "8.0", "f32"]);
        let matmul = Precisions { convolution: Precision::F32, matmul: precision };
        assert!(device.set_precisions(matmul).is_err());
    }
    assert_eq!(device.precisions(), Precision::F32.into());
    // `mma.cuh` is left out of its build.
    let [a, b] = [[2_f32; 4], [3.0; 4]]
        .map(|x| Tensor::from_slice(&device.clone().into(), &x, [2, 2]).unwrap());
    assert_eq!(a.matmul(&b).unwrap().to_vec().unwrap(), [12.0; 4]);
}

#[test]
fn a_newer_device_starts_with_pytorchs_precisions() {
    if is_parent("a_newer_device_starts_with_pytorchs_precisions", &[("CUSIM_CC", "8.0")]) {
        return;
    }
    let expected = Precisions { convolution: Precision::Tf32, matmul: Precision::F32 };
    assert_eq!(open().unwrap().precisions(), expected);
}

#[test]
fn the_cpu_touches_nothing_of_cuda() {
    if is_parent("the_cpu_touches_nothing_of_cuda", &[]) {
        return;
    }
    let chosen = choose(DeviceChoice::Cpu, Some(1)).unwrap();
    assert!(matches!(chosen.device, Device::Cpu(_)));
    assert_eq!((sim().calls("*"), sim().nvrtc_calls("*")), (0, 0));
}

#[test]
fn an_ordinal_beyond_the_last_is_refused() {
    if is_parent("an_ordinal_beyond_the_last_is_refused", &[]) {
        return;
    }
    let reason = Cuda::open(7, KernelCache::none()).unwrap_err();
    assert_eq!(reason, NoGpu::NoSuchDevice { ordinal: 7, count: 1 });
    assert_says(&message(Cuda::new(7)), &["cuda:7", "the driver sees 1"]);
}

#[test]
fn too_little_memory_says_what_to_do() {
    if is_parent("too_little_memory_says_what_to_do", &[("CUSIM_MEMORY", "1M")]) {
        return;
    }
    let device = open().unwrap();
    let kept = device.upload(&vec![1_u8; 300 * 1024]).unwrap();
    let text = message(device.alloc::<f32>(256 * 1024));
    let in_use = device.memory_use().in_use.to_string();
    assert_says(&text, &["1048576 bytes", &in_use, "smaller batch", "out of memory"]);
    assert_says(&message(device.alloc::<f64>(usize::MAX)), &["more than fit"]);
    // What lies in the pool is given back before the device counts as full.
    drop(device.alloc::<u8>(500 * 1024).unwrap());
    assert!(device.memory_use().pooled >= 500 * 1024);
    drop(device.alloc::<u8>(600 * 1024).unwrap());
    assert_eq!(device.read(Cuda::view(&kept)).unwrap(), vec![1; 300 * 1024]);
}

/// What repeats would spoil is copied, and a run that just fits has no room for copies.
#[test]
fn a_profile_needs_no_memory() {
    if is_parent("a_profile_needs_no_memory", &[("CUSIM_MEMORY", "1M")]) {
        return;
    }
    let device = open().unwrap();
    // 400 KiB of results out of 400 KiB: as much again is not there.
    let count = 100 * 1024;
    device.start_profile();
    for _ in 0..2 {
        let (input, start) = (vec![1_f32; count], vec![10.0; count]);
        let out = halve(&device, [count as u32, 1], &input, None, &start, true).unwrap();
        assert_eq!(out, vec![10.5; count]);
    }
    let [time] = &device.profile().unwrap()[..] else { panic!("one kernel ran") };
    assert_eq!((time.name, time.calls), ("halve", 2));
    assert!(!time.total.is_zero());
}

#[test]
fn a_driver_that_does_not_start_is_no_gpu() {
    if is_parent(
        "a_driver_that_does_not_start_is_no_gpu",
        &[("CUSIM_FAULT", "cuInit:1+:CUDA_ERROR_STUB_LIBRARY")],
    ) {
        return;
    }
    let reason = open().unwrap_err();
    assert_says(&reason.to_string(), &["CUDA_ERROR_STUB_LIBRARY", "container"]);
    let chosen = choose(DeviceChoice::Auto, Some(1)).unwrap();
    assert!(matches!(chosen.device, Device::Cpu(_)));
    assert_says(&chosen.to_string(), &["CUDA_ERROR_STUB_LIBRARY"]);
}

#[test]
fn a_driver_that_refuses_the_code_says_which_versions() {
    if is_parent(
        "a_driver_that_refuses_the_code_says_which_versions",
        &[("CUSIM_FAULT", "cuModuleLoadData:1+:CUDA_ERROR_UNSUPPORTED_PTX_VERSION")],
    ) {
        return;
    }
    let text = open().unwrap_err().to_string();
    assert_says(&text, &["sm_86", "NVRTC 1", "CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "update"]);
}

/// Fails the first, second, ... call of any function, until a run makes it to the end.
#[test]
fn no_failing_call_is_a_panic_or_a_leak() {
    if let Some(reports) = child("no_failing_call_is_a_panic_or_a_leak", &[]) {
        // What was not freed, as the call that frees it was made to fail: one block each time.
        let is_due = |report: &Report| report.text.ends_with(" in 1 allocations");
        assert!(reports.iter().all(is_due), "{reports:#?}");
        return;
    }
    let run = || -> crate::Result<()> {
        let device = Cuda::open(0, KernelCache::none()).map_err(|r| r.into_error(0))?;
        step(&device)?;
        device.start_profile();
        step(&device)?;
        device.profile()?;
        Ok(())
    };
    run().unwrap();
    let mut failures = 0;
    for call in 1_u64.. {
        assert!(call < 1000, "the fault never came to an end");
        sim().arm(&format!("*:{call}:CUDA_ERROR_OPERATING_SYSTEM"));
        let before = sim().calls("*");
        let result = run();
        let fired = sim().calls("*") - before >= call;
        sim().arm("");
        if let Err(error) = result {
            failures += 1;
            let Error::Device { device, message } = &error else { panic!("{error:?}") };
            assert_eq!(device, "cuda:0");
            assert_says(message, &["CUDA_ERROR_OPERATING_SYSTEM"]);
        }
        if !fired {
            break;
        }
        // A free that fails is the one thing that cannot be made good; the next run shows that
        // nothing else is amiss.
        assert!(sim().allocations() <= 12, "call {call}: {} blocks", sim().allocations());
    }
    assert!(failures > 50, "{failures} failures came through");
}

#[test]
fn no_failing_call_of_nvrtc_is_a_panic() {
    if is_parent("no_failing_call_of_nvrtc_is_a_panic", &[]) {
        return;
    }
    step(&open().unwrap()).unwrap();
    let mut failures = 0;
    for call in 1_u64.. {
        assert!(call < 200, "the fault never came to an end");
        let before = sim().nvrtc_calls("*");
        sim().arm_nvrtc(&format!("*:{call}:NVRTC_ERROR_OUT_OF_MEMORY"));
        let result = open().map_err(|r| r.into_error(0)).and_then(|device| step(&device));
        let fired = sim().nvrtc_calls("*") - before >= call;
        sim().arm_nvrtc("");
        if let Err(error) = result {
            failures += 1;
            assert_says(&error.to_string(), &["NVRTC", "NVRTC_ERROR_OUT_OF_MEMORY"]);
        }
        if !fired {
            break;
        }
    }
    assert!(failures > 10, "{failures} failures came through");
}

#[test]
fn a_lost_context_says_so_and_drops_quietly() {
    // A lost context cannot free anything: its release does.
    let variables = &[("CUSIM_FAULT", "cuLaunchKernel:2:CUDA_ERROR_ILLEGAL_ADDRESS")];
    if let Some(reports) = child("a_lost_context_says_so_and_drops_quietly", variables) {
        assert!(reports.iter().all(|report| report.kind == "leak"), "{reports:?}");
        return;
    }
    let device = open().unwrap();
    let buffer = device.upload(&[1_f32; 8]).unwrap();
    let text = message(step(&device));
    assert_says(&text, &["launching halve", "CUDA_ERROR_ILLEGAL_ADDRESS", "compute-sanitizer"]);
    assert_says(&message(device.read(Cuda::view(&buffer))), &["start the program again"]);
}

#[test]
fn compiled_kernels_are_cached() {
    if is_parent("compiled_kernels_are_cached", &[]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let cache = KernelCache::in_folder(folder.path());
    let use_it = || {
        let device = Cuda::open(0, cache.clone()).unwrap();
        let notices = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&notices);
        device.on_compile(move |line| kept.lock().unwrap().push(line.to_owned()));
        step(&device).unwrap();
        let notices = notices.lock().unwrap().clone();
        (device.kernel_statistics(), notices)
    };
    // The probe, and `launch.cu` for both types.
    let all_compiled = KernelStatistics { compiled: 3, cached: 0 };
    let all_cached = KernelStatistics { compiled: 0, cached: 3 };
    let notice = ["compiling kernels for sm_86, cached for next time".to_owned()];
    assert_eq!(use_it(), (all_compiled, notice.to_vec()));
    assert_eq!(use_it(), (all_cached, vec![]));
    assert_eq!(cache.size().files, 3);

    // Files that were cut short, and whole files whose code the driver refuses.
    let entries = || std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    entries().for_each(|path| std::fs::write(path, "signet-kernel-1\n").unwrap());
    assert_eq!(use_it().0, all_compiled);
    assert_eq!(use_it().0, all_cached);
    entries().for_each(|path| {
        use sha2::{Digest, Sha256};
        let code = b"the code of another driver";
        let entry = [b"signet-kernel-1\n", Sha256::digest(code).as_slice(), code].concat();
        std::fs::write(path, entry).unwrap();
    });
    assert_eq!(use_it().0, all_compiled);
    assert_eq!(use_it().0, all_cached);
}
