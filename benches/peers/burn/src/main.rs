//! One epoch of the ASL network with burn's fastest CPU backend, flex.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{
    BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Linear, LinearConfig, PaddingConfig2d, Relu,
};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Int, Tensor, TensorData};
use peers_common::{Arguments, CLASSES, PIXELS, report};

/// The channels of the convolutions.
const CHANNELS: [usize; 4] = [1, 25, 50, 75];

#[derive(Module, Debug)]
struct Net {
    convs: Vec<Conv2d>,
    norms: Vec<BatchNorm>,
    pool: MaxPool2d,
    dropouts: Vec<Dropout>,
    hidden: Linear,
    last: Linear,
}

impl Net {
    fn new(device: &Device) -> Self {
        let conv = |i: usize| {
            Conv2dConfig::new([CHANNELS[i], CHANNELS[i + 1]], [3, 3])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(device)
        };
        Self {
            convs: (0..3).map(conv).collect(),
            norms: (0..3).map(|i| BatchNormConfig::new(CHANNELS[i + 1]).init(device)).collect(),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            dropouts: [0.2, 0.3].map(|p| DropoutConfig::new(p).init()).to_vec(),
            hidden: LinearConfig::new(75 * 3 * 3, 512).init(device),
            last: LinearConfig::new(512, CLASSES).init(device),
        }
    }

    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let relu = Relu::new();
        let mut x = images;
        for (i, (conv, norm)) in self.convs.iter().zip(&self.norms).enumerate() {
            x = relu.forward(norm.forward(conv.forward(x)));
            if i == 1 {
                x = self.dropouts[0].forward(x);
            }
            x = self.pool.forward(x);
        }
        let hidden = self.hidden.forward(x.flatten(1, 3));
        self.last.forward(relu.forward(self.dropouts[1].forward(hidden)))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Arguments { images, batch } = Arguments::read()?;
    let device = Device::flex().autodiff();
    let mut net = Some(Net::new(&device));
    let mut optimizer = AdamConfig::new().init();
    let loss = CrossEntropyLossConfig::new().init(&device);
    let rows = images.labels.len();
    report("burn", &images, batch, |steps| {
        let mut last = f32::NAN;
        for step in 0..steps {
            let (start, end) = (step * batch, ((step + 1) * batch).min(rows));
            let pixels = images.pixels[start * PIXELS..end * PIXELS].to_vec();
            let x = Tensor::<4>::from_data(TensorData::new(pixels, [end - start, 1, 28, 28]), &device);
            let labels: Vec<i64> = images.labels[start..end].iter().map(|&y| y.into()).collect();
            let y = Tensor::<1, Int>::from_data(TensorData::new(labels, [end - start]), &device);
            let now = net.take().ok_or("the step before gave the network back")?;
            let loss = loss.forward(now.forward(x), y);
            let gradients = GradientsParams::from_grads(loss.backward(), &now);
            net = Some(optimizer.step(1e-3, now, gradients));
            last = loss.into_scalar::<f32>();
        }
        Ok(last)
    })
}
