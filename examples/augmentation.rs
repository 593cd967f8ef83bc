//! The course's next notebook: each photograph is changed at random before the network sees it, and
//! the model is saved in the end; the book tells its story (`docs/augmentation.md`).
//!
//! ```text
//! cargo run --release --example augmentation                       # synthetic hands, 3 epochs
//! cargo run --release --example augmentation -- data/asl_data 20   # the course's files
//! ```

use signet::data::{DataLoader, read_folder, synthetic};
use signet::nn::{Forward, Module, Sequential, asl};
use signet::ops::augment::{AugmentOptions, augment};
use signet::ops::cross_entropy::cross_entropy;
use signet::optim::{Adam, AdamOptions, Optimizer};
use signet::{Device, checkpoint};
use signet::{Result, Tensor, no_grad};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let epochs = arguments.get(1).and_then(|epochs| epochs.parse().ok()).unwrap_or(3);
    let device = Device::cpu()?;
    let data = match arguments.first() {
        Some(folder) => read_folder(folder)?,
        None => synthetic(0, 4096, 1024),
    };
    let train_loader = DataLoader::new(&device, &data.train, 32, Some(0))?;
    let valid_loader = DataLoader::new(&device, &data.valid, 32, None)?;
    let model: Sequential = Sequential::new(&device, 0, asl(data.train.classes.len()))?;
    let mut optimizer = Adam::new(model.arena(), AdamOptions::adam(1e-3))?;

    // ANCHOR: options
    // random_transforms = transforms.Compose([RandomRotation(5), ...])
    let random_transforms = AugmentOptions::course();
    // ANCHOR_END: options

    for epoch in 0..epochs {
        // ANCHOR: train
        model.train();
        let mut correct = 0;
        for (i, batch) in train_loader.epoch(epoch, 0)?.enumerate() {
            let (x, y) = batch?;
            // output = model(random_transforms(x))
            let step = epoch * train_loader.batches() as u64 + i as u64;
            let step = Tensor::from_slice(&device, &[step], [1])?;
            let x = augment(&x, &random_transforms, 0, &step)?;

            let output = model.forward(&x)?;
            optimizer.zero_grad();
            let (loss, hits) = cross_entropy(&output, &y, &Default::default())?;
            loss.backward()?;
            optimizer.step()?;
            correct += hits.item()?;
        }
        // ANCHOR_END: train
        let train = f64::from(correct) / train_loader.rows() as f64;

        model.eval();
        let mut correct = 0;
        for batch in valid_loader.epoch(0, 0)? {
            let (x, y) = batch?;
            let output = no_grad(|| model.forward(&x))?;
            correct += cross_entropy(&output, &y, &Default::default())?.1.item()?;
        }
        let valid = f64::from(correct) / valid_loader.rows() as f64;
        println!("Epoch: {epoch}\nTrain - Accuracy: {train:.4}\nValid - Accuracy: {valid:.4}");
    }

    // ANCHOR: save
    // torch.save(base_model, "model.pth")
    let file = Path::new("model.safetensors");
    checkpoint::save(file, &model.state_dict()?, None)?;
    println!("written to {}", file.display());
    // ANCHOR_END: save
    Ok(())
}
