//! Another architecture on the same data: a residual network, written as a `Module` of its own.
//!
//! ```text
//! cargo run --release --example custom_model
//! ```
#![forbid(unsafe_code)]

use signet::data::{DataLoader, synthetic};
use signet::nn::{
    BatchNorm2d, BatchNorm2dModule, Conv2d, Conv2dModule, Init, Linear, LinearModule, MaxPool2d,
    Module, State,
};
use signet::ops::cross_entropy::cross_entropy;
use signet::ops::max_pool2d::max_pool2d;
use signet::optim::{Adam, AdamOptions, Optimizer};
use signet::{Device, Result, Tensor, no_grad};

/// `relu(x + bn(conv(x)))`
struct Residual {
    conv: Conv2dModule<f32>,
    bn: BatchNorm2dModule<f32>,
}

impl Residual {
    fn new(init: &Init<f32>, channels: usize) -> Result<Self> {
        Ok(Self {
            conv: Conv2d::new(channels, channels, 3).padding(1).bias(false).build(init)?,
            bn: BatchNorm2d::new(channels).build(init)?,
        })
    }
}

impl Module<f32> for Residual {
    fn forward(&self, x: &Tensor<f32>) -> Result<Tensor<f32>> {
        x.add(&self.bn.forward(&self.conv.forward(x)?)?)?.relu()
    }

    fn state(&self) -> Vec<(String, State<f32>)> {
        let mut state = self.conv.state_of_part("conv");
        state.extend(self.bn.state_of_part("bn"));
        state
    }
}

struct Net {
    stem: Conv2dModule<f32>,
    blocks: Vec<Residual>,
    head: LinearModule<f32>,
}

impl Net {
    fn new(init: &Init<f32>, classes: usize) -> Result<Self> {
        Ok(Self {
            stem: Conv2d::new(1, 16, 3).padding(1).build(init)?,
            blocks: (0..2).map(|_| Residual::new(init, 16)).collect::<Result<_>>()?,
            head: Linear::new(16 * 7 * 7, classes).build(init)?,
        })
    }
}

impl Module<f32> for Net {
    fn forward(&self, x: &Tensor<f32>) -> Result<Tensor<f32>> {
        let mut x = self.stem.forward(x)?.relu()?;
        for block in &self.blocks {
            (x, _) = max_pool2d(&block.forward(&x)?, &MaxPool2d::new(2))?;
        }
        self.head.forward(&x.flatten(1)?)
    }

    fn state(&self) -> Vec<(String, State<f32>)> {
        let mut state = self.stem.state_of_part("stem");
        for (i, block) in self.blocks.iter().enumerate() {
            state.extend(block.state_of_part(&format!("blocks.{i}")));
        }
        state.extend(self.head.state_of_part("head"));
        state
    }
}

fn main() -> Result<()> {
    let device = Device::cpu()?;
    let data = synthetic(0, 4096, 1024);
    let train = DataLoader::<f32>::new(&device, &data.train, 32, Some(0))?;
    let valid = DataLoader::<f32>::new(&device, &data.valid, 32, None)?;

    let init = Init::new(&device, 0)?;
    let model = Net::new(&init, data.train.classes.len())?;
    let mut optimizer = Adam::new(init.arena(), AdamOptions::adamw(2e-3))?;
    println!("{} numbers to learn, padding included", init.arena().len());

    for epoch in 0..5 {
        init.context().train(true);
        for batch in train.epoch(epoch, 0)? {
            let (x, y) = batch?;
            let (loss, _) = cross_entropy(&model.forward(&x)?, &y, &Default::default())?;
            optimizer.zero_grad();
            loss.backward()?;
            optimizer.step()?;
        }
        init.context().train(false);
        let mut correct = 0;
        for batch in valid.epoch(0, 0)? {
            let (x, y) = batch?;
            let output = no_grad(|| model.forward(&x))?;
            correct += cross_entropy(&output, &y, &Default::default())?.1.item()?;
        }
        println!("epoch {epoch}: accuracy {:.4}", f64::from(correct) / valid.rows() as f64);
    }
    Ok(())
}
