//! Sums of many numbers: as exact as of few, and the same bits for any number of threads.

use crate::common;
use crate::on_every_device;

use common::device::TestDevice;
use signet::nn::{BatchNorm2d, Forward, Linear, Module, Sequential, State, Values};
use signet::ops::cross_entropy::cross_entropy;
use signet::ops::layer_norm::layer_norm;
use signet::rng::Philox;
use signet::{Cpu, Device, Tensor, layers};

/// The largest relative error, that of PyTorch's sums.
const EXACT: f64 = 1e-6;

on_every_device! {
    sums_and_means_are_exact,
    gradients_of_biases_are_exact,
    statistics_of_a_batch_are_exact,
    long_rows_are_as_exact_as_short_ones,
}

#[track_caller]
fn check(what: &str, value: f32, exact: f64) {
    let error = (f64::from(value) - exact) / exact;
    assert!(error.abs() <= EXACT, "{what}: {value} for {exact}, {error:.2e} off");
}

#[track_caller]
fn check_sum(device: &Device, values: &[f32]) {
    let exact: f64 = values.iter().map(|&x| f64::from(x)).sum();
    let n = values.len();
    let x = Tensor::from_slice(device, values, [n]).unwrap();
    check(&format!("sum of {n}"), x.sum().unwrap().item().unwrap(), exact);
    check(&format!("mean of {n}"), x.mean().unwrap().item().unwrap(), exact / n as f64);
}

/// Numbers from 0 to 1.
fn random(n: usize) -> Vec<f32> {
    let mut random = Philox::new(5).sequence(9, 0);
    (0..n).map(|_| random.range(0.0, 1.0) as f32).collect()
}

fn sums_and_means_are_exact(on: TestDevice) {
    let device = on.open();
    for n in [1, 17, 4_097, 300_001] {
        check_sum(&device, &vec![0.1; n]);
        check_sum(&device, &random(n));
    }
}

#[test]
fn forty_million_are_summed_as_exactly_as_forty() {
    let device = Device::from(Cpu::new(Some(2)).unwrap());
    check_sum(&device, &vec![0.1; 40_000_000]);
    check_sum(&device, &random(10_000_000));
    // Every element has the same gradient, whatever the order of the sum.
    let x = Tensor::from_slice(&device, &vec![0.1_f32; 200_000], [200_000]).unwrap();
    x.requires_grad(true).unwrap().mean().unwrap().backward().unwrap();
    let gradient = x.grad().unwrap().unwrap().to_vec().unwrap();
    assert!(gradient.iter().all(|&g| g == 1.0 / 200_000.0));
}

#[test]
fn any_number_of_threads_sums_to_the_same_bits() {
    let values = random(700_003);
    let shapes: [&[usize]; 4] = [&[700_003], &[1, 700_003], &[700_003, 1], &[7, 1, 100_000]];
    let sums = |threads| {
        let device = Device::from(Cpu::new(Some(threads)).unwrap());
        shapes.map(|shape| {
            let values = &values[..shape.iter().product()];
            let x = Tensor::from_slice(&device, values, shape).unwrap();
            [x.sum().unwrap(), x.mean().unwrap()].map(|y| y.item().unwrap().to_bits())
        })
    };
    let one = sums(1);
    for threads in [2, 3, 7] {
        assert_eq!(sums(threads), one, "{threads} threads");
    }
}

fn gradients_of_biases_are_exact(on: TestDevice) {
    let device = on.open();
    let n = 100_000;
    let model = Sequential::<f32>::new(&device, 0, layers![Linear::new(1, 1)]).unwrap();
    let x = Tensor::from_slice(&device, &vec![0.1; n], [n, 1]).unwrap();
    let y = model.forward(&x).unwrap();
    y.backward_with(&x).unwrap();
    for (name, state) in model.state() {
        if let State::Parameter(parameter) = state
            && name == "0.bias"
        {
            let gradient = parameter.grad().unwrap().unwrap().item().unwrap();
            check("the bias's gradient", gradient, n as f64 * f64::from(0.1_f32));
        }
    }
}

fn statistics_of_a_batch_are_exact(on: TestDevice) {
    let device = on.open();
    let n = 200_000;
    let norm = BatchNorm2d::new(1).momentum(1.0);
    let model = Sequential::<f32>::new(&device, 0, layers![norm]).unwrap();
    // One image, whose pixels are one run; then many images of few pixels.
    for shape in [[1, 1, 400, n / 400], [n / 4, 1, 2, 2]] {
        let pixels: Vec<f32> = (0..n).map(|i| 0.1 + (i % 2) as f32 * 0.8).collect();
        let x = Tensor::from_slice(&device, &pixels, shape).unwrap();
        let y = model.forward(&x).unwrap();
        model.arena().zero_grad();
        let ones = Tensor::from_slice(&device, &vec![0.1; n], shape).unwrap();
        y.backward_with(&ones).unwrap();
        let (low, high) = (f64::from(0.1_f32), f64::from(0.1_f32 + 0.8));
        let (mean, half) = ((low + high) / 2.0, (high - low) / 2.0);
        let var = half * half * n as f64 / (n - 1) as f64;
        let state = model.state_dict().unwrap();
        let value = |name: &str| match &state.get(name).unwrap().values {
            Values::F32(values) => values[0],
            other => panic!("{other:?}"),
        };
        check("the mean", value("0.running_mean"), mean);
        check("the variance", value("0.running_var"), var);
        let gradients = model.state().into_iter().filter_map(|(name, state)| match state {
            State::Parameter(p) if name == "0.bias" => p.grad().unwrap(),
            _ => None,
        });
        for gradient in gradients {
            let exact = n as f64 * f64::from(0.1_f32);
            check("the shift's gradient", gradient.item().unwrap(), exact);
        }
    }
}

#[test]
fn a_softmax_over_a_million_classes_is_exact() {
    let device = Device::from(Cpu::new(Some(1)).unwrap());
    let classes = 1_000_000;
    let logits = vec![0.1_f32.ln(); classes];
    let logits = Tensor::from_slice(&device, &logits, [1, classes]).unwrap();
    let target = Tensor::from_slice(&device, &[7], [1]).unwrap();
    let (loss, _) = cross_entropy(&logits, &target, &Default::default()).unwrap();
    check("the loss", loss.item().unwrap(), (classes as f64).ln());
}

/// Softmax, its logarithm and layer normalisation of one long row, and of rows side by side.
fn long_rows_are_as_exact_as_short_ones(on: TestDevice) {
    let device = on.open();
    let n = 40_000;
    for shape in [[1, n, 1], [1, n, 2]] {
        let x = Tensor::from_slice(&device, &vec![0.1_f32; shape[1] * shape[2]], shape).unwrap();
        let first = |y: Tensor| y.to_vec().unwrap()[0];
        check("softmax", first(x.softmax(1).unwrap()), 1.0 / n as f64);
        check("log_softmax", first(x.log_softmax(1).unwrap()), -(n as f64).ln());
    }
    // A mean of 1000 and a deviation of 1.
    let values: Vec<f32> = (0..n).map(|i| if i % 2 == 0 { 999.0 } else { 1001.0 }).collect();
    let x = Tensor::from_slice(&device, &values, [1, n]).unwrap();
    let y = layer_norm(&x, [n], None, None, 1e-9).unwrap().to_vec().unwrap();
    check("layer_norm", y[0], -1.0);
    check("layer_norm", y[n - 1], 1.0);
}
