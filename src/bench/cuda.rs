//! A GPU's clocks and peaks.

use super::{About, Case, Effort, Meter, Peaks};
use crate::device::cuda::{THREADS, driver_version, grid, nvrtc_info};
use crate::device::{Backend, Cuda, Device};
use crate::{Error, Result};

/// As in `peak.cu`: packs of a thread, and chains.
const COPY_PACKS: usize = 4;
const FMA_CHAINS: u32 = 8;
/// Elements of a pack.
const WIDTH: usize = 4;

impl Meter for Cuda {
    fn about(&self) -> About {
        let dotted = |(major, minor): (u32, u32)| format!("{major}.{minor}");
        About {
            device: Device::Cuda(self.clone()).describe(),
            threads: None,
            cuda_driver: driver_version().ok().map(dotted),
            nvrtc: nvrtc_info().ok().map(|nvrtc| dotted(nvrtc.version)),
        }
    }

    fn prepare(&self) {
        self.set_specialise(true);
    }

    /// By events on the stream. Before each repetition a buffer of twice the L2 cache is written, so
    /// that inputs come from memory; while the device is busy with that, the work is queued, and the
    /// time is of the work and not of the host.
    fn time(&self, repetitions: usize, case: &mut Case) -> Result<Vec<f64>> {
        let mut flush = self.alloc::<u8>(2 * self.l2_bytes()?)?;
        let mut points = Vec::with_capacity(repetitions);
        for _ in 0..repetitions {
            let work = case()?;
            self.zero(Self::view_mut(&mut flush))?;
            let start = self.event()?;
            work()?;
            points.push((start, self.event()?));
        }
        self.synchronize()?;
        let seconds = points.iter().map(|(start, end)| self.between(start, end));
        seconds.map(|time| Ok(time?.as_secs_f64())).collect()
    }

    fn peaks(&self, effort: Effort) -> Result<Peaks> {
        Ok(Peaks {
            bytes_per_second: self.bytes_per_second(effort)?,
            flops_per_second: self.flops_per_second(effort)?,
            launch_seconds: self.launch_seconds(effort)?,
        })
    }
}

impl Cuda {
    /// By a copy of several times the L2 cache; the fastest of several.
    fn bytes_per_second(&self, effort: Effort) -> Result<f64> {
        // One pack is left over, which the end of a block must not forget.
        let n = 4 * self.l2_bytes()? / size_of::<f32>() + 3;
        let host: Vec<f32> = (0..n).map(|i| (i % 8191) as f32).collect();
        let source = self.upload(&host)?;
        let mut target = self.alloc::<f32>(n)?;
        let best = self.fastest(repetitions(effort), || {
            self.kernel::<f32>("peak", "peak_copy")?
                .value(n as u32)
                .input(Self::view(&source))
                .output(Self::view_mut(&mut target))
                .launch(grid(n.div_ceil(WIDTH * COPY_PACKS)), [THREADS, 1, 1])
        })?;
        if self.read(Self::view(&target))? != host {
            return Err(self.wrong("a copy"));
        }
        Ok(2.0 * (n * size_of::<f32>()) as f64 / best)
    }

    /// By multiply-adds in as many threads as a GPU holds, for as many rounds as outweigh the launch;
    /// the fastest of several.
    fn flops_per_second(&self, effort: Effort) -> Result<f64> {
        const RESIDENT_BLOCKS: u32 = 2048 / THREADS;
        const LEAST_SECONDS: f64 = 1e-3;
        let blocks = self.info().multiprocessors * RESIDENT_BLOCKS;
        let mut sums = self.alloc::<f32>((blocks * THREADS) as usize)?;
        let mut chains = |rounds: u32, repetitions| {
            self.fastest(repetitions, || {
                self.kernel::<f32>("peak", "peak_fma")?
                    .value(rounds)
                    .output(Self::view_mut(&mut sums))
                    .launch([blocks, 1, 1], [THREADS, 1, 1])
            })
        };
        let mut rounds = 17;
        while rounds < 1 << 20 && chains(rounds, 1)? < LEAST_SECONDS {
            rounds *= 2;
        }
        let best = chains(rounds, repetitions(effort))?;
        let settled = (FMA_CHAINS * (FMA_CHAINS + 1) / 2) as f32;
        let left = FMA_CHAINS as f32 * 0.5_f32.powi(rounds as i32);
        let right = |(thread, &sum): (usize, &f32)| {
            // Rounding of eight numbers below 40.
            (sum - (settled + left * (thread % 32) as f32)).abs() < 1e-4
        };
        if !self.read(Self::view(&sums))?.iter().enumerate().all(right) {
            return Err(self.wrong("multiply-adds"));
        }
        let flops = 2 * u64::from(FMA_CHAINS) * u64::from(rounds) * u64::from(blocks * THREADS);
        Ok(flops as f64 / best)
    }

    /// By kernels that do nothing, in a row; the fastest of several rows.
    fn launch_seconds(&self, effort: Effort) -> Result<f64> {
        let launches = if effort == Effort::Full { 500 } else { 10 };
        let row = || {
            (0..launches).try_for_each(|_| {
                self.kernel::<f32>("peak", "peak_empty")?.launch([1, 1, 1], [32, 1, 1])
            })
        };
        Ok(self.fastest(repetitions(effort), row)? / f64::from(launches))
    }

    /// The seconds of the fastest of some runs; one more goes before to warm up.
    fn fastest(&self, repetitions: u32, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
        work()?;
        let mut best = f64::INFINITY;
        for _ in 0..repetitions {
            let start = self.event()?;
            work()?;
            let end = self.event()?;
            self.synchronize()?;
            best = best.min(self.between(&start, &end)?.as_secs_f64());
        }
        Ok(best)
    }

    fn wrong(&self, what: &str) -> Error {
        let message =
            format!("measuring its peaks, {what} gave a wrong result: do not trust this GPU");
        Error::Device { device: self.name(), message }
    }
}

/// Of a measurement of a peak.
fn repetitions(effort: Effort) -> u32 {
    if effort == Effort::Full { 20 } else { 2 }
}
