//! The ops, each with cases that cover its geometry.
//!
//! An op is a value, so that one list serves gradient checks, repetition, threads and, on another
//! device, the comparison with the CPU. An op that is missing here fails
//! `every_op_has_a_gradient_check`.

pub mod binary;
pub mod cases;
pub mod copies;
pub mod indexing;
pub mod pass;
pub mod reductions;
pub mod unary;

use super::host::Fill;
use copies::Copies;
use indexing::Pick;
use reductions::Reduce;
use signet::dtype::Float;
use signet::nn::{AdaptiveAvgPool2d, AvgPool2d, MaxPool2d};
use signet::ops::avg_pool2d::{adaptive_avg_pool2d, avg_pool2d};
use signet::ops::batch_norm2d::{
    Statistics, batch_norm2d, batch_norm2d_add_relu, batch_norm2d_relu,
};
use signet::ops::conv_block::{ConvBlockOptions, ConvBlockParameters, conv_block};
use signet::ops::conv2d::{Conv2dOptions, conv2d};
use signet::ops::cross_entropy::{
    CrossEntropyOptions, Reduction, cross_entropy, cross_entropy_loss,
};
use signet::ops::dropout::{DropoutGeometry, DropoutMask};
use signet::ops::elementwise_loss::{
    binary_cross_entropy_with_logits, huber_loss, l1_loss, mse_loss, smooth_l1_loss,
};
use signet::ops::layer_norm::{group_norm, layer_norm};
use signet::ops::linear::linear;
use signet::ops::linear_cross_entropy::linear_cross_entropy;
use signet::ops::linear_relu::linear_relu;
use signet::ops::max_pool2d::max_pool2d;
use signet::ops::nll_loss::nll_loss;
use signet::{Device, Result, Tensor};

/// The folders of `src/ops` that have no gradient to check, and the test that checks them instead.
pub const WITHOUT_GRADIENT: [(&str, &str); 12] = [
    ("augment", "tests/engine/properties.rs: augmented_images_are_their_definition"),
    ("background", "tests/engine/properties.rs: replaced_backgrounds_are_their_definition"),
    ("random_filter", "tests/engine/properties.rs: filtered_images_are_their_definition"),
    ("adagrad", "tests/engine/fixtures.rs: optimizers_agree_with_pytorch"),
    ("lerp", "tests/engine/optim.rs: an_average_follows_the_parameters"),
    ("adam", "tests/engine/fixtures.rs: optimizers_agree_with_pytorch"),
    ("clip_grad", "tests/engine/fixtures.rs: clipped_gradients_agree_with_pytorch"),
    ("rmsprop", "tests/engine/fixtures.rs: optimizers_agree_with_pytorch"),
    ("sgd", "tests/engine/fixtures.rs: optimizers_agree_with_pytorch"),
    ("gather", "tests/engine/fixtures.rs: gather_picks_and_scales_as_the_fixtures_do"),
    ("cross_entropy_rows", "tests/engine/fixtures.rs: cross_entropy_rows_agree_with_cross_entropy"),
    ("end_step", "tests/engine/optim.rs: a_step_that_ends_moves_the_clock_on"),
];

/// An op with its attributes: everything but the tensors that it differentiates by.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Op {
    Binary(String),
    Where(Vec<u8>, Vec<usize>),
    Matmul,
    Linear,
    Unary(String, [f64; 2]),
    Sum,
    Mean,
    Reshape(Vec<usize>),
    Flatten(usize),
    Conv2d(Conv2dOptions),
    MaxPool2d(MaxPool2d),
    AvgPool2d(AvgPool2d),
    AdaptiveAvgPool2d(AdaptiveAvgPool2d),
    /// With running mean and variance, or the batch's.
    BatchNorm2d {
        eps: f64,
        running: Option<[Vec<f64>; 2]>,
        then: Then,
    },
    CrossEntropy {
        target: Vec<i32>,
        options: CrossEntropyOptions,
    },
    Dropout(DropoutGeometry, u64),
    ConvBlock {
        options: ConvBlockOptions,
        running: Option<[Vec<f64>; 2]>,
        drop: Option<f64>,
    },
    LinearRelu {
        drop: Option<f64>,
    },
    LinearCrossEntropy {
        target: Vec<i32>,
        options: CrossEntropyOptions,
    },
    Softmax {
        dim: isize,
        log: bool,
    },
    LayerNorm {
        normalized_shape: Vec<usize>,
        eps: f64,
    },
    GroupNorm {
        num_groups: usize,
        eps: f64,
    },
    /// Without a target, the second input holds probabilities.
    CrossEntropyLoss {
        target: Option<Vec<i32>>,
        weight: Option<Vec<f64>>,
        options: CrossEntropyOptions,
    },
    NllLoss {
        target: Vec<i32>,
        weight: Option<Vec<f64>>,
        options: CrossEntropyOptions,
    },
    ElementwiseLoss(ElementwiseLoss),
    Copies(Copies),
    Reduce(Reduce, Vec<isize>, bool),
    Expand(Vec<isize>),
    Pick(Pick, (Vec<i32>, Vec<usize>)),
}

/// What follows a normalisation in the same op; a residual to add is the second input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Then {
    Nothing,
    Relu,
    AddRelu,
}

/// A loss of single elements.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct ElementwiseLoss {
    /// `mse`, `l1`, `smooth_l1`, `huber` or `bce`.
    pub kind: String,
    pub reduction: Reduction,
    /// Beta or delta.
    pub parameter: f64,
    /// The weight and the weight of positive targets, with their shapes.
    pub factors: [Option<(Vec<usize>, Vec<f64>)>; 2],
}

impl Op {
    /// The folder of `src/ops` that holds it.
    pub fn folder(&self) -> &'static str {
        match self {
            Self::Binary(_) | Self::Where(..) => "binary",
            Self::Matmul => "matmul",
            Self::Linear => "linear",
            Self::Unary(..) => "unary",
            Self::Sum | Self::Mean => "sum",
            Self::Reshape(_) | Self::Flatten(_) => "flatten",
            Self::Conv2d(_) => "conv2d",
            Self::MaxPool2d(_) => "max_pool2d",
            Self::AvgPool2d(_) | Self::AdaptiveAvgPool2d(_) => "avg_pool2d",
            Self::BatchNorm2d { .. } => "batch_norm2d",
            Self::CrossEntropy { .. } => "cross_entropy",
            Self::Dropout(..) => "dropout",
            Self::ConvBlock { .. } => "conv_block",
            Self::LinearRelu { .. } => "linear_relu",
            Self::LinearCrossEntropy { .. } => "linear_cross_entropy",
            Self::Softmax { .. } => "softmax",
            Self::LayerNorm { .. } | Self::GroupNorm { .. } => "layer_norm",
            Self::CrossEntropyLoss { .. } => "cross_entropy",
            Self::NllLoss { .. } => "nll_loss",
            Self::ElementwiseLoss(_) => "elementwise_loss",
            Self::Copies(_) => "copy",
            Self::Reduce(..) | Self::Expand(_) => "reduce",
            Self::Pick(Pick::Embedding(_), _) => "embedding",
            Self::Pick(..) => "index",
        }
    }

    /// Runs it. Optional inputs (a bias) come last and may be missing.
    pub fn run<T: Float>(&self, inputs: &[Tensor<T>]) -> Result<Tensor<T>> {
        let x = &inputs[0];
        match self {
            Self::Binary(name) => binary::run(name, x, &inputs[1]),
            Self::Where(mask, shape) => {
                let mask = Tensor::from_slice(x.device(), mask, &shape[..])?;
                mask.where_cond(x, &inputs[1])
            }
            Self::Matmul => x.matmul(&inputs[1]),
            Self::Linear => linear(x, &inputs[1], inputs.get(2)),
            Self::Unary(name, parameters) => unary::run(name, *parameters, x),
            Self::Sum => x.sum(),
            Self::Mean => x.mean(),
            Self::Reshape(shape) => x.reshape(&shape[..]),
            Self::Flatten(start_dim) => x.flatten(*start_dim),
            Self::Conv2d(options) => conv2d(x, &inputs[1], inputs.get(2), options),
            Self::MaxPool2d(pool) => Ok(max_pool2d(x, pool)?.0),
            Self::AvgPool2d(pool) => avg_pool2d(x, pool),
            Self::AdaptiveAvgPool2d(pool) => adaptive_avg_pool2d(x, pool),
            Self::BatchNorm2d { eps, running, then } => {
                let running = running.as_ref().map(|[mean, var]| -> Result<_> {
                    Ok((vector(x.device(), mean)?, vector(x.device(), var)?))
                });
                let running = running.transpose()?;
                let statistics = match &running {
                    Some((mean, var)) => Statistics::Running(mean, var),
                    None => Statistics::Batch { running: None },
                };
                let affine = &inputs[1 + usize::from(*then == Then::AddRelu)..];
                let (weight, bias) = (affine.first(), affine.get(1));
                match then {
                    Then::Nothing => batch_norm2d(x, weight, bias, statistics, *eps),
                    Then::Relu => batch_norm2d_relu(x, weight, bias, statistics, *eps),
                    Then::AddRelu => {
                        batch_norm2d_add_relu(x, weight, bias, statistics, *eps, &inputs[1])
                    }
                }
            }
            Self::CrossEntropy { target, options } => {
                let target = Tensor::from_slice(x.device(), target, [target.len()])?;
                Ok(cross_entropy(x, &target, options)?.0)
            }
            Self::Dropout(geometry, step) => {
                x.dropout(&DropoutMask::new(x.device(), *geometry, *step)?)
            }
            Self::ConvBlock { options, running, drop } => {
                let parameters = ConvBlockParameters {
                    weight: &inputs[1],
                    bias: inputs.get(2),
                    scale: inputs.get(3),
                    shift: inputs.get(4),
                };
                let [mean, var] = match running {
                    Some(values) => {
                        values.each_ref().map(|values| Some(vector(x.device(), values)))
                    }
                    None => [None, None],
                };
                let (mean, var) = (mean.transpose()?, var.transpose()?);
                let statistics = match mean.as_ref().zip(var.as_ref()) {
                    Some((mean, var)) => Statistics::Running(mean, var),
                    None => Statistics::Batch { running: None },
                };
                conv_block(x, &parameters, statistics, mask(x, *drop)?.as_ref(), options)
            }
            Self::LinearRelu { drop } => {
                linear_relu(x, &inputs[1], inputs.get(2), mask(x, *drop)?.as_ref())
            }
            Self::LinearCrossEntropy { target, options } => {
                let target = Tensor::from_slice(x.device(), target, [target.len()])?;
                Ok(linear_cross_entropy(x, &inputs[1], inputs.get(2), &target, options)?.0)
            }
            Self::Softmax { dim, log: false } => x.softmax(*dim),
            Self::Softmax { dim, log: true } => x.log_softmax(*dim),
            Self::LayerNorm { normalized_shape, eps } => {
                layer_norm(x, &normalized_shape[..], inputs.get(1), inputs.get(2), *eps)
            }
            Self::GroupNorm { num_groups, eps } => {
                group_norm(x, *num_groups, inputs.get(1), inputs.get(2), *eps)
            }
            Self::CrossEntropyLoss { target, weight, options } => {
                let weight =
                    weight.as_ref().map(|weight| vector(x.device(), weight)).transpose()?;
                match target {
                    Some(target) => {
                        cross_entropy_loss(x, &positions(x, target)?, weight.as_ref(), options)
                    }
                    None => cross_entropy_loss(x, &inputs[1], weight.as_ref(), options),
                }
            }
            Self::NllLoss { target, weight, options } => {
                let weight =
                    weight.as_ref().map(|weight| vector(x.device(), weight)).transpose()?;
                let CrossEntropyOptions { ignore_index, reduction, .. } = *options;
                nll_loss(x, &positions(x, target)?, weight.as_ref(), ignore_index, reduction)
            }
            Self::ElementwiseLoss(loss) => loss.run(x, &inputs[1]),
            Self::Copies(copies) => copies.run(inputs),
            Self::Reduce(reduce, dims, keepdim) => reduce.run(x, dims, *keepdim),
            Self::Expand(sizes) => x.expand(sizes),
            Self::Pick(pick, index) => pick.run(x, index),
        }
    }
}

impl ElementwiseLoss {
    fn run<T: Float>(&self, x: &Tensor<T>, target: &Tensor<T>) -> Result<Tensor<T>> {
        let &Self { reduction, parameter, .. } = self;
        let factor = |i: usize| {
            let (shape, values) = self.factors[i].as_ref()?;
            let values: Vec<T> = values.iter().map(|&x| T::of(x)).collect();
            Some(Tensor::from_slice(x.device(), &values, &shape[..]))
        };
        match &self.kind[..] {
            "mse" => mse_loss(x, target, reduction),
            "l1" => l1_loss(x, target, reduction),
            "smooth_l1" => smooth_l1_loss(x, target, reduction, parameter),
            "huber" => huber_loss(x, target, reduction, parameter),
            "bce" => {
                let (weight, pos_weight) = (factor(0).transpose()?, factor(1).transpose()?);
                let (weight, pos_weight) = (weight.as_ref(), pos_weight.as_ref());
                binary_cross_entropy_with_logits(x, target, weight, reduction, pos_weight)
            }
            other => panic!("no loss {other}"),
        }
    }
}

/// Classes for each position of `x [N, C, d1..]`, or of `[C]`.
fn positions<T: Float>(x: &Tensor<T>, target: &[i32]) -> Result<Tensor<i32>> {
    let mut shape = x.dims().to_vec();
    shape.remove(usize::from(shape.len() > 1));
    Tensor::from_slice(x.device(), target, shape)
}

fn vector<T: Float>(device: &Device, values: &[f64]) -> Result<Tensor<T>> {
    let values: Vec<T> = values.iter().map(|&x| T::of(x)).collect();
    Tensor::from_slice(device, &values, [values.len()])
}

/// Step 3 of a dropout with probability `p`.
fn mask<T: Float>(x: &Tensor<T>, p: Option<f64>) -> Result<Option<DropoutMask>> {
    let mask = |p| DropoutMask::new(x.device(), DropoutGeometry::new(p, 11, 2)?, 3);
    p.map(mask).transpose()
}

/// An op at one geometry.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// The op.
    pub op: Op,
    /// The shapes of its inputs and how to draw them.
    pub inputs: Vec<(Vec<usize>, Fill)>,
}

impl Case {
    /// Random inputs, clear of kinks.
    pub fn draw<T: Float>(&self, device: &Device, seed: u64) -> Vec<Tensor<T>> {
        let inputs = self.inputs.iter().enumerate();
        inputs.map(|(i, (shape, fill))| fill.draw(shape, seed, i as u32).on(device)).collect()
    }

    /// What a failure is named by.
    pub fn name(&self) -> String {
        let shapes: Vec<_> = self.inputs.iter().map(|(shape, _)| shape).collect();
        format!("{:?} of {shapes:?}", self.op)
    }

    /// The number of elements of all inputs.
    pub fn numel(&self) -> usize {
        self.inputs.iter().map(|(shape, _)| shape.iter().product::<usize>()).sum()
    }
}
