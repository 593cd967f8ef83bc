//! `signet train --explain`: the kernels of one training step, and what they cost.

use std::fmt::Write as _;

use serde::Serialize;

use crate::bench::{Effort, Measured, Peaks, trace_step};
use crate::device::{AnyDevice, Cost, KernelRun, LaunchShape};
use crate::train::Config;
use crate::{Error, Result};

/// The plan of a step with these settings on `device`, as a table or as JSON.
///
/// It makes one step on synthetic hands, whose kernels are recorded as they are launched, and measures
/// the device's peaks, from which the estimated times come.
pub fn explain(device: &AnyDevice, config: &Config, fuse: bool, json: bool) -> Result<String> {
    match device {
        AnyDevice::Cpu(cpu) => cpu.install(|| plan(cpu, config, fuse, json)),
        AnyDevice::Cuda(cuda) => plan(cuda, config, fuse, json),
    }
}

/// A plan as JSON.
#[derive(Serialize)]
struct Plan {
    batch: usize,
    peaks: Peaks,
    /// In order.
    kernels: Vec<KernelRun>,
}

fn plan<D: Measured>(device: &D, config: &Config, fuse: bool, json: bool) -> Result<String> {
    let kernels = trace_step(device, config, fuse)?;
    let plan = Plan { batch: config.batch_size, peaks: device.peaks(Effort::Full)?, kernels };
    if json {
        return serde_json::to_string(&plan)
            .map_err(|e| Error::argument("--json", format!("cannot be written: {e}")));
    }
    Ok(table(&plan.kernels, plan.peaks, plan.batch))
}

fn table(runs: &[KernelRun], peaks: Peaks, batch: usize) -> String {
    let on_gpu = runs.iter().any(|run| run.launch.is_some());
    let width = runs.iter().map(|run| run.name.len()).max().unwrap_or(0).max("kernel".len());
    let row =
        |name: &str, launch: Option<[String; 2]>, [flops, bytes, time]: [String; 3], end: &str| {
            let mut line = format!("\n{name:<width$}");
            if let Some([grid, block]) = launch {
                line += &format!(" {grid:>12} {block:>8}");
            }
            line + &format!(" {flops:>14} {bytes:>14} {time:>10} {end}")
        };
    let words = |words: [&str; 2]| on_gpu.then(|| words.map(str::to_owned));
    let head = ["FLOP", "bytes", "us at least"].map(str::to_owned);
    let mut text = format!("One training step, batch {batch}: {} kernels, in order\n", runs.len());
    text += &row("kernel", words(["grid", "block"]), head, "bound by");
    for run in runs {
        let launch =
            run.launch.map(|LaunchShape { grid, block, .. }| [grid, block].map(dimensions));
        let roofline = peaks.kernel(run.cost);
        text +=
            row(run.name, launch, numbers(run.cost, roofline.seconds), &roofline.limit.to_string())
                .trim_end();
    }
    let roofline = peaks.roofline(runs);
    let cost: Cost = runs.iter().map(|run| run.cost).sum();
    let sums = numbers(cost, roofline.seconds);
    text += row("sum", words(["", ""]), sums, &format!("mostly {}", roofline.limit)).trim_end();
    // Writing to a String cannot fail.
    _ = write!(
        text,
        "\n\nA time is an estimate: the longest of moving the bytes, doing the arithmetic and starting the \
         kernel,\nat the peaks of this device as measured at this moment: {:.1} GB/s, {:.1} GFLOP/s, \
         {:.2} us a launch.",
        peaks.bytes_per_second / 1e9,
        peaks.flops_per_second / 1e9,
        peaks.launch_seconds * 1e6
    );
    text
}

fn numbers(cost: Cost, seconds: f64) -> [String; 3] {
    [cost.flops.to_string(), cost.bytes.to_string(), format!("{:.2}", seconds * 1e6)]
}

/// `256`, or `32x8` where there is more than one dimension.
fn dimensions(sizes: [u32; 3]) -> String {
    let used = sizes.iter().rposition(|&size| size != 1).map_or(1, |last| last + 1);
    sizes[..used].iter().map(u32::to_string).collect::<Vec<_>>().join("x")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEAKS: Peaks =
        Peaks { bytes_per_second: 1e12, flops_per_second: 1e13, launch_seconds: 2e-6 };

    #[test]
    fn dimensions_of_one_are_left_out() {
        assert_eq!(dimensions([1, 1, 1]), "1");
        assert_eq!(dimensions([32, 8, 1]), "32x8");
        assert_eq!(dimensions([4, 1, 2]), "4x1x2");
    }

    #[test]
    fn a_plan_has_a_line_for_each_kernel_and_their_sums() {
        let launch = LaunchShape { grid: [100, 2, 1], block: [256, 1, 1], dynamic_shared: 0 };
        let cost = Cost { flops: 1_000_000, bytes: 30_000_000 };
        let run = KernelRun { name: "conv2d_forward", launch: Some(launch), cost };
        let text = table(&[run, KernelRun { cost: Cost::default(), ..run }], PEAKS, 7);
        let words =
            |line: usize| text.lines().nth(line).unwrap().split_whitespace().collect::<Vec<_>>();
        assert!(text.starts_with("One training step, batch 7: 2 kernels"), "{text}");
        assert_eq!(
            words(3),
            ["conv2d_forward", "100x2", "256", "1000000", "30000000", "30.00", "memory"]
        );
        assert_eq!(words(4), ["conv2d_forward", "100x2", "256", "0", "0", "2.00", "launch"]);
        assert_eq!(words(5), ["sum", "1000000", "30000000", "32.00", "mostly", "memory"]);
    }

    #[test]
    fn a_plan_of_the_cpu_has_no_grid() {
        let run = KernelRun { name: "adam", launch: None, cost: Cost { flops: 1, bytes: 2 } };
        let text = table(&[run], PEAKS, 1);
        assert!(!text.contains("grid"), "{text}");
        assert!(text.contains("\nadam "), "{text}");
    }
}
