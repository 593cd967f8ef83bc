//! The extent of a tensor along each dimension.
#![forbid(unsafe_code)]

use crate::{Error, Result};
use std::fmt;

/// The sizes of a tensor's dimensions, outermost first; tensors are contiguous and row-major.
#[derive(Clone, PartialEq, Eq, Default, Hash)]
pub struct Shape(Vec<usize>);

impl Shape {
    /// The sizes.
    pub fn dims(&self) -> &[usize] {
        &self.0
    }

    /// The number of dimensions; 0 for a scalar.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// The number of elements; 1 for a scalar. Where that is more than memory can hold, the
    /// largest number there is, which no buffer has.
    pub fn numel(&self) -> usize {
        self.0.iter().fold(1, |numel, &size| numel.saturating_mul(size))
    }

    /// The sizes of a tensor that must have `N` dimensions.
    ///
    /// # Errors
    /// [`Error::Shape`] in the name of `op` when it has another number, naming the `expected` ones.
    pub fn expect<const N: usize>(&self, op: &'static str, expected: &str) -> Result<[usize; N]> {
        <[usize; N]>::try_from(self.dims())
            .map_err(|_| Error::shape(op, format!("expected a tensor {expected}, got {self}")))
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(dims: [usize; N]) -> Self {
        Self(dims.to_vec())
    }
}

impl From<&[usize]> for Shape {
    fn from(dims: &[usize]) -> Self {
        Self(dims.to_vec())
    }
}

impl From<Vec<usize>> for Shape {
    fn from(dims: Vec<usize>) -> Self {
        Self(dims)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
