//! The CPU's fast kernels against the plain ops, in every instruction set that this machine has.

use crate::common;

use common::compare::{Tolerance, assert_close};
use common::host::{Fill, HostTensor, values};
use common::models::{Batch, Training};
use signet::device::SimdLevel;
use signet::dtype::Float;
use signet::nn::{Forward, MaxPool2d, asl};
use signet::ops::batch_norm2d::{Statistics, Tracked, batch_norm2d};
use signet::ops::conv_block::{ConvBlockOptions, ConvBlockParameters, conv_block};
use signet::ops::conv2d::{Conv2dOptions, conv2d};
use signet::ops::dropout::{DropoutGeometry, DropoutMask};
use signet::ops::max_pool2d::max_pool2d;
use signet::{Cpu, Device, Error, Tensor};

/// One block: `[N, C, H, W]`, output channels, windows, and what else it is made of.
#[derive(Debug, Clone, Copy)]
struct Block {
    input: [usize; 4],
    channels: usize,
    /// Rows and columns of a window, and the steps between windows.
    window: [[usize; 2]; 2],
    drop: bool,
    bias: bool,
    /// Running statistics instead of the batch's.
    evaluate: bool,
}

impl Block {
    fn new(input: [usize; 4], channels: usize, window: usize) -> Self {
        let window = [[window; 2]; 2];
        Self { input, channels, window, drop: false, bias: true, evaluate: false }
    }

    /// Values on a coarse grid: a convolution of them is exact in `f32`, so each precision finds the
    /// same maxima, ties included.
    fn draw(self) -> Vec<HostTensor> {
        let [_, in_channels, ..] = self.input;
        let weight = [self.channels, in_channels, 3, 3];
        let grid = |shape: &[usize], stream| {
            let mut drawn = Fill::Normal(1.0).draw(shape, 5, stream);
            drawn.values.iter_mut().for_each(|x| *x = (*x * 4.0).round() / 4.0);
            drawn
        };
        let per_channel = [self.channels];
        let mut inputs = vec![grid(&self.input, 0), grid(&weight, 1)];
        inputs.extend((2..5).map(|stream| Fill::OffZero.draw(&per_channel, 5, stream)));
        inputs[2] = grid(&per_channel, 2);
        inputs
    }

    /// Output, running statistics and gradients by name, by one op or by five; every gradient is
    /// written by one use and added to by another.
    fn run<T: Float>(self, device: &Device, fused: bool) -> Vec<(String, Vec<f64>)> {
        let leaf = |drawn: &HostTensor| drawn.on(device).requires_grad(true).unwrap();
        let inputs: Vec<Tensor<T>> = self.draw().iter().map(leaf).collect();
        let [x, weight, bias, scale, shift] = &inputs[..] else { panic!("five inputs") };
        let bias = self.bias.then_some(bias);
        let per_channel = [self.channels];
        let mean: Tensor<T> = Fill::Normal(0.5).draw(&per_channel, 6, 0).on(device);
        let mut var = Fill::Normal(1.0).draw(&per_channel, 6, 1);
        var.values.iter_mut().for_each(|x| *x = 4.0 + x.abs());
        let var: Tensor<T> = var.on(device);
        let conv = Conv2dOptions { padding: 1.into(), ..Default::default() };
        let [kernel_size, stride] = self.window;
        let pool = MaxPool2d::new(kernel_size).stride(stride);
        let geometry = DropoutGeometry::new(0.25, 11, 2).unwrap();
        let mask = self.drop.then(|| DropoutMask::new(device, geometry, 1 << 40).unwrap());
        let once = || {
            let statistics = if self.evaluate {
                Statistics::Running(&mean, &var)
            } else {
                let running = Some(Tracked { mean: &mean, var: &var, momentum: 0.25 });
                Statistics::Batch { running }
            };
            if fused {
                let options = ConvBlockOptions { conv, eps: 1e-5, pool };
                let parameters =
                    ConvBlockParameters { weight, bias, scale: Some(scale), shift: Some(shift) };
                return conv_block(x, &parameters, statistics, mask.as_ref(), &options).unwrap();
            }
            let y = conv2d(x, weight, bias, &conv).unwrap();
            let y = batch_norm2d(&y, Some(scale), Some(shift), statistics, 1e-5).unwrap();
            let y = y.relu().unwrap();
            let y = mask.as_ref().map_or_else(|| y.clone(), |mask| y.dropout(mask).unwrap());
            max_pool2d(&y, &pool).unwrap().0
        };
        let y = once();
        let upstream = |stream| Fill::Normal(1.0).draw(y.dims(), 7, stream).on(device);
        let loss = y.mul(&upstream(0)).unwrap().sum().unwrap();
        let more = once().mul(&upstream(1)).unwrap().sum().unwrap();
        loss.add(&more).unwrap().backward().unwrap();
        let mut all: Vec<(String, Vec<f64>)> = vec![
            ("output".into(), values(&y)),
            ("running_mean".into(), values(&mean)),
            ("running_var".into(), values(&var)),
        ];
        for (name, input) in ["input", "weight", "bias", "scale", "shift"].iter().zip(&inputs) {
            if let Some(gradient) = input.grad().unwrap() {
                all.push((format!("gradient of {name}"), values(&gradient)));
            }
        }
        all
    }
}

/// Every image size to 29, one channel and 75, one image and 33, windows of all kinds, and each
/// thing that a block may do without.
fn blocks() -> Vec<Block> {
    let mut blocks = vec![
        Block::new([1, 1, 1, 2], 1, 1),
        Block::new([33, 2, 1, 1], 5, 1),
        Block::new([1, 1, 28, 28], 25, 2),
        Block::new([33, 3, 5, 7], 7, 2),
        Block::new([9, 25, 14, 14], 13, 2),
        Block::new([17, 13, 7, 7], 26, 2),
        Block::new([2, 75, 7, 5], 14, 3),
        Block::new([3, 2, 9, 33], 75, 3),
    ];
    for size in 1..=29 {
        let window = if size == 1 { 1 } else { 2 + size % 2 };
        blocks.push(Block::new([2 + size % 3, 2, size, size], 1 + size % 15, window.min(size)));
    }
    let some = Block::new([5, 3, 11, 8], 9, 2);
    let window = |size, stride| [size, stride];
    blocks.extend([
        Block { drop: true, ..some },
        Block { bias: false, ..some },
        Block { evaluate: true, ..some },
        Block { evaluate: true, drop: true, ..some },
        Block { window: window([2, 2], [3, 2]), ..some },
        Block { window: window([3, 1], [3, 4]), drop: true, ..some },
        Block { window: window([11, 8], [11, 8]), ..some },
    ]);
    blocks
}

fn everywhere(mut check: impl FnMut(&Device)) {
    for level in SimdLevel::available() {
        check(&Cpu::new(Some(2)).unwrap().with_simd(level).unwrap().into());
    }
}

fn assert_all_close(
    what: &str,
    actual: &[(String, Vec<f64>)],
    expected: &[(String, Vec<f64>)],
    tolerance: Tolerance,
) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    for ((name, actual), (expected_name, expected)) in actual.iter().zip(expected) {
        assert_eq!(name, expected_name, "{what}");
        assert_close(format!("{what}: {name}"), actual, expected, tolerance);
    }
}

#[test]
fn a_block_computes_what_the_plain_ops_do() {
    let plain = Device::from(Cpu::new(Some(2)).unwrap());
    for block in blocks() {
        let expected = block.run::<f64>(&plain, false);
        everywhere(|device| {
            let level = device.as_cpu().unwrap().simd_level();
            let name = |of| format!("{block:?} in {of} with {level}");
            let tolerance = Tolerance::scale(1e-11).plus(1e-11);
            assert_all_close(&name("f64"), &block.run::<f64>(device, true), &expected, tolerance);
            let tolerance = Tolerance::scale(2e-5).plus(2e-4);
            assert_all_close(&name("f32"), &block.run::<f32>(device, true), &expected, tolerance);
        });
    }
}

/// A NaN in a pixel is in every output that saw it, and in every gradient, as with the plain ops.
#[test]
fn a_block_hides_no_nan() {
    let mut x = Fill::Normal(1.0).draw(&[1, 1, 6, 6], 1, 0);
    x.values[14] = f64::NAN;
    everywhere(|device| {
        let x: Tensor = x.on(device);
        let one = |shape: &[usize]| Fill::OffZero.draw(shape, 2, 0).on(device);
        let (weight, mean) = (one(&[3, 1, 3, 3]), one(&[3]));
        let var: Tensor = Tensor::from_slice(device, &[1.0; 3], [3]).unwrap();
        let conv = Conv2dOptions { padding: 1.into(), ..Default::default() };
        let pool = MaxPool2d::new(2);
        let options = ConvBlockOptions { conv, eps: 1e-5, pool };
        let parameters =
            ConvBlockParameters { weight: &weight, bias: None, scale: None, shift: None };
        let statistics = Statistics::Running(&mean, &var);
        let fused = conv_block(&x, &parameters, statistics, None, &options).unwrap();
        let y = conv2d(&x, &weight, None, &conv).unwrap();
        let y = batch_norm2d(&y, None, None, Statistics::Running(&mean, &var), 1e-5).unwrap();
        let plain = max_pool2d(&y.relu().unwrap(), &pool).unwrap().0;
        let nan = |x: &Tensor| -> Vec<bool> { values(x).into_iter().map(f64::is_nan).collect() };
        assert_eq!(nan(&fused), nan(&plain));
        assert!(nan(&fused).contains(&true) && nan(&fused).contains(&false));
    });
}

/// To rounding the same in a batch that is cut into groups as alone.
#[test]
fn an_image_is_evaluated_alike_in_any_batch() {
    everywhere(|device| {
        let mut training = Training::<f32>::new(device, 3, asl(24));
        let batch = Batch::random(17, 1);
        training.step(&batch);
        training.model.eval();
        let logits =
            |batch: &HostTensor| values(&training.model.forward(&batch.on::<f32>(device)).unwrap());
        let all = logits(&batch.pixels);
        for image in [0, 7, 16] {
            let alone = logits(&batch.pixels.rows(image..image + 1));
            assert_close(
                "alone",
                &alone,
                &all[24 * image..24 * (image + 1)],
                Tolerance::scale(1e-5),
            );
        }
    });
}

/// Once a step has made its buffers, the following ones take them from the pool.
#[test]
fn a_steady_training_allocates_nothing() {
    let cpu = Cpu::new(Some(1)).unwrap();
    let mut training = Training::<f32>::new(&cpu.clone().into(), 3, asl(24));
    let batch = Batch::random(32, 1);
    training.step(&batch);
    training.step(&batch);
    let before = cpu.allocations();
    assert!(before > 20, "{before}");
    for _ in 0..3 {
        training.step(&batch);
    }
    assert_eq!(cpu.allocations(), before);
    // A batch of another size needs others.
    training.step(&Batch::random(31, 1));
    assert!(cpu.allocations() > before);
}

#[test]
fn an_instruction_set_that_is_missing_is_an_error() {
    let missing =
        SimdLevel::ALL.into_iter().find(|level| !SimdLevel::available().any(|x| x == *level));
    let missing = missing.expect("no machine has them all");
    match Cpu::new(Some(1)).unwrap().with_simd(missing) {
        Err(Error::Argument { message, .. }) => {
            assert!(message.contains(missing.name()) && message.contains("scalar"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    let wrong = "avx1024".parse::<SimdLevel>().unwrap_err().to_string();
    assert!(wrong.contains("avx1024") && wrong.contains("avx2"), "{wrong}");
    for level in SimdLevel::ALL {
        assert_eq!(level.to_string().parse::<SimdLevel>().unwrap(), level);
    }
}
