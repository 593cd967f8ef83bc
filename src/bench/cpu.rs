//! The CPU's clocks and peaks.

use super::{About, Case, Effort, Meter, Peaks};
use crate::device::{Cost, Cpu, Device};
use crate::{Error, Result};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use std::fs;
use std::time::Instant;

/// Independent vectors of one thread: more than a multiply-add takes cycles, on two pipes.
const CHAINS: usize = 12;

impl Meter for Cpu {
    fn about(&self) -> About {
        About {
            device: Device::Cpu(self.clone()).describe(),
            threads: Some(self.threads()),
            cuda_driver: None,
            nvrtc: None,
        }
    }

    fn time(&self, repetitions: usize, case: &mut Case) -> Result<Vec<f64>> {
        let timed = |_| {
            let work = case()?;
            let start = Instant::now();
            work()?;
            Ok(start.elapsed().as_secs_f64())
        };
        (0..repetitions).map(timed).collect()
    }

    fn peaks(&self, effort: Effort) -> Result<Peaks> {
        Ok(Peaks {
            bytes_per_second: self.bytes_per_second(effort)?,
            flops_per_second: self.flops_per_second(effort)?,
            launch_seconds: self.launch_seconds(effort),
        })
    }
}

impl Cpu {
    /// By a copy that no cache holds, in one piece for each thread; the fastest of several.
    fn bytes_per_second(&self, effort: Effort) -> Result<f64> {
        let (caches, repetitions) = if effort == Effort::Full { (4, 15) } else { (2, 2) };
        let source = vec![1.0_f32; caches * last_cache() / size_of::<f32>()];
        let mut target = vec![0.0_f32; source.len()];
        let piece = source.len().div_ceil(self.threads());
        let best = fastest(repetitions, || {
            self.install(|| {
                let pieces = target.par_chunks_mut(piece).zip(source.par_chunks(piece));
                pieces.for_each(|(target, source)| target.copy_from_slice(source));
            });
        });
        if target != source {
            return Err(wrong("the copy"));
        }
        Ok(2.0 * size_of_val(&source[..]) as f64 / best)
    }

    /// By multiply-adds on all threads at once, in the widest vectors there are; the fastest of
    /// several.
    fn flops_per_second(&self, effort: Effort) -> Result<f64> {
        let (rounds, repetitions) =
            if effort == Effort::Full { (1 << 21, 15) } else { (1 << 14, 2) };
        let chains = || Arch::new().dispatch(Chains { rounds });
        let mut results = Vec::new();
        let best = fastest(repetitions, || {
            results = self.install(|| rayon::broadcast(|_| chains()));
        });
        // Every chain c ends at c + 1.
        let sum = (CHAINS * (CHAINS + 1) / 2) as f32;
        if results.iter().any(|result| result.sum != sum * result.lanes as f32) {
            return Err(wrong("multiply-adds"));
        }
        let lanes: usize = results.iter().map(|result| result.lanes).sum();
        Ok((2 * lanes * CHAINS * rounds) as f64 / best)
    }

    /// What it takes to hand a kernel to the threads.
    fn launch_seconds(&self, effort: Effort) -> f64 {
        const LAUNCHES: usize = 1000;
        let repetitions = if effort == Effort::Full { 15 } else { 2 };
        let launches = || (0..LAUNCHES).for_each(|_| self.kernel("empty", Cost::default(), || ()));
        fastest(repetitions, launches) / LAUNCHES as f64
    }
}

/// The seconds of the fastest of some runs; one more goes before to warm up.
fn fastest(repetitions: usize, mut work: impl FnMut()) -> f64 {
    work();
    let timed = |_| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    (0..repetitions).map(timed).fold(f64::INFINITY, f64::min)
}

fn wrong(what: &str) -> Error {
    let message =
        format!("measuring its peaks, {what} gave a wrong result: do not trust this machine");
    Error::Device { device: "cpu".into(), message }
}

/// Bytes of the largest cache, or of a large one where the system does not tell.
fn last_cache() -> usize {
    const LARGE: usize = 64 << 20;
    let Ok(entries) = fs::read_dir("/sys/devices/system/cpu/cpu0/cache") else { return LARGE };
    let size = |path: std::path::PathBuf| {
        let text = fs::read_to_string(path.join("size")).ok()?;
        text.trim().strip_suffix('K')?.parse::<usize>().ok()
    };
    let sizes = entries.filter_map(|entry| size(entry.ok()?.path()));
    sizes.max().map_or(LARGE, |kib| kib << 10)
}

/// Chains of fused multiply-adds, as `peak_fma` of kernels/peak.cu: `x = x / 2 + (c + 1) / 2`.
struct Chains {
    rounds: usize,
}

/// What they came to.
struct Sum {
    lanes: usize,
    /// Over chains and lanes.
    sum: f32,
}

impl WithSimd for Chains {
    type Output = Sum;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Sum {
        let half = simd.splat_f32s(0.5);
        let mut x = [simd.splat_f32s(0.0); CHAINS];
        let step: [_; CHAINS] = std::array::from_fn(|c| simd.splat_f32s(0.5 * (c + 1) as f32));
        for _ in 0..self.rounds {
            for c in 0..CHAINS {
                x[c] = simd.mul_add_f32s(x[c], half, step[c]);
            }
        }
        let sum = x.into_iter().map(|x| simd.reduce_sum_f32s(x)).sum();
        Sum { lanes: S::F32_LANES, sum }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_come_to_their_fixed_points() {
        let Sum { lanes, sum } = Arch::new().dispatch(Chains { rounds: 64 });
        assert_eq!(sum, 78.0 * lanes as f32);
        // Half way after one round.
        let Sum { lanes, sum } = Arch::new().dispatch(Chains { rounds: 1 });
        assert_eq!(sum, 39.0 * lanes as f32);
    }

    #[test]
    fn peaks_are_within_what_a_computer_can_do() {
        let peaks = Cpu::new(Some(2)).unwrap().peaks(Effort::Quick).unwrap();
        assert!((1e7..1e14).contains(&peaks.bytes_per_second), "{peaks:?}");
        assert!((1e7..1e15).contains(&peaks.flops_per_second), "{peaks:?}");
        assert!((1e-9..1.0).contains(&peaks.launch_seconds), "{peaks:?}");
    }
}
