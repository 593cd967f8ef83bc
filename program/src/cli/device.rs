//! `--device` and `--threads`: where a subcommand computes.

use std::time::Duration;

use super::choices::choice;
use super::columns::Table;
use super::note;
use super::numbers::whole;
use crate::words::count;
use signet::Result;
use signet::device::{Chosen, Device, KernelTime, Precision, choose};

/// Where to compute; flatten it into the arguments of a subcommand.
#[derive(Debug, Clone, clap::Args)]
pub struct DeviceArgs {
    /// The device; `auto` takes the first GPU if it works, else the CPU
    #[arg(long, value_name = "auto|cpu|cuda|cuda:N", default_value = "auto")]
    pub device: String,

    /// Threads of the CPU, one per core if not given; they change the speed and no result
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole::<usize>)]
    pub threads: Option<usize>,

    /// What a GPU's tensor cores round the operands of products to [default: tf32 in convolutions
    /// from compute capability 8.0 on, else f32]
    #[arg(long, value_parser = choice::<Precision>())]
    pub precision: Option<Precision>,
}

impl DeviceArgs {
    /// The device asked for, and why.
    ///
    /// # Errors
    /// If there is no such device, or it has no such precision.
    pub fn choose(&self) -> Result<Chosen> {
        let chosen = choose(self.device.parse()?, self.threads)?;
        if let Some(precision) = self.precision {
            chosen.device.set_precisions(precision)?;
        }
        if let Device::Cuda(cuda) = &chosen.device {
            if self.threads.is_some() {
                note(format_args!("notice: --threads has no effect on a GPU"));
            }
            cuda.on_compile(|line| note(format_args!("{line}")));
        }
        Ok(chosen)
    }
}

/// Times of kernels as a table of at most `width` columns, with what they are times of.
pub fn profile_table(times: &[KernelTime], device: &Device, width: usize) -> String {
    let all: Duration = times.iter().map(|time| time.total).sum();
    let mut table = Table::default().names("kernel", 0).numbers([
        ("calls", 3),
        ("total s", 2),
        ("us/call", 1),
        ("share", 0),
    ]);
    for time in times {
        let seconds = time.total.as_secs_f64();
        table.row([
            time.name.to_owned(),
            count(time.calls),
            format!("{seconds:.3}"),
            format!("{:.1}", seconds / time.calls as f64 * 1e6),
            format!("{:.1} %", 100.0 * seconds / all.as_secs_f64()),
        ]);
    }
    table.text(width) + "\n" + what_is_timed(device)
}

/// What a profile measures.
fn what_is_timed(device: &Device) -> &'static str {
    match device {
        Device::Cpu(_) => "measured: each call, by the clock",
        Device::Cuda(_) => {
            "measured: each kernel with each grid, repeated back to back in a CUDA graph (the time on \
             the GPU, without the host's; one of over 1 ms by itself), times its calls"
        }
    }
}
