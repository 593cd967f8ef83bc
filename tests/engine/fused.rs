//! Ops of several layers compute what the layers do one after the other.

use crate::common;
use crate::on_every_device;

use common::compare::{Tolerance, assert_close};
use common::device::TestDevice;
use common::host::Fill;
use signet::nn::{
    BatchNorm2d, BatchNorm2dModule, Conv2d, Forward, Init, Module, ReLU, Sequential, State,
};
use signet::{Device, Result, Tensor, layers};

on_every_device! {
    a_norm_with_its_rectifier_is_both,
    a_norm_takes_the_residual_in,
    a_residual_may_be_the_input_itself,
    a_residual_of_another_shape_is_refused,
    a_rectifier_lets_nan_through,
    a_sequential_fuses_norm_and_rectifier,
}

/// A norm of 3 channels, in training mode or not, with values of its own.
fn norm(device: &Device, training: bool) -> BatchNorm2dModule<f64> {
    let init = Init::new(device, 0).unwrap();
    init.context().train(training);
    let norm = BatchNorm2d::new(3).build(&init).unwrap();
    for (stream, (_, state)) in norm.state().into_iter().enumerate() {
        if let State::Parameter(tensor) | State::Buffer(tensor) = state {
            let values = Fill::Normal(1.0).draw(&[3], 5, stream as u32).values;
            // A variance is positive.
            tensor.set(&values.iter().map(|x| x.abs()).collect::<Vec<_>>()).unwrap();
        }
    }
    norm
}

fn image(device: &Device, stream: u32) -> Tensor<f64> {
    let image = Fill::Normal(1.0).draw(&[2, 3, 4, 5], 3, stream).on(device);
    Tensor::requires_grad(&image, true).unwrap()
}

/// Output, all gradients and running statistics after a pass.
fn pass(
    norm: &BatchNorm2dModule<f64>,
    inputs: &[&Tensor<f64>],
    forward: impl Fn(&BatchNorm2dModule<f64>) -> Result<Tensor<f64>>,
) -> Vec<Vec<f64>> {
    let y = forward(norm).unwrap();
    // Each element weighs differently.
    let weights = Fill::Normal(1.0).draw(y.dims(), 1, 9).on(y.device());
    y.mul(&weights).unwrap().sum().unwrap().backward().unwrap();
    let mut results = vec![y.to_vec().unwrap()];
    for x in inputs {
        results.push(x.grad().unwrap().unwrap().to_vec().unwrap());
        x.zero_grad();
    }
    for (_, state) in norm.state() {
        match state {
            State::Parameter(parameter) => {
                results.push(parameter.grad().unwrap().unwrap().to_vec().unwrap());
            }
            State::Buffer(buffer) => results.push(buffer.to_vec().unwrap()),
            State::Count(count) => {
                results.push(vec![count.load(std::sync::atomic::Ordering::Relaxed) as f64]);
            }
        }
    }
    results
}

fn agree(what: &str, fused: &[Vec<f64>], plain: &[Vec<f64>]) {
    assert_eq!(fused.len(), plain.len(), "{what}");
    for (i, (fused, plain)) in fused.iter().zip(plain).enumerate() {
        assert_close(format!("{what}: {i}"), fused, plain, Tolerance::scale(1e-13));
    }
}

fn a_norm_with_its_rectifier_is_both(on: TestDevice) {
    let device = on.open();
    for training in [true, false] {
        let x = image(&device, 0);
        let fused = pass(&norm(&device, training), &[&x], |norm| norm.forward_relu(&x));
        let plain = pass(&norm(&device, training), &[&x], |norm| norm.forward(&x)?.relu());
        assert!(fused[0].contains(&0.0), "some are rectified");
        agree(&format!("training {training}"), &fused, &plain);
    }
}

fn a_norm_takes_the_residual_in(on: TestDevice) {
    let device = on.open();
    for training in [true, false] {
        let (x, r) = (image(&device, 0), image(&device, 1));
        let (one, other) = (norm(&device, training), norm(&device, training));
        let fused = pass(&one, &[&x, &r], |norm| norm.forward_add_relu(&x, &r));
        let plain = pass(&other, &[&x, &r], |norm| norm.forward(&x)?.add(&r)?.relu());
        agree(&format!("training {training}"), &fused, &plain);
        // A residual that needs none gets no gradient, and the others theirs.
        let (one, constant) = (norm(&device, training), r.detach());
        let without = pass(&one, &[&x], |norm| norm.forward_add_relu(&x, &constant));
        assert_eq!((&without[..2], &without[2..]), (&fused[..2], &fused[3..]));
    }
}

fn a_residual_may_be_the_input_itself(on: TestDevice) {
    let device = on.open();
    let x = image(&device, 0);
    let fused = pass(&norm(&device, true), &[&x], |norm| norm.forward_add_relu(&x, &x));
    let plain = pass(&norm(&device, true), &[&x], |norm| norm.forward(&x)?.add(&x)?.relu());
    agree("x + norm(x)", &fused, &plain);
}

fn a_residual_of_another_shape_is_refused(on: TestDevice) {
    let device = on.open();
    let (x, r) = (image(&device, 0), Tensor::zeros(&device, [2, 3, 1, 1]).unwrap());
    let refused = norm(&device, true).forward_add_relu(&x, &r).map(|_| ());
    let message = refused.expect_err("it does not fit").to_string();
    assert!(message.contains("residual [2, 3, 1, 1]"), "{message}");
}

fn a_rectifier_lets_nan_through(on: TestDevice) {
    let device = on.open();
    let mut values = vec![1.0; 2 * 3 * 20];
    values[3] = f64::NAN;
    let x = Tensor::from_slice(&device, &values, [2, 3, 4, 5]).unwrap();
    let y = norm(&device, false).forward_relu(&x).unwrap().to_vec().unwrap();
    assert_eq!(y.iter().position(|y| y.is_nan()), Some(3));
}

fn a_sequential_fuses_norm_and_rectifier(on: TestDevice) {
    let device = on.open();
    let run = |fuse| {
        let layers = layers![Conv2d::new(3, 3, 3).bias(false), BatchNorm2d::new(3), ReLU];
        let model = Sequential::<f64>::new(&device, 0, layers).unwrap();
        model.fuse(fuse);
        let x = image(&device, 0);
        let y = model.forward(&x).unwrap();
        y.mul(&y).unwrap().sum().unwrap().backward().unwrap();
        let mut results = vec![y.to_vec().unwrap(), x.grad().unwrap().unwrap().to_vec().unwrap()];
        for (_, state) in model.state() {
            if let State::Parameter(parameter) = state {
                results.push(parameter.grad().unwrap().unwrap().to_vec().unwrap());
            }
        }
        results
    };
    agree("fused", &run(true), &run(false));
}
