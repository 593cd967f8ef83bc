use super::{ElementwiseLossKernels, Kind, LossGeometry, LossInputs, Repeat};
use crate::Result;
use crate::device::cpu::{BLOCK, put};
use crate::device::{Cpu, Output};
use crate::dtype::Float;
use rayon::prelude::*;

const KINDS: [Kind; 5] = [Kind::Mse, Kind::L1, Kind::SmoothL1, Kind::Huber, Kind::BceWithLogits];

/// What an input `x` costs whose target is `t`; `p` is the weight of a positive target.
fn value<T: Float>(kind: Kind, c: T, x: T, t: T, p: T) -> T {
    let (d, half) = (x - t, T::of(0.5));
    match kind {
        Kind::Mse => d * d,
        Kind::L1 => d.abs(),
        Kind::SmoothL1 => {
            if d.abs() < c {
                half * d * d / c
            } else {
                d.abs() - half * c
            }
        }
        Kind::Huber => {
            if d.abs() <= c {
                half * d * d
            } else {
                c * (d.abs() - half * c)
            }
        }
        Kind::BceWithLogits => (T::one() - t) * x + positive(t, p) * softplus_of_minus(x),
    }
}

/// Its slopes by `x` and by `t`.
fn slopes<T: Float>(kind: Kind, c: T, x: T, t: T, p: T) -> [T; 2] {
    let d = x - t;
    let of_difference = |slope: T| [slope, -slope];
    match kind {
        Kind::Mse => of_difference(T::of(2.0) * d),
        Kind::L1 => of_difference(sign(d)),
        Kind::SmoothL1 => of_difference(if d.abs() >= c { sign(d) } else { d / c }),
        Kind::Huber => of_difference(if d.abs() >= c { c * sign(d) } else { d }),
        Kind::BceWithLogits => {
            [positive(t, p) * sigmoid(x) - p * t, p * softplus_of_minus(x) - softplus_of_minus(-x)]
        }
    }
}

/// -1, 0 or 1; 0 for NaN, as PyTorch's.
fn sign<T: Float>(x: T) -> T {
    if x > T::zero() {
        T::one()
    } else if x < T::zero() {
        -T::one()
    } else {
        T::zero()
    }
}

/// What the logarithm counts for a target `t`.
fn positive<T: Float>(t: T, p: T) -> T {
    (p - T::one()) * t + T::one()
}

fn sigmoid<T: Float>(x: T) -> T {
    T::one() / (T::one() + (-x).exp())
}

/// `log(1 + exp(-x))`, without an overflow.
fn softplus_of_minus<T: Float>(x: T) -> T {
    (-x.abs()).exp().ln_1p() + if x < T::zero() { -x } else { T::zero() }
}

fn factor<T: Float>(factors: Option<&[T]>, repeat: &Repeat, i: usize) -> T {
    factors.map_or(T::one(), |factors| factors[i / repeat.inner as usize % factors.len()])
}

impl<T: Float> ElementwiseLossKernels<T> for Cpu {
    fn elementwise_loss_forward(
        &self,
        geometry: &LossGeometry,
        inputs: LossInputs<'_, Self, T>,
        losses: &mut [T],
    ) -> Result<()> {
        let LossInputs { input, target, weight, pos_weight } = inputs;
        let (kind, c) = (KINDS[geometry.kind as usize], T::of(geometry.parameter));
        self.kernel("elementwise_loss_forward", geometry.cost::<T>(1), || {
            let elements = losses.par_iter_mut().zip(input).zip(target).with_min_len(BLOCK);
            elements.enumerate().for_each(|(i, ((loss, &x), &t))| {
                let p = factor(pos_weight, &geometry.pos_weight, i);
                *loss = factor(weight, &geometry.weight, i) * value(kind, c, x, t, p);
            });
        });
        Ok(())
    }

    fn elementwise_loss_backward(
        &self,
        geometry: &LossGeometry,
        scale: T,
        inputs: LossInputs<'_, Self, T>,
        one_gradient: bool,
        gradient: &[T],
        grad_input: Option<Output<'_, Self, T>>,
        grad_target: Option<Output<'_, Self, T>>,
    ) -> Result<()> {
        let LossInputs { input, target, weight, pos_weight } = inputs;
        let (kind, c) = (KINDS[geometry.kind as usize], T::of(geometry.parameter));
        let writes = usize::from(grad_input.is_some()) + usize::from(grad_target.is_some());
        self.kernel("elementwise_loss_backward", geometry.cost::<T>(writes), || {
            let fill = |which: usize, output: Option<Output<'_, Self, T>>| {
                let Some(Output { view, accumulate }) = output else { return };
                let elements = view.par_iter_mut().zip(input).zip(target).with_min_len(BLOCK);
                elements.enumerate().for_each(|(i, ((grad, &x), &t))| {
                    let p = factor(pos_weight, &geometry.pos_weight, i);
                    let above = gradient[if one_gradient { 0 } else { i }] * scale;
                    let times = above * factor(weight, &geometry.weight, i);
                    put(grad, times * slopes(kind, c, x, t, p)[which], accumulate);
                });
            };
            fill(0, grad_input);
            fill(1, grad_target);
        });
        Ok(())
    }
}
