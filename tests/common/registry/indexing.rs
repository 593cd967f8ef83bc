//! Elements picked by index.

use super::{Case, Op};
use crate::common::host::Fill;
use signet::dtype::Float;
use signet::ops::embedding::embedding;
use signet::{Result, Tensor};

/// An op that picks by an index of this shape.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Pick {
    Gather(isize),
    IndexSelect(isize),
    Embedding(Option<usize>),
}

impl Pick {
    /// Runs it with an index `(values, shape)`.
    pub fn run<T: Float>(
        &self,
        x: &Tensor<T>,
        index: &(Vec<i32>, Vec<usize>),
    ) -> Result<Tensor<T>> {
        let index = Tensor::from_slice(x.device(), &index.0, &index.1[..])?;
        match self {
            Self::Gather(dim) => x.gather(*dim, &index),
            Self::IndexSelect(dim) => x.index_select(*dim, &index),
            Self::Embedding(padding_idx) => embedding(x, &index, *padding_idx),
        }
    }
}

/// Indices that come several times or not at all, long and short rows.
pub fn cases() -> Vec<Case> {
    let cases: [(Pick, &[usize], &[usize], usize); 9] = [
        (Pick::Gather(1), &[3, 7], &[3, 2], 7),
        (Pick::Gather(0), &[3, 5], &[7, 4], 3),
        (Pick::Gather(-2), &[2, 5, 3], &[1, 4, 3], 5),
        (Pick::IndexSelect(0), &[5, 3], &[7], 5),
        (Pick::IndexSelect(1), &[3, 4, 5], &[2], 4),
        (Pick::IndexSelect(-1), &[3, 7], &[33], 7),
        (Pick::Embedding(None), &[5, 7], &[3, 4], 5),
        (Pick::Embedding(Some(2)), &[4, 3], &[33], 4),
        (Pick::Embedding(None), &[3, 5], &[], 3),
    ];
    let case = |(pick, shape, of_index, size): (Pick, &[usize], &[usize], usize)| {
        let count = of_index.iter().product::<usize>();
        let index = (0..count).map(|i| (i * i % 11 % size) as i32).collect();
        let op = Op::Pick(pick, (index, of_index.to_vec()));
        Case { op, inputs: vec![(shape.to_vec(), Fill::Normal(1.0))] }
    };
    cases.into_iter().map(case).collect()
}
