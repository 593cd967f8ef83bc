//! Splitting work between threads without changing its result.
//!
//! Work is cut into pieces whose number depends on the shape alone; a thread takes whole pieces,
//! and pieces are combined in their order. So the bits are the same for any number of threads.
#![forbid(unsafe_code)]

use crate::dtype::Float;

/// Elements of an elementwise kernel that one task handles: enough to outweigh the hand-over.
pub(crate) const BLOCK: usize = 16 * 1024;

/// Independent partial sums of a reduction: a compiler can keep them in vector registers.
const LANES: usize = 16;

/// `LANES` partial sums: element `i` of what is added goes to lane `i % LANES`.
#[derive(Clone, Copy)]
pub(crate) struct LaneSums<T>([T; LANES]);

impl<T: Float> Default for LaneSums<T> {
    fn default() -> Self {
        Self([T::zero(); LANES])
    }
}

impl<T: Float> LaneSums<T> {
    /// Adds `f(a, b)` over two equally long slices.
    #[inline(always)]
    pub(crate) fn add(&mut self, a: &[T], b: &[T], f: impl Fn(T, T) -> T) {
        self.add_products(
            a,
            b,
            b,
            #[inline(always)]
            |a, b, _| f(a, b),
        );
    }

    /// Adds `f(a, b, c)` over three equally long slices.
    #[inline(always)]
    pub(crate) fn add_products(&mut self, a: &[T], b: &[T], c: &[T], f: impl Fn(T, T, T) -> T) {
        let ((a, a_tail), (b, b_tail), (c, c_tail)) =
            (a.as_chunks::<LANES>(), b.as_chunks::<LANES>(), c.as_chunks::<LANES>());
        let mut sums = self.0;
        for ((a, b), c) in a.iter().zip(b).zip(c) {
            for lane in 0..LANES {
                sums[lane] += f(a[lane], b[lane], c[lane]);
            }
        }
        let tails = a_tail.iter().zip(b_tail).zip(c_tail);
        for (sum, ((&a, &b), &c)) in sums.iter_mut().zip(tails) {
            *sum += f(a, b, c);
        }
        self.0 = sums;
    }

    /// The sum of all lanes, taken in `f64` and in a fixed order.
    #[inline(always)]
    pub(crate) fn total(&self) -> f64 {
        self.0.iter().map(|lane| lane.as_f64()).sum()
    }
}

/// The sum of `f(a, b)` over two equally long slices.
#[inline(always)]
pub(crate) fn lane_sum<T: Float>(a: &[T], b: &[T], f: impl Fn(T, T) -> T) -> f64 {
    let mut sums = LaneSums::default();
    sums.add(a, b, f);
    sums.total()
}

/// Writes one element of an [`Output`](crate::device::Output).
#[inline(always)]
pub(crate) fn put<T: Float>(slot: &mut T, value: T, accumulate: bool) {
    *slot = if accumulate { *slot + value } else { value };
}
