//! The networks of `examples/`: fifty training steps agree with PyTorch's of the same networks, and on a GPU
//! each is one graph.

use crate::common;
use crate::on_every_device;

use common::compare::{Tolerance, assert_close};
use common::device::TestDevice;
use common::fixture::Fixture;
use gpt::{Gpt, Sizes};
use resnet20::ResNet;
use signet::nn::{Forward, Model, Module, State};
use signet::ops::cross_entropy::cross_entropy;
use signet::optim::{Adam, AdamOptions, Optimizer, Sgd, SgdOptions};
use signet::train::TrainStep;
use signet::{Device, Result, Tensor};

#[path = "../../examples/gpt/model.rs"]
mod gpt;
#[path = "../../examples/resnet20/model.rs"]
mod resnet20;

on_every_device! {
    resnet20_agrees_with_pytorch,
    a_small_gpt_agrees_with_pytorch,
}

/// As in `scripts/reference/parity.py`.
fn wave(count: usize, phase: f64) -> impl Iterator<Item = f64> {
    (0..count).map(move |i| (1.7 * (i as f64).powf(1.1) + phase).sin())
}

/// As in `scripts/reference/parity.py`.
fn fill(model: &impl Module<f64>) {
    let state = model.state().into_iter().filter(|(_, state)| matches!(state, State::Parameter(_)));
    for (k, (name, state)) in state.enumerate() {
        let State::Parameter(parameter) = state else { continue };
        let (wave, dims) = (wave(parameter.numel(), k as f64), parameter.dims());
        let values: Vec<f64> = if dims.len() > 1 {
            let inputs: usize = dims[1..].iter().product();
            wave.map(|x| x / (inputs as f64).sqrt()).collect()
        } else {
            let start = if name.ends_with("weight") { 1.0 } else { 0.0 };
            wave.map(|x| 0.1 * x + start).collect()
        };
        parameter.set(&values).unwrap();
    }
}

/// Of each tensor, the sum of its elements, and of these times a wave.
fn sums(tensors: impl Iterator<Item = Tensor<f64>>) -> Vec<f64> {
    tensors
        .flat_map(|tensor| {
            let values = tensor.to_vec().unwrap();
            let weighted = values.iter().zip(wave(values.len(), 0.5)).map(|(x, w)| x * w);
            [values.iter().sum(), weighted.sum::<f64>()]
        })
        .collect()
}

/// Fifty steps of `model` beside those of the file `name`.
fn agree<M: Module<f64>, X: signet::train::Inputs>(
    name: &str,
    model: &Model<M, f64>,
    optimizer: impl Optimizer<f64>,
    batch: impl Fn(u64) -> X,
    loss: impl FnMut(&X) -> Result<Tensor<f64>>,
) {
    let fixture = Fixture::load(name);
    fill(model);
    let mut step = TrainStep::new(model, model.context(), optimizer, loss).unwrap();
    let expected = fixture.tensor("losses").values.clone();
    let mut losses = Vec::new();
    for number in 0..expected.len() as u64 {
        losses.push(step.run(&batch(number)).unwrap().item().unwrap());
        if number == 0 {
            let gradients = model.parameters().into_iter().map(|p| p.grad().unwrap().unwrap());
            let close = Tolerance::scale(1e-8);
            assert_close(
                "gradients",
                &sums(gradients),
                &fixture.tensor("gradients").values.clone(),
                close,
            );
            let parameters = sums(model.parameters().into_iter());
            assert_close(
                "parameters",
                &parameters,
                &fixture.tensor("parameters").values.clone(),
                close,
            );
        }
    }
    assert_eq!(step.eager_because(), None);
    assert_close("losses", &losses[..1], &expected[..1], Tolerance::relative(1e-10));
    assert_close("losses", &losses, &expected, Tolerance::relative(1e-6));
}

fn resnet20_agrees_with_pytorch(on: TestDevice) {
    let device = on.open();
    let model = Model::new(&device, 0, |init| ResNet::new(init, 3, 10)).unwrap();
    let options = SgdOptions { momentum: 0.9, weight_decay: 1e-4, ..SgdOptions::new(0.01) };
    let sgd = Sgd::new(model.arena(), options).unwrap();
    let batch = |step: u64| {
        let x: Vec<f64> = wave(4 * 3 * 8 * 8, 3.0 * step as f64).collect();
        let x = Tensor::from_slice(&device, &x, [4, 3, 8, 8]).unwrap();
        (x, Tensor::from_slice(&device, &[0, 1, 2, 3], [4]).unwrap())
    };
    agree("resnet20", &model, sgd, batch, |(x, y): &(Tensor<f64>, Tensor<i32>)| {
        Ok(cross_entropy(&model.forward(x)?, y, &Default::default())?.0)
    });
}

fn a_small_gpt_agrees_with_pytorch(on: TestDevice) {
    let device = on.open();
    let sizes = Sizes { vocabulary: 11, context: 8, width: 16, heads: 2, layers: 2 };
    let model = Model::new(&device, 0, |init| Gpt::new(init, &sizes)).unwrap();
    let adam = Adam::new(model.arena(), AdamOptions::adamw(1e-3)).unwrap();
    let tensor = |device: &Device, values: Vec<i32>, shape: &[usize]| {
        Tensor::from_slice(device, &values, shape).unwrap()
    };
    let batch = |step: u64| {
        let id = |i: u64| (i * (step % 5 + 2) % 11) as i32;
        let rows = |from: u64| (0..3).flat_map(move |row| (0..8).map(move |i| 9 * row + i + from));
        let x = tensor(&device, rows(0).map(id).collect(), &[3, 8]);
        (x, tensor(&device, rows(1).map(id).collect(), &[24]))
    };
    agree("gpt", &model, adam, batch, |(x, y): &(Tensor<i32>, Tensor<i32>)| {
        let logits = model.forward(x)?.reshape([24, 11])?;
        Ok(cross_entropy(&logits, y, &Default::default())?.0)
    });
}
