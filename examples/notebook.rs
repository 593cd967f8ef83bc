//! The course notebook's cells, one after the other; the book tells their story
//! (`docs/notebook.md`).
//!
//! ```text
//! cargo run --release --example notebook                       # synthetic hands, 3 epochs
//! cargo run --release --example notebook -- data/asl_data 20   # the course's files
//! ```
#![forbid(unsafe_code)]

use signet::data::{DataLoader, Dataset, SIDE, Split, read_folder, synthetic};
use signet::nn::{
    BatchNorm2d, Conv2d, Dropout, Flatten, Forward, Layer, Linear, MaxPool2d, ReLU, Sequential,
};
use signet::ops::cross_entropy::cross_entropy;
use signet::optim::{Adam, AdamOptions, Optimizer};
use signet::{Device, Error, Result, layers, no_grad};
use std::process::ExitCode;

// ANCHOR: load
/// train_df = pd.read_csv("data/asl_data/sign_mnist_train.csv"), and valid_df
fn load(folder: Option<&str>) -> Result<Split> {
    match folder {
        Some(folder) => Ok(read_folder(folder)?),
        None => Ok(synthetic(0, 4096, 1024)),
    }
}
// ANCHOR_END: load

// ANCHOR: show
/// plt.imshow(image, cmap="gray")
fn show(data: &Dataset, index: usize) {
    println!("the letter {}:", data.class_name(index));
    for row in data.image(index).chunks(SIDE) {
        let shade = |&pixel: &u8| b" .:-=+*#%@"[usize::from(pixel) * 10 / 256] as char;
        println!("{}", row.iter().map(shade).collect::<String>());
    }
}
// ANCHOR_END: show

// ANCHOR: model
/// nn.Sequential(...)
fn network(classes: usize) -> Vec<Layer> {
    layers![
        // First convolution
        Conv2d::new(1, 25, 3).stride(1).padding(1), // 25 x 28 x 28
        BatchNorm2d::new(25),
        ReLU,
        MaxPool2d::new(2).stride(2), // 25 x 14 x 14
        // Second convolution
        Conv2d::new(25, 50, 3).stride(1).padding(1), // 50 x 14 x 14
        BatchNorm2d::new(50),
        ReLU,
        Dropout::new(0.2),
        MaxPool2d::new(2).stride(2), // 50 x 7 x 7
        // Third convolution
        Conv2d::new(50, 75, 3).stride(1).padding(1), // 75 x 7 x 7
        BatchNorm2d::new(75),
        ReLU,
        MaxPool2d::new(2).stride(2), // 75 x 3 x 3
        // Flatten to dense
        Flatten,
        Linear::new(75 * 3 * 3, 512),
        Dropout::new(0.3),
        ReLU,
        Linear::new(512, classes),
    ]
}
// ANCHOR_END: model

// ANCHOR: train
/// def train():
fn train(model: &Sequential, optimizer: &mut Adam, loader: &DataLoader, epoch: u64) -> Result<()> {
    let (mut loss, mut correct) = (0.0, 0);
    model.train();
    for batch in loader.epoch(epoch, 0)? {
        let (x, y) = batch?;
        let output = model.forward(&x)?;
        optimizer.zero_grad();
        let (batch_loss, hits) = cross_entropy(&output, &y, &Default::default())?;
        batch_loss.backward()?;
        optimizer.step()?;

        loss += f64::from(batch_loss.item()?);
        correct += hits.item()?;
    }
    let accuracy = f64::from(correct) / loader.rows() as f64;
    println!("Train - Loss: {loss:.4} Accuracy: {accuracy:.4}");
    Ok(())
}
// ANCHOR_END: train

// ANCHOR: validate
/// def validate():
fn validate(model: &Sequential, loader: &DataLoader) -> Result<()> {
    let (mut loss, mut correct) = (0.0, 0);
    model.eval();
    for batch in loader.epoch(0, 0)? {
        let (x, y) = batch?;
        // with torch.no_grad():
        let output = no_grad(|| model.forward(&x))?;
        let (batch_loss, hits) = cross_entropy(&output, &y, &Default::default())?;

        loss += f64::from(batch_loss.item()?);
        correct += hits.item()?;
    }
    let accuracy = f64::from(correct) / loader.rows() as f64;
    println!("Valid - Loss: {loss:.4} Accuracy: {accuracy:.4}");
    Ok(())
}
// ANCHOR_END: validate

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
    let folder = arguments.first().map(String::as_str);
    let epochs = arguments.get(1).map_or(Ok(3), |epochs| epochs.parse::<u64>());
    let epochs = epochs.map_err(|e| Error::argument("epochs", e.to_string()))?;

    // ANCHOR: device
    // device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    let device = Device::auto()?;
    // ANCHOR_END: device

    let data = load(folder)?;
    println!("{}: {} and {} images", data.source, data.train.len(), data.valid.len());
    if data.source.is_synthetic() {
        show(&data.train, 10);
    }

    // ANCHOR: loader
    // train_loader = DataLoader(train_data, batch_size=32, shuffle=True)
    let train_loader = DataLoader::new(&device, &data.train, 32, Some(0))?;
    // valid_loader = DataLoader(valid_data, batch_size=32)
    let valid_loader = DataLoader::new(&device, &data.valid, 32, None)?;

    // batch = next(iter(train_loader)); batch[0].shape, batch[1].shape
    for batch in train_loader.epoch(0, 0)?.take(1) {
        let (x, y) = batch?;
        println!("a batch: {} and {}", x.shape(), y.shape());
    }
    // ANCHOR_END: loader

    // ANCHOR: build
    // model = base_model.to(device)
    let classes = data.train.classes.len();
    let model = Sequential::new(&device, 0, network(classes))?;
    println!("{}", model.summary([32, 1, 28, 28])?);
    // ANCHOR_END: build

    // ANCHOR: optimizer
    // optimizer = Adam(model.parameters())
    let mut optimizer = Adam::new(model.arena(), AdamOptions::adam(1e-3))?;
    // ANCHOR_END: optimizer

    // ANCHOR: epochs
    // for epoch in range(epochs):
    for epoch in 0..epochs {
        println!("Epoch: {epoch}");
        train(&model, &mut optimizer, &train_loader, epoch)?;
        validate(&model, &valid_loader)?;
    }
    // ANCHOR_END: epochs
    Ok(())
}
