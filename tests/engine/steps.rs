//! A training step of a model of one's own, as one graph and step by step.

use crate::common;
use crate::on_every_device;

use common::device::TestDevice;
use common::host::Fill;
use signet::nn::{
    BatchNorm2d, Conv2d, Dropout, Flatten, Forward, Init, Linear, MaxPool2d, Module, ReLU,
    Sequential,
};
use signet::ops::cross_entropy::cross_entropy;
use signet::optim::{Adam, AdamOptions, Ema};
use signet::train::{FitOptions, Stopped, TrainStep, fit};
use signet::{Device, Error, Result, Tensor, layers, modules};
use std::cell::Cell;
use std::time::Duration;

on_every_device! {
    a_captured_step_leaves_the_same_bits,
    a_step_that_cannot_be_captured_says_why,
    the_loss_follows_the_learning_rate,
    batches_of_an_update_are_as_one,
    training_stops_when_it_should,
}

/// `relu(x + branch(x))`
#[derive(Module)]
struct Residual {
    branch: Sequential,
    scale: Option<Box<Sequential>>,
    #[module(skip)]
    again: bool,
}

impl Forward for Residual {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = x.add(&self.branch.forward(x)?)?.relu()?;
        if self.again { self.branch.forward(&y) } else { Ok(y) }
    }
}

fn network(device: &Device) -> Sequential {
    let init = Init::new(device, 5).unwrap();
    let branch = layers![Conv2d::new(3, 3, 3).padding(1), BatchNorm2d::new(3), Dropout::new(0.25)];
    let branch = branch.into_iter().map(|layer| layer.build(&init).unwrap()).collect();
    let branch = Sequential::of(&init, branch);
    let stem = Conv2d::new(1, 3, 3).build(&init).unwrap();
    let head = Linear::new(12, 4).build(&init).unwrap();
    let block = Residual { branch, scale: None, again: true };
    Sequential::of(&init, modules![stem, ReLU, block, MaxPool2d::new(2), Flatten, head])
}

fn batch(device: &Device, rows: usize, seed: u64) -> (Tensor, Tensor<i32>) {
    let x = Fill::Normal(1.0).draw(&[rows, 1, 6, 6], seed, 0).on(device);
    let labels: Vec<i32> = (0..rows).map(|row| ((row as u64 + seed) % 4) as i32).collect();
    (x, Tensor::from_slice(device, &labels, [rows]).unwrap())
}

/// Losses and values after some steps of two shapes, how often the loss was computed on the host, and
/// why not as a graph.
fn train(on: TestDevice, graphs: bool, peek: bool) -> (Vec<u32>, usize, Option<String>) {
    let device = on.open();
    let model = network(&device);
    let adam = Adam::new(model.arena(), AdamOptions::adam(0.01)).unwrap();
    let calls = Cell::new(0);
    let loss = |(x, y): &(Tensor, Tensor<i32>)| {
        calls.set(calls.get() + 1);
        let loss = cross_entropy(&model.forward(x)?, y, &Default::default())?.0;
        if peek {
            loss.item()?;
        }
        Ok(loss)
    };
    let mut average = Ema::new(model.arena(), 0.9).unwrap();
    let mut step = TrainStep::new(&model, model.context(), adam, loss).unwrap();
    step.average(&mut average);
    step.clip_grad_norm(model.arena(), 0.5);
    step.use_graphs(graphs);
    let mut bits = Vec::new();
    for (number, rows) in [5, 5, 3, 5, 3, 3, 5].into_iter().enumerate() {
        let loss = step.run(&batch(&device, rows, number as u64)).unwrap();
        bits.push(loss.item().unwrap().to_bits());
    }
    let why = step.eager_because().map(str::to_owned);
    drop(step);
    assert_eq!(model.context().step(), 7);
    for _ in 0..2 {
        for (_, value) in model.state_dict().unwrap().iter() {
            bits.extend(value.values.to_float::<f32>().into_iter().map(f32::to_bits));
        }
        average.swap().unwrap();
    }
    (bits, calls.get(), why)
}

fn a_captured_step_leaves_the_same_bits(on: TestDevice) {
    let (bits, calls, _) = train(on, false, false);
    let (captured, calls_of_graphs, why) = train(on, true, false);
    assert_eq!(bits, captured);
    assert_eq!(why, None);
    // As it is, and captured: twice for each of two shapes.
    let expected = if on == TestDevice::Cpu { 7 } else { 4 };
    assert_eq!((calls, calls_of_graphs), (7, expected));
}

fn a_step_that_cannot_be_captured_says_why(on: TestDevice) {
    let (bits, ..) = train(on, false, false);
    let (peeked, _, why) = train(on, true, true);
    assert_eq!(bits, peeked);
    assert_eq!(why.is_some(), on != TestDevice::Cpu, "{why:?}");
}

/// What an optimizer is told between steps holds for a captured step too.
fn the_loss_follows_the_learning_rate(on: TestDevice) {
    let device = on.open();
    let model = network(&device);
    let adam = Adam::new(model.arena(), AdamOptions::adam(0.01)).unwrap();
    let loss = |(x, y): &(Tensor, Tensor<i32>)| {
        Ok(cross_entropy(&model.forward(x)?, y, &Default::default())?.0)
    };
    let mut step = TrainStep::new(&model, model.context(), adam, loss).unwrap();
    let data = batch(&device, 5, 0);
    let weight = || model.parameters()[0].to_vec().unwrap();
    for _ in 0..3 {
        step.run(&data).unwrap();
    }
    let before = weight();
    step.run(&data).unwrap();
    assert_ne!(weight(), before);
    step.optimizer().set_lr(0.0).unwrap();
    let before = weight();
    step.run(&data).unwrap();
    assert_eq!(weight(), before);
}

/// Two batches whose gradients are added make the update of one batch of both.
fn batches_of_an_update_are_as_one(on: TestDevice) {
    let device = on.open();
    let train = |accumulate: usize, rows: &[usize]| {
        let layers = layers![Flatten, Linear::new(36, 4)];
        let model = Sequential::<f32>::new(&device, 3, layers).unwrap();
        let adam = Adam::new(model.arena(), AdamOptions::adam(0.01)).unwrap();
        let loss = |(x, y): &(Tensor, Tensor<i32>)| {
            Ok(cross_entropy(&model.forward(x)?, y, &Default::default())?.0)
        };
        let mut step = TrainStep::new(&model, model.context(), adam, loss).unwrap();
        step.accumulate(accumulate).unwrap();
        let (x, y) = batch(&device, 8, 1);
        let (x, y) = (x.to_vec().unwrap(), y.to_vec().unwrap());
        for _ in 0..4 {
            let mut first = 0;
            for &rows in rows {
                let last = first + rows;
                let x = Tensor::from_slice(&device, &x[36 * first..36 * last], [rows, 1, 6, 6]);
                let y = Tensor::from_slice(&device, &y[first..last], [rows]);
                step.run(&(x.unwrap(), y.unwrap())).unwrap();
                first = last;
            }
        }
        let mean = step.mean_loss().unwrap();
        assert!(step.mean_loss().unwrap().is_nan(), "all losses have been told");
        assert_eq!(step.eager_because(), None);
        drop(step);
        (mean, model.parameters()[0].to_vec().unwrap())
    };
    let (mean, whole) = train(1, &[8]);
    let (mean_of_halves, halves) = train(2, &[4, 4]);
    assert!((mean - mean_of_halves).abs() < 1e-6 * mean, "{mean} {mean_of_halves}");
    let far = whole.iter().zip(&halves).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(far < 1e-5, "{far}");
    let model = network(&device);
    let adam = Adam::new(model.arena(), AdamOptions::adam(0.01)).unwrap();
    let loss = |(x, _): &(Tensor, Tensor<i32>)| model.forward(x)?.sum();
    let mut step = TrainStep::new(&model, model.context(), adam, loss).unwrap();
    assert!(matches!(step.accumulate(0), Err(Error::Argument { .. })));
}

fn training_stops_when_it_should(on: TestDevice) {
    let device = on.open();
    let model = network(&device);
    let adam = Adam::new(model.arena(), AdamOptions::adam(0.01)).unwrap();
    let data = batch(&device, 5, 0);
    let loss = |(x, y): &(Tensor, Tensor<i32>)| {
        Ok(cross_entropy(&model.forward(x)?, y, &Default::default())?.0)
    };
    let mut step = TrainStep::new(&model, model.context(), adam, loss).unwrap();
    let batches = |_| Ok([Ok((data.0.clone(), data.1.clone()))]);
    let validations = [3.0, 2.0, 2.5, 2.0, 9.0, 1.0];
    let mut run = |options: FitOptions, most: usize| {
        let mut validations = validations.into_iter();
        let validate = || {
            assert!(!model.context().training());
            Ok(validations.next().unwrap())
        };
        let mut seen = 0;
        let fit = fit(&mut step, batches, validate, &options, |_| {
            seen += 1;
            seen < most
        });
        assert!(model.context().training());
        let fit = fit.unwrap();
        assert_eq!(fit.epochs.len(), seen);
        (seen, fit.best.map(|(epoch, _)| epoch), fit.stopped)
    };
    assert_eq!(run(FitOptions::new(6), 9), (6, Some(5), Stopped::Finished));
    // As good as before is not better.
    assert_eq!(run(FitOptions::new(6).patience(3), 9), (5, Some(1), Stopped::Patience));
    assert_eq!(run(FitOptions::new(6), 2), (2, Some(1), Stopped::Asked));
    let no_time = FitOptions::new(6).time_budget(Duration::ZERO);
    assert_eq!(run(no_time, 9), (0, None, Stopped::TimeBudget));
}
