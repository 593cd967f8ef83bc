//! `signet train --explain`: the kernels of one training step, and what they cost.

use serde::Serialize;

use super::columns::Table;
use super::terminal::table_width;
use crate::words::{count, counted};
use signet::bench::{Effort, Peaks, peaks, trace_layers};
use signet::device::{Cost, KernelRun, LaunchShape};
use signet::train::Config;
use signet::{Device, Error, Result};

/// The plan of a step with these settings on `device`, as a table or as JSON.
///
/// It makes one step on synthetic hands, whose kernels are recorded as they are launched, and measures
/// the device's peaks, from which the estimated times come.
pub fn explain(device: &Device, config: &Config, fuse: bool, json: bool) -> Result<String> {
    device.install(|| plan(device, config, fuse, json))
}

/// A plan as JSON.
#[derive(Serialize)]
struct Plan {
    batch: usize,
    peaks: Peaks,
    /// In order.
    kernels: Vec<Step>,
}

/// A kernel of a plan.
#[derive(Debug, Clone, Serialize)]
struct Step {
    #[serde(flatten)]
    run: KernelRun,
    /// The layers that it works for, nothing outside of the model.
    layer: String,
}

fn plan(device: &Device, config: &Config, fuse: bool, json: bool) -> Result<String> {
    let kernels = trace_layers(device, config, fuse)?;
    let kernels = kernels.into_iter().map(|(layer, run)| Step { run, layer }).collect();
    let plan = Plan { batch: config.batch_size, peaks: peaks(device, Effort::Full)?, kernels };
    if json {
        return serde_json::to_string(&plan)
            .map_err(|e| Error::argument("--json", format!("cannot be written: {e}")));
    }
    Ok(table(&plan.kernels, plan.peaks, plan.batch, table_width()))
}

fn table(steps: &[Step], peaks: Peaks, batch: usize, width: usize) -> String {
    let on_gpu = steps.iter().any(|step| step.run.launch.is_some());
    let mut table = Table::default().names("kernel", 0);
    if on_gpu {
        table = table.numbers([("grid", 5), ("block", 5)]);
    }
    let numbers = [("FLOP", 3), ("bytes", 4), ("us at least", 0)];
    let mut table = table.numbers(numbers).names("bound by", 2).names("layer", 0);
    let mut row =
        |name: &str, launch: [String; 2], numbers: [String; 3], bound: String, layer: &str| {
            let mut cells = vec![name.to_owned()];
            if on_gpu {
                cells.extend(launch);
            }
            cells.extend(numbers);
            cells.extend([bound, layer.to_owned()]);
            table.row(cells);
        };
    for Step { run, layer } in steps {
        let launch =
            run.launch.map(|LaunchShape { grid, block, .. }| [grid, block].map(dimensions));
        let roofline = peaks.kernel(run.cost);
        let numbers = numbers_of(run.cost, roofline.seconds);
        row(run.name, launch.unwrap_or_default(), numbers, roofline.limit.to_string(), layer);
    }
    let runs: Vec<KernelRun> = steps.iter().map(|step| step.run).collect();
    let roofline = peaks.roofline(&runs);
    let sums = numbers_of(runs.iter().map(|run| run.cost).sum(), roofline.seconds);
    row("sum", Default::default(), sums, format!("mostly {}", roofline.limit), "");
    format!(
        "One training step, batch {}: {} in order\n\n{}\n\nA time is an estimate: the longest of \
         moving the bytes, doing the arithmetic and starting the kernel,\nat the peaks of this device \
         as measured at this moment: {:.1} GB/s, {:.1} GFLOP/s, {:.2} us a launch.",
        count(batch as u64),
        counted(runs.len() as u64, "kernel") + ",",
        table.text(width),
        peaks.bytes_per_second / 1e9,
        peaks.flops_per_second / 1e9,
        peaks.launch_seconds * 1e6
    )
}

fn numbers_of(cost: Cost, seconds: f64) -> [String; 3] {
    [count(cost.flops), count(cost.bytes), hundredths(seconds * 1e6)]
}

/// `9,958.90`: as the whole numbers beside it are written.
fn hundredths(number: f64) -> String {
    let all = (number * 100.0).round() as u64;
    format!("{}.{:02}", count(all / 100), all % 100)
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
    fn thousands_of_a_time_are_set_apart() {
        assert_eq!([0.0, 3.456, 9958.9].map(hundredths), ["0.00", "3.46", "9,958.90"]);
    }

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
        let steps = [(run, "0 Conv2d"), (KernelRun { cost: Cost::default(), ..run }, "")];
        let steps = steps.map(|(run, layer)| Step { run, layer: layer.to_owned() });
        let text = table(&steps, PEAKS, 7, usize::MAX);
        let words =
            |line: usize| text.lines().nth(line).unwrap().split_whitespace().collect::<Vec<_>>();
        assert!(text.starts_with("One training step, batch 7: 2 kernels, in order\n"), "{text}");
        let first = "conv2d_forward 100x2 256 1,000,000 30,000,000 30.00 memory 0 Conv2d";
        assert_eq!(words(3), first.split(' ').collect::<Vec<_>>());
        assert_eq!(words(4), ["conv2d_forward", "100x2", "256", "0", "0", "2.00", "launch"]);
        assert_eq!(words(5), ["sum", "1,000,000", "30,000,000", "32.00", "mostly", "memory"]);
        let narrow = table(&steps, PEAKS, 7, 39);
        assert!(narrow.lines().skip(2).take(4).all(|line| line.chars().count() < 40), "{narrow}");
        assert!(narrow.contains("conv2d_forward") && narrow.contains("0 Conv2d"), "{narrow}");
    }

    #[test]
    fn a_plan_of_the_cpu_has_no_grid() {
        let run = KernelRun { name: "adam", launch: None, cost: Cost { flops: 1, bytes: 2 } };
        let step = Step { run, layer: String::new() };
        let text = table(&[step], PEAKS, 1, usize::MAX);
        assert!(!text.contains("grid"), "{text}");
        assert!(text.contains("1 kernel, in order") && text.contains("\nadam "), "{text}");
    }
}
