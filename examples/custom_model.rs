//! A network of one's own, fine-tuned: two residual blocks behind a frozen stem, a loss and an L2 term
//! written by hand, and a smaller learning rate for the blocks than for the head.
//!
//! ```text
//! cargo run --release --example custom_model
//! ```
use signet::data::{DataLoader, synthetic};
use signet::nn::{
    BatchNorm2d, BatchNorm2dModule, Conv2d, Conv2dModule, Forward, Init, Linear, MaxPool2d, Module,
};
use signet::ops::cross_entropy::cross_entropy;
use signet::optim::{Adam, AdamOptions, Optimizer};
use signet::{Device, Result, Tensor, no_grad};

/// `max_pool(relu(x + bn(conv(x))))`
#[derive(Module)]
struct Residual {
    conv: Conv2dModule,
    bn: BatchNorm2dModule,
}

impl Forward for Residual {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = x.add(&self.bn.forward(&self.conv.forward(x)?)?)?;
        MaxPool2d::new(2).forward(&y.relu()?)
    }
}

/// The mean squared hinge: how far scores `[N, C]` lie on the wrong side of 1 (the right class) or -1.
fn hinge(scores: &Tensor, labels: &Tensor<i32>) -> Result<Tensor> {
    let mut signs = vec![1.0; scores.numel()];
    for (row, label) in labels.to_vec()?.into_iter().enumerate() {
        signs[row * scores.dims()[1] + label as usize] = -1.0;
    }
    let signs = Tensor::from_slice(scores.device(), &signs, scores.dims())?;
    let one = Tensor::from_slice(scores.device(), &[1.0], [])?;
    let wrong = scores.mul(&signs)?.add(&one)?.relu()?;
    wrong.mul(&wrong)?.mean()
}

fn main() -> Result<()> {
    let device = Device::auto()?;
    let data = synthetic(0, 4096, 1024);
    let train = DataLoader::new(&device, &data.train, 32, Some(0))?;
    let valid = DataLoader::new(&device, &data.valid, 1024, None)?;
    let init = Init::new(&device, 0)?;
    let stem = Conv2d::new(1, 16, 3).padding(1).build(&init)?;
    stem.requires_grad(false)?;
    let mut blocks = Vec::new();
    for _ in 0..2 {
        let conv = Conv2d::new(16, 16, 3).padding(1).bias(false).build(&init)?;
        blocks.push(Residual { conv, bn: BatchNorm2d::new(16).build(&init)? });
    }
    let head = Linear::new(16 * 7 * 7, data.train.classes.len()).build(&init)?;
    let net = |x: &Tensor| head.forward(&blocks.forward(&stem.forward(x)?.relu()?)?.flatten(1)?);

    let mut optimizer = Adam::new(init.arena(), AdamOptions::adam(2e-3))?;
    optimizer.add_param_group(&blocks.parameters(), AdamOptions::adam(1e-3))?;
    let (weight, decay) = (&head.parameters()[0], Tensor::from_slice(&device, &[1e-4], [])?);
    for epoch in 0..5 {
        for batch in train.epoch(epoch, 0)? {
            let (x, y) = batch?;
            let l2 = weight.mul(weight)?.sum()?.mul(&decay)?;
            optimizer.zero_grad();
            hinge(&net(&x)?, &y)?.add(&l2)?.backward()?;
            optimizer.step()?;
        }
        init.context().train(false);
        let (x, y) = valid.epoch(0, 0)?.next().expect("one batch")?;
        let (_, right) = cross_entropy(&no_grad(|| net(&x))?, &y, &Default::default())?;
        println!("epoch {epoch}: accuracy {:.4}", right.item()? as f32 / valid.rows() as f32);
        init.context().train(true);
    }
    Ok(())
}
