//! How long training steps of the other examples' networks take, or forward passes of VGG16, for
//! `scripts/compare-pytorch --network`: one line of JSON. And what a step is made of.
//!
//! ```text
//! cargo run --release --example step_time -- resnet20 32 20 2
//! cargo run --release --example step_time -- resnet20 32 --explain
//! ```
mod networks;
mod vgg16;

use networks::{Plan, Use, gpt, mlp, resnet20};
use signet::nn::{Forward, Sequential};
use signet::train::{Inputs, TrainStep};
use signet::{Cpu, Device, Result, Tensor, no_grad};
use std::time::Instant;
use vgg16::vgg16;

const USAGE: &str = "usage: step_time mlp|resnet20|gpt|vgg16 BATCH STEPS THREADS
       step_time mlp|resnet20|gpt BATCH --explain";

/// Steps that are not timed: kernels are compiled, memory is taken.
const WARM_UP: usize = 3;

/// The seconds of so many steps on one batch.
struct Time(usize);

impl Use for Time {
    type Found = f64;

    fn with<I: Inputs>(self, mut step: TrainStep<'_, I>, batch: &I) -> Result<f64> {
        for _ in 0..WARM_UP {
            step.run(batch)?;
        }
        step.mean_loss()?;
        let start = Instant::now();
        for _ in 0..self.0 {
            step.run(batch)?;
        }
        step.mean_loss()?;
        Ok(start.elapsed().as_secs_f64())
    }
}

/// What `what` finds of a step of `network`; none of another name.
fn of<U: Use>(network: &str, device: &Device, batch: usize, what: U) -> Result<Option<U::Found>> {
    match network {
        "mlp" => mlp(device, batch, what).map(Some),
        "resnet20" => resnet20(device, batch, what).map(Some),
        "gpt" => gpt(device, batch, what).map(Some),
        _ => Ok(None),
    }
}

/// The seconds of forward passes, in evaluation mode.
fn forward(device: &Device, batch: usize, passes: usize) -> Result<f64> {
    let model = Sequential::<f32>::new(device, 0, vgg16())?;
    model.eval();
    let x: Vec<f32> = (0..batch * 3 * 224 * 224).map(|i| (i as f32).sin()).collect();
    let x = Tensor::from_slice(device, &x, [batch, 3, 224, 224])?;
    let pass = || no_grad(|| model.forward(&x)).map(drop);
    (0..WARM_UP).try_for_each(|_| pass())?;
    device.synchronize()?;
    let start = Instant::now();
    (0..passes).try_for_each(|_| pass())?;
    device.synchronize()?;
    Ok(start.elapsed().as_secs_f64())
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (network, batch, rest) = match arguments[..] {
        [network, batch, ref rest @ ..] => (network, batch.parse()?, rest),
        _ => return Err(USAGE.into()),
    };
    match *rest {
        ["--explain"] => {
            let device = Device::auto()?;
            let kernels = device.install(|| of(network, &device, batch, Plan))?.ok_or(USAGE)?;
            for kernel in &kernels {
                let (grid, cost) = (kernel.launch.map(|launch| launch.grid), kernel.cost);
                println!(
                    "{:28} {:11} FLOP {:9} bytes {grid:?}",
                    kernel.name, cost.flops, cost.bytes
                );
            }
            println!("{} kernels on {}", kernels.len(), device.describe());
        }
        [steps, threads] => {
            let (steps, device) = (steps.parse()?, Device::from(Cpu::new(Some(threads.parse()?))?));
            let seconds = device.install(|| match network {
                "vgg16" => forward(&device, batch, steps).map(Some),
                network => of(network, &device, batch, Time(steps)),
            })?;
            println!("{{\"train_seconds\": {}}}", seconds.ok_or(USAGE)?);
        }
        _ => return Err(USAGE.into()),
    }
    Ok(())
}
