//! Runs of layers that one op computes, without the passes over memory between them.

use super::forward::as_a;
use super::{
    AnyModule, BatchNorm2dModule, Conv2dModule, DropoutModule, LinearModule, MaxPool2d, ReLU,
};
use crate::dtype::Float;
use crate::ops::conv_block::{ConvBlockOptions, ConvBlockParameters, conv_block};
use crate::ops::linear_relu::linear_relu;
use crate::{Result, Tensor};

/// The layers that one op computes.
pub(super) enum Fused<'a, T: Float> {
    /// Convolution, batch normalisation, rectifier, dropout perhaps, and max pooling.
    ConvBlock {
        conv: &'a Conv2dModule<T>,
        norm: &'a BatchNorm2dModule<T>,
        dropout: Option<&'a DropoutModule>,
        pool: &'a MaxPool2d,
    },
    /// Batch normalisation and rectifier.
    BatchNormReLU(&'a BatchNorm2dModule<T>),
    /// Fully connected layer, dropout perhaps, and rectifier.
    LinearReLU { linear: &'a LinearModule<T>, dropout: Option<&'a DropoutModule> },
    /// A layer by itself.
    Layer(&'a AnyModule<T>),
}

impl<'a, T: Float> Fused<'a, T> {
    /// What the first of `modules` begin, and how many of them it takes: just one unless they may
    /// `fuse`. `None` without any.
    pub(super) fn first(modules: &'a [AnyModule<T>], fuse: bool) -> Option<(Self, usize)> {
        let (layer, rest) = modules.split_first()?;
        let fused = || {
            if let Some(linear) = as_a::<T, LinearModule<T>>(layer) {
                return linear_relu_of(linear, rest);
            }
            if let Some(norm) = as_a::<T, BatchNorm2dModule<T>>(layer) {
                as_a::<T, ReLU>(rest.first()?)?;
                return Some((Self::BatchNormReLU(norm), 2));
            }
            conv_block_of(as_a::<T, Conv2dModule<T>>(layer)?, rest)
        };
        let fused = if fuse { fused() } else { None };
        Some(fused.unwrap_or((Self::Layer(layer), 1)))
    }

    /// The output for `input`.
    pub(super) fn forward(&self, input: &Tensor<T>) -> Result<Tensor<T>> {
        let mask = |dropout: &Option<&DropoutModule>| dropout.map_or(Ok(None), DropoutModule::mask);
        match self {
            Self::ConvBlock { conv, norm, dropout, pool } => {
                let options =
                    ConvBlockOptions { conv: conv.options, eps: norm.eps(), pool: **pool };
                let parameters = ConvBlockParameters {
                    weight: &conv.weight,
                    bias: conv.bias.as_ref(),
                    scale: norm.weight.as_ref(),
                    shift: norm.bias.as_ref(),
                };
                let (statistics, mask) = (norm.statistics()?, mask(dropout)?);
                let output = conv_block(input, &parameters, statistics, mask.as_ref(), &options)?;
                norm.count_batch();
                Ok(output)
            }
            Self::BatchNormReLU(norm) => norm.forward_relu(input),
            Self::LinearReLU { linear, dropout } => {
                let mask = mask(dropout)?;
                linear_relu(input, &linear.weight, linear.bias.as_ref(), mask.as_ref())
            }
            Self::Layer(layer) => layer.forward(input),
        }
    }
}

/// The first of `modules` if it is a dropout, and the others.
fn dropout_first<T: Float>(modules: &[AnyModule<T>]) -> (Option<&DropoutModule>, &[AnyModule<T>]) {
    let first = modules.split_first().and_then(|(first, rest)| Some((as_a::<T, _>(first)?, rest)));
    first.map_or((None, modules), |(dropout, rest)| (Some(dropout), rest))
}

/// A linear layer and those behind it that [`Fused::LinearReLU`] takes.
fn linear_relu_of<'a, T: Float>(
    linear: &'a LinearModule<T>,
    modules: &'a [AnyModule<T>],
) -> Option<(Fused<'a, T>, usize)> {
    let (before, rest) = dropout_first(modules);
    let (relu, rest) = rest.split_first()?;
    as_a::<T, ReLU>(relu)?;
    let dropout = before.or_else(|| dropout_first(rest).0);
    Some((Fused::LinearReLU { linear, dropout }, 2 + usize::from(dropout.is_some())))
}

/// A convolution and those behind it that [`Fused::ConvBlock`] takes.
fn conv_block_of<'a, T: Float>(
    conv: &'a Conv2dModule<T>,
    modules: &'a [AnyModule<T>],
) -> Option<(Fused<'a, T>, usize)> {
    let [norm, relu, rest @ ..] = modules else { return None };
    let norm = as_a::<T, BatchNorm2dModule<T>>(norm)?;
    as_a::<T, ReLU>(relu)?;
    let (dropout, rest) = dropout_first(rest);
    let pool = rest.first().and_then(as_a::<T, MaxPool2d>)?;
    if !ConvBlockOptions::can_fuse(&conv.options, pool) {
        return None;
    }
    let layers = 4 + usize::from(dropout.is_some());
    Some((Fused::ConvBlock { conv, norm, dropout, pool }, layers))
}
