//! The sizes that a tensor is to have, one of which may follow from the others.
#![forbid(unsafe_code)]

use super::Shape;
use crate::{Error, Result};

/// The shape that [`Tensor::reshape`](crate::Tensor::reshape) is asked for: sizes, of which one may be
/// -1, which stands for what the others leave. Made of arrays, slices and shapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sizes(Vec<isize>);

impl Sizes {
    /// The shape of `from`'s elements.
    ///
    /// # Errors
    /// [`Error::Shape`] in the name of `op` when it has another number of elements, for two -1 or a number
    /// below, and for a -1 that could be anything.
    pub(crate) fn of(self, op: &'static str, from: &Shape) -> Result<Shape> {
        let Self(sizes) = self;
        let refuse = |why: &str| Err(Error::shape(op, format!("{from} as {sizes:?}: {why}")));
        let mut unknown = None;
        let mut dims = Vec::with_capacity(sizes.len());
        for (i, &size) in sizes.iter().enumerate() {
            match usize::try_from(size) {
                Ok(size) => dims.push(size),
                Err(_) if size != -1 => return refuse("a size must be at least 0, or -1"),
                Err(_) if unknown.is_some() => return refuse("only one size may be -1"),
                Err(_) => {
                    unknown = Some(i);
                    dims.push(1);
                }
            }
        }
        let known = Shape::from(&dims[..]).numel();
        if let Some(i) = unknown {
            if known == 0 {
                return refuse("the -1 could be anything");
            }
            dims[i] = from.numel() / known;
        }
        let shape = Shape::from(dims);
        if shape.numel() != from.numel() {
            let counts = format!("{} elements, not {known}", from.numel());
            let rest = if unknown.is_some() { " times a number" } else { "" };
            return refuse(&format!("it has {counts}{rest}"));
        }
        Ok(shape)
    }
}

macro_rules! sizes_of {
    ($($number:ty),*) => { $(
        impl<const N: usize> From<[$number; N]> for Sizes {
            fn from(sizes: [$number; N]) -> Self {
                Self::from(&sizes[..])
            }
        }

        impl From<&[$number]> for Sizes {
            fn from(sizes: &[$number]) -> Self {
                // More than there can be elements stays more.
                Self(sizes.iter().map(|&size| size.try_into().unwrap_or(isize::MAX)).collect())
            }
        }

        impl From<Vec<$number>> for Sizes {
            fn from(sizes: Vec<$number>) -> Self {
                Self::from(&sizes[..])
            }
        }
    )* };
}
// `i32` is what Rust takes `[3, -1]` for.
sizes_of!(i32, isize, usize);

impl From<Shape> for Sizes {
    fn from(shape: Shape) -> Self {
        Self::from(shape.dims())
    }
}

impl From<&Shape> for Sizes {
    fn from(shape: &Shape) -> Self {
        Self::from(shape.dims())
    }
}
