//! What a tensor may hold, what vectors of it can do (`lanes.rs`), and a function for them (`exp.rs`).
#![forbid(unsafe_code)]

mod exp;
mod lanes;

pub(crate) use lanes::{Lanes, lanes};

use std::fmt::{Debug, Display};
use std::iter::Sum;
use std::ops::{AddAssign, MulAssign, Range, SubAssign};

/// A number that a device can store.
pub trait Element: bytemuck::Pod + Debug + Default + PartialEq + Send + Sync + 'static {
    /// The name in PyTorch (`float32`).
    const NAME: &'static str;
}

/// What is the same on every device: a number, the sizes of an op.
pub trait Plain {}

impl<P: Plain> Plain for &P {}

impl<P: Plain, const N: usize> Plain for [P; N] {}

/// A number that the ops compute with: `f32` for training, `f64` for gradient checks, where finite
/// differences mean something.
pub trait Float:
    Element
    + Plain
    + num_traits::Float
    + AddAssign
    + SubAssign
    + MulAssign
    + Sum
    + Display
    + sealed::Sealed
{
    /// The nearest value to `value`.
    fn of(value: f64) -> Self;
    /// The value as `f64`, exactly.
    fn as_f64(self) -> f64;
    /// A byte, exactly.
    fn of_u8(value: u8) -> Self;
    /// The error function.
    fn erf(self) -> Self;
    /// `e^x`, of `f32` by a formula that a compiler makes vectors of.
    fn exp_in_vectors(self) -> Self;
}

mod sealed {
    /// Kernels exist for `f32` and `f64` alone, and vectors of them.
    pub trait Sealed: crate::dtype::Lanes {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

macro_rules! element {
    ($($type:ty = $name:literal),*) => {
        $(impl Element for $type { const NAME: &'static str = $name; })*
    };
}
element!(
    f32 = "float32",
    f64 = "float64",
    u8 = "uint8",
    i32 = "int32",
    u32 = "uint32",
    u64 = "uint64"
);

macro_rules! plain {
    ($($type:ty),*) => { $(impl Plain for $type {})* };
}
plain!(bool, usize, f32, f64, Range<u32>);

impl Float for f32 {
    #[inline]
    fn of(value: f64) -> Self {
        value as f32
    }
    #[inline]
    fn as_f64(self) -> f64 {
        f64::from(self)
    }
    #[inline]
    fn of_u8(value: u8) -> Self {
        Self::from(value)
    }
    #[inline]
    fn erf(self) -> Self {
        libm::erff(self)
    }
    #[inline(always)]
    fn exp_in_vectors(self) -> Self {
        exp::exp(self)
    }
}

impl Float for f64 {
    #[inline]
    fn of(value: f64) -> Self {
        value
    }
    #[inline]
    fn as_f64(self) -> f64 {
        self
    }
    #[inline]
    fn of_u8(value: u8) -> Self {
        Self::from(value)
    }
    #[inline]
    fn erf(self) -> Self {
        libm::erf(self)
    }
    #[inline]
    fn exp_in_vectors(self) -> Self {
        self.exp()
    }
}
