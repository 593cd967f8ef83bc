//! The sums, each by its formulas: the term of an element, what becomes of the sum of all terms, and the
//! derivative.

use crate::dtype::{Float, Plain};

/// What is added up, and what becomes of the sum. Some have a value `c` for each result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Member {
    /// `scale sum x`.
    Sum { scale: f64 },
    /// `(sum |x|^p)^(1/p)`; for `p` = 0 the number of elements that are not 0. `c`, for the derivative,
    /// is the norm.
    Norm { p: f64 },
    /// `scale sum (x - mean)^2`, where `c` is the mean to rounding.
    Variance { scale: f64 },
    /// `log sum exp x`, where `c` is the largest `x`, and for the derivative the result.
    LogSumExp,
    /// How many elements are the extreme `c`: of `x`, or of `|x|`. The derivative is that of the
    /// extreme, before it is shared among them.
    Ties { magnitude: bool },
}

impl Plain for Member {}

impl Member {
    /// Its kernel, and that of its gradient.
    pub fn kernels(self) -> [&'static str; 2] {
        match self {
            Self::Sum { .. } => ["reduce_sum", "reduce_sum_backward"],
            Self::Norm { .. } => ["reduce_norm", "reduce_norm_backward"],
            Self::Variance { .. } => ["reduce_variance", "reduce_variance_backward"],
            Self::LogSumExp => ["reduce_log_sum_exp", "reduce_log_sum_exp_backward"],
            Self::Ties { .. } => ["reduce_ties", "reduce_ties_backward"],
        }
    }

    /// The number that its kernels are given.
    pub fn parameter(self) -> f64 {
        match self {
            Self::Sum { scale } | Self::Variance { scale } => scale,
            Self::Norm { p } => p,
            Self::LogSumExp => 0.0,
            Self::Ties { magnitude } => f64::from(u8::from(magnitude)),
        }
    }

    /// FLOP of a term, an exponential or a power counted as one.
    pub fn flops(self) -> u64 {
        match self {
            Self::Sum { .. } | Self::Ties { .. } => 1,
            Self::Norm { .. } => 2,
            Self::LogSumExp => 3,
            Self::Variance { .. } => 4,
        }
    }

    /// FLOP of a derivative, counted in the same way.
    pub fn flops_backward(self) -> u64 {
        match self {
            Self::Sum { .. } => 1,
            Self::Norm { .. } | Self::LogSumExp | Self::Variance { .. } | Self::Ties { .. } => 3,
        }
    }

    /// What terms and derivatives compute with, of a result's own value.
    pub fn own<T: Float>(self, c: T) -> T {
        match self {
            // Infinity from infinity would be no number.
            Self::LogSumExp if c.is_infinite() => T::zero(),
            _ => c,
        }
    }

    /// What is made of the sum of the terms of `count` elements, and of the sum of `x - c` beside it.
    pub fn finish<T: Float>(self, c: T, sum: f64, beside: f64, count: usize) -> T {
        match self {
            Self::Sum { scale } => T::of(scale) * T::of(sum),
            Self::Norm { p: 2.0 } => T::of(sum.sqrt()),
            Self::Norm { p: 0.0 | 1.0 } | Self::Ties { .. } => T::of(sum),
            Self::Norm { p } => T::of(sum.powf(1.0 / p)),
            Self::Variance { scale } => {
                let squares = sum - beside * beside / count as f64;
                T::of(scale * if squares < 0.0 { 0.0 } else { squares })
            }
            Self::LogSumExp => T::of(sum.ln() + c.as_f64()),
        }
    }
}

/// -1, 0 or 1, and 0 for NaN, as `torch.sgn`.
pub(super) fn sign<T: Float>(x: T) -> T {
    if x > T::zero() {
        T::one()
    } else if x < T::zero() {
        -T::one()
    } else {
        T::zero()
    }
}

pub(super) fn one_if<T: Float>(yes: bool) -> T {
    if yes { T::one() } else { T::zero() }
}

pub(super) fn is_tie<T: Float>(magnitude: bool, x: T, c: T) -> bool {
    if magnitude { x.abs() == c || (x.is_nan() && c.is_nan()) } else { x == c }
}

/// Calls `$run` with the term of `$member` as a function of `x` and `c`, one copy of it for each formula.
macro_rules! with_term {
    ($member:expr, $term:ident => $run:expr) => {
        match $member {
            Member::Sum { .. } => {
                let $term = |x: T, _: T| x;
                $run
            }
            Member::Norm { p: 2.0 } => {
                let $term = |x: T, _: T| x * x;
                $run
            }
            Member::Norm { p: 1.0 } => {
                let $term = |x: T, _: T| x.abs();
                $run
            }
            Member::Norm { p: 0.0 } => {
                let $term = |x: T, _: T| one_if::<T>(x != T::zero());
                $run
            }
            Member::Norm { p } => {
                let p = T::of(p);
                let $term = move |x: T, _: T| x.abs().powf(p);
                $run
            }
            Member::Variance { .. } => {
                let $term = |x: T, c: T| (x - c) * (x - c);
                $run
            }
            Member::LogSumExp => {
                let $term = |x: T, c: T| (x - c).exp();
                $run
            }
            Member::Ties { magnitude } => {
                let $term = move |x: T, c: T| one_if::<T>(is_tie(magnitude, x, c));
                $run
            }
        }
    };
}

/// [`with_term`] for the derivative by an element.
macro_rules! with_derivative {
    ($member:expr, $derivative:ident => $run:expr) => {
        match $member {
            Member::Sum { scale } => {
                let scale = T::of(scale);
                let $derivative = move |_: T, _: T| scale;
                $run
            }
            Member::Norm { p: 2.0 } => {
                let $derivative = |x: T, c: T| if c == T::zero() { c } else { x / c };
                $run
            }
            Member::Norm { p: 1.0 } => {
                let $derivative = |x: T, _: T| sign(x);
                $run
            }
            Member::Norm { p: 0.0 } => {
                let $derivative = |_: T, _: T| T::zero();
                $run
            }
            Member::Norm { p } => {
                let p = T::of(p);
                let $derivative = move |x: T, c: T| {
                    if c == T::zero() || x == T::zero() {
                        return T::zero();
                    }
                    sign(x) * x.abs().powf(p - T::one()) * c.powf(T::one() - p)
                };
                $run
            }
            Member::Variance { scale } => {
                let twice = T::of(2.0 * scale);
                let $derivative = move |x: T, c: T| twice * (x - c);
                $run
            }
            Member::LogSumExp => {
                let $derivative = |x: T, c: T| (x - c).exp();
                $run
            }
            Member::Ties { magnitude } => {
                let $derivative = move |x: T, c: T| match (is_tie(magnitude, x, c), magnitude) {
                    (false, _) => T::zero(),
                    (true, false) => T::one(),
                    (true, true) => sign(x),
                };
                $run
            }
        }
    };
}

pub(super) use {with_derivative, with_term};
