//! Which elements a reduction brings together.

use crate::device::Cost;
use crate::dtype::{Float, Plain};
use crate::ops::dims::chosen;
use crate::ops::numel32;
use crate::{Result, Shape, Tensor};

/// A tensor seen as `[k1, r1, k2, r2]`: result `(a, b)` of `[k1, k2]` is that of `x[a, i, b, j]` over all
/// `i` and `j`, numbered `i * r2 + j`.
///
/// `[N, C, H, W]` over all but the channels is `[1, N, C, H * W]`, a matrix over its rows is
/// `[1, rows, cols, 1]`, over its columns `[1, 1, rows, cols]`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct ReduceGeometry {
    /// Outer extent that is kept.
    pub k1: u32,
    /// Outer extent that is reduced.
    pub r1: u32,
    /// Inner extent that is kept.
    pub k2: u32,
    /// Inner extent that is reduced, at least 1.
    pub r2: u32,
}

impl Plain for ReduceGeometry {}

impl ReduceGeometry {
    /// The number of results.
    pub fn results(&self) -> usize {
        self.k1 as usize * self.k2 as usize
    }

    /// The number of elements of each result.
    pub fn length(&self) -> usize {
        self.r1 as usize * self.r2 as usize
    }

    /// The number of elements.
    pub fn numel(&self) -> usize {
        self.results() * self.length()
    }

    /// Reads every element once, with `flops` each, and writes the results.
    pub fn cost<T>(&self, flops: u64) -> Cost {
        Cost::elementwise::<T>(self.numel(), 1, flops).moving::<T>(self.results() as u64)
    }

    /// Of a gradient: `moved` elements for each of the tensor, with `flops`.
    pub fn backward_cost<T>(&self, moved: u64, flops: u64) -> Cost {
        Cost::elementwise::<T>(self.numel(), moved, flops).moving::<T>(self.results() as u64)
    }

    /// Of sizes, none 0, and whether each is reduced; `None` where these take more than two turns.
    fn of(sizes: &[usize], reduced: &[bool]) -> Option<Self> {
        let mut groups = [1; 4];
        let mut group = 0;
        // A size of 1 is of either kind.
        for (&size, &is_reduced) in sizes.iter().zip(reduced).filter(|&(&size, _)| size != 1) {
            if (group % 2 == 1) != is_reduced {
                group += 1;
            }
            *groups.get_mut(group)? *= size as u32;
        }
        let [k1, r1, k2, r2] = groups;
        // What lies side by side belongs inside.
        let is_run = k2 == 1;
        Some(if is_run { Self::rows(k1, r1 * r2) } else { Self { k1, r1, k2, r2 } })
    }

    /// So many results, each of a run of `length` elements.
    fn rows(results: u32, length: u32) -> Self {
        Self { k1: 1, r1: length.min(1), k2: results, r2: length.max(1) }
    }
}

/// A tensor that is ready to be reduced.
pub(super) struct Prepared<T: Float> {
    /// With its elements in an order that the geometry describes.
    pub x: Tensor<T>,
    pub geometry: ReduceGeometry,
    /// Of the result.
    pub shape: Shape,
    /// Whether a dimension without elements is reduced.
    pub of_nothing: bool,
}

/// `x` to be reduced over `dims`, all where none is named; as in PyTorch a scalar has a dimension 0. What
/// no geometry describes is permuted.
pub(super) fn prepared<T: Float>(
    op: &'static str,
    x: &Tensor<T>,
    dims: &[isize],
    keepdim: bool,
) -> Result<Prepared<T>> {
    numel32(op, x.shape())?;
    let is_scalar = x.dims().is_empty();
    let reduced = match dims {
        [] => vec![true; x.dims().len()],
        [0 | -1] if is_scalar => Vec::new(),
        _ => chosen(op, dims, x.shape())?,
    };
    let kept = |d: &usize| !reduced[*d];
    let all = 0..x.dims().len();
    let shape = if keepdim {
        all.clone().map(|d| if reduced[d] { 1 } else { x.dims()[d] }).collect()
    } else {
        all.clone().filter(kept).map(|d| x.dims()[d]).collect::<Vec<_>>()
    };
    let shape = Shape::from(shape);
    let results = numel32(op, &shape)?;
    let of_nothing = all.clone().any(|d| reduced.get(d) == Some(&true) && x.dims()[d] == 0);
    if x.numel() == 0 {
        // Either nothing is reduced to something, or something to nothing.
        let geometry = ReduceGeometry::rows(results, u32::from(results == 0));
        return Ok(Prepared { x: x.clone(), geometry, shape, of_nothing });
    }
    if let Some(geometry) = ReduceGeometry::of(x.dims(), &reduced) {
        return Ok(Prepared { x: x.clone(), geometry, shape, of_nothing });
    }
    let (mut order, last): (Vec<_>, Vec<_>) = all.partition(kept);
    order.extend(last);
    let order: Vec<_> = order.into_iter().map(|d| d as isize).collect();
    let geometry = ReduceGeometry::rows(results, x.numel() as u32 / results);
    Ok(Prepared { x: x.permute(&order)?, geometry, shape, of_nothing })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sizes: &[usize], reduced: &[usize]) -> Option<[u32; 4]> {
        let reduced: Vec<_> = (0..sizes.len()).map(|d| reduced.contains(&d)).collect();
        let geometry = ReduceGeometry::of(sizes, &reduced);
        geometry.map(|ReduceGeometry { k1, r1, k2, r2 }| [k1, r1, k2, r2])
    }

    #[test]
    fn dimensions_are_brought_together() {
        assert_eq!(of(&[7, 3, 5, 4], &[0, 2, 3]), Some([1, 7, 3, 20]));
        assert_eq!(of(&[7, 3], &[0]), Some([1, 7, 3, 1]));
        assert_eq!(of(&[7, 3], &[1]), Some([1, 1, 7, 3]));
        assert_eq!(of(&[7, 3, 2], &[1]), Some([7, 3, 2, 1]));
        assert_eq!(of(&[7, 3], &[0, 1]), Some([1, 1, 1, 21]));
        assert_eq!(of(&[7, 3], &[]), Some([1, 1, 21, 1]));
        assert_eq!(of(&[], &[]), Some([1, 1, 1, 1]));
        // A 1 turns nothing, and two turns are enough.
        assert_eq!(of(&[7, 1, 3, 1, 5], &[1, 4]), Some([1, 1, 21, 5]));
        assert_eq!(of(&[2, 3, 5, 7], &[1, 3]), Some([2, 3, 5, 7]));
        assert_eq!(of(&[2, 3, 5, 7, 2], &[0, 2, 4]), None);
    }
}
