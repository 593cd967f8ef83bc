//! Capturing a stream, replaying the graph, and what must not be done while capturing.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use common::Device;
use cudarc::driver::sys::{
    self, CUgraphInstantiate_flags, CUresult, CUstreamCaptureMode, CUstreamCaptureStatus,
};
use cudarc::driver::{DriverError, LaunchConfig, PushKernelArg, result};
use needs::test_on_cusim as test;

const MODE: CUstreamCaptureMode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
const FLAGS: CUgraphInstantiate_flags = CUgraphInstantiate_flags(0);

const STEP: &str = r#"extern "C" __global__ void step(float* x, const int* count, float by) {
    x[threadIdx.x] = x[threadIdx.x] * 2.0f + by + *count;
}"#;

fn one_block(threads: u32) -> LaunchConfig {
    LaunchConfig { grid_dim: (1, 1, 1), block_dim: (threads, 1, 1), shared_mem_bytes: 0 }
}

#[test]
fn a_graph_repeats_what_was_captured() {
    let device = Device::new();
    let stream = &device.stream;
    let step = device.kernel("step.cu", STEP, "step");
    let mut x = stream.alloc_zeros::<f32>(8).unwrap();
    let mut copy = stream.alloc_zeros::<f32>(8).unwrap();
    let mut count = stream.alloc_zeros::<i32>(1).unwrap();
    stream.begin_capture(MODE).unwrap();
    assert_eq!(
        stream.capture_status().unwrap(),
        CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_ACTIVE
    );
    for by in [1.0_f32, 10.0] {
        // SAFETY: the arguments are the kernel's. `by` is gone when the graph runs.
        unsafe {
            let mut launch = stream.launch_builder(&step);
            launch.arg(&mut x).arg(&count).arg(&by).launch(one_block(8)).unwrap();
        }
    }
    stream.memcpy_dtod(&x, &mut copy).unwrap();
    stream.memset_zeros(&mut x).unwrap();
    let graph = stream.end_capture(FLAGS).unwrap().unwrap();
    // Nothing has run yet.
    assert_eq!(stream.clone_dtoh(&copy).unwrap(), [0.0; 8]);
    let launches = device.sim.calls("cuLaunchKernel");
    for n in 0..3 {
        stream.memcpy_htod(&[n], &mut count).unwrap();
        graph.launch().unwrap();
        let want = 2.0 * (1.0 + n as f32) + 10.0 + n as f32;
        assert_eq!(stream.clone_dtoh(&copy).unwrap(), [want; 8]);
    }
    assert_eq!(device.sim.calls("cuLaunchKernel"), launches);
    let mut nodes = 0;
    // SAFETY: asks only for the number of nodes.
    unsafe { sys::cuGraphGetNodes(graph.cu_graph(), std::ptr::null_mut(), &mut nodes) }
        .result()
        .unwrap();
    assert_eq!(nodes, 4);
}

#[test]
fn synchronising_spoils_a_capture() {
    let device = Device::new();
    let stream = &device.stream;
    stream.begin_capture(MODE).unwrap();
    let unsupported = Err(DriverError(CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED));
    assert_eq!(stream.synchronize(), unsupported);
    assert_eq!(
        stream.capture_status().unwrap(),
        CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_INVALIDATED
    );
    let invalidated = DriverError(CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    assert_eq!(stream.end_capture(FLAGS).map(|_| ()), Err(invalidated));
    // The stream works again.
    stream.begin_capture(MODE).unwrap();
    assert!(stream.end_capture(FLAGS).is_ok());
    stream.synchronize().unwrap();
}

#[test]
fn allocating_spoils_a_capture() {
    let device = Device::new();
    device.stream.begin_capture(MODE).unwrap();
    // SAFETY: only allocates.
    let synchronous = unsafe { result::malloc_sync(16) };
    let unsupported = DriverError(CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    assert_eq!(synchronous.map(|_| ()), Err(unsupported));
    assert!(device.stream.end_capture(FLAGS).is_err());
}

#[test]
fn the_default_stream_cannot_be_captured() {
    let device = Device::new();
    let error = device.context.default_stream().begin_capture(MODE).unwrap_err();
    assert_eq!(error.0, CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
}

#[test]
fn waiting_for_outside_work_breaks_isolation() {
    let device = Device::new();
    let other = device.context.new_stream().unwrap();
    let event = other.record_event(None).unwrap();
    device.stream.begin_capture(MODE).unwrap();
    let error = device.stream.wait(&event).unwrap_err();
    assert_eq!(error.0, CUresult::CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
    assert!(device.stream.end_capture(FLAGS).is_err());
}

#[test]
fn streams_fork_and_join() {
    let device = Device::new();
    let stream = &device.stream;
    let other = device.context.new_stream().unwrap();
    let mut x = stream.alloc_zeros::<f32>(8).unwrap();
    for join in [true, false] {
        stream.begin_capture(MODE).unwrap();
        other.wait(&stream.record_event(None).unwrap()).unwrap();
        other.memset_zeros(&mut x).unwrap();
        if join {
            stream.wait(&other.record_event(None).unwrap()).unwrap();
        }
        let ended = stream.end_capture(FLAGS);
        match join {
            true => ended.unwrap().unwrap().launch().unwrap(),
            false => {
                let unjoined = DriverError(CUresult::CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
                assert_eq!(ended.map(|_| ()), Err(unjoined));
            }
        }
    }
}
