//! `signet bench`: how fast each kernel runs, beside how fast this device could run it.

use std::path::PathBuf;
use std::process::ExitCode;

use super::{DeviceArgs, note, print};
use signet::bench::{Document, Effort, Options, Reference, run};
use signet::device::AnyDevice;
use signet::{Error, Result};

/// Measure each kernel of the training step, whole steps and an epoch
///
/// For each: the median time and its spread (10th and 90th percentile), GFLOP/s, GB/s, the share of
/// the roofline, and what binds: memory, arithmetic, or the launch of a kernel. The roofline comes from
/// the device's own peaks, measured at the start by a copy, by chains of multiply-adds and by kernels
/// that do nothing. The same as `cargo bench`. Close everything else first.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
--vs reads JSON: {\"reference\": \"PyTorch 2.9\", \"rows\": [{\"name\": \"step/32\", \
\"median_seconds\": 0.0127}, …]}, with the names of the rows here. scripts/bench-pytorch writes it, \
and so does --json.")]
pub struct Args {
    #[command(flatten)]
    device: DeviceArgs,

    /// Print one JSON document
    #[arg(long)]
    json: bool,

    /// Set another program's times beside these
    #[arg(long, value_name = "FILE")]
    vs: Option<PathBuf>,

    /// Only rows whose name contains this
    #[arg(long, value_name = "NAME")]
    filter: Option<String>,

    /// Small sizes and few repetitions: whether it runs, not how fast
    #[arg(long)]
    quick: bool,
}

impl Args {
    /// Measures and prints.
    ///
    /// # Errors
    /// When there is no such device or row, the reference cannot be read, or the device fails.
    pub fn run(self) -> Result<ExitCode> {
        let reference = self.vs.as_deref().map(Reference::load).transpose()?;
        let chosen = self.device.choose()?;
        note(format_args!("device: {chosen}"));
        let effort = if self.quick { Effort::Quick } else { Effort::Full };
        let options = Options { effort, filter: self.filter };
        let mut done = 0;
        let bar = indicatif::ProgressBar::new(0);
        let watch = |name: &str, count: usize| {
            bar.set_length(count as u64);
            bar.set_position(done);
            bar.println(name);
            done += 1;
        };
        let document = match &chosen.device {
            AnyDevice::Cpu(cpu) => cpu.install(|| run(cpu, &options, watch)),
            AnyDevice::Cuda(cuda) => run(cuda, &options, watch),
        };
        bar.finish_and_clear();
        let mut document: Document = document?;
        if let Some(reference) = &reference {
            document.compare(reference);
        }
        if self.json {
            let json = serde_json::to_string_pretty(&document)
                .map_err(|e| Error::argument("--json", format!("cannot be written: {e}")))?;
            print(json)?;
        } else {
            print(document)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
