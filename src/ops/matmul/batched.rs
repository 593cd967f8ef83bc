//! Products of many matrices: which matrix meets which, and when all of them are one product.

use super::MatmulGeometry;
use crate::device::Cost;
use crate::dtype::Plain;
use crate::ops::index32;
use crate::{Error, Result, Shape};

/// Batch dimensions that kernels tell apart, `BATCH_DIMS` of `batched_matmul.cu`: those that repeat
/// or run on together count once.
const DIMS: usize = 6;

/// Dimensions that are counted through, the last one fastest, and how many elements of both operands
/// one step along each is. Unused ones come first and have size 1.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct Walk {
    sizes: [u32; DIMS],
    a: [u32; DIMS],
    b: [u32; DIMS],
}

impl Walk {
    /// Where the matrices number `i` begin.
    pub(crate) fn offsets(&self, mut i: usize) -> (usize, usize) {
        let (mut a, mut b) = (0, 0);
        for d in (0..DIMS).rev() {
            let size = self.sizes[d] as usize;
            a += i % size * self.a[d] as usize;
            b += i % size * self.b[d] as usize;
            i /= size;
        }
        (a, b)
    }
}

/// Each of `batches` matrices of the result is the sum of `terms` products.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct BatchedGeometry {
    /// One product; its `k` is at least 1.
    pub product: MatmulGeometry,
    /// Matrices of the result.
    pub batches: u32,
    /// Products that are summed in each; none where there is nothing to sum.
    pub terms: u32,
    /// Through the batches.
    pub batch: Walk,
    /// Through the terms.
    pub sum: Walk,
}

impl Plain for BatchedGeometry {}

impl BatchedGeometry {
    /// `2 m n k` FLOP for each term; reads both operands of each and writes the result once.
    pub fn cost<T>(&self) -> Cost {
        let MatmulGeometry { m, n, k, .. } = self.product;
        let [m, n, k] = [m, n, k].map(u64::from);
        let (batches, terms) = (u64::from(self.batches), u64::from(self.terms));
        Cost { flops: 2 * m * n * k * batches * terms, bytes: 0 }
            .moving::<T>(batches * (terms * (m * k + k * n) + m * n))
    }
}

/// A dimension on its way into a [`Walk`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Dim {
    size: usize,
    a: usize,
    b: usize,
}

/// Dimensions in order, those of size 1 left out and those that run on as one joined.
#[derive(Debug, Default, PartialEq, Eq)]
struct Dims(Vec<Dim>);

impl Dims {
    fn push(&mut self, dim: Dim) {
        match self.0.last_mut() {
            _ if dim.size == 1 => {}
            Some(last) if last.a == dim.a * dim.size && last.b == dim.b * dim.size => {
                *last = Dim { size: last.size * dim.size, ..dim };
            }
            _ => self.0.push(dim),
        }
    }

    fn count(&self) -> usize {
        self.0.iter().map(|dim| dim.size).product()
    }

    fn walk(&self, op: &'static str) -> Result<Walk> {
        let mut walk = Walk { sizes: [1; DIMS], a: [0; DIMS], b: [0; DIMS] };
        let Some(unused) = DIMS.checked_sub(self.0.len()) else {
            let message = format!(
                "batch dimensions that repeat and do not repeat in turn, more than {DIMS} times: \
                 reshape them into fewer"
            );
            return Err(Error::shape(op, message));
        };
        // Of nothing there is no number 0 to find.
        let dims = if self.count() == 0 { &[] } else { &self.0[..] };
        for (i, dim) in dims.iter().enumerate() {
            let d = unused + i;
            walk.sizes[d] = index32(op, dim.size)?;
            (walk.a[d], walk.b[d]) = (index32(op, dim.a)?, index32(op, dim.b)?);
        }
        Ok(walk)
    }
}

/// How a product is computed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// As that of two matrices: nothing repeats, or the repeated one meets all rows alike.
    Plain(MatmulGeometry),
    /// As many.
    Batched(BatchedGeometry),
}

impl Plan {
    /// The products `product` of the matrices of `a` and `b`, whose batch dimensions these are, and
    /// `c` those of the result: as broadcasting makes them, or some of them 1 or missing, over which
    /// products are summed.
    ///
    /// # Errors
    /// [`Error::Shape`] in the name of `op` when there is more than kernels index.
    pub(crate) fn new(
        op: &'static str,
        product: MatmulGeometry,
        [a, b, c]: [&[usize]; 3],
    ) -> Result<Self> {
        if a.is_empty() && b.is_empty() {
            return Ok(Self::Plain(product));
        }
        let MatmulGeometry { m, n, k, transpose_a, transpose_b } = product;
        let [rows, inner, columns] = [m, k, n].map(|size| size as usize);
        let rank = a.len().max(b.len());
        let aligned = |dims: &[usize], d: usize| {
            (d + dims.len()).checked_sub(rank).map_or(1, |place| dims[place])
        };
        let (mut kept, mut summed) = (Vec::new(), Vec::new());
        let (mut step_a, mut step_b) = (rows * inner, inner * columns);
        for d in (0..rank).rev() {
            let [of_a, of_b, of_c] = [a, b, c].map(|dims| aligned(dims, d));
            let size = if of_a == 1 { of_b } else { of_a };
            let step = |of: usize, step: usize| if of == 1 { 0 } else { step };
            let dim = Dim { size, a: step(of_a, step_a), b: step(of_b, step_b) };
            if of_c == size {
                kept.push(dim)
            } else {
                summed.push(dim)
            }
            (step_a, step_b) = (step_a * of_a, step_b * of_b);
        }
        let [kept, summed] = [kept, summed].map(|dims| {
            let mut joined = Dims::default();
            dims.into_iter().rev().for_each(|dim| joined.push(dim));
            joined
        });
        let whole = |op, a: usize, b: usize| index32(op, a.saturating_mul(b));
        match (&kept.0[..], &summed.0[..]) {
            ([], []) => return Ok(Self::Plain(product)),
            // The rows of all matrices of a, one below the other.
            (&[Dim { size, a, b: 0 }], []) if transpose_a == 0 && a == rows * inner => {
                let m = whole(op, size, rows)?;
                return Ok(Self::Plain(MatmulGeometry { m, ..product }));
            }
            // The sum over all rows of both.
            (&[], &[Dim { size, a, b }])
                if (transpose_a, transpose_b) == (1, 0)
                    && (a, b) == (rows * inner, inner * columns) =>
            {
                let k = whole(op, size, inner)?;
                return Ok(Self::Plain(MatmulGeometry { k, ..product }));
            }
            _ => {}
        }
        let batches = index32(op, kept.count())?;
        let terms = if inner == 0 { 0 } else { index32(op, summed.count())? };
        whole(op, terms as usize, inner)?;
        Ok(Self::Batched(BatchedGeometry {
            product: MatmulGeometry { k: k.max(1), ..product },
            batches,
            terms,
            batch: kept.walk(op)?,
            sum: summed.walk(op)?,
        }))
    }
}

/// The batch dimensions of a product, as NumPy broadcasts those of its operands.
///
/// # Errors
/// [`Error::Shape`] in the name of `op`, naming the `operands`.
pub(crate) fn broadcast(
    op: &'static str,
    [a, b]: [&[usize]; 2],
    operands: [&Shape; 2],
) -> Result<Vec<usize>> {
    let (long, short) = if a.len() < b.len() { (b, a) } else { (a, b) };
    let (head, tail) = long.split_at(long.len() - short.len());
    let mut dims = head.to_vec();
    for (&x, &y) in tail.iter().zip(short) {
        if x != y && x != 1 && y != 1 {
            let [a, b] = operands;
            let message = format!("{a} times {b}: batch dimensions {x} and {y} do not fit");
            return Err(Error::shape(op, message));
        }
        dims.push(if x == 1 { y } else { x });
    }
    Ok(dims)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(product: MatmulGeometry, dims: [&[usize]; 3]) -> Plan {
        Plan::new("test", product, dims).unwrap()
    }

    #[test]
    fn matrices_that_meet_one_are_one_product() {
        let g = MatmulGeometry::new("test", 3, 5, 7).unwrap();
        assert_eq!(plan(g, [&[], &[], &[]]), Plan::Plain(g));
        assert_eq!(plan(g, [&[1, 1], &[1], &[1, 1]]), Plan::Plain(g));
        let tall = Plan::Plain(MatmulGeometry { m: 24, ..g });
        assert_eq!(plan(g, [&[4, 2], &[], &[4, 2]]), tall);
        assert_eq!(plan(g, [&[4, 2], &[1, 1], &[4, 2]]), tall);
        // Its gradient is the sum over all of them.
        let g = g.transpose_a();
        assert_eq!(plan(g, [&[4, 2], &[4, 2], &[1]]), Plan::Plain(MatmulGeometry { k: 56, ..g }));
    }

    #[test]
    fn matrices_are_found_whatever_repeats() {
        let g = MatmulGeometry::new("test", 1, 1, 1).unwrap();
        // a [2, 1, 3], b [4, 1]: [2, 4, 3].
        let Plan::Batched(batched) = plan(g, [&[2, 1, 3], &[4, 1], &[2, 4, 3]]) else { panic!() };
        assert_eq!((batched.batches, batched.terms), (24, 1));
        for i in 0..24 {
            let (x, y, z) = (i / 12, i / 3 % 4, i % 3);
            assert_eq!(batched.batch.offsets(i), (x * 3 + z, y), "{i}");
        }
        // The gradient of b sums over the first and the last dimension.
        let Plan::Batched(batched) = plan(g, [&[2, 1, 3], &[2, 4, 3], &[4, 1]]) else { panic!() };
        assert_eq!((batched.batches, batched.terms), (4, 6));
        for (i, j) in (0..4).flat_map(|i| (0..6).map(move |j| (i, j))) {
            let (of_batch, of_term) = (batched.batch.offsets(i), batched.sum.offsets(j));
            let (x, z) = (j / 3, j % 3);
            assert_eq!(of_batch.0 + of_term.0, x * 3 + z, "{i} {j}");
            assert_eq!(of_batch.1 + of_term.1, (x * 4 + i) * 3 + z, "{i} {j}");
        }
    }

    #[test]
    fn dimensions_in_turn_are_an_error() {
        let g = MatmulGeometry::new("test", 1, 1, 1).unwrap();
        let (a, b) = ([2, 1, 2, 1, 2, 1, 2], [1, 2, 1, 2, 1, 2, 1]);
        let error = Plan::new("test", g, [&a, &b, &[2; 7]]).unwrap_err().to_string();
        assert!(error.contains("reshape them into fewer"), "{error}");
        let operands = [&Shape::from([2, 3, 3]), &Shape::from([4, 3, 3])];
        let error = broadcast("test", [&[2], &[4]], operands).unwrap_err().to_string();
        assert!(error.contains("batch dimensions 2 and 4"), "{error}");
    }
}
