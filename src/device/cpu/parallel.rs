//! Splitting work between threads without changing its result.
//!
//! Work is cut into pieces whose number depends on the shape alone; a thread takes whole pieces,
//! and pieces are combined in their order. So the bits are the same for any number of threads.

use crate::dtype::Float;

/// Elements of an elementwise kernel that one task handles: enough to outweigh the hand-over.
pub(crate) const BLOCK: usize = 16 * 1024;

/// Independent partial sums of a reduction: a compiler can keep them in vector registers.
const LANES: usize = 16;

/// `LANES` partial sums of `f(a, b)` over two equally long slices: element `i` goes to lane
/// `i % LANES`.
#[inline]
pub(crate) fn lanes<T: Float>(a: &[T], b: &[T], f: impl Fn(T, T) -> T) -> [T; LANES] {
    let mut sums = [T::zero(); LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let tails = a_chunks.remainder().iter().zip(b_chunks.remainder());
    for (lane, (&a, &b)) in tails.enumerate() {
        sums[lane] = f(a, b);
    }
    for (a, b) in a_chunks.zip(b_chunks) {
        for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(b) {
            *sum += f(a, b);
        }
    }
    sums
}

/// The sum of [`lanes`], taken in `f64` and in a fixed order.
#[inline]
pub(crate) fn lane_sum<T: Float>(a: &[T], b: &[T], f: impl Fn(T, T) -> T) -> f64 {
    lanes(a, b, f).iter().map(|lane| lane.as_f64()).sum()
}

/// Writes one element of an [`Output`](crate::device::Output).
#[inline(always)]
pub(crate) fn put<T: Float>(slot: &mut T, value: T, accumulate: bool) {
    *slot = if accumulate { *slot + value } else { value };
}
