//! Runs of layers that one op computes, without the passes over memory between them.

use super::{
    BatchNorm2dModule, Conv2dModule, DropoutModule, LayerModule, LinearModule, MaxPool2d, Module,
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
    /// Fully connected layer, dropout perhaps, and rectifier.
    LinearReLU { linear: &'a LinearModule<T>, dropout: Option<&'a DropoutModule> },
    /// A layer by itself.
    Layer(&'a LayerModule<T>),
}

impl<'a, T: Float> Fused<'a, T> {
    /// What the first of `modules` begin, and how many of them it takes: just one unless they may
    /// `fuse`. `None` without any.
    pub(super) fn first(modules: &'a [LayerModule<T>], fuse: bool) -> Option<(Self, usize)> {
        use LayerModule as M;
        let can_fuse = ConvBlockOptions::can_fuse;
        Some(match modules {
            [layer, ..] if !fuse => (Self::Layer(layer), 1),
            [M::Conv2d(conv), M::BatchNorm2d(norm), M::ReLU(_), M::MaxPool2d(pool), ..]
                if can_fuse(&conv.options, pool) =>
            {
                (Self::ConvBlock { conv, norm, dropout: None, pool }, 4)
            }
            [
                M::Conv2d(conv),
                M::BatchNorm2d(norm),
                M::ReLU(_),
                M::Dropout(dropout),
                M::MaxPool2d(pool),
                ..,
            ] if can_fuse(&conv.options, pool) => {
                (Self::ConvBlock { conv, norm, dropout: Some(dropout), pool }, 5)
            }
            [M::Linear(linear), M::ReLU(_), M::Dropout(dropout), ..]
            | [M::Linear(linear), M::Dropout(dropout), M::ReLU(_), ..] => {
                (Self::LinearReLU { linear, dropout: Some(dropout) }, 3)
            }
            [M::Linear(linear), M::ReLU(_), ..] => (Self::LinearReLU { linear, dropout: None }, 2),
            [layer, ..] => (Self::Layer(layer), 1),
            [] => return None,
        })
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
            Self::LinearReLU { linear, dropout } => {
                let mask = mask(dropout)?;
                linear_relu(input, &linear.weight, linear.bias.as_ref(), mask.as_ref())
            }
            Self::Layer(layer) => layer.forward(input),
        }
    }
}
