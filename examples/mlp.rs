//! A multilayer perceptron: two hidden layers that learn to read hands, stopped when it gets no better.
//!
//! ```text
//! cargo run --release --example mlp
//! ```
use signet::data::{DataLoader, synthetic};
use signet::nn::{Dropout, Flatten, Forward, Layer, Linear, Module, ReLU, Sequential};
use signet::ops::cross_entropy::cross_entropy;
use signet::optim::{Adam, AdamOptions};
use signet::train::{FitOptions, TrainStep, evaluate, fit};
use signet::{Device, Result, Tensor, layers};

// ANCHOR: model
/// From images `[N, 1, 28, 28]` to `[N, classes]`.
pub fn mlp(classes: usize) -> Vec<Layer> {
    layers![
        Flatten,
        Linear::new(28 * 28, 512),
        ReLU,
        Dropout::new(0.2),
        Linear::new(512, 512),
        ReLU,
        Linear::new(512, classes),
    ]
}
// ANCHOR_END: model

fn main() -> Result<()> {
    let device = Device::auto()?;
    let data = synthetic(0, 8192, 1024);
    let classes = data.train.classes.len();
    let train = DataLoader::new(&device, &data.train, 64, Some(0))?;
    let valid = DataLoader::new(&device, &data.valid, 64, None)?;
    // ANCHOR: build
    let model = Sequential::new(&device, 0, mlp(classes))?;
    println!("{}", model.summary([64, 1, 28, 28])?);
    // ANCHOR_END: build

    // ANCHOR: train
    let adam = Adam::new(model.arena(), AdamOptions::adam(1e-3))?;
    let loss = |(x, y): &(Tensor, Tensor<i32>)| {
        Ok(cross_entropy(&model.forward(x)?, y, &Default::default())?.0)
    };
    let mut step = TrainStep::new(&model, model.context(), adam, loss)?;
    let measure = || evaluate(&model, model.context(), &valid, classes).map(|found| found.measured);
    // The sum of the mean losses of all batches, as the course's notebook prints it.
    let validate = || Ok(measure()?.loss / valid.batches() as f64);
    let options = FitOptions::new(20).patience(3);
    let done = fit(
        &mut step,
        |epoch| train.epoch(epoch, 0),
        validate,
        &options,
        |epoch| {
            let (train, valid) = (epoch.train_loss, epoch.valid_loss);
            println!("epoch {:2}: loss {train:.4}, validation {valid:.4}", epoch.epoch);
            true
        },
    )?;
    // ANCHOR_END: train
    if let Some((epoch, values)) = done.best {
        model.load_state_dict(&values)?;
        println!("the model of epoch {epoch}: accuracy {:.4}", measure()?.accuracy);
    }
    Ok(())
}
