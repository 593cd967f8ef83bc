//! Which element a copy takes, and where it goes.

use crate::device::Cost;
use crate::dtype::Plain;
use crate::{Error, Result, Shape};

/// The most dimensions that remain when those that lie behind one another are merged.
const MOST: usize = 8;

/// A copy of a box of elements, from strided memory to strided memory.
///
/// Index `i` of `sizes[..rank]` goes from `from + sum i[d] from_strides[d]` to
/// `to + sum i[d] to_strides[d]`. The strides of the target fall from one dimension to the next, and no
/// two indices share a place of it; a source may be read again and again, or backwards.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct CopyGeometry {
    /// Dimensions in use, at least one.
    pub rank: u32,
    /// Where index 0 comes from.
    pub from: u32,
    /// Where index 0 goes.
    pub to: u32,
    /// Extents, 1 where they are not in use.
    pub sizes: [u32; MOST],
    /// Elements of the source from one index to the next.
    pub from_strides: [i32; MOST],
    /// The same of the target.
    pub to_strides: [u32; MOST],
}

impl Plain for CopyGeometry {}

/// Where the elements of a box lie in a tensor.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// Of index 0.
    pub offset: i64,
    /// Elements from one index to the next, by dimension.
    pub strides: Vec<i64>,
}

impl Layout {
    /// All of a row-major tensor.
    pub fn of(shape: &Shape) -> Self {
        let mut strides = vec![1; shape.rank()];
        for d in (1..shape.rank()).rev() {
            strides[d - 1] = strides[d] * shape.dims()[d].max(1) as i64;
        }
        Self { offset: 0, strides }
    }

    /// The part that begins at index `start` of dimension `dim`.
    pub fn from(mut self, dim: usize, start: usize) -> Self {
        self.offset += start as i64 * self.strides[dim];
        self
    }
}

/// A dimension of a copy.
#[derive(Clone, Copy)]
struct Dim {
    size: u32,
    from: i64,
    to: i64,
}

impl CopyGeometry {
    /// The copy of a box of `sizes` from one layout to another, both of tensors that kernels can index.
    ///
    /// # Errors
    /// [`Error::Shape`] in the name of `op` for more than 8 dimensions that cannot be merged.
    pub fn new(op: &'static str, sizes: &[usize], from: &Layout, to: &Layout) -> Result<Self> {
        let strides = from.strides.iter().zip(&to.strides);
        let dims = sizes.iter().zip(strides);
        let dims = dims.map(|(&size, (&from, &to))| Dim { size: size as u32, from, to }).collect();
        Self::of(dims, from.offset, to.offset).ok_or_else(|| {
            let message = format!(
                "{sizes:?} has more than {MOST} dimensions that do not lie behind one another: merge some \
                 by `reshape`"
            );
            Error::shape(op, message)
        })
    }

    /// In the order of the target, forwards, with what lies behind one another merged; `None` for too
    /// many dimensions.
    fn of(mut dims: Vec<Dim>, mut from: i64, mut to: i64) -> Option<Self> {
        if dims.iter().any(|dim| dim.size == 0) {
            dims = vec![Dim { size: 0, from: 1, to: 1 }];
            (from, to) = (0, 0);
        }
        dims.retain(|dim| dim.size != 1);
        for dim in &mut dims {
            if dim.to < 0 {
                let last = i64::from(dim.size) - 1;
                (from, to) = (from + last * dim.from, to + last * dim.to);
                (dim.from, dim.to) = (-dim.from, -dim.to);
            }
        }
        dims.sort_by_key(|dim| -dim.to);
        let mut merged: Vec<Dim> = Vec::new();
        for dim in dims {
            let size = i64::from(dim.size);
            match merged.last_mut() {
                Some(last) if last.from == size * dim.from && last.to == size * dim.to => {
                    *last = Dim { size: last.size * dim.size, ..dim };
                }
                _ => merged.push(dim),
            }
        }
        if merged.is_empty() {
            merged.push(Dim { size: 1, from: 1, to: 1 });
        }
        let rank = merged.len();
        let (mut sizes, mut from_strides, mut to_strides) = ([1; MOST], [0; MOST], [0; MOST]);
        for (d, dim) in merged.into_iter().enumerate() {
            *sizes.get_mut(d)? = dim.size;
            (from_strides[d], to_strides[d]) = (dim.from as i32, dim.to as u32);
        }
        let (rank, from, to) = (rank as u32, from as u32, to as u32);
        Some(Self { rank, from, to, sizes, from_strides, to_strides })
    }

    /// The copy the other way round, of a source that is read once.
    pub fn reversed(&self) -> Self {
        let dims = (0..self.rank as usize).map(|d| Dim {
            size: self.sizes[d],
            from: i64::from(self.to_strides[d]),
            to: i64::from(self.from_strides[d]),
        });
        // There are no more dimensions than before.
        Self::of(dims.collect(), i64::from(self.to), i64::from(self.from)).unwrap_or(*self)
    }

    /// Elements that are copied.
    pub fn numel(&self) -> usize {
        self.sizes.iter().map(|&size| size as usize).product()
    }

    /// The extent of the innermost dimension.
    pub fn inner(&self) -> usize {
        self.sizes[self.rank as usize - 1] as usize
    }

    /// Reads and writes each element once, and reads the target to accumulate.
    pub fn cost<T>(&self, accumulate: bool) -> Cost {
        let n = self.numel();
        let add = u64::from(accumulate);
        Cost::elementwise::<T>(n, 2 + add, add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn geometry(sizes: &[usize], from: &[i64], to: &[i64], offset: i64) -> CopyGeometry {
        let layout = |offset, strides: &[i64]| Layout { offset, strides: strides.to_vec() };
        CopyGeometry::new("test", sizes, &layout(offset, from), &layout(0, to)).unwrap()
    }

    fn used(g: &CopyGeometry) -> Vec<(u32, i32, u32)> {
        (0..g.rank as usize).map(|d| (g.sizes[d], g.from_strides[d], g.to_strides[d])).collect()
    }

    #[test]
    fn neighbours_are_merged() {
        let all = geometry(&[2, 1, 3, 5], &[15, 15, 5, 1], &[15, 15, 5, 1], 0);
        assert_eq!(used(&all), [(30, 1, 1)]);
        // The first two of three, behind one another on both sides.
        let part = geometry(&[2, 3, 4], &[30, 10, 1], &[12, 4, 1], 2);
        assert_eq!((used(&part), part.from), (vec![(6, 10, 4), (4, 1, 1)], 2));
        assert_eq!(used(&geometry(&[], &[], &[], 0)), [(1, 1, 1)]);
        assert_eq!(geometry(&[3, 0], &[1, 1], &[1, 1], 0).numel(), 0);
    }

    #[test]
    fn a_copy_goes_in_the_order_of_its_target() {
        // A matrix and its transpose: [3, 5] to [5, 3].
        let transpose = geometry(&[3, 5], &[5, 1], &[1, 3], 0);
        assert_eq!(used(&transpose), [(5, 1, 3), (3, 5, 1)]);
        assert_eq!(used(&transpose.reversed()), [(3, 1, 5), (5, 3, 1)]);
        // Backwards: the way back is backwards too.
        let flip = geometry(&[4], &[-1], &[1], 3);
        assert_eq!((flip.from, flip.to, used(&flip)), (3, 0, vec![(4, -1, 1)]));
        assert_eq!(flip.reversed(), flip);
    }

    #[test]
    fn nine_dimensions_that_do_not_merge_are_refused() {
        let sizes = [2; 9];
        let to = Layout::of(&Shape::from(sizes));
        let from = Layout { offset: 0, strides: to.strides.iter().rev().copied().collect() };
        assert!(CopyGeometry::new("test", &sizes, &from, &to).is_err());
        assert_eq!(CopyGeometry::new("test", &sizes, &to, &to).unwrap().rank, 1);
    }
}
