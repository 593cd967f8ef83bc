//! Functions of one number, element by element: a family, of which each member is a line here, one in
//! `cpu.rs` and one in `kernels/unary.cu`.

mod cpu;
mod cuda;
mod options;

pub use options::Approximate;

use crate::device::{Backend, Cost, Device, Output, kernels};
use crate::dtype::Float;
use crate::ops::numel32;
use crate::{Result, Tensor};

/// What of its forward pass a function's derivative is computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Saves {
    /// It is the same everywhere.
    Nothing,
    Input,
    Output,
}

/// Makes [`Unary`] of the lines of the table, and a method of [`Tensor`] of each of its first part.
macro_rules! table {
    (
        plain {
            $(
                $(#[$doc:meta])*
                $name:ident: $saves:ident, [$forward:literal, $backward:literal], $example:literal;
            )*
        }
        with_parameters {
            $($other:ident: $other_saves:ident, [$other_forward:literal, $other_backward:literal];)*
        }
    ) => {
        /// A function of one number, by the name of its kernels.
        #[allow(non_camel_case_types)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Unary {
            $($name,)*
            $($other,)*
        }

        impl crate::dtype::Plain for Unary {}

        impl Unary {
            /// Every one of them.
            #[cfg(test)]
            pub const ALL: &[Self] = &[$(Self::$name,)* $(Self::$other,)*];

            fn saves(self) -> Saves {
                match self {
                    $(Self::$name => Saves::$saves,)*
                    $(Self::$other => Saves::$other_saves,)*
                }
            }

            fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                    $(Self::$other => stringify!($other),)*
                }
            }

            /// The kernels, forward and backward.
            fn kernels(self) -> [&'static str; 2] {
                match self {
                    $(Self::$name => table!(kernels $name),)*
                    $(Self::$other => table!(kernels $other),)*
                }
            }

            /// FLOP of an element, forward and backward; a function of the library counts as one.
            fn flops(self) -> [u64; 2] {
                match self {
                    $(Self::$name => [$forward, $backward],)*
                    $(Self::$other => [$other_forward, $other_backward],)*
                }
            }
        }

        impl<T: Float> Tensor<T> {
            $(
                $(#[$doc])*
                /// The shape stays.
                ///
                /// ```
                /// # fn main() -> signet::Result<()> {
                /// use signet::{Device, Tensor};
                /// let x = Tensor::from_slice(&Device::cpu()?, &[0.5_f32], [1])?;
                #[doc = concat!("let y = x.", stringify!($name), "()?.item()?;")]
                #[doc = concat!("assert!((y - (", $example, ")).abs() < 1e-6);")]
                /// # Ok(()) }
                /// ```
                ///
                /// # Errors
                /// When the device fails.
                pub fn $name(&self) -> Result<Self> {
                    self.unary(Unary::$name, [0.0, 0.0])
                }
            )*
        }
    };
    (kernels $name:ident) => {
        [concat!(stringify!($name), "_forward"), concat!(stringify!($name), "_backward")]
    };
}

// The name, what is saved, FLOP forward and backward, the value at 0.5.
table! {
    plain {
        /// `-x`.
        neg: Nothing, [1, 1], "-0.5";
        /// `|x|`.
        abs: Input, [1, 1], "0.5";
        /// `e^x`.
        exp: Output, [1, 1], "1.6487213";
        /// `e^x - 1`, exact where x is small.
        expm1: Output, [1, 2], "0.6487213";
        /// The natural logarithm.
        log: Input, [1, 1], "-0.6931472";
        /// `log(1 + x)`, exact where x is small.
        log1p: Input, [1, 2], "0.4054651";
        /// The square root.
        sqrt: Output, [1, 2], "0.7071068";
        /// `1 / sqrt(x)`.
        rsqrt: Output, [2, 4], "1.4142135";
        /// `x^2`.
        square: Input, [1, 2], "0.25";
        /// `1 / x`.
        reciprocal: Output, [1, 3], "2.0";
        /// The sine, of radians.
        sin: Input, [1, 2], "0.4794255";
        /// The cosine, of radians.
        cos: Input, [1, 3], "0.8775826";
        /// The largest whole number up to x. The gradient is 0, as that of the next three.
        floor: Nothing, [1, 0], "0.0";
        /// The smallest whole number from x on.
        ceil: Nothing, [1, 0], "1.0";
        /// The nearest whole number, of two that are as near the even one.
        round: Nothing, [1, 0], "0.0";
        /// x without what is behind the point.
        trunc: Nothing, [1, 0], "0.0";
        /// The error function, `2 / sqrt(pi)` times the integral of `e^(-t^2)` from 0 to x.
        erf: Input, [1, 5], "0.5204999";
        /// `max(x, 0)`; NaN stays NaN.
        relu: Output, [1, 1], "0.5";
        /// `1 / (1 + e^-x)`.
        sigmoid: Output, [4, 3], "0.6224593";
        /// `log(sigmoid(x))`, which does not overflow.
        logsigmoid: Input, [6, 5], "-0.4740770";
        /// The hyperbolic tangent.
        tanh: Output, [1, 3], "0.4621172";
        /// `x sigmoid(x)`, also called swish.
        silu: Input, [5, 9], "0.3112297";
        /// `clamp(x / 6 + 1 / 2, 0, 1)`.
        hardsigmoid: Input, [2, 1], "0.5833333";
        /// `x hardsigmoid(x)`.
        hardswish: Input, [3, 3], "0.2916667";
    }
    with_parameters {
        pow: Input, [1, 4];
        add_scalar: Nothing, [1, 0];
        mul_scalar: Nothing, [1, 1];
        clamp: Input, [2, 2];
        leaky_relu: Input, [1, 1];
        elu: Input, [2, 3];
        gelu: Input, [5, 11];
        gelu_tanh: Input, [9, 20];
        softplus: Input, [4, 6];
    }
}

kernels! {
    /// What functions of one number ask of a device.
    pub(crate) trait UnaryKernels<T: Float>: Backend {
        /// `y = f(x)`, of the function's `parameters`.
        fn unary_forward(
            &self,
            function: Unary,
            parameters: [T; 2],
            x: Self::View<'_, T>,
            y: Self::ViewMut<'_, T>,
        ) -> Result<()>;

        /// `grad_x = grad_y f'(x)` from what the function saves: x or y. Where it is nothing, `saved`
        /// is as long and not read.
        fn unary_backward(
            &self,
            function: Unary,
            parameters: [T; 2],
            saved: Self::View<'_, T>,
            grad_y: Self::View<'_, T>,
            grad_x: Output<'_, Self, T>,
        ) -> Result<()>;
    }
}

impl Unary {
    fn forward_cost<T>(self, n: usize) -> Cost {
        Cost::elementwise::<T>(n, 2, self.flops()[0])
    }

    fn backward_cost<T>(self, n: usize) -> Cost {
        let moved = if self.saves() == Saves::Nothing { 2 } else { 3 };
        Cost::elementwise::<T>(n, moved, self.flops()[1])
    }
}

impl<T: Float> Tensor<T> {
    // ANCHOR: unary
    /// `function` of every element.
    pub(crate) fn unary(&self, function: Unary, parameters: [f64; 2]) -> Result<Self> {
        numel32(function.name(), self.shape())?;
        let (device, parameters) = (self.device().clone(), parameters.map(T::of));
        let mut y = device.alloc(self.numel())?;
        device.unary_forward(function, parameters, self.read().view(), Device::view_mut(&mut y))?;
        let output = Self::from_buffer(&device, y, self.shape().clone());
        let saved = match function.saves() {
            Saves::Nothing => None,
            Saves::Input => Some(self.save(function.name(), "input")),
            Saves::Output => Some(output.save(function.name(), "output")),
        };
        Ok(output.with_grad_fn([Some(self)], move |[x], gradient, gradients| {
            let Some(grad_x) = gradients.output(x, gradient.numel())? else { return Ok(()) };
            let grad_y = gradient.read();
            let known = saved.as_ref().map(|saved| saved.read()).transpose()?;
            let known = known.as_ref().map_or(grad_y.view(), |known| known.view());
            device.unary_backward(function, parameters, known, grad_y.view(), grad_x)
        }))
    }
    // ANCHOR_END: unary
}
