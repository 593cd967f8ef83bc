//! Philox-4x32-10, the counter-based generator behind every random number of the engine.
//!
//! A counter-based generator has no state to carry: the numbers are a pure function of
//! `(seed, stream, step, index)`. So the CPU and a CUDA kernel draw the same bits in any order and
//! on any number of threads, dropout's backward pass recomputes its mask instead of storing it,
//! and a resumed run needs to remember nothing but the step.
//!
//! Source: Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011.
#![forbid(unsafe_code)]

use crate::dtype::Float;
use crate::{Error, Result};

/// Streams of the engine's own consumers; layers take `0, 1, 2, …` in the order they are built.
pub mod stream {
    /// Initialisation of parameters.
    pub const INIT: u32 = 0xffff_0001;
    /// The order in which an epoch visits the data; `step` is the epoch.
    pub const SHUFFLE: u32 = 0xffff_0002;
    /// The synthetic data set; `step` is the image.
    pub const SYNTHETIC: u32 = 0xffff_0003;
    /// How images are changed before a step trains on them; `step` is the training step.
    pub const AUGMENT: u32 = 0xffff_0004;
    /// Which backgrounds are replaced and by what; `step` is the training step.
    pub const BACKGROUND: u32 = 0xffff_0005;
    /// Which images are filtered and how; `step` is the training step.
    pub const FILTER: u32 = 0xffff_0006;
}

/// A word as a share of 1, in 24 bits: exact in f32, so that both precisions draw the same.
pub fn share<T: Float>(word: u32) -> T {
    T::of(f64::from(word >> 8) / f64::from(1 << 24))
}

/// A word as a number from -1 to 1, see [`share`].
pub fn both_sides<T: Float>(word: u32) -> T {
    share::<T>(word) + share(word) - T::one()
}

/// A Philox-4x32-10 generator for one seed: a function from counters to random words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Philox {
    key: [u32; 2],
}

impl Philox {
    /// The generator of `seed`.
    pub fn new(seed: u64) -> Self {
        Self { key: [seed as u32, (seed >> 32) as u32] }
    }

    pub(crate) const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];

    pub(crate) fn key(self) -> [u32; 2] {
        self.key
    }

    /// The key of the next round.
    #[inline(always)]
    pub(crate) fn next_key(key: [u32; 2]) -> [u32; 2] {
        const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
        [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])]
    }

    /// Four random words at `block` of `(stream, step)`.
    ///
    /// Element `i` of a tensor takes word `i % 4` of block `i / 4`.
    #[inline]
    pub fn block(self, stream: u32, step: u64, block: u32) -> [u32; 4] {
        self.blocks::<1>(stream, step, block).map(|[word]| word)
    }

    /// The blocks from `first` on, `N` at once: word `w` of block `first + i` is `[w][i]`.
    ///
    /// The same arithmetic on `N` counters side by side is what vector units are for.
    #[inline(always)]
    pub fn blocks<const N: usize>(self, stream: u32, step: u64, first: u32) -> [[u32; N]; 4] {
        let blocks = std::array::from_fn(|i| first.wrapping_add(i as u32));
        let [mut c0, mut c1] = [blocks, [stream; N]];
        let [mut c2, mut c3] = [[step as u32; N], [(step >> 32) as u32; N]];
        let mut key = self.key;
        for _ in 0..10 {
            let counters = c0.iter_mut().zip(&mut c1).zip(c2.iter_mut().zip(&mut c3));
            for ((c0, c1), (c2, c3)) in counters {
                let a = u64::from(Self::MULTIPLIERS[0]) * u64::from(*c0);
                let b = u64::from(Self::MULTIPLIERS[1]) * u64::from(*c2);
                (*c0, *c1) = ((b >> 32) as u32 ^ *c1 ^ key[0], b as u32);
                (*c2, *c3) = ((a >> 32) as u32 ^ *c3 ^ key[1], a as u32);
            }
            key = Self::next_key(key);
        }
        [c0, c1, c2, c3]
    }

    /// A sequential reader of `(stream, step)`, for work on the host.
    pub fn sequence(self, stream: u32, step: u64) -> Sequence {
        Sequence { philox: self, stream, step, next: 0, words: [0; 4] }
    }

    /// A uniformly random order of `0..n` for `(stream, step)` (Fisher-Yates).
    pub fn permutation(self, stream: u32, step: u64, n: usize) -> Vec<u32> {
        let mut order: Vec<u32> = (0..n as u32).collect();
        let mut random = self.sequence(stream, step);
        for i in (1..n).rev() {
            order.swap(i, random.below(i as u32 + 1) as usize);
        }
        order
    }
}

/// Random numbers one after the other, from one `(seed, stream, step)`.
#[derive(Debug, Clone)]
pub struct Sequence {
    philox: Philox,
    stream: u32,
    step: u64,
    next: u64,
    words: [u32; 4],
}

impl Sequence {
    /// The next 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        let word = (self.next % 4) as usize;
        if word == 0 {
            self.words = self.philox.block(self.stream, self.step, (self.next / 4) as u32);
        }
        self.next += 1;
        self.words[word]
    }

    /// Uniform in `[0, 1)`, on the grid of 2^-24 that `f32` holds exactly.
    pub fn uniform(&mut self) -> f64 {
        f64::from(self.next_u32() >> 8) * f64::from(2f32.powi(-24))
    }

    /// Uniform in `[low, high)`.
    pub fn range(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// Standard normal (Box-Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Uniform in `0..n`, without bias (Lemire's method).
    ///
    /// `n` must not be 0.
    pub fn below(&mut self, n: u32) -> u32 {
        let threshold = n.wrapping_neg() % n;
        loop {
            let product = u64::from(self.next_u32()) * u64::from(n);
            if product as u32 >= threshold {
                return (product >> 32) as u32;
            }
        }
    }

    /// An index of `weights`, each as likely as its weight, as `torch.multinomial(weights, 1)` draws one. They
    /// need not sum to 1: those of logits are their [`softmax`](crate::Tensor::softmax).
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::rng::Philox;
    /// let mut random = Philox::new(0).sequence(0, 0);
    /// assert_eq!(random.multinomial(&[0.0, 0.5, 0.0])?, 1);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] for a weight that is negative or not finite, and when none is above 0.
    pub fn multinomial<T: Float>(&mut self, weights: &[T]) -> Result<usize> {
        let possible = |&weight: &f64| weight >= 0.0 && weight.is_finite();
        let weights: Vec<f64> = weights.iter().map(|weight| weight.as_f64()).collect();
        if let Some(weight) = weights.iter().find(|weight| !possible(weight)) {
            let message = format!("must be finite and not negative, one is {weight}");
            return Err(Error::argument("weights", message));
        }
        // Where rounding leaves something over all of them, it is the last one's that is possible at all.
        let Some(last) = weights.iter().rposition(|&weight| weight > 0.0) else {
            return Err(Error::argument("weights", "one must be above 0"));
        };
        let mut left = self.range(0.0, weights.iter().sum());
        let drawn = weights.iter().position(|weight| {
            left -= weight;
            left < 0.0
        });
        Ok(drawn.unwrap_or(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers of the authors' own test vectors (Random123, `kat_vectors`, philox4x32 10).
    #[test]
    fn known_answers() {
        let zero = Philox { key: [0, 0] }.block(0, 0, 0);
        assert_eq!(zero, [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        let ones = Philox { key: [u32::MAX; 2] }.block(u32::MAX, u64::MAX, u32::MAX);
        assert_eq!(ones, [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        let pi = Philox { key: [0xa409_3822, 0x299f_31d0] }.block(
            0x85a3_08d3,
            0x0370_7344_1319_8a2e,
            0x243f_6a88,
        );
        assert_eq!(pi, [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }

    #[test]
    fn blocks_side_by_side_are_the_single_ones() {
        let philox = Philox::new(0x1234_5678_9abc_def0);
        let many = philox.blocks::<16>(3, 1 << 40, 100);
        for i in 0..16 {
            assert_eq!(philox.block(3, 1 << 40, 100 + i as u32), many.map(|words| words[i]));
        }
    }

    #[test]
    fn a_permutation_holds_each_row_once_and_differs_by_epoch() {
        let philox = Philox::new(7);
        let order = philox.permutation(stream::SHUFFLE, 0, 1000);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert!(sorted.iter().copied().eq(0..1000));
        assert_ne!(order, philox.permutation(stream::SHUFFLE, 1, 1000));
        assert_eq!(order, philox.permutation(stream::SHUFFLE, 0, 1000));
    }

    #[test]
    fn uniform_and_normal_have_their_moments() {
        let mut random = Philox::new(1).sequence(0, 0);
        let n = 100_000;
        let (mut mean, mut normal, mut square) = (0.0, 0.0, 0.0);
        for _ in 0..n {
            mean += random.uniform() / f64::from(n);
            let z = random.normal();
            normal += z / f64::from(n);
            square += z * z / f64::from(n);
        }
        assert!((mean - 0.5).abs() < 0.005, "{mean}");
        assert!(normal.abs() < 0.015, "{normal}");
        assert!((square - 1.0).abs() < 0.02, "{square}");
    }

    #[test]
    fn multinomial_draws_by_weight() {
        let mut random = Philox::new(1).sequence(0, 0);
        let weights = [0.0f32, 6.0, 0.0, 3.0, 1.0, 0.0];
        let mut counts = [0.0; 6];
        for _ in 0..100_000 {
            counts[random.multinomial(&weights).unwrap()] += 1e-5;
        }
        for (count, weight) in counts.iter().zip(weights) {
            // Five standard deviations at most.
            let share = f64::from(weight) / 10.0;
            assert!((count - share).abs() <= 0.008 * share.sqrt(), "{counts:?}");
        }
    }

    #[test]
    fn weights_that_are_none_are_refused() {
        let mut random = Philox::new(1).sequence(0, 0);
        for weights in [&[][..], &[0.0, 0.0], &[1.0, -1.0], &[f64::NAN], &[1.0, f64::INFINITY]] {
            let refused = random.multinomial(weights);
            assert!(matches!(refused, Err(Error::Argument { name: "weights", .. })), "{refused:?}");
        }
    }
}
