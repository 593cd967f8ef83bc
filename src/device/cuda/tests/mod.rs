//! The device's own tests, on cusim or on a GPU (see `tests/common/cuda.rs`).

mod graph;
mod mma;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod sim;

use super::memory::fills_fresh_memory;
use super::{Cuda, CudaView, KernelCache, driver};
use crate::common::cuda::device;
use crate::device::{Backend, Output};
use crate::dtype::{Element, Float};
use needs::test_on_cusim as test;
use std::fmt::Debug;

/// `[count, step]`: the geometry of `halve` in `launch.cu`.
type Geometry = [u32; 2];

/// Runs `halve` and returns what it wrote over `start`.
fn halve<T: Float>(
    device: &Cuda,
    geometry: Geometry,
    input: &[T],
    bias: Option<&[T]>,
    start: &[T],
    accumulate: bool,
) -> crate::Result<Vec<T>> {
    let input = device.upload(input)?;
    let bias = bias.map(|bias| device.upload(bias)).transpose()?;
    let mut out = device.upload(start)?;
    let view = Cuda::view_mut(&mut out);
    device
        .kernel::<T>("test_launch", "halve")?
        .value(geometry)
        .input(Cuda::view(&input))
        .optional(bias.as_ref().map(Cuda::view))
        .gradient(Output { view, accumulate })
        .launch([geometry[0].div_ceil(32), 1, 1], [32, 1, 1])?;
    device.read(Cuda::view(&out))
}

/// The message of a result that must be an error.
fn message<T: Debug>(result: crate::Result<T>) -> String {
    result.expect_err("this must fail").to_string()
}

#[track_caller]
fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "no {part:?} in: {message}");
    }
}

#[test]
fn memory_round_trips() {
    fn check<E: Element>(device: &Cuda, values: [E; 5]) {
        let [a, b, c, d, e] = values;
        let zero = E::zeroed();
        let mut buffer = device.upload(&values).unwrap();
        assert_eq!(Cuda::len(&buffer), 5);
        assert_eq!(device.read(Cuda::view(&buffer)).unwrap(), values);
        assert_eq!(device.read(Cuda::slice(Cuda::view(&buffer), 1..3)).unwrap(), [b, c]);
        assert!(device.read(Cuda::slice(Cuda::view(&buffer), 2..2)).unwrap().is_empty());
        let (mut head, mut tail) = Cuda::split_at(Cuda::view_mut(&mut buffer), 2);
        assert_eq!((head.len(), tail.len()), (2, 3));
        device.zero(Cuda::slice_mut(Cuda::reborrow(&mut tail), 1..2)).unwrap();
        let other = device.upload(&[a, b]).unwrap();
        device.copy(Cuda::view(&other), Cuda::slice_mut(tail, 1..3)).unwrap();
        device.write(Cuda::slice_mut(Cuda::reborrow(&mut head), 0..1), &[e]).unwrap();
        assert_eq!(device.read(Cuda::view(&buffer)).unwrap(), [e, b, c, a, b]);
        device.zero(Cuda::view_mut(&mut buffer)).unwrap();
        assert_eq!(device.read(Cuda::view(&buffer)).unwrap(), [zero; 5]);
        device.write(Cuda::view_mut(&mut buffer), &[d; 5]).unwrap();
        assert_eq!(device.read(Cuda::view(&buffer)).unwrap(), [d; 5]);
    }
    let Some(device) = device() else { return };
    check(&device, [1.5_f32, -2.0, 3.0, f32::INFINITY, -0.5]);
    check(&device, [1.5_f64, -2.0, 3.0, f64::MAX, -0.5]);
    check(&device, [1_u8, 2, 3, 255, 5]);
    check(&device, [1_i32, -2, 3, i32::MIN, 5]);
    check(&device, [1_u32, 2, 3, u32::MAX, 5]);
}

#[test]
fn empty_memory_works() {
    let Some(device) = device() else { return };
    let mut empty = device.upload::<f32>(&[]).unwrap();
    device.zero(Cuda::view_mut(&mut empty)).unwrap();
    device.write(Cuda::view_mut(&mut empty), &[]).unwrap();
    let other = device.alloc::<f32>(0).unwrap();
    device.copy(Cuda::view(&other), Cuda::view_mut(&mut empty)).unwrap();
    assert_eq!(device.read(Cuda::view(&empty)).unwrap(), Vec::<f32>::new());
    assert!(Cuda::view(&empty).is_empty());
}

#[test]
fn fresh_memory_is_nan() {
    if !fills_fresh_memory() {
        eprintln!("SKIPPED: SIGNET_FILL_MEMORY=0, or a release build");
        return;
    }
    let Some(device) = device() else { return };
    for _ in 0..2 {
        let mut buffer = device.alloc::<f32>(70).unwrap();
        assert!(device.read(Cuda::view(&buffer)).unwrap().iter().all(|x| x.is_nan()));
        device.zero(Cuda::view_mut(&mut buffer)).unwrap();
    }
}

#[test]
fn unlike_lengths_are_refused() {
    let Some(device) = device() else { return };
    let mut buffer = device.upload(&[1_u8, 2, 3]).unwrap();
    let text = message(device.write(Cuda::view_mut(&mut buffer), &[1, 2]));
    assert_says(&text, &["write", "2 elements", "3"]);
    let other = device.alloc::<u8>(4).unwrap();
    let text = message(device.copy(Cuda::view(&other), Cuda::view_mut(&mut buffer)));
    assert_says(&text, &["copy", "4 elements", "3"]);
    assert_eq!(device.read(Cuda::view(&buffer)).unwrap(), [1, 2, 3]);
}

#[test]
fn another_handles_memory_is_refused() {
    let (Some(one), Some(other)) = (device(), device()) else { return };
    let buffer = one.upload(&[1_f32; 4]).unwrap();
    let mut target = other.upload(&[0_f32; 4]).unwrap();
    assert_says(&message(other.read(Cuda::view(&buffer))), &["another device handle"]);
    let copied = other.copy(Cuda::view(&buffer), Cuda::view_mut(&mut target));
    assert_says(&message(copied), &["another device handle"]);
    let launch = other.kernel::<f32>("test_launch", "block_sum").unwrap();
    let launch = launch.input(Cuda::view(&buffer)).output(Cuda::view_mut(&mut target));
    assert_says(&message(launch.launch([1; 3], [1; 3])), &["another device handle"]);
    // A clone is the same handle.
    assert_eq!(one.clone().read(Cuda::view(&buffer)).unwrap(), [1.0; 4]);
}

#[test]
fn a_repeated_step_asks_the_driver_for_nothing() {
    let Some(device) = device() else { return };
    let step = || halve(&device, [100, 2], &[2_f32; 200], Some(&[1.0; 100]), &[0.0; 100], false);
    step().unwrap();
    let first = device.memory_use();
    for _ in 0..3 {
        step().unwrap();
    }
    assert_eq!(device.memory_use(), first);
    assert_eq!(first.in_use, 0);
    assert!(first.pooled > 0, "{first:?}");
}

#[test]
fn a_kernel_gets_its_arguments() {
    fn check<T: Float>(device: &Cuda) {
        let t = T::of;
        let input: Vec<T> = (0..150).map(|i| t(f64::from(i))).collect();
        let bias: Vec<T> = (0..50).map(|i| t(f64::from(i) * 100.0)).collect();
        let start = [t(1000.0); 50];
        for (bias, accumulate) in [(None, false), (Some(&bias[..]), true)] {
            let out = halve(device, [50, 3], &input, bias, &start, accumulate).unwrap();
            for (i, out) in out.into_iter().enumerate() {
                let mut expected = input[3 * i] / t(2.0);
                expected += bias.map_or(t(0.0), |bias| bias[i]);
                expected += if accumulate { start[i] } else { t(0.0) };
                assert_eq!(out, expected, "element {i}, accumulate {accumulate}");
            }
        }
    }
    let Some(device) = device() else { return };
    check::<f32>(&device);
    check::<f64>(&device);
}

#[test]
fn a_gradient_nobody_wants_is_null() {
    let Some(device) = device() else { return };
    let input = device.upload(&[1_f32; 4]).unwrap();
    // No thread gets as far as the null pointer: the kernel is told that there are 0 elements.
    device
        .kernel::<f32>("test_launch", "halve")
        .unwrap()
        .value([0_u32, 1])
        .input(Cuda::view(&input))
        .optional(None::<CudaView<'_, f32>>)
        .optional_gradient(None::<Output<'_, Cuda, f32>>)
        .launch([1, 1, 1], [32, 1, 1])
        .unwrap();
    device.synchronize().unwrap();
}

/// Sums ones by blocks of `threads` with `shared` bytes of shared memory.
fn block_sum(device: &Cuda, blocks: u32, threads: u32, shared: u32) -> crate::Result<Vec<f64>> {
    let input = device.upload(&vec![1_f64; (blocks * threads) as usize])?;
    let mut out = device.upload(&vec![0_f64; blocks as usize])?;
    device
        .kernel::<f64>("test_launch", "block_sum")?
        .input(Cuda::view(&input))
        .output(Cuda::view_mut(&mut out))
        .shared(shared)
        .launch([blocks, 1, 1], [threads, 1, 1])?;
    device.read(Cuda::view(&out))
}

#[test]
fn shared_memory_beyond_the_default_is_asked_for() {
    let Some(device) = device() else { return };
    assert_eq!(block_sum(&device, 3, 64, 64 * 8).unwrap(), [64.0; 3]);
    // Twice, as the second launch finds the limit raised, and then less again.
    for shared in [60 * 1024, 60 * 1024, 64 * 8] {
        assert_eq!(block_sum(&device, 3, 64, shared).unwrap(), [64.0; 3]);
    }
}

#[test]
fn what_is_beyond_the_device_is_refused() {
    let Some(device) = device() else { return };
    let input = device.upload(&[1_f32; 64]).unwrap();
    let mut out = device.upload(&[0_f32; 64]).unwrap();
    let mut refused = |shared, grid, block| {
        let launch = device.kernel::<f32>("test_launch", "block_sum").unwrap();
        let launch = launch.input(Cuda::view(&input)).output(Cuda::view_mut(&mut out));
        let text = message(launch.shared(shared).launch(grid, block));
        let (grid, block) = (format!("grid {grid:?}"), format!("block {block:?}"));
        assert_says(&text, &["block_sum", &grid, &block, &format!("{shared} bytes")]);
        text
    };
    assert_says(&refused(0, [1, 1, 1], [64, 0, 1]), &["must have threads"]);
    assert_says(&refused(0, [1, 70_000, 1], [1, 1, 1]), &["65535 blocks in y"]);
    assert_says(&refused(0, [1, 1, 1], [1025, 1, 1]), &["1024 threads in x"]);
    assert_says(&refused(0, [1, 1, 1], [1, 1, 65]), &["64 threads in z"]);
    assert_says(&refused(0, [1, 1, 1], [32, 33, 1]), &["1056 threads"]);
    assert_says(&refused(1 << 20, [1, 1, 1], [32, 1, 1]), &["of shared memory"]);
    assert_says(&refused(u32::MAX, [1, 1, 1], [32, 1, 1]), &["of shared memory"]);
    assert_eq!(device.read(Cuda::view(&out)).unwrap(), [0.0; 64], "something ran");
}

#[test]
fn an_empty_grid_is_no_work() {
    let Some(device) = device() else { return };
    for grid in [[0, 1, 1], [1, 0, 1], [70_000, 1, 0]] {
        let launch = device.kernel::<f32>("test_launch", "block_sum").unwrap();
        let empty = device.alloc::<f32>(0).unwrap();
        launch.input(Cuda::view(&empty)).value(0_u64).launch(grid, [1, 1, 1]).unwrap();
    }
    device.synchronize().unwrap();
}

#[test]
fn arguments_must_fit_the_parameters() {
    let Some(device) = device() else { return };
    let input = device.upload(&[1_f32; 4]).unwrap();
    let launch = || device.kernel::<f32>("test_launch", "block_sum").unwrap();
    if launch().parameters().is_none() {
        eprintln!("SKIPPED: this driver does not tell a kernel's parameters");
        return;
    }
    let text = message(launch().input(Cuda::view(&input)).launch([1; 3], [1; 3]));
    assert_says(&text, &["block_sum takes 2 parameters", "given 1"]);
    let text = message(launch().input(Cuda::view(&input)).value(1_i32).launch([1; 3], [1; 3]));
    assert_says(&text, &["parameter 1 of block_sum has 8 bytes", "given 4"]);
    let many = (0..40).fold(launch(), |launch, _| launch.value(0_u64));
    assert_says(&message(many.launch([1; 3], [1; 3])), &["block_sum", "more than 32 arguments"]);
    let large = launch().value([0_u64; 64]).value([0_u64; 64]).value(0_u8);
    assert_says(&message(large.launch([1; 3], [1; 3])), &["1024 bytes"]);
}

#[test]
fn a_kernel_that_is_not_there_is_named() {
    let Some(device) = device() else { return };
    let text = message(device.kernel::<f32>("no_such_file", "f").map(|_| ()));
    assert_says(&text, &["kernels/no_such_file.cu"]);
    let text = message(device.kernel::<f32>("test_launch", "no_such_kernel").map(|_| ()));
    assert_says(&text, &["no_such_kernel", "CUDA_ERROR_NOT_FOUND"]);
    let text = message(device.kernel::<f32>("test_launch", "zero\0byte").map(|_| ()));
    assert_says(&text, &["zero"]);
}

#[test]
fn a_compile_error_shows_file_and_line() {
    let Some(device) = device() else { return };
    let text = message(device.kernel::<f64>("test_broken", "broken").map(|_| ()));
    assert_says(&text, &["broken.cu", "sm_", "double", "NVRTC", "undeclared", "report"]);
    assert!(text.contains("broken.cu(3)") || text.contains("broken.cu:3"), "{text}");
}

#[test]
fn a_file_is_loaded_once_per_type() {
    let Some(device) = device() else { return };
    let before = device.kernel_statistics();
    for _ in 0..3 {
        device.kernel::<f32>("test_launch", "halve").map(|_| ()).unwrap();
        device.kernel::<f32>("test_launch", "block_sum").map(|_| ()).unwrap();
        device.kernel::<f64>("test_launch", "halve").map(|_| ()).unwrap();
    }
    let after = device.kernel_statistics();
    assert_eq!(after.compiled + after.cached, before.compiled + before.cached + 2);
}

/// Nothing runs in a rehearsal; what it compiled is taken from it.
#[test]
fn a_rehearsal_compiles_and_runs_nothing() {
    // Of the cache of other tests it would take what it is to compile.
    if device().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let device = Cuda::open(0, KernelCache::in_folder(folder.path())).unwrap();
    let mut out = device.upload(&[7_f32; 2]).unwrap();
    let before = device.kernel_statistics();
    let mut launch = |device: &Cuda| {
        let input = device.upload(&[1_f32; 4])?;
        device
            .kernel::<f32>("test_launch", "block_sum")?
            .shared(8)
            .input(Cuda::view(&input))
            .output(Cuda::view_mut(&mut out))
            .launch([2, 1, 1], [2, 1, 1])?;
        device.read(Cuda::view(&out))
    };
    device
        .rehearse(|| {
            assert_eq!(launch(&device)?, [7.0; 2]);
            // Another file, and a type that is needed twice.
            device.kernel::<f64>("test_launch", "halve").map(|_| ())?;
            device.kernel::<f64>("test_launch", "block_sum").map(|_| ())
        })
        .unwrap();
    assert_eq!(device.kernel_statistics(), before, "a rehearsal loads nothing");
    assert_eq!(device.kernels().ready_count(), 2);
    assert_eq!(launch(&device).unwrap(), [2.0; 2]);
    assert_eq!(device.kernels().ready_count(), 1);
    assert_eq!(device.kernel_statistics().compiled, before.compiled + 1);
    // Another handle finds all in the cache, and a rehearsal of it has nothing to compile.
    let other = Cuda::open(0, KernelCache::in_folder(folder.path())).unwrap();
    other.rehearse(|| other.kernel::<f64>("test_launch", "halve").map(|_| ())).unwrap();
    assert_eq!(other.kernels().ready_count(), 0);
    // What is loaded is not compiled again.
    device.rehearse(|| device.kernel::<f32>("test_launch", "halve").map(|_| ())).unwrap();
    assert_eq!(device.kernels().ready_count(), 1);

    let text =
        message(device.rehearse(|| device.kernel::<f32>("test_broken", "broken").map(|_| ())));
    assert_says(&text, &["broken.cu", "undeclared"]);
    // And after a rehearsal that failed all is as before.
    let text = message(device.rehearse(|| Err(device.error("no"))));
    assert_says(&text, &["no"]);
    assert_eq!(launch(&device).unwrap(), [2.0; 2]);
}

#[test]
fn a_profile_counts_and_times() {
    let Some(device) = device() else { return };
    assert_eq!(device.profile().unwrap(), []);
    block_sum(&device, 1, 32, 256).unwrap();
    device.start_profile();
    for _ in 0..3 {
        block_sum(&device, 1, 32, 256).unwrap();
    }
    // Adds to what is there: what is repeated for the time must leave no trace.
    for _ in 0..2 {
        let out = halve(&device, [4, 1], &[1_f32; 4], None, &[10.0; 4], true).unwrap();
        assert_eq!(out, [10.5; 4]);
    }
    for _ in 0..2 {
        let profile = device.profile().unwrap();
        let mut calls: Vec<_> = profile.iter().map(|time| (time.name, time.calls)).collect();
        calls.sort_unstable();
        assert_eq!(calls, [("block_sum", 3), ("halve", 2)]);
        assert!(profile.is_sorted_by(|a, b| a.total >= b.total));
        assert!(profile.iter().all(|time| !time.total.is_zero()), "{profile:?}");
    }
}

/// The counters of [`Launch::counters`](super::Launch::counters) are one set for all kernels of a
/// stream: two of them at once would count into each other's.
#[test]
fn nothing_lets_two_kernels_run_at_once() {
    let overlapping = [
        "StreamWait",
        "EventRecordWithFlags",
        "LaunchKernelEx",
        "LaunchCooperative",
        "GraphAdd",
        "CaptureDependencies",
        "CaptureToGraph",
        "StreamCreateWith",
        "GraphInstantiateWithParams",
    ];
    for (function, _) in driver::FUNCTIONS {
        let found = overlapping.iter().find(|part| function.contains(**part));
        assert_eq!(found, None, "{function}: kernels that overlap need counters of their own");
    }
}

#[test]
fn a_number_that_no_header_lists_is_an_error_with_that_number() {
    if device().is_none() {
        return;
    }
    // As the driver answers it, to a question about a device that there is not.
    let mut device = 0;
    // SAFETY: the driver is there, as a device was opened, and the pointer is valid for writes.
    let known = unsafe { driver::cuDeviceGet(&mut device, 1 << 20) }.unwrap_err();
    assert_eq!(known, driver::DriverError::CUDA_ERROR_INVALID_DEVICE);
    assert_says(&known.to_string(), &["CUDA_ERROR_INVALID_DEVICE ("]);
    assert_eq!(driver::DriverError::of(917).to_string(), "error 917 (unknown error)");
    assert_eq!(driver::DriverError::of(-1).to_string(), "error -1 (unknown error)");
}
