use super::{Unary, UnaryKernels};
use crate::Result;
use crate::device::cpu::{BLOCK, Simd, put};
use crate::device::{Cpu, Output};
use crate::dtype::Float;
use rayon::prelude::*;

/// `y = f(x)`.
fn map<T: Float>(simd: Simd, x: &[T], y: &mut [T], f: impl Fn(T) -> T + Sync) {
    let chunks = y.par_chunks_mut(BLOCK).zip(x.par_chunks(BLOCK));
    chunks.for_each(|(y, x)| {
        simd.vectorize(
            #[inline(always)]
            || y.iter_mut().zip(x).for_each(|(y, &x)| *y = f(x)),
        );
    });
}

/// `grad_x = f(saved, grad_y)`.
fn map_backward<T: Float>(
    simd: Simd,
    saved: &[T],
    grad_y: &[T],
    Output { view, accumulate }: Output<'_, Cpu, T>,
    f: impl Fn(T, T) -> T + Sync,
) {
    let known = saved.par_chunks(BLOCK).zip(grad_y.par_chunks(BLOCK));
    view.par_chunks_mut(BLOCK).zip(known).for_each(|(grad_x, (saved, grad_y))| {
        simd.vectorize(
            #[inline(always)]
            || {
                let all = grad_x.iter_mut().zip(saved).zip(grad_y);
                all.for_each(|((grad_x, &s), &dy)| put(grad_x, f(s, dy), accumulate));
            },
        );
    });
}

/// Both kernels of the lines of the table: the value in terms of x and the parameters a and b, and the
/// gradient in terms of them, of the gradient dy, and of s, which is x or y.
macro_rules! table {
    ($x:ident $s:ident $dy:ident $a:ident $b:ident: $($name:ident: $value:expr, $gradient:expr;)*) => {
        impl<T: Float> UnaryKernels<T> for Cpu {
            #[allow(unused_variables)]
            fn unary_forward(
                &self,
                function: Unary,
                [$a, $b]: [T; 2],
                x: &[T],
                y: &mut [T],
            ) -> Result<()> {
                self.kernel(function.kernels()[0], function.forward_cost::<T>(x.len()), || {
                    match function {
                        $(Unary::$name => map(self.simd(), x, y, |$x| $value),)*
                    }
                });
                Ok(())
            }

            #[allow(unused_variables)]
            fn unary_backward(
                &self,
                function: Unary,
                [$a, $b]: [T; 2],
                saved: &[T],
                grad_y: &[T],
                grad_x: Output<'_, Self, T>,
            ) -> Result<()> {
                self.kernel(function.kernels()[1], function.backward_cost::<T>(grad_y.len()), || {
                    match function {
                        $(Unary::$name => {
                            map_backward(self.simd(), saved, grad_y, grad_x, |$s, $dy| $gradient)
                        })*
                    }
                });
                Ok(())
            }
        }
    };
}

// Comparisons are false for NaN. They stand such that a NaN gives what PyTorch gives.
table! { x s dy a b:
    neg: -x, -dy;
    abs: x.abs(), if s > c(0.0) { dy } else if s < c(0.0) { -dy } else { dy * c(0.0) };
    exp: x.exp_in_vectors(), dy * s;
    expm1: x.exp_m1(), dy * (s + c(1.0));
    log: x.ln(), dy / s;
    log1p: x.ln_1p(), dy / (s + c(1.0));
    sqrt: x.sqrt(), dy / (c::<T>(2.0) * s);
    rsqrt: x.sqrt().recip(), c::<T>(-0.5) * dy * s * s * s;
    square: x * x, c::<T>(2.0) * s * dy;
    reciprocal: x.recip(), -dy * s * s;
    pow: x.powf(a), if a == c(0.0) { c(0.0) } else { dy * a * s.powf(a - c(1.0)) };
    sin: x.sin(), dy * s.cos();
    cos: x.cos(), -dy * s.sin();
    floor: x.floor(), c(0.0);
    ceil: x.ceil(), c(0.0);
    round: nearest(x), c(0.0);
    trunc: x.trunc(), c(0.0);
    erf: x.erf(), dy * c(std::f64::consts::FRAC_2_SQRT_PI) * (-s * s).exp_in_vectors();
    add_scalar: x + a, dy;
    mul_scalar: x * a, dy * a;
    clamp: clamped(x, a, b), if s <= a || s >= b || s.is_nan() { c(0.0) } else { dy };
    relu: if x <= c(0.0) { c(0.0) } else { x }, if s <= c(0.0) { c(0.0) } else { dy };
    leaky_relu: if x > c(0.0) { x } else { x * a }, if s > c(0.0) { dy } else { dy * a };
    elu: if x > c(0.0) { x } else { a * x.exp_m1() }, if s > c(0.0) { dy } else { dy * a * s.exp_in_vectors() };
    sigmoid: logistic(x), dy * (c::<T>(1.0) - s) * s;
    logsigmoid: x.min(c(0.0)) - soft(-x.abs()), dy * logistic(-s);
    tanh: x.tanh(), dy * (c::<T>(1.0) - s * s);
    gelu: x * normal_below(x), dy * (normal_below(s) + s * normal_at(s));
    gelu_tanh: x * logistic(bent(x)), dy * gelu_tanh_slope(s);
    silu: x * logistic(x), dy * silu_slope(s);
    softplus: if x * a > b { x } else { soft(x * a) / a }, if s * a > b { dy } else { dy * logistic(s * a) };
    hardsigmoid: hard_share(x), if s > c(-3.0) && s < c(3.0) { dy / c(6.0) } else { c(0.0) };
    hardswish: x * hard_share(x), dy * hardswish_slope(s);
}

/// A constant.
#[inline(always)]
fn c<T: Float>(value: f64) -> T {
    T::of(value)
}

/// The nearest whole number, of two that are as near the even one.
#[inline(always)]
fn nearest<T: Float>(x: T) -> T {
    let halfway = (x - x.trunc()).abs() == c(0.5);
    if halfway { c::<T>(2.0) * (c::<T>(0.5) * x).round() } else { x.round() }
}

/// x between bounds, of which one that is NaN is none.
#[inline(always)]
fn clamped<T: Float>(x: T, min: T, max: T) -> T {
    let above = if x < min { min } else { x };
    if above > max { max } else { above }
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
fn logistic<T: Float>(x: T) -> T {
    (c::<T>(1.0) + (-x).exp_in_vectors()).recip()
}

/// `log(1 + e^x)`.
#[inline(always)]
fn soft<T: Float>(x: T) -> T {
    x.exp_in_vectors().ln_1p()
}

/// The share of a normal distribution that is below x.
#[inline(always)]
fn normal_below<T: Float>(x: T) -> T {
    c::<T>(0.5) * (c::<T>(1.0) + (x * c(std::f64::consts::FRAC_1_SQRT_2)).erf())
}

/// Its density there.
#[inline(always)]
fn normal_at<T: Float>(x: T) -> T {
    (c::<T>(-0.5) * x * x).exp_in_vectors() * c(0.3989422804014327)
}

/// `2 sqrt(2 / pi) (x + 0.044715 x^3)`: as `(1 + tanh(z)) / 2` is `1 / (1 + e^-2z)`, `gelu_tanh` needs no
/// tangent.
#[inline(always)]
fn bent<T: Float>(x: T) -> T {
    c::<T>(1.5957691216057308) * (x + c::<T>(0.044715) * x * x * x)
}

#[inline(always)]
fn gelu_tanh_slope<T: Float>(x: T) -> T {
    let share = logistic(bent(x));
    let bent_slope = c::<T>(1.5957691216057308) * (c::<T>(1.0) + c::<T>(0.134145) * x * x);
    share + x * share * (c::<T>(1.0) - share) * bent_slope
}

#[inline(always)]
fn silu_slope<T: Float>(x: T) -> T {
    let share = logistic(x);
    share * (c::<T>(1.0) + x * (c::<T>(1.0) - share))
}

/// `logistic`, of straight lines.
#[inline(always)]
fn hard_share<T: Float>(x: T) -> T {
    if x <= c(-3.0) {
        c(0.0)
    } else if x >= c(3.0) {
        c(1.0)
    } else {
        x / c(6.0) + c(0.5)
    }
}

#[inline(always)]
fn hardswish_slope<T: Float>(x: T) -> T {
    if x <= c(-3.0) {
        c(0.0)
    } else if x >= c(3.0) {
        c(1.0)
    } else {
        x / c(3.0) + c(0.5)
    }
}
