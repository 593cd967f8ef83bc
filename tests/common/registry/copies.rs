//! The copies: other orders and parts of a tensor's elements.

use super::Case;
use super::Op;
use crate::common::host::Fill;
use signet::dtype::Float;
use signet::ops::index::PadMode;
use signet::{Result, Tensor};

/// An op that copies.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Copies {
    Permute(Vec<isize>),
    Transpose(isize, isize),
    Flip(Vec<isize>),
    Narrow(isize, isize, usize),
    Select(isize, isize),
    /// One part of a split.
    Split(usize, isize, usize),
    /// All parts, in reverse.
    Chunk(usize, isize),
    Cat(isize),
    Stack(isize),
    Pad(Vec<isize>, f64),
    PadMode(Vec<isize>, PadMode),
}

impl Copies {
    /// Runs it.
    pub fn run<T: Float>(&self, inputs: &[Tensor<T>]) -> Result<Tensor<T>> {
        let x = &inputs[0];
        let all: Vec<_> = inputs.iter().collect();
        match self {
            Self::Permute(dims) => x.permute(dims),
            Self::Transpose(dim0, dim1) => x.transpose(*dim0, *dim1),
            Self::Flip(dims) => x.flip(dims),
            Self::Narrow(dim, start, length) => x.narrow(*dim, *start, *length),
            Self::Select(dim, index) => x.select(*dim, *index),
            Self::Split(size, dim, part) => Ok(x.split(*size, *dim)?.swap_remove(*part)),
            Self::Chunk(chunks, dim) => {
                let parts = x.chunk(*chunks, *dim)?;
                Tensor::cat(&parts.iter().rev().collect::<Vec<_>>(), *dim)
            }
            Self::Cat(dim) => Tensor::cat(&all, *dim),
            Self::Stack(dim) => Tensor::stack(&all, *dim),
            Self::Pad(padding, value) => x.pad(padding, T::of(*value)),
            Self::PadMode(padding, mode) => x.pad_mode(padding, *mode),
        }
    }
}

/// Every kind of copy: long and short rows, strides on either side, backwards, and more dimensions than
/// two.
pub fn cases() -> Vec<Case> {
    let one: Vec<(&[usize], Copies)> = vec![
        (&[3, 5], Copies::Transpose(0, 1)),
        (&[33, 70], Copies::Transpose(-1, -2)),
        (&[3, 2, 5, 7], Copies::Permute(vec![0, 2, 3, 1])),
        (&[3, 2, 5, 7], Copies::Permute(vec![3, 2, 1, 0])),
        (&[2, 3, 1, 2, 3], Copies::Permute(vec![4, -3, 0, 3, 1])),
        (&[3, 1, 5], Copies::Permute(vec![1, 0, 2])),
        (&[3, 7], Copies::Flip(vec![1])),
        (&[3, 2, 5], Copies::Flip(vec![0, -1])),
        (&[3, 7, 5], Copies::Narrow(1, -4, 3)),
        (&[33, 5], Copies::Narrow(1, 2, 2)),
        (&[3, 5, 7], Copies::Select(-1, -2)),
        (&[3, 5, 7], Copies::Select(0, 1)),
        (&[7, 3], Copies::Split(3, 0, 2)),
        (&[3, 7], Copies::Split(2, 1, 1)),
        (&[2, 7, 3], Copies::Chunk(3, 1)),
        (&[3, 5, 4], Copies::Pad(vec![1, 2], 0.0)),
        (&[3, 5, 4], Copies::Pad(vec![2, -1, -2, 1], -1.5)),
        (&[3, 5], Copies::Pad(vec![0, 0, -1, -1], 3.0)),
        (&[2, 4, 5], Copies::PadMode(vec![4, 1, 0, 3], PadMode::Reflect)),
        (&[2, 4, 5], Copies::PadMode(vec![7, -1, 1, 2], PadMode::Replicate)),
        (&[2, 4, 5], Copies::PadMode(vec![5, 2, -1, 3], PadMode::Circular)),
    ];
    let single = |(shape, op): (&[usize], Copies)| (vec![shape.to_vec()], op);
    let several = vec![
        (vec![vec![3, 2], vec![3, 5], vec![3, 1]], Copies::Cat(1)),
        (vec![vec![2, 3, 5], vec![7, 3, 5]], Copies::Cat(-3)),
        (vec![vec![0], vec![3, 2]], Copies::Cat(0)),
        (vec![vec![3, 5], vec![3, 5], vec![3, 5]], Copies::Stack(1)),
        (vec![vec![7], vec![7]], Copies::Stack(-1)),
    ];
    let all = one.into_iter().map(single).chain(several);
    let case = |(shapes, op): (Vec<Vec<usize>>, Copies)| Case {
        op: Op::Copies(op),
        inputs: shapes.into_iter().map(|shape| (shape, Fill::Normal(1.0))).collect(),
    };
    all.map(case).collect()
}
