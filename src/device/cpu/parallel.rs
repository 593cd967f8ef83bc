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

/// Terms that a lane adds in its own precision before they go on in `f64`: so few lose at most half as
/// many units in the last place, however many there are in all.
const TERMS: usize = 16;

/// `LANES` partial sums: element `i` of what is added goes to lane `i % LANES`.
#[derive(Clone, Copy)]
pub(crate) struct LaneSums<T> {
    /// Of the last terms, at most [`TERMS`] in each lane.
    near: [T; LANES],
    /// Terms in the fullest lane of `near`.
    terms: usize,
    /// Of those before.
    far: [f64; LANES],
}

impl<T: Float> Default for LaneSums<T> {
    fn default() -> Self {
        Self { near: [T::zero(); LANES], terms: 0, far: [0.0; LANES] }
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
        let ((mut a, a_tail), (mut b, b_tail), (mut c, c_tail)) =
            (a.as_chunks::<LANES>(), b.as_chunks::<LANES>(), c.as_chunks::<LANES>());
        while !a.is_empty() {
            let terms = a.len().min(TERMS - self.terms);
            let (now_a, now_b, now_c);
            ((now_a, a), (now_b, b), (now_c, c)) =
                (a.split_at(terms), b.split_at(terms), c.split_at(terms));
            let mut sums = self.near;
            for ((a, b), c) in now_a.iter().zip(now_b).zip(now_c) {
                for lane in 0..LANES {
                    sums[lane] += f(a[lane], b[lane], c[lane]);
                }
            }
            self.near = sums;
            self.count(terms);
        }
        if !a_tail.is_empty() {
            let tails = a_tail.iter().zip(b_tail).zip(c_tail);
            for (sum, ((&a, &b), &c)) in self.near.iter_mut().zip(tails) {
                *sum += f(a, b, c);
            }
            self.count(1);
        }
    }

    /// Counts terms that were added; full lanes are emptied.
    #[inline(always)]
    fn count(&mut self, terms: usize) {
        self.terms += terms;
        if self.terms == TERMS {
            for lane in 0..LANES {
                self.far[lane] += self.near[lane].as_f64();
            }
            (self.near, self.terms) = ([T::zero(); LANES], 0);
        }
    }

    /// The sum of all lanes, taken in `f64` and in a fixed order: halves on halves.
    #[inline(always)]
    pub(crate) fn total(&self) -> f64 {
        let mut lanes = self.far;
        for (lane, near) in lanes.iter_mut().zip(&self.near) {
            *lane += near.as_f64();
        }
        let mut half = LANES / 2;
        while half > 0 {
            for lane in 0..half {
                lanes[lane] += lanes[lane + half];
            }
            half /= 2;
        }
        lanes[0]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_of_many_is_as_exact_as_one_of_few() {
        for n in [1, 15, 16, 17, 255, 256, 257, 5_000, 3_000_001] {
            let values = vec![0.1_f32; n];
            let exact = n as f64 * f64::from(0.1_f32);
            let sum = lane_sum(&values, &values, |x, _| x);
            assert!((sum - exact).abs() <= 5e-7 * exact, "{n}: {sum} for {exact}");
            // In runs of any length, as of an image's rows.
            let mut sums = LaneSums::default();
            for run in values.chunks(7) {
                sums.add(run, run, |x, _| x);
            }
            let sum = sums.total();
            assert!((sum - exact).abs() <= 5e-7 * exact, "{n} in runs: {sum} for {exact}");
        }
    }
}
