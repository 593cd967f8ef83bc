//! ResNet-20 on CIFAR-10's images, or on drawn hands where no folder is named.
//!
//! ```text
//! cargo run --release --example resnet20 -- cifar-10-batches-bin
//! ```
mod model;

use model::ResNet;
use signet::data::{DataLoader, read_cifar10, synthetic};
use signet::nn::{self, Forward, Module};
use signet::ops::cross_entropy::cross_entropy;
use signet::optim::{Sgd, SgdOptions};
use signet::train::{FitOptions, TrainStep, evaluate, fit};
use signet::{Device, Result, Tensor};

fn main() -> Result<()> {
    let data = match std::env::args_os().nth(1) {
        Some(folder) => read_cifar10(folder)?,
        None => synthetic(0, 2560, 256),
    };
    let (channels, classes) = (data.train.channels, data.train.classes.len());
    let device = Device::auto()?;
    let train = DataLoader::new(&device, &data.train, 128, Some(0))?;
    let valid = DataLoader::new(&device, &data.valid, 256, None)?;
    let model = nn::Model::new(&device, 0, |init| ResNet::new(init, channels, classes))?;
    let numbers: usize = model.parameters().iter().map(Tensor::numel).sum();
    println!("ResNet-20 with {numbers} parameters on {}", device.describe());

    let options = SgdOptions { momentum: 0.9, weight_decay: 1e-4, ..SgdOptions::new(0.1) };
    let sgd = Sgd::new(model.arena(), options)?;
    let loss = |(x, y): &(Tensor, Tensor<i32>)| {
        Ok(cross_entropy(&model.forward(x)?, y, &Default::default())?.0)
    };
    let mut step = TrainStep::new(&*model, model.context(), sgd, loss)?;
    let mut accuracy = 0.0;
    let validate = || {
        let found = evaluate(&*model, model.context(), &valid, classes)?.measured;
        accuracy = found.accuracy;
        Ok(found.loss / valid.batches() as f64)
    };
    let done = fit(
        &mut step,
        |epoch| train.epoch(epoch, 0),
        validate,
        &FitOptions::new(10),
        |epoch| {
            let (seconds, train, valid) = (epoch.seconds, epoch.train_loss, epoch.valid_loss);
            println!(
                "epoch {}: loss {train:.4}, validation {valid:.4}, {seconds:.1} s",
                epoch.epoch
            );
            true
        },
    )?;
    println!("{} epochs, accuracy {accuracy:.4}", done.epochs.len());
    Ok(())
}
