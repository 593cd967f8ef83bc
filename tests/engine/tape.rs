//! What the tape promises: who gets a gradient, what is not computed, and how misuse fails.

use crate::common;
use crate::on_every_device;

use common::device::TestDevice;
use common::host::{Fill, bits, values};
use signet::nn::{Conv2d, Flatten, Linear, Module, Sequential};
use signet::ops::batch_norm2d::{Statistics, batch_norm2d};
use signet::ops::linear::linear;
use signet::{
    Arena, Cpu, Device, Error, GradcheckOptions, Result, Tape, Tensor, gradcheck, layers,
};
use std::collections::BTreeMap;

on_every_device! {
    a_tensor_used_twice_gets_both_gradients,
    a_shared_parameter_gets_both_gradients,
    watched_inputs_and_parameters_share_a_pass,
    what_the_result_does_not_depend_on_has_no_gradient,
    no_grad_records_nothing,
    a_network_without_a_tape_records_nothing,
    backward_needs_a_scalar,
    backward_needs_a_tape,
    backward_runs_once,
    an_op_takes_tensors_of_one_tape,
    one_tensor_as_two_parameters_of_a_kernel_is_refused,
    the_upstream_gradient_has_the_shape_of_the_result,
}

fn tensor<D: Device<f64>>(device: &D, values: &[f64]) -> Tensor<D, f64> {
    Tensor::from_slice(device, values, [values.len()]).unwrap()
}

type Function<D> = fn(&Tensor<D, f64>) -> Result<Tensor<D, f64>>;

#[track_caller]
fn assert_autograd_error<R>(result: Result<R>, part: &str) {
    match result.map(|_| "a result") {
        Err(Error::Autograd(message)) => assert!(message.contains(part), "{message}"),
        other => panic!("expected an autograd error, got {other:?}"),
    }
}

fn a_tensor_used_twice_gets_both_gradients<D: TestDevice>() {
    let device = D::open();
    let gradient = |function: Function<D>| {
        let x = Tape::new().watch(&tensor(&device, &[2.0, -3.0]));
        let gradients = function(&x).unwrap().sum().unwrap().backward().unwrap();
        values(&gradients.of(&x).unwrap())
    };
    assert_eq!(gradient(|x| x.mul(x)), [4.0, -6.0]);
    assert_eq!(gradient(|x| x.add(x)), [2.0, 2.0]);
    assert_eq!(gradient(|x| x.mul(x)?.mul(x)), [12.0, 27.0]);
    // The first use passes its gradient on as it is, the second must add to it, not to `y`'s.
    assert_eq!(gradient(|x| x.add(&x.reshape([2])?)?.add(&x.relu()?)), [3.0, 2.0]);

    let square = Fill::Normal(1.0).draw(&[5, 5], 1, 0).on(&device);
    let twice = |x: &[Tensor<D, f64>]| x[0].matmul(&x[0])?.add(&x[0])?.mul(&x[0]);
    gradcheck(twice, &[square], &GradcheckOptions::default()).unwrap();
}

/// A weight that two layers share, once as a watched tensor and once as a parameter.
fn a_shared_parameter_gets_both_gradients<D: TestDevice>() {
    let device = D::open();
    let [x, w] = [0, 1].map(|i| Fill::Normal(1.0).draw(&[4, 4], 3, i).on(&device));
    let net = |x: &Tensor<D, f64>, w: &Tensor<D, f64>| linear(&linear(x, w, None)?, w, None);
    let function = |inputs: &[Tensor<D, f64>]| net(&inputs[0], &inputs[1]);
    gradcheck(function, &[x.clone(), w.clone()], &GradcheckOptions::default()).unwrap();

    let tape = Tape::new();
    let watched = tape.watch(&w);
    let gradients = net(&tape.input(&x), &watched).unwrap().sum().unwrap().backward().unwrap();
    let arena = Arena::new(&device).unwrap();
    let parameter = arena.parameter(&w.to_vec().unwrap(), [4, 4]).unwrap();
    let x = Tape::new().input(&x);
    net(&x, &parameter).unwrap().sum().unwrap().backward().unwrap();
    let expected = gradients.of(&watched).unwrap();
    assert_eq!(bits(&parameter.grad().unwrap().unwrap()), bits(&expected));
}

fn watched_inputs_and_parameters_share_a_pass<D: TestDevice>() {
    let device = D::open();
    let arenas = [0, 1].map(|_| Arena::new(&device).unwrap());
    let [a, b] = [0, 1].map(|i| arenas[i].parameter(&[2.0, 3.0], [2]).unwrap());
    let tape = Tape::new();
    let x = tape.watch(&tensor(&device, &[5.0, 7.0]));
    // x a b, the parameters of two arenas.
    let y = x.mul(&a).unwrap().mul(&b).unwrap().sum().unwrap();
    let gradients = y.backward().unwrap();
    assert_eq!(values(&gradients.of(&x).unwrap()), [4.0, 9.0]);
    assert_eq!(values(&a.grad().unwrap().unwrap()), [10.0, 21.0]);
    assert_eq!(values(&b.grad().unwrap().unwrap()), [10.0, 21.0]);
    assert!(gradients.of(&a).is_none(), "a parameter's gradient is in its arena");
}

fn what_the_result_does_not_depend_on_has_no_gradient<D: TestDevice>() {
    let device = D::open();
    let arena = Arena::new(&device).unwrap();
    let [used, unused] = [0, 1].map(|_| arena.parameter(&[1.0, 1.0], [2]).unwrap());
    let tape = Tape::new();
    let [x, side] = [0, 1].map(|_| tape.watch(&tensor(&device, &[1.0, 2.0])));
    let input = tape.input(&tensor(&device, &[1.0, 2.0]));
    side.mul(&unused).unwrap();
    let y = x.mul(&used).unwrap().add(&input).unwrap();
    let gradients = y.sum().unwrap().backward().unwrap();
    assert!(gradients.of(&x).is_some() && used.grad().unwrap().is_some());
    assert!(gradients.of(&side).is_none() && gradients.of(&input).is_none());
    assert!(unused.grad().unwrap().is_none());
}

fn no_grad_records_nothing<D: TestDevice>() {
    let device = D::open();
    let tape = Tape::new();
    let x = tape.watch(&tensor(&device, &[2.0, 3.0]));
    let frozen = tape.no_grad(|| x.mul(&x)).unwrap();
    assert_autograd_error(frozen.sum().unwrap().backward(), "nothing was recorded");
    // Outside it goes on, and takes what was computed inside for a constant.
    let y = x.mul(&frozen).unwrap().sum().unwrap();
    assert_eq!(values(&y.backward().unwrap().of(&x).unwrap()), [4.0, 9.0]);
}

fn a_network_without_a_tape_records_nothing<D: TestDevice>() {
    let device = D::open();
    let model = Sequential::<D, f64>::new(&device, 1, layers![Linear::new(2, 1)]).unwrap();
    let x = Tensor::from_slice(&device, &[1.0, 2.0], [1, 2]).unwrap();
    assert_autograd_error(model.forward(&x).unwrap().backward(), "nothing was recorded");
}

fn backward_needs_a_scalar<D: TestDevice>() {
    let x = Tape::new().watch(&tensor(&D::open(), &[2.0, 3.0]));
    let y = x.mul(&x).unwrap();
    assert_autograd_error(y.backward(), "scalar");
    // The refusal did not use the tape up.
    y.sum().unwrap().backward().unwrap();
}

fn backward_needs_a_tape<D: TestDevice>() {
    let device = D::open();
    let x = tensor(&device, &[2.0]);
    assert_autograd_error(x.backward(), "nothing was recorded");
    // On a tape, and yet nobody wants a gradient.
    let input = Tape::new().input(&x);
    assert_autograd_error(input.mul(&input).unwrap().backward(), "nothing was recorded");
}

fn backward_runs_once<D: TestDevice>() {
    let tape = Tape::new();
    let x = tape.watch(&tensor(&D::open(), &[2.0]));
    let y = x.mul(&x).unwrap();
    y.backward().unwrap();
    assert_autograd_error(y.backward(), "already ran");
    assert_autograd_error(x.mul(&x), "already ran");
}

fn an_op_takes_tensors_of_one_tape<D: TestDevice>() {
    let device = D::open();
    let [x, y] = [2.0, 3.0].map(|value| Tape::new().watch(&tensor(&device, &[value])));
    assert_autograd_error(x.mul(&y), "two tapes");
    x.mul(&y.detach()).unwrap().backward().unwrap();
}

/// One kernel writes both gradients of batch norm, and they cannot be one memory.
fn one_tensor_as_two_parameters_of_a_kernel_is_refused<D: TestDevice>() {
    let device = D::open();
    let tape = Tape::new();
    let x = tape.watch(&Fill::Normal(1.0).draw(&[3, 2, 2, 2], 1, 0).on(&device));
    let w = tape.watch(&tensor(&device, &[2.0, 3.0]));
    let statistics = Statistics::Batch { running: None };
    let y = batch_norm2d(&x, Some(&w), Some(&w), statistics, 1e-5).unwrap();
    assert_autograd_error(y.sum().unwrap().backward(), "two parameters");
}

fn the_upstream_gradient_has_the_shape_of_the_result<D: TestDevice>() {
    let device = D::open();
    let x = Tape::new().watch(&tensor(&device, &[2.0, 3.0]));
    let error = x.relu().unwrap().backward_with(&tensor(&device, &[1.0])).err();
    assert!(matches!(error, Some(Error::Shape { op: "backward", .. })), "{error:?}");
}

/// Gradients that nobody needs are not computed: the kernels that ran tell.
#[test]
fn unneeded_gradients_are_not_computed() {
    let kernels = |watch_input: bool| -> BTreeMap<&str, u64> {
        let device = Cpu::open();
        let layers = layers![
            Conv2d::new(1, 3, 3),
            Conv2d::new(3, 2, 3),
            Flatten,
            Linear::new(8, 3),
            Linear::new(3, 2)
        ];
        let model = Sequential::<Cpu, f64>::new(&device, 1, layers).unwrap();
        let pixels = Fill::Normal(1.0).draw(&[2, 1, 6, 6], 1, 0).on(&device);
        let tape = Tape::new();
        let pixels = if watch_input { tape.watch(&pixels) } else { tape.input(&pixels) };
        let output = model.forward(&pixels).unwrap().sum().unwrap();
        device.start_profile();
        output.backward().unwrap();
        device.profile().iter().map(|kernel| (kernel.name, kernel.calls)).collect()
    };
    let usual = kernels(false);
    assert_eq!(usual["conv2d_backward_input"], 1, "of the second convolution alone: {usual:?}");
    assert_eq!(usual["conv2d_backward_weight"], 2, "{usual:?}");
    assert_eq!(usual["matmul"], 4, "two linear layers, by input and by weight: {usual:?}");
    assert_eq!(kernels(true)["conv2d_backward_input"], 2);
}

/// A frozen weight costs nothing either.
#[test]
fn a_constant_weight_has_no_gradient_kernel() {
    let device = Cpu::open();
    let [x, w] = [0, 1].map(|i| Fill::Normal(1.0).draw(&[3, 3], 1, i).on::<Cpu, f64>(&device));
    let x = Tape::new().watch(&x);
    let y = linear(&x, &w, None).unwrap().sum().unwrap();
    device.start_profile();
    y.backward().unwrap();
    let calls = device.profile().iter().find(|k| k.name == "matmul").map(|k| k.calls);
    assert_eq!(calls, Some(1));
}
