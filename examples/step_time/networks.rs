//! A training step of each network of the other examples, with a batch for it.

// Of the examples' own programs, the network is what is asked for.
#[allow(dead_code)]
#[path = "../mlp.rs"]
mod mlp;
#[path = "../resnet20/model.rs"]
pub mod resnet;
#[path = "../gpt/model.rs"]
pub mod small_gpt;

use resnet::ResNet;
use signet::device::KernelRun;
use signet::nn::{Forward, Model, Sequential};
use signet::ops::cross_entropy::cross_entropy;
use signet::optim::{Adam, AdamOptions, Sgd, SgdOptions};
use signet::train::{Inputs, TrainStep};
use signet::{Device, Result, Tensor};
use small_gpt::{Gpt, Sizes};

/// What is done with a step.
pub trait Use {
    type Found;

    fn with<I: Inputs>(self, step: TrainStep<'_, I>, batch: &I) -> Result<Self::Found>;
}

/// The kernels of a step.
pub struct Plan;

impl Use for Plan {
    type Found = Vec<KernelRun>;

    fn with<I: Inputs>(self, mut step: TrainStep<'_, I>, batch: &I) -> Result<Self::Found> {
        step.plan(batch)
    }
}

/// Images `[rows, sizes..]`, and their classes.
fn images(device: &Device, rows: usize, sizes: [usize; 3]) -> Result<(Tensor, Tensor<i32>)> {
    let [channels, height, width] = sizes;
    let x: Vec<f32> = (0..rows * channels * height * width).map(|i| (i as f32).sin()).collect();
    let y: Vec<i32> = (0..rows as i32).map(|i| i % 10).collect();
    let x = Tensor::from_slice(device, &x, [rows, channels, height, width])?;
    Ok((x, Tensor::from_slice(device, &y, [rows])?))
}

pub fn mlp<U: Use>(device: &Device, batch: usize, what: U) -> Result<U::Found> {
    let model = Sequential::new(device, 0, mlp::mlp(24))?;
    let adam = Adam::new(model.arena(), AdamOptions::adam(1e-3))?;
    let step = TrainStep::new(&model, model.context(), adam, |(x, y): &(Tensor, Tensor<i32>)| {
        Ok(cross_entropy(&model.forward(x)?, y, &Default::default())?.0)
    })?;
    what.with(step, &images(device, batch, [1, 28, 28])?)
}

pub fn resnet20<U: Use>(device: &Device, batch: usize, what: U) -> Result<U::Found> {
    let model = Model::new(device, 0, |init| ResNet::new(init, 3, 10))?;
    let options = SgdOptions { momentum: 0.9, weight_decay: 1e-4, ..SgdOptions::new(0.1) };
    let sgd = Sgd::new(model.arena(), options)?;
    let step = TrainStep::new(&*model, model.context(), sgd, |(x, y): &(Tensor, Tensor<i32>)| {
        Ok(cross_entropy(&model.forward(x)?, y, &Default::default())?.0)
    })?;
    what.with(step, &images(device, batch, [3, 32, 32])?)
}

pub fn gpt<U: Use>(device: &Device, batch: usize, what: U) -> Result<U::Found> {
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
    what.with(step, &(x, Tensor::from_slice(device, &ids, [batch * 128])?))
}
