//! Graphs, their memory, and copies that nobody waits for.

use super::{assert_says, device, message};
use crate::device::{Backend, On, Output, Pending};
use crate::nn::{BatchNorm2d, Forward, Init};
use crate::{Cuda, Tensor};
use needs::test_on_cusim as test;

/// `out += in / 2` for each of the elements.
fn add_half(device: &Cuda, input: &Tensor, out: &Tensor) -> crate::Result<()> {
    let n = input.numel() as u32;
    let (input, mut out) = (input.read(), out.write());
    device
        .kernel::<f32>("test_launch", "halve")?
        .value([n, 1])
        .input(input.view().on(device)?)
        .optional(None::<super::CudaView<'_, f32>>)
        .gradient(Output { view: out.view_mut().on(device)?, accumulate: true })
        .launch([n.div_ceil(32), 1, 1], [32, 1, 1])
}

fn tensor(device: &Cuda, values: &[f32]) -> Tensor {
    Tensor::from_slice(&device.clone().into(), values, [values.len()]).unwrap()
}

#[test]
fn a_graph_does_what_was_captured_each_time() {
    let Some(device) = device() else { return };
    let (x, sum) = (tensor(&device, &[2.0; 4]), tensor(&device, &[0.0; 4]));
    add_half(&device, &x, &sum).unwrap();
    let work = || {
        let middle = Tensor::zeros(&device.clone().into(), [4])?;
        add_half(&device, &x, &middle)?;
        add_half(&device, &middle, &sum)
    };
    let graph = device.capture(work).unwrap().unwrap();
    assert_eq!(sum.to_vec().unwrap(), [1.0; 4], "it ran while it was captured");
    for replays in 1..4 {
        device.replay(&graph).unwrap();
        assert_eq!(sum.to_vec().unwrap(), [1.0 + 0.5 * replays as f32; 4]);
    }
    x.set(&[20.0; 4]).unwrap();
    device.replay(&graph).unwrap();
    assert_eq!(sum.to_vec().unwrap(), [7.5; 4], "what it reads may change");
}

#[test]
fn a_graphs_memory_is_its_own_until_it_goes() {
    let Some(device) = device() else { return };
    let x = tensor(&device, &[4.0; 64]);
    // As the first run of a step leaves the pool.
    drop([tensor(&device, &[0.0; 64]), tensor(&device, &[0.0; 64])]);
    let before = device.memory_use();
    let mut result = None;
    let work = || {
        for _ in 0..3 {
            // One after the other in the same block.
            let out = Tensor::zeros(&device.clone().into(), [64])?;
            add_half(&device, &x, &out)?;
            result = Some(out);
        }
        Ok(())
    };
    let graph = device.capture(work).unwrap().unwrap();
    let result = result.unwrap();
    let during = device.memory_use();
    assert_eq!(during.driver_allocations, before.driver_allocations, "the pool had enough");
    assert_eq!((graph.memory(), during.in_use), (512, before.in_use + 512), "{during:?}");
    // Nobody else gets it, though all of it but the result is free.
    let others: Vec<_> = (0..4).map(|_| tensor(&device, &[-1.0; 64])).collect();
    device.replay(&graph).unwrap();
    assert_eq!(result.to_vec().unwrap(), [2.0; 64]);
    assert!(others.iter().all(|other| other.to_vec().unwrap() == [-1.0; 64]));
    drop(others);
    // What outlives the graph keeps its memory.
    let in_use = device.memory_use().in_use;
    drop(graph);
    assert_eq!(device.memory_use().in_use, in_use);
    drop(tensor(&device, &[-1.0; 64]));
    assert_eq!(result.to_vec().unwrap(), [2.0; 64]);
    drop(result);
    let after = device.memory_use();
    assert_eq!(after.in_use, before.in_use);
    assert_eq!(
        after.pooled,
        before.pooled + 256 * (after.driver_allocations - before.driver_allocations) as usize
    );
}

#[test]
fn what_is_dropped_during_a_capture_stays_for_the_graph() {
    let Some(device) = device() else { return };
    let (mut x, sum) = (Some(tensor(&device, &[6.0; 4])), tensor(&device, &[0.0; 4]));
    add_half(&device, x.as_ref().unwrap(), &sum).unwrap();
    let in_use = device.memory_use().in_use;
    let work = || add_half(&device, &x.take().expect("it is captured once"), &sum);
    let graph = device.capture(work).unwrap().unwrap();
    let others: Vec<_> = (0..4).map(|_| tensor(&device, &[-1.0; 4])).collect();
    device.replay(&graph).unwrap();
    assert_eq!(sum.to_vec().unwrap(), [6.0; 4]);
    drop((graph, others));
    assert_eq!(device.memory_use().in_use, in_use - 256);
}

#[test]
#[cfg(debug_assertions)]
fn fresh_memory_in_a_graph_is_nan_each_time() {
    let Some(device) = device() else { return };
    let out = tensor(&device, &[0.0; 4]);
    let work = || {
        let mut fresh = device.alloc::<f32>(4)?;
        device.copy(Cuda::view(&fresh), out.write().view_mut().on(&device)?)?;
        device.zero(Cuda::view_mut(&mut fresh))
    };
    let graph = device.capture(work).unwrap().unwrap();
    for _ in 0..2 {
        out.set(&[0.0; 4]).unwrap();
        device.replay(&graph).unwrap();
        assert!(out.to_vec().unwrap().iter().all(|x| x.is_nan()));
    }
}

#[test]
fn what_cannot_be_captured_is_named_and_the_stream_works_on() {
    let Some(device) = device() else { return };
    let x = tensor(&device, &[8.0; 4]);
    let sum = tensor(&device, &[0.0; 4]);
    let graph = device.capture(|| add_half(&device, &x, &sum)).unwrap().unwrap();
    let start = device.memory_use().in_use;
    let refused = |what: &str, work: &dyn Fn() -> crate::Result<()>| {
        let text = message(device.capture(work).map(|graph| graph.is_some()));
        assert_says(&text, &[what, "cannot be part of a CUDA graph"]);
        assert_eq!(x.to_vec().unwrap(), [8.0; 4]);
        assert_eq!(device.memory_use().in_use, start);
    };
    refused("copying to the host", &|| x.to_vec().map(|_| ()));
    refused("copying to the host", &|| device.read_later(x.read().view().on(&device)?).map(|_| ()));
    refused("copying from the host", &|| x.set(&[1.0; 4]));
    refused("copying from the host", &|| device.upload(&[1_u8]).map(|_| ()));
    refused("waiting for the device", &|| device.synchronize());
    refused("waiting for the device", &|| device.profile().map(|_| ()));
    refused("launching another graph", &|| device.replay(&graph));
    refused("capturing another graph", &|| device.capture(|| Ok(())).map(|_| ()));
    // Each batch has another share in the running statistics, which a kernel is told by value.
    let init = Init::<f32>::new(&device.clone().into(), 0).unwrap();
    let norm = BatchNorm2d::new(1).momentum(None).build(&init).unwrap();
    let pictures =
        Tensor::from_slice(&device.clone().into(), &[1.0, 2.0, 3.0, 5.0], [4, 1, 1, 1]).unwrap();
    norm.forward(&pictures).unwrap();
    let start = device.memory_use().in_use;
    let text = message(device.capture(|| norm.forward(&pictures).map(|_| ())).map(|_| ()));
    assert_says(&text, &["averages all batches alike", "cannot be part of a CUDA graph"]);
    assert_eq!(device.memory_use().in_use, start);
    // An error of the work itself comes out as it is, and a panic leaves no capture behind.
    let text = message(device.capture(|| Err(device.error("no more paper"))).map(|_| ()));
    assert_says(&text, &["no more paper"]);
    let panics =
        std::panic::AssertUnwindSafe(|| device.capture(|| panic!("on purpose")).map(|_| ()));
    assert!(std::panic::catch_unwind(panics).is_err());
    device.replay(&graph).unwrap();
    assert_eq!(sum.to_vec().unwrap(), [4.0; 4]);
}

#[test]
fn nothing_is_captured_while_kernels_are_timed() {
    let Some(device) = device() else { return };
    device.start_profile();
    assert!(device.capture(|| panic!("it must not run")).unwrap().is_none());
}

#[test]
fn another_handles_graph_is_refused() {
    let (Some(one), Some(other)) = (device(), device()) else { return };
    let x = tensor(&one, &[1.0; 4]);
    let graph = one.capture(|| one.zero(x.write().view_mut().on(&one)?)).unwrap().unwrap();
    assert_says(&message(other.replay(&graph)), &["another device handle"]);
}

#[test]
fn values_arrive_later_as_they_were() {
    let Some(device) = device() else { return };
    let x = tensor(&device, &[1.0, 2.0, 3.0]);
    let first = device.read_later(Cuda::slice(x.read().view().on(&device).unwrap(), 1..3)).unwrap();
    x.set(&[7.0, 8.0, 9.0]).unwrap();
    // Another while one is on its way, and one of nothing.
    let second = device.read_later(x.read().view().on(&device).unwrap()).unwrap();
    let none = device.read_later(Cuda::slice(x.read().view().on(&device).unwrap(), 0..0)).unwrap();
    drop(x);
    device.synchronize().unwrap();
    assert!(first.is_ready().unwrap() && second.is_ready().unwrap());
    assert_eq!(second.wait().unwrap(), [7.0, 8.0, 9.0]);
    assert_eq!(first.wait().unwrap(), [2.0, 3.0]);
    assert_eq!(none.wait().unwrap(), [0.0; 0]);
}
