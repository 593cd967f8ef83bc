//! One epoch of the ASL network with candle on the CPU.

use candle_core::{DType, Device, Module, ModuleT, Result, Tensor};
use candle_nn::{
    AdamW, BatchNorm, Conv2d, Conv2dConfig, Dropout, Linear, Optimizer, ParamsAdamW, VarBuilder,
    VarMap, batch_norm, conv2d, linear, loss,
};
use peers_common::{Arguments, CLASSES, PIXELS, report};

/// The channels of the convolutions.
const CHANNELS: [usize; 4] = [1, 25, 50, 75];

struct Net {
    blocks: Vec<(Conv2d, BatchNorm)>,
    dropouts: [Dropout; 2],
    linears: [Linear; 2],
}

impl Net {
    fn new(vars: VarBuilder) -> Result<Self> {
        let config = Conv2dConfig { padding: 1, ..Default::default() };
        let block = |i: usize| {
            let [from, to] = [CHANNELS[i], CHANNELS[i + 1]];
            let vars = vars.pp(format!("block{i}"));
            Ok((conv2d(from, to, 3, config, vars.pp("conv"))?, batch_norm(to, 1e-5, vars.pp("norm"))?))
        };
        Ok(Self {
            blocks: (0..3).map(block).collect::<Result<_>>()?,
            dropouts: [Dropout::new(0.2), Dropout::new(0.3)],
            linears: [
                linear(75 * 3 * 3, 512, vars.pp("hidden"))?,
                linear(512, CLASSES, vars.pp("last"))?,
            ],
        })
    }

    fn forward(&self, images: &Tensor) -> Result<Tensor> {
        let mut x = images.clone();
        for (i, (conv, norm)) in self.blocks.iter().enumerate() {
            x = norm.forward_t(&conv.forward(&x)?, true)?.relu()?;
            if i == 1 {
                x = self.dropouts[0].forward(&x, true)?;
            }
            x = x.max_pool2d(2)?;
        }
        let hidden = self.linears[0].forward(&x.flatten_from(1)?)?;
        self.linears[1].forward(&self.dropouts[1].forward(&hidden, true)?.relu()?)
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let Arguments { images, batch } = Arguments::read()?;
    let device = Device::Cpu;
    let vars = VarMap::new();
    let net = Net::new(VarBuilder::from_varmap(&vars, DType::F32, &device))?;
    let options = ParamsAdamW { lr: 1e-3, weight_decay: 0.0, ..Default::default() };
    let mut optimizer = AdamW::new(vars.all_vars(), options)?;
    let rows = images.labels.len();
    report("candle", &images, batch, |steps| {
        let mut last = f32::NAN;
        for step in 0..steps {
            let (start, end) = (step * batch, ((step + 1) * batch).min(rows));
            let pixels = &images.pixels[start * PIXELS..end * PIXELS];
            let x = Tensor::from_slice(pixels, (end - start, 1, 28, 28), &device)?;
            let y = Tensor::from_slice(&images.labels[start..end], end - start, &device)?;
            let loss = loss::cross_entropy(&net.forward(&x)?, &y)?;
            optimizer.backward_step(&loss)?;
            last = loss.to_scalar()?;
        }
        Ok(last)
    })
}
