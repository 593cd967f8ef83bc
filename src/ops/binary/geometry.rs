//! How the elements of operands meet: NumPy's broadcasting.

use crate::dtype::Plain;
use crate::ops::numel32;
use crate::{Error, Result, Shape};

/// The most dimensions that are left when neighbours are merged, `MAX_DIMS` of `binary.cu`.
const MAX_DIMS: usize = 8;

/// The result's elements and those of three operands that they are of. An operand's size in a dimension
/// is the result's, or it is repeated along it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct Broadcast {
    /// Elements of the result.
    pub n: u32,
    /// 1 where element i of an operand is `i % repeat`, else 0.
    pub repeats: u32,
    /// Elements of each operand.
    pub repeat: [u32; 3],
    /// Dimensions, merged where they may be; at least 1.
    pub rank: u32,
    /// Their sizes, outermost first.
    pub sizes: [u32; MAX_DIMS],
    /// Of each operand: 0 along which it is repeated. The innermost is 0 or 1.
    pub strides: [[u32; MAX_DIMS]; 3],
}

impl Plain for Broadcast {}

/// The shape of what `shapes` give together.
///
/// # Errors
/// [`Error::Shape`] in the name of `op` when two sizes differ and none is 1.
pub(crate) fn broadcast(op: &'static str, shapes: &[&Shape]) -> Result<Shape> {
    let rank = shapes.iter().map(|shape| shape.rank()).max().unwrap_or(0);
    let mut dims = vec![1; rank];
    for shape in shapes {
        for (size, &own) in dims[rank - shape.rank()..].iter_mut().zip(shape.dims()) {
            if own != *size && own != 1 && *size != 1 {
                let all: Vec<_> = shapes.iter().map(|shape| shape.to_string()).collect();
                let message = format!(
                    "{}: from the last dimension on, sizes must be equal or 1",
                    all.join(" and ")
                );
                return Err(Error::shape(op, message));
            }
            if own != 1 {
                *size = own;
            }
        }
    }
    Ok(Shape::from(dims))
}

/// The strides of a contiguous tensor of shape `own` along the dimensions of `output`.
fn strides(own: &Shape, output: &Shape) -> Vec<usize> {
    let mut strides = vec![0; output.rank()];
    let mut stride = 1_usize;
    for (slot, &size) in strides.iter_mut().rev().zip(own.dims().iter().rev()) {
        *slot = if size == 1 { 0 } else { stride };
        stride = stride.saturating_mul(size);
    }
    strides
}

impl Broadcast {
    /// Whether operand `k` goes along the innermost dimension; else it is repeated.
    pub fn goes_along(&self, k: usize) -> bool {
        self.strides[k][self.rank as usize - 1] == 1
    }

    /// Of `operands` that broadcast to `output`.
    ///
    /// # Errors
    /// [`Error::Shape`] in the name of `op` for more elements than kernels index, and for more than 8
    /// dimensions that cannot be merged.
    pub fn new(op: &'static str, output: &Shape, operands: [&Shape; 3]) -> Result<Self> {
        let n = numel32(op, output)?;
        let all = operands.map(|own| strides(own, output));
        let mut merged: Vec<(usize, [usize; 3])> = Vec::new();
        // Without elements there is nothing to find, and sizes may be such that no product is.
        let dims = if n == 0 { &[] } else { output.dims() };
        for (d, &size) in dims.iter().enumerate().filter(|(_, size)| **size != 1) {
            let own = [0, 1, 2].map(|k| all[k][d]);
            match merged.last_mut() {
                Some((before, outer)) if (0..3).all(|k| outer[k] == own[k] * size) => {
                    (*before, *outer) = (*before * size, own);
                }
                _ => merged.push((size, own)),
            }
        }
        if merged.is_empty() {
            merged.push((1, [0; 3]));
        }
        if merged.len() > MAX_DIMS {
            let message = format!(
                "{} and {} meet in {} dimensions that cannot be merged, more than {MAX_DIMS}",
                operands[0],
                operands[1],
                merged.len()
            );
            return Err(Error::shape(op, message));
        }
        let mut geometry = Self { n, rank: merged.len() as u32, ..bytemuck::Zeroable::zeroed() };
        for (k, own) in operands.into_iter().enumerate() {
            geometry.repeat[k] = numel32(op, own)?;
        }
        geometry.repeats = u32::from(operands.iter().all(|own| {
            let leading = own.dims().iter().take_while(|&&size| size == 1).count();
            output.dims().ends_with(&own.dims()[leading..])
        }));
        for (d, (size, strides)) in merged.into_iter().enumerate() {
            // No more than `n`.
            geometry.sizes[d] = size as u32;
            (0..3).for_each(|k| geometry.strides[k][d] = strides[k] as u32);
        }
        Ok(geometry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(a: &[usize], b: &[usize]) -> (Shape, Broadcast) {
        let (a, b) = (Shape::from(a), Shape::from(b));
        let output = broadcast("test", &[&a, &b]).unwrap();
        let geometry = Broadcast::new("test", &output, [&a, &b, &output]).unwrap();
        (output, geometry)
    }

    #[test]
    fn dimensions_are_merged() {
        let merged = |a: &[usize], b: &[usize]| {
            let (output, g) = of(a, b);
            (output.dims().to_vec(), g.sizes[..g.rank as usize].to_vec(), g.repeats)
        };
        assert_eq!(merged(&[], &[]), (vec![], vec![1], 1));
        assert_eq!(merged(&[2, 3, 4], &[2, 3, 4]), (vec![2, 3, 4], vec![24], 1));
        assert_eq!(merged(&[2, 3, 4], &[3, 4]), (vec![2, 3, 4], vec![2, 12], 1));
        assert_eq!(merged(&[4], &[2, 3, 4]), (vec![2, 3, 4], vec![6, 4], 1));
        assert_eq!(merged(&[2, 1, 4], &[]), (vec![2, 1, 4], vec![8], 1));
        assert_eq!(merged(&[2, 3, 4, 5], &[3, 1, 1]), (vec![2, 3, 4, 5], vec![2, 3, 20], 0));
        assert_eq!(merged(&[7, 1], &[1, 5]), (vec![7, 5], vec![7, 5], 0));
        assert_eq!(merged(&[0, 3], &[1]), (vec![0, 3], vec![1], 1));
        assert_eq!(merged(&[0, 1 << 40, 1 << 40], &[1]).1, [1]);
        let (_, g) = of(&[2, 3, 4, 5], &[3, 1, 1]);
        assert_eq!([g.strides[0], g.strides[1]].map(|s| s[..3].to_vec()), [[60, 20, 1], [0, 1, 0]]);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let [a, b] = [[2, 3], [3, 2]].map(Shape::from);
        let error = broadcast("add", &[&a, &b]).unwrap_err().to_string();
        assert!(error.contains("[2, 3] and [3, 2]: from the last dimension"), "{error}");
        let many: Vec<usize> = (0..20).map(|d| 1 + d % 2).collect();
        let other: Vec<usize> = (0..20).map(|d| 2 - d % 2).collect();
        let (a, b) = (Shape::from(many), Shape::from(other));
        let output = broadcast("add", &[&a, &b]).unwrap();
        let error = Broadcast::new("add", &output, [&a, &b, &output]).unwrap_err().to_string();
        assert!(error.contains("more than 8"), "{error}");
    }
}
