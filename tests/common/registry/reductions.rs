//! Reductions over dimensions, and what they undo.

use super::{Case, Op};
use crate::common::host::Fill;
use signet::dtype::Float;
use signet::{Result, Tensor};

/// What a reduction makes of its elements.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs)]
pub enum Reduce {
    Sum,
    Mean,
    Amax,
    Amin,
    Max,
    Min,
    Var(usize),
    LogSumExp,
    Norm(f64),
}

impl Reduce {
    /// Over `dims`; of those that take one dimension alone, the first.
    pub fn run<T: Float>(self, x: &Tensor<T>, dims: &[isize], keepdim: bool) -> Result<Tensor<T>> {
        match self {
            Self::Sum => x.sum_dim(dims, keepdim),
            Self::Mean => x.mean_dim(dims, keepdim),
            Self::Amax => x.amax(dims, keepdim),
            Self::Amin => x.amin(dims, keepdim),
            Self::Max => Ok(x.max_dim(dims[0], keepdim)?.0),
            Self::Min => Ok(x.min_dim(dims[0], keepdim)?.0),
            Self::Var(correction) => x.var_dim(dims, correction, keepdim),
            Self::LogSumExp => x.logsumexp(dims, keepdim),
            Self::Norm(p) => x.norm(p, dims, keepdim),
        }
    }

    /// Whether it has a kink where two elements are near, or one is near 0.
    fn fill(self) -> Fill {
        match self {
            Self::Amax | Self::Amin | Self::Max | Self::Min => Fill::Distinct,
            Self::Norm(p) if p.is_infinite() => Fill::Distinct,
            Self::Norm(_) => Fill::OffZero,
            Self::Sum | Self::Mean | Self::Var(_) | Self::LogSumExp => Fill::Normal(1.0),
        }
    }
}

const ALL: [Reduce; 14] = [
    Reduce::Sum,
    Reduce::Mean,
    Reduce::Amax,
    Reduce::Amin,
    Reduce::Max,
    Reduce::Min,
    Reduce::Var(1),
    Reduce::Var(0),
    Reduce::LogSumExp,
    Reduce::Norm(1.0),
    Reduce::Norm(2.0),
    Reduce::Norm(3.0),
    Reduce::Norm(1.5),
    Reduce::Norm(f64::INFINITY),
];

/// Every reduction over rows, columns, and dimensions that lie apart; sums over every pattern there is.
pub fn cases() -> Vec<Case> {
    let case = |reduce: Reduce, shape: &[usize], dims: &[isize], keepdim| Case {
        op: Op::Reduce(reduce, dims.to_vec(), keepdim),
        inputs: vec![(shape.to_vec(), reduce.fill())],
    };
    let mut cases = Vec::new();
    for reduce in ALL {
        cases.push(case(reduce, &[3, 7], &[1], false));
        cases.push(case(reduce, &[5, 33], &[0], true));
        cases.push(case(reduce, &[3, 4, 5], &[1], false));
        if !matches!(reduce, Reduce::Max | Reduce::Min) {
            cases.push(case(reduce, &[3, 5, 2, 3], &[0, 2, -1], false));
            cases.push(case(reduce, &[2, 3, 2, 3, 2], &[0, 2, 4], true));
        }
    }
    let sums: [(&[usize], &[isize]); 7] = [
        (&[], &[]),
        (&[3, 5, 7], &[]),
        (&[3, 70], &[1]),
        (&[70, 3], &[0]),
        (&[2, 3, 4, 5], &[1, 3]),
        (&[2, 70, 40], &[1]),
        (&[3, 1, 5], &[1]),
    ];
    cases.extend(sums.map(|(shape, dims)| case(Reduce::Sum, shape, dims, false)));
    let expand: [(&[usize], &[isize]); 4] =
        [(&[5], &[3, 5]), (&[3, 1, 4], &[-1, 7, -1]), (&[2, 1, 3, 1], &[2, 2, 3, 5]), (&[1], &[4])];
    cases.extend(expand.map(|(shape, sizes)| Case {
        op: Op::Expand(sizes.to_vec()),
        inputs: vec![(shape.to_vec(), Fill::Normal(1.0))],
    }));
    cases
}
