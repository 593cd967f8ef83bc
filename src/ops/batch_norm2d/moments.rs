//! The mean and the spread of numbers that come in parts.

use crate::device::cpu::LaneSums;
use crate::dtype::Float;

/// What is known of a set of numbers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Moments {
    /// How many they are.
    pub(crate) count: f64,
    pub(crate) mean: f64,
    /// The sum of `(x - mean)^2`.
    pub(crate) squares: f64,
}

impl Moments {
    /// Of all numbers of `runs`, of which there is at least one. Reads them twice, for the difference of
    /// E[x^2] and mean^2 cancels for a mean far from 0.
    #[inline(always)]
    pub(crate) fn of<'a, T: Float>(runs: impl Iterator<Item = &'a [T]> + Clone) -> Self {
        let (mut sum, mut count) = (LaneSums::default(), 0);
        for run in runs.clone() {
            count += run.len();
            sum.add(
                run,
                run,
                #[inline(always)]
                |x, _| x,
            );
        }
        let count = count as f64;
        let mean = sum.total() / count;
        let around = T::of(mean);
        let mut squares = LaneSums::default();
        for run in runs {
            squares.add(
                run,
                run,
                #[inline(always)]
                |x, _| (x - around) * (x - around),
            );
        }
        // Around the rounded mean: move to the mean itself.
        let off = mean - around.as_f64();
        Self { count, mean, squares: squares.total() - off * off * count }
    }

    /// Of both sets: Chan, Golub, LeVeque, "Algorithms for Computing the Sample Variance", 1983.
    #[inline(always)]
    pub(crate) fn with(self, more: Self) -> Self {
        let count = self.count + more.count;
        let apart = more.mean - self.mean;
        Self {
            count,
            mean: self.mean + apart * (more.count / count),
            squares: self.squares
                + more.squares
                + apart * apart * (self.count * more.count / count),
        }
    }
}
