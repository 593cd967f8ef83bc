//! A device is a value: what lies on two of them does not meet.

use crate::common;

use common::device::TestDevice;
use common::models::narrow;
use signet::nn::{Forward, Sequential};
use signet::ops::linear::linear;
use signet::{Arena, Device, Error, Result, Tensor};

/// The message of a refusal that names both devices.
#[track_caller]
fn refused<T>(result: Result<T>) {
    match result.err() {
        Some(Error::Device { message, .. }) => {
            assert!(message.contains("on one device"), "{message}");
        }
        other => panic!("{other:?}"),
    }
}

#[needs::test_on_cusim]
fn tensors_on_two_devices_do_not_meet() {
    let (cpu, cuda) = (TestDevice::Cpu.open(), TestDevice::Cuda.open());
    let tensor = |device: &Device| Tensor::from_slice(device, &[1.0_f32; 4], [2, 2]).unwrap();
    let (here, there) = (tensor(&cpu), tensor(&cuda));
    for (one, other) in [(&here, &there), (&there, &here)] {
        refused(one.add(other));
        refused(one.mul(other));
        refused(one.matmul(other));
        refused(linear(one, other, None));
        let model: Sequential = Sequential::new(one.device(), 0, narrow([0.0; 2])).unwrap();
        refused(model.forward(&Tensor::zeros(other.device(), [2, 1, 28, 28]).unwrap()));
        let leaf = one.detach().requires_grad(true).unwrap();
        refused(leaf.backward_with(other));
        refused(leaf.mul(&leaf).unwrap().backward_with(other));
        assert!(leaf.grad().unwrap().is_none());
    }
    assert_eq!((here.device().name(), there.device().name()), ("cpu".into(), "cuda:0".into()));
}

/// Each handle of the CPU has threads and memory of its own, and yet all are one device.
#[test]
fn handles_of_the_cpu_are_one_device() {
    let [one, other] = [1, 2].map(|n| Device::from(signet::Cpu::new(Some(n)).unwrap()));
    let x = Tensor::from_slice(&one, &[1.0_f32, 2.0], [2]).unwrap().requires_grad(true).unwrap();
    let y = Tensor::from_slice(&other, &[3.0_f32, 4.0], [2]).unwrap();
    y.mul(&x).unwrap().sum().unwrap().backward().unwrap();
    assert_eq!(x.grad().unwrap().unwrap().to_vec().unwrap(), [3.0, 4.0]);
}

/// An op of one's own that gives its input a gradient of another size.
#[test]
fn a_gradient_of_another_size_is_refused() {
    let device = Device::cpu().unwrap();
    let arena: Arena = Arena::new(&device).unwrap();
    let parameter = arena.parameter(&[1.0, 2.0], [2]).unwrap();
    let leaf = parameter.detach().requires_grad(true).unwrap();
    for input in [parameter, leaf] {
        let output = input.detach().with_grad_fn([Some(&input)], |[x], gradient, gradients| {
            gradients.pass(x, Tensor::zeros(gradient.device(), [3])?)
        });
        let error = output.sum().unwrap().backward().unwrap_err().to_string();
        assert!(error.contains("[3]") && error.contains("2 elements"), "{error}");
    }
}
