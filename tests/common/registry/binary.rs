//! The functions of two numbers, and the choice by a mask.

use super::{Case, Op};
use crate::common::host::Fill;
use signet::dtype::Float;
use signet::{Result, Tensor};

/// Every function, and a fill of both operands clear of what has no derivative.
const ALL: [(&str, [Fill; 2]); 7] = [
    ("add", [Fill::Normal(1.0); 2]),
    ("sub", [Fill::Normal(1.0); 2]),
    ("mul", [Fill::Normal(1.0); 2]),
    ("div", [Fill::Normal(1.0), Fill::OffZero]),
    ("pow_tensor", [Fill::Positive, Fill::Normal(1.0)]),
    ("maximum", [Fill::Normal(1.0); 2]),
    ("minimum", [Fill::Normal(1.0); 2]),
];

/// Runs the function `name`.
pub fn run<T: Float>(name: &str, a: &Tensor<T>, b: &Tensor<T>) -> Result<Tensor<T>> {
    match name {
        "add" => a.add(b),
        "sub" => a.sub(b),
        "mul" => a.mul(b),
        "div" => a.div(b),
        "pow_tensor" => a.pow_tensor(b),
        "maximum" => a.maximum(b),
        "minimum" => a.minimum(b),
        _ => panic!("no function {name}"),
    }
}

/// Both operands alike, one repeated as a bias or a scalar, and each along dimensions of its own.
pub fn cases() -> Vec<Case> {
    let shapes: [[&[usize]; 2]; 8] = [
        [&[3, 5], &[3, 5]],
        [&[3, 2, 5, 7], &[5, 7]],
        [&[5], &[33, 5]],
        [&[3, 7], &[]],
        [&[], &[]],
        [&[3, 1, 5], &[4, 1]],
        [&[2, 3, 4, 5], &[3, 1, 1]],
        [&[2, 1, 3, 1, 2], &[1, 4, 1, 3, 1]],
    ];
    let mut cases = Vec::new();
    for [a, b] in shapes {
        for (name, [fill_a, fill_b]) in ALL {
            let inputs = vec![(a.to_vec(), fill_a), (b.to_vec(), fill_b)];
            cases.push(Case { op: Op::Binary(name.to_owned()), inputs });
        }
        let mask = (0..b.iter().product()).map(|i: usize| (i % 2) as u8).collect();
        let normal = |shape: &[usize]| (shape.to_vec(), Fill::Normal(1.0));
        cases.push(Case { op: Op::Where(mask, b.to_vec()), inputs: vec![normal(a), normal(b)] });
    }
    cases
}
