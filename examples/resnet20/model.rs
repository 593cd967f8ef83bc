//! ResNet-20 for small images (He et al. 2016, section 4.2), with torchvision's keys.

use signet::nn::{self, Forward, Init, Module, Sequential};
use signet::{Result, Tensor, dtype::Float, modules};

// ANCHOR: block
/// Two convolutions beside a shortcut, which is a 1x1 convolution where the size changes.
#[derive(Module)]
pub struct BasicBlock<T: Float = f32> {
    conv1: nn::Conv2dModule<T>,
    bn1: nn::BatchNorm2dModule<T>,
    conv2: nn::Conv2dModule<T>,
    bn2: nn::BatchNorm2dModule<T>,
    downsample: Sequential<T>,
}
// ANCHOR_END: block

impl<T: Float> BasicBlock<T> {
    fn new(init: &Init<T>, from: usize, to: usize, stride: usize) -> Result<Self> {
        let conv = |from, kernel: usize, stride| {
            let conv = nn::Conv2d::new(from, to, kernel).stride(stride).padding(kernel / 2);
            conv.bias(false).build(init)
        };
        let bn = || nn::BatchNorm2d::new(to).build(init);
        Ok(Self {
            conv1: conv(from, 3, stride)?,
            bn1: bn()?,
            conv2: conv(to, 3, 1)?,
            bn2: bn()?,
            downsample: match from == to {
                true => Sequential::of(init, modules![]),
                false => Sequential::of(init, modules![conv(from, 1, stride)?, bn()?]),
            },
        })
    }
}

// ANCHOR: forward
impl<T: Float> Forward<T> for BasicBlock<T> {
    fn forward(&self, x: &Tensor<T>) -> Result<Tensor<T>> {
        let y = self.bn1.forward_relu(&self.conv1.forward(x)?)?;
        self.bn2.forward_add_relu(&self.conv2.forward(&y)?, &self.downsample.forward(x)?)
    }
}
// ANCHOR_END: forward

/// A convolution, three stages of three blocks, and the mean of each channel to a linear layer.
#[derive(Module)]
pub struct ResNet<T: Float = f32> {
    conv1: nn::Conv2dModule<T>,
    bn1: nn::BatchNorm2dModule<T>,
    layer1: Vec<BasicBlock<T>>,
    layer2: Vec<BasicBlock<T>>,
    layer3: Vec<BasicBlock<T>>,
    fc: nn::LinearModule<T>,
}

impl<T: Float> ResNet<T> {
    /// For images of so many channels and classes.
    pub fn new(init: &Init<T>, channels: usize, classes: usize) -> Result<Self> {
        let layer = |from, to, stride| -> Result<Vec<_>> {
            let blocks = [(from, stride), (to, 1), (to, 1)].into_iter();
            blocks.map(|(from, stride)| BasicBlock::new(init, from, to, stride)).collect()
        };
        Ok(Self {
            conv1: nn::Conv2d::new(channels, 16, 3).padding(1).bias(false).build(init)?,
            bn1: nn::BatchNorm2d::new(16).build(init)?,
            layer1: layer(16, 16, 1)?,
            layer2: layer(16, 32, 2)?,
            layer3: layer(32, 64, 2)?,
            fc: nn::Linear::new(64, classes).build(init)?,
        })
    }
}

impl<T: Float> Forward<T> for ResNet<T> {
    /// `[N, channels, H, W]` becomes `[N, classes]`.
    fn forward(&self, x: &Tensor<T>) -> Result<Tensor<T>> {
        let x = self.bn1.forward_relu(&self.conv1.forward(x)?)?;
        let x = self.layer3.forward(&self.layer2.forward(&self.layer1.forward(&x)?)?)?;
        self.fc.forward(&x.mean_dim(&[2, 3], false)?)
    }
}
