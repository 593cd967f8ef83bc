//! The course notebook's cells, one after the other.
//!
//! ```text
//! cargo run --release --example notebook -- data/asl_data
//! ```
//!
//! Without a folder it draws the synthetic hands.
#![forbid(unsafe_code)]

use signet::data::{DataLoader, read_folder, synthetic};
use signet::nn::{
    BatchNorm2d, Conv2d, Dropout, Flatten, Linear, MaxPool2d, Module, ReLU, Sequential,
};
use signet::ops::cross_entropy::cross_entropy;
use signet::optim::{Adam, AdamOptions, Optimizer};
use signet::{Cpu, Result, Tape, layers};

fn main() -> Result<()> {
    // device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    let device = Cpu::new(None)?;

    // train_df = pd.read_csv("data/asl_data/sign_mnist_train.csv")
    let data = match std::env::args_os().nth(1) {
        Some(folder) => read_folder(std::path::PathBuf::from(folder))?,
        None => synthetic(0, 4096, 1024),
    };
    println!("{}: {} and {} images", data.source, data.train.len(), data.valid.len());

    // train_loader = DataLoader(train_data, batch_size=32, shuffle=True)
    let train_loader = DataLoader::<Cpu, f32>::new(&device, &data.train, 32, Some(0))?;
    let valid_loader = DataLoader::<Cpu, f32>::new(&device, &data.valid, 32, None)?;

    // model = nn.Sequential(...).to(device)
    let classes = data.train.classes.len();
    let model = Sequential::<Cpu, f32>::new(
        &device,
        0,
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
        ],
    )?;
    println!("{}", model.summary([32, 1, 28, 28])?);

    // optimizer = Adam(model.parameters())
    let mut optimizer = Adam::new(model.arena(), AdamOptions::adam(1e-3))?;

    for epoch in 0..3 {
        println!("Epoch: {epoch}");

        // def train():
        model.train();
        let (mut loss, mut correct) = (0.0, 0);
        for batch in train_loader.epoch(epoch, 0)? {
            let (x, y) = batch?;
            let tape = Tape::new();
            let output = model.forward(&tape.input(&x))?;
            optimizer.zero_grad();
            let (batch_loss, hits) = cross_entropy(&output, &y, &Default::default())?;
            batch_loss.backward()?;
            optimizer.step()?;
            loss += f64::from(batch_loss.item()?);
            correct += hits.item()?;
        }
        let accuracy = f64::from(correct) / train_loader.rows() as f64;
        println!("Train - Loss: {loss:.4} Accuracy: {accuracy:.4}");

        // def validate():
        model.eval();
        let (mut loss, mut correct) = (0.0, 0);
        for batch in valid_loader.epoch(0, 0)? {
            let (x, y) = batch?;
            // with torch.no_grad(): an input on no tape records nothing.
            let output = model.forward(&x)?;
            let (batch_loss, hits) = cross_entropy(&output, &y, &Default::default())?;
            loss += f64::from(batch_loss.item()?);
            correct += hits.item()?;
        }
        let accuracy = f64::from(correct) / valid_loader.rows() as f64;
        println!("Valid - Loss: {loss:.4} Accuracy: {accuracy:.4}");
    }
    Ok(())
}
