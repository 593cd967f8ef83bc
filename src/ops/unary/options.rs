//! The functions that have parameters, as methods with PyTorch's arguments.

use super::Unary;
use crate::dtype::Float;
use crate::{Error, Result, Tensor};

/// How [`Tensor::gelu`] is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Approximate {
    /// By the error function, as it is defined.
    #[default]
    None,
    /// By a hyperbolic tangent near it.
    Tanh,
}

impl<T: Float> Tensor<T> {
    /// `x + value` of every element.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let x = Tensor::from_slice(&Device::cpu()?, &[1.0_f32, -2.0], [2])?;
    /// assert_eq!(x.add_scalar(0.5)?.to_vec()?, [1.5, -1.5]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When the device fails.
    pub fn add_scalar(&self, value: f64) -> Result<Self> {
        self.unary(Unary::add_scalar, [value, 0.0])
    }

    /// `x * value` of every element.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let x = Tensor::from_slice(&Device::cpu()?, &[1.0_f32, -2.0], [2])?;
    /// assert_eq!(x.mul_scalar(0.5)?.to_vec()?, [0.5, -1.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When the device fails.
    pub fn mul_scalar(&self, value: f64) -> Result<Self> {
        self.unary(Unary::mul_scalar, [value, 0.0])
    }

    /// `x^exponent` of every element.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let x = Tensor::from_slice(&Device::cpu()?, &[3.0_f32, -2.0], [2])?;
    /// assert_eq!(x.pow(2.0)?.to_vec()?, [9.0, 4.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When the device fails.
    pub fn pow(&self, exponent: f64) -> Result<Self> {
        // As PyTorch, which matters for speed, and where x is negative or infinite.
        let function = match exponent {
            2.0 => Unary::square,
            0.5 => Unary::sqrt,
            -0.5 => Unary::rsqrt,
            -1.0 => Unary::reciprocal,
            _ => Unary::pow,
        };
        self.unary(function, [exponent, 0.0])
    }

    /// Every element, or the bound that it is beyond; a bound may be missing. Where `min` is more than
    /// `max`, all are `max`. The gradient goes through strictly between the bounds.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let x = Tensor::from_slice(&Device::cpu()?, &[-3.0_f32, 0.5, 2.0], [3])?;
    /// assert_eq!(x.clamp(Some(-1.0), None)?.to_vec()?, [-1.0, 0.5, 2.0]);
    /// assert_eq!(x.clamp(Some(-1.0), Some(1.0))?.to_vec()?, [-1.0, 0.5, 1.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] without any bound, or for one that is NaN.
    pub fn clamp(&self, min: Option<f64>, max: Option<f64>) -> Result<Self> {
        if min.is_none() && max.is_none() {
            return Err(Error::argument("min", "or max must be given: clamp has no bound"));
        }
        for (name, bound) in [("min", min), ("max", max)] {
            if bound.is_some_and(f64::is_nan) {
                return Err(Error::argument(name, "must be a number, got NaN"));
            }
        }
        // To the kernel, no bound is NaN.
        self.unary(Unary::clamp, [min, max].map(|bound| bound.unwrap_or(f64::NAN)))
    }

    /// Every element, or the bound that it is beyond: [`Tensor::clamp`] with both.
    /// `hardtanh(0.0, 6.0)` is PyTorch's `relu6`.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let x = Tensor::from_slice(&Device::cpu()?, &[-3.0_f32, 0.5, 2.0], [3])?;
    /// assert_eq!(x.hardtanh(-1.0, 1.0)?.to_vec()?, [-1.0, 0.5, 1.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] unless `min_val` is at most `max_val`.
    pub fn hardtanh(&self, min_val: f64, max_val: f64) -> Result<Self> {
        if min_val <= max_val {
            return self.unary(Unary::clamp, [min_val, max_val]);
        }
        let message = format!("must be at most max_val, got {min_val} and {max_val}");
        Err(Error::argument("min_val", message))
    }

    /// `x`, or `negative_slope * x` where x is negative.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let x = Tensor::from_slice(&Device::cpu()?, &[-2.0_f32, 3.0], [2])?;
    /// assert_eq!(x.leaky_relu(0.5)?.to_vec()?, [-1.0, 3.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When the device fails.
    pub fn leaky_relu(&self, negative_slope: f64) -> Result<Self> {
        self.unary(Unary::leaky_relu, [negative_slope, 0.0])
    }

    /// `x`, or `alpha (e^x - 1)` where x is negative.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let x = Tensor::from_slice(&Device::cpu()?, &[-100.0_f32, 3.0], [2])?;
    /// assert_eq!(x.elu(2.0)?.to_vec()?, [-2.0, 3.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When the device fails.
    pub fn elu(&self, alpha: f64) -> Result<Self> {
        self.unary(Unary::elu, [alpha, 0.0])
    }

    /// `x` times the share of a normal distribution that is below x.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::ops::unary::Approximate;
    /// use signet::{Device, Tensor};
    /// let x = Tensor::from_slice(&Device::cpu()?, &[1.0_f32], [1])?;
    /// assert!((x.gelu(Approximate::None)?.item()? - 0.8413447).abs() < 1e-6);
    /// assert!((x.gelu(Approximate::Tanh)?.item()? - 0.8411920).abs() < 1e-6);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When the device fails.
    pub fn gelu(&self, approximate: Approximate) -> Result<Self> {
        let function = match approximate {
            Approximate::None => Unary::gelu,
            Approximate::Tanh => Unary::gelu_tanh,
        };
        self.unary(function, [0.0, 0.0])
    }

    /// `log(1 + e^(beta x)) / beta`, and x itself where `beta x` is more than `threshold`. PyTorch's
    /// defaults are 1 and 20.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let x = Tensor::from_slice(&Device::cpu()?, &[0.0_f32, 30.0], [2])?;
    /// assert_eq!(x.softplus(1.0, 20.0)?.to_vec()?, [2.0_f32.ln(), 30.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When the device fails.
    pub fn softplus(&self, beta: f64, threshold: f64) -> Result<Self> {
        self.unary(Unary::softplus, [beta, threshold])
    }
}
