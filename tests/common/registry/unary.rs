//! The functions of one number.

use super::{Case, Op};
use crate::common::host::Fill;
use signet::dtype::Float;
use signet::ops::unary::Approximate;
use signet::{Result, Tensor};

/// Where a function has a derivative: what to draw to check it.
macro_rules! functions {
    ($x:ident $a:ident $b:ident: $($name:ident: $call:expr, $fill:ident $(, $parameters:expr)?;)*) => {
        /// Runs the function `name`.
        pub fn run<T: Float>(name: &str, [$a, $b]: [f64; 2], $x: &Tensor<T>) -> Result<Tensor<T>> {
            match name {
                $(stringify!($name) => $call,)*
                _ => panic!("no function {name}"),
            }
        }

        /// Every name, parameters that it may have, and a fill clear of what has no derivative.
        const ALL: &[(&str, [f64; 2], Fill)] = &[
            $((stringify!($name), functions!(parameters $($parameters)?), functions!(fill $fill)),)*
        ];
    };
    (parameters $parameters:expr) => { $parameters };
    (parameters) => { [0.0, 0.0] };
    (fill Normal) => { Fill::Normal(1.0) };
    (fill $fill:ident) => { Fill::$fill };
}

functions! { x a b:
    neg: x.neg(), Normal;
    abs: x.abs(), OffZero;
    exp: x.exp(), Normal;
    expm1: x.expm1(), Normal;
    log: x.log(), Positive;
    log1p: x.log1p(), Positive;
    sqrt: x.sqrt(), Positive;
    rsqrt: x.rsqrt(), Positive;
    square: x.square(), Normal;
    reciprocal: x.reciprocal(), OffZero;
    sin: x.sin(), Normal;
    cos: x.cos(), Normal;
    floor: x.floor(), Normal;
    ceil: x.ceil(), Normal;
    round: x.round(), Normal;
    trunc: x.trunc(), Normal;
    erf: x.erf(), Normal;
    relu: x.relu(), OffZero;
    sigmoid: x.sigmoid(), Normal;
    logsigmoid: x.logsigmoid(), Normal;
    tanh: x.tanh(), Normal;
    silu: x.silu(), Normal;
    hardsigmoid: x.hardsigmoid(), Normal;
    hardswish: x.hardswish(), Normal;
    pow: x.pow(a), Positive, [1.75, 0.0];
    add_scalar: x.add_scalar(a), Normal, [0.5, 0.0];
    mul_scalar: x.mul_scalar(a), Normal, [-1.5, 0.0];
    clamp: x.clamp(Some(a).filter(|a| a.is_finite()), Some(b).filter(|b| b.is_finite())), Normal, [-0.5, 0.75];
    hardtanh: x.hardtanh(a, b), Normal, [-0.5, 0.75];
    leaky_relu: x.leaky_relu(a), OffZero, [0.25, 0.0];
    elu: x.elu(a), OffZero, [1.5, 0.0];
    gelu: x.gelu(Approximate::None), Normal;
    gelu_tanh: x.gelu(Approximate::Tanh), Normal;
    softplus: x.softplus(a, b), Normal, [1.5, 2.0];
}

/// Every function, of a few odd shapes.
pub fn cases() -> Vec<Case> {
    let shapes: [&[usize]; 2] = [&[3, 7], &[1, 3, 1, 2]];
    let more: [&[usize]; 3] = [&[1, 3, 5, 3], &[3, 2, 5, 7], &[33, 5]];
    let of = |shape: &[usize], &(name, parameters, fill): &(&'static str, [f64; 2], Fill)| Case {
        op: Op::Unary(name.to_owned(), parameters),
        inputs: vec![(shape.to_vec(), fill)],
    };
    let few = ALL.iter().flat_map(|function| shapes.map(|shape| of(shape, function)));
    let relu = ALL.iter().filter(|(name, ..)| *name == "relu");
    few.chain(relu.flat_map(|function| more.map(|shape| of(shape, function)))).collect()
}
