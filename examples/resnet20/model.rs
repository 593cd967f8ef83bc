//! ResNet-20 for images of 3 x 32 x 32 (He et al. 2016, section 4.2), with torchvision's keys.

use signet::dtype::Float;
use signet::nn::{
    BatchNorm2d, BatchNorm2dModule, Conv2d, Conv2dModule, Forward, Init, Linear, LinearModule,
    Module, Sequential,
};
use signet::{Result, Tensor, modules};

// ANCHOR: block
/// Two convolutions beside a shortcut, which is a 1x1 convolution where the size changes.
#[derive(Module)]
pub struct BasicBlock<T: Float = f32> {
    conv1: Conv2dModule<T>,
    bn1: BatchNorm2dModule<T>,
    conv2: Conv2dModule<T>,
    bn2: BatchNorm2dModule<T>,
    downsample: Option<Sequential<T>>,
}
// ANCHOR_END: block

impl<T: Float> BasicBlock<T> {
    fn new(init: &Init<T>, from: usize, to: usize, stride: usize) -> Result<Self> {
        let conv = |from, to, kernel: usize, stride| {
            Conv2d::new(from, to, kernel).stride(stride).padding(kernel / 2).bias(false).build(init)
        };
        let bn = || BatchNorm2d::new(to).build(init);
        Ok(Self {
            conv1: conv(from, to, 3, stride)?,
            bn1: bn()?,
            conv2: conv(to, to, 3, 1)?,
            bn2: bn()?,
            downsample: match from == to {
                true => None,
                false => Some(Sequential::of(init, modules![conv(from, to, 1, stride)?, bn()?])),
            },
        })
    }
}

// ANCHOR: forward
impl<T: Float> Forward<T> for BasicBlock<T> {
    fn forward(&self, x: &Tensor<T>) -> Result<Tensor<T>> {
        let y = self.bn1.forward_relu(&self.conv1.forward(x)?)?;
        let shortcut = self.downsample.as_ref().map(|downsample| downsample.forward(x));
        let shortcut = shortcut.transpose()?.unwrap_or_else(|| x.clone());
        self.bn2.forward_add_relu(&self.conv2.forward(&y)?, &shortcut)
    }
}
// ANCHOR_END: forward

/// A convolution, three stages of three blocks, and the mean of each channel to a linear layer.
#[derive(Module)]
pub struct ResNet<T: Float = f32> {
    conv1: Conv2dModule<T>,
    bn1: BatchNorm2dModule<T>,
    layer1: Vec<BasicBlock<T>>,
    layer2: Vec<BasicBlock<T>>,
    layer3: Vec<BasicBlock<T>>,
    fc: LinearModule<T>,
}

impl<T: Float> ResNet<T> {
    /// For so many classes.
    pub fn new(init: &Init<T>, classes: usize) -> Result<Self> {
        let layer = |from, to, stride| -> Result<Vec<_>> {
            let first = BasicBlock::new(init, from, to, stride)?;
            let (second, third) =
                (BasicBlock::new(init, to, to, 1)?, BasicBlock::new(init, to, to, 1)?);
            Ok(vec![first, second, third])
        };
        Ok(Self {
            conv1: Conv2d::new(3, 16, 3).padding(1).bias(false).build(init)?,
            bn1: BatchNorm2d::new(16).build(init)?,
            layer1: layer(16, 16, 1)?,
            layer2: layer(16, 32, 2)?,
            layer3: layer(32, 64, 2)?,
            fc: Linear::new(64, classes).build(init)?,
        })
    }
}

impl<T: Float> Forward<T> for ResNet<T> {
    /// `[N, 3, H, W]` becomes `[N, classes]`.
    fn forward(&self, x: &Tensor<T>) -> Result<Tensor<T>> {
        let x = self.bn1.forward_relu(&self.conv1.forward(x)?)?;
        let x = self.layer3.forward(&self.layer2.forward(&self.layer1.forward(&x)?)?)?;
        self.fc.forward(&x.mean_dim(&[2, 3], false)?)
    }
}
