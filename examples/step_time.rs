//! How long training steps of the other examples' networks take, for `scripts/compare-pytorch --network`:
//! one line of JSON.
//!
//! ```text
//! cargo run --release --example step_time -- resnet20 32 20 2
//! ```
#[path = "gpt/model.rs"]
mod gpt;
#[path = "resnet20/model.rs"]
mod resnet20;

use gpt::{Gpt, Sizes};
use resnet20::ResNet;
use signet::nn::{Forward, Model};
use signet::ops::cross_entropy::cross_entropy;
use signet::optim::{Adam, AdamOptions, Sgd, SgdOptions};
use signet::train::{Inputs, TrainStep};
use signet::{Cpu, Device, Result, Tensor};
use std::time::Instant;

/// Steps that are not timed: kernels are compiled, memory is taken.
const WARM_UP: usize = 3;

/// The seconds of so many steps on one batch.
fn time<I: Inputs>(mut step: TrainStep<'_, I>, batch: &I, steps: usize) -> Result<f64> {
    for _ in 0..WARM_UP {
        step.run(batch)?;
    }
    step.mean_loss()?;
    let start = Instant::now();
    for _ in 0..steps {
        step.run(batch)?;
    }
    step.mean_loss()?;
    Ok(start.elapsed().as_secs_f64())
}

fn resnet20(device: &Device, batch: usize, steps: usize) -> Result<f64> {
    let model = Model::new(device, 0, |init| ResNet::new(init, 3, 10))?;
    let options = SgdOptions { momentum: 0.9, weight_decay: 1e-4, ..SgdOptions::new(0.1) };
    let sgd = Sgd::new(model.arena(), options)?;
    let step = TrainStep::new(&*model, model.context(), sgd, |(x, y): &(Tensor, Tensor<i32>)| {
        Ok(cross_entropy(&model.forward(x)?, y, &Default::default())?.0)
    })?;
    let x: Vec<f32> = (0..batch * 3 * 32 * 32).map(|i| (i as f32).sin()).collect();
    let y: Vec<i32> = (0..batch as i32).map(|i| i % 10).collect();
    let x = Tensor::from_slice(device, &x, [batch, 3, 32, 32])?;
    time(step, &(x, Tensor::from_slice(device, &y, [batch])?), steps)
}

fn gpt(device: &Device, batch: usize, steps: usize) -> Result<f64> {
    let sizes = Sizes { vocabulary: 65, context: 128, width: 128, heads: 4, layers: 4 };
    let model = Model::new(device, 0, |init| Gpt::new(init, &sizes))?;
    let adam = Adam::new(model.arena(), AdamOptions::adamw(1e-3))?;
    let loss = |(x, y): &(Tensor<i32>, Tensor<i32>)| {
        let logits = model.forward(x)?.reshape([batch * 128, 65])?;
        Ok(cross_entropy(&logits, y, &Default::default())?.0)
    };
    let step = TrainStep::new(&*model, model.context(), adam, loss)?;
    let ids: Vec<i32> = (0..batch as i32 * 128).map(|i| i * i % 65).collect();
    let x = Tensor::from_slice(device, &ids, [batch, 128])?;
    time(step, &(x, Tensor::from_slice(device, &ids, [batch * 128])?), steps)
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    const USAGE: &str = "usage: step_time resnet20|gpt BATCH STEPS THREADS";
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [network, numbers @ ..] = &arguments[..] else { return Err(USAGE.into()) };
    let numbers = numbers
        .iter()
        .map(|number| number.parse())
        .collect::<std::result::Result<Vec<usize>, _>>()?;
    let &[batch, steps, threads] = &numbers[..] else { return Err(USAGE.into()) };
    let device: Device = Cpu::new(Some(threads))?.into();
    let seconds = device.install(|| match &network[..] {
        "resnet20" => resnet20(&device, batch, steps).map(Some),
        "gpt" => gpt(&device, batch, steps).map(Some),
        _ => Ok(None),
    })?;
    println!("{{\"train_seconds\": {}}}", seconds.ok_or(USAGE)?);
    Ok(())
}
