use crate::device::{Cost, KernelRun};
use serde::Serialize;
use std::fmt;

/// What a device can do at best, as measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Peaks {
    /// Bytes moved by a copy that no cache holds, reads and writes together.
    pub bytes_per_second: f64,
    /// Single-precision operations by chains of fused multiply-adds.
    pub flops_per_second: f64,
    /// The time of a kernel that does nothing, one of many in a row.
    pub launch_seconds: f64,
}

/// What keeps a kernel from being faster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Limit {
    /// Moving its bytes.
    Memory,
    /// Its arithmetic.
    Arithmetic,
    /// Being started at all.
    Launch,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Memory => "memory",
            Self::Arithmetic => "arithmetic",
            Self::Launch => "launch",
        })
    }
}

/// The least time that the peaks allow, and why it is not less.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Roofline {
    /// Seconds.
    pub seconds: f64,
    /// The peak that takes most of them.
    pub limit: Limit,
}

impl Peaks {
    /// Of one kernel: the longest of moving its bytes, doing its arithmetic and being launched, as the
    /// three overlap.
    pub fn kernel(&self, cost: Cost) -> Roofline {
        let seconds = [
            (cost.bytes as f64 / self.bytes_per_second, Limit::Memory),
            (cost.flops as f64 / self.flops_per_second, Limit::Arithmetic),
            (self.launch_seconds, Limit::Launch),
        ];
        let longest = |a: (f64, Limit), b: (f64, Limit)| if b.0 > a.0 { b } else { a };
        let (seconds, limit) = seconds.into_iter().fold((0.0, Limit::Launch), longest);
        Roofline { seconds, limit }
    }

    /// Of kernels that run one after the other: their sum, and the limit that most of it is due to.
    pub fn roofline(&self, runs: &[KernelRun]) -> Roofline {
        let each = || runs.iter().map(|run| self.kernel(run.cost));
        let due = |limit| each().filter(|one| one.limit == limit).map(|one| one.seconds).sum();
        let limits = [Limit::Launch, Limit::Memory, Limit::Arithmetic];
        let all: Vec<(f64, Limit)> = limits.map(|limit| (due(limit), limit)).into();
        let most = all.iter().fold(all[0], |most, &one| if one.0 > most.0 { one } else { most });
        Roofline { seconds: each().map(|one| one.seconds).sum(), limit: most.1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEAKS: Peaks =
        Peaks { bytes_per_second: 1e12, flops_per_second: 5e13, launch_seconds: 2e-6 };

    fn run(flops: u64, bytes: u64) -> KernelRun {
        KernelRun { name: "k", launch: None, cost: Cost { flops, bytes } }
    }

    #[test]
    fn the_longest_of_the_three_binds() {
        // 10 MB take 10 us, 100 MFLOP take 2 us.
        let memory = PEAKS.kernel(Cost { flops: 100_000_000, bytes: 10_000_000 });
        assert_eq!(memory, Roofline { seconds: 1e-5, limit: Limit::Memory });
        let arithmetic = PEAKS.kernel(Cost { flops: 1_000_000_000, bytes: 10_000_000 });
        assert_eq!(arithmetic, Roofline { seconds: 2e-5, limit: Limit::Arithmetic });
        let launch = PEAKS.kernel(Cost { flops: 50_000_000, bytes: 1_000_000 });
        assert_eq!(launch, Roofline { seconds: 2e-6, limit: Limit::Launch });
    }

    #[test]
    fn kernels_add_and_the_greatest_share_binds() {
        let runs = [run(0, 3_000_000), run(0, 10), run(0, 10), run(0, 10)];
        let roofline = PEAKS.roofline(&runs);
        assert!((roofline.seconds - 9e-6).abs() < 1e-12, "{roofline:?}");
        assert_eq!(roofline.limit, Limit::Launch);
        assert_eq!(PEAKS.roofline(&runs[..2]).limit, Limit::Memory);
        assert_eq!(PEAKS.roofline(&[]).seconds, 0.0);
    }
}
