//! ResNet-20 on colour images: CIFAR-10's binary files, or drawn ones where no folder is named.
//!
//! ```text
//! cargo run --release --example resnet20 -- cifar-10-batches-bin
//! ```
mod model;

use model::ResNet;
use signet::data::{DataLoader, Dataset};
use signet::nn::{Forward, Model, Module};
use signet::ops::cross_entropy::cross_entropy;
use signet::optim::{Sgd, SgdOptions};
use signet::rng::Philox;
use signet::train::{FitOptions, TrainStep, fit};
use signet::{Device, Result, Tensor, no_grad};
use std::f64::consts::TAU;
use std::path::Path;

const CLASSES: usize = 10;
const PIXELS: usize = 3 * 32 * 32;

fn dataset(pixels: Vec<u8>, labels: Vec<u8>) -> Dataset {
    let classes = (0..CLASSES).map(|class| class.to_string()).collect();
    Dataset { pixels, labels, channels: 3, height: 32, width: 32, classes, name: "images".into() }
}

/// Files of records of a label and the red, green and blue planes.
fn cifar10(folder: &Path, files: &[&str]) -> std::io::Result<Dataset> {
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for file in files {
        for record in std::fs::read(folder.join(file))?.chunks_exact(1 + PIXELS) {
            labels.push(record[0]);
            pixels.extend(&record[1..]);
        }
    }
    Ok(dataset(pixels, labels))
}

/// Waves, whose direction and colour say the class, with noise.
fn waves(seed: u64, count: usize) -> Dataset {
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for image in 0..count {
        let mut random = Philox::new(seed).sequence(0, image as u64);
        let class = image % CLASSES;
        let (angle, phase) = (class as f64 * 0.63, random.range(0.0, TAU));
        for channel in 0..3 {
            for at in 0..32 * 32 {
                let (x, y) = ((at % 32) as f64, (at / 32) as f64);
                let wave = (0.5 * (x * angle.cos() + y * angle.sin()) + phase).sin();
                let height = if class % 3 == channel { 80.0 } else { 30.0 };
                pixels.push((128.0 + height * wave + 20.0 * random.normal()) as u8);
            }
        }
        labels.push(class as u8);
    }
    dataset(pixels, labels)
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let (train, valid) = match std::env::args_os().nth(1) {
        Some(folder) => {
            let files = [1, 2, 3, 4, 5].map(|i| format!("data_batch_{i}.bin"));
            let folder = Path::new(&folder);
            (
                cifar10(folder, &files.each_ref().map(|file| &file[..]))?,
                cifar10(folder, &["test_batch.bin"])?,
            )
        }
        None => (waves(0, 2560), waves(1, 256)),
    };
    let device = Device::auto()?;
    let (epochs, rows) = (10, valid.len());
    let train = DataLoader::new(&device, &train, 128, Some(0))?;
    let valid = DataLoader::new(&device, &valid, 256, None)?;
    let model = Model::new(&device, 0, |init| ResNet::new(init, CLASSES))?;
    let numbers: usize = model.parameters().iter().map(Tensor::numel).sum();
    println!("ResNet-20 with {numbers} parameters on {}", device.describe());

    let options = SgdOptions { momentum: 0.9, weight_decay: 1e-4, ..SgdOptions::new(0.1) };
    let sgd = Sgd::new(model.arena(), options)?;
    let loss = |(x, y): &(Tensor, Tensor<i32>)| {
        Ok(cross_entropy(&model.forward(x)?, y, &Default::default())?.0)
    };
    let mut step = TrainStep::new(&*model, model.context(), sgd, loss)?;
    let mut right = 0;
    let validate = || -> Result<f64> {
        let (mut total, mut hits) = (0.0, 0);
        for batch in valid.epoch(0, 0)? {
            let (x, y) = batch?;
            let logits = no_grad(|| model.forward(&x))?;
            let (loss, correct) = cross_entropy(&logits, &y, &Default::default())?;
            (total, hits) = (total + f64::from(loss.item()?), hits + correct.item()?);
        }
        right = hits;
        Ok(total / valid.batches() as f64)
    };
    let done = fit(
        &mut step,
        |epoch| train.epoch(epoch, 0),
        validate,
        &FitOptions::new(epochs),
        |epoch| {
            let (seconds, loss, valid) = (epoch.seconds, epoch.train_loss, epoch.valid_loss);
            println!(
                "epoch {}: loss {loss:.4}, validation {valid:.4}, {seconds:.1} s",
                epoch.epoch
            );
            true
        },
    )?;
    println!("{} epochs, accuracy {:.4}", done.epochs.len(), f64::from(right) / rows as f64);
    Ok(())
}
