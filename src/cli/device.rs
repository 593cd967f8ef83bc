//! `--device` and `--threads`: where a subcommand computes.

use std::time::Duration;

use crate::device::KernelTime;
use crate::{Cpu, Device, Error, Result};

/// Where to compute; flatten it into the arguments of a subcommand.
#[derive(Debug, Clone, clap::Args)]
pub struct DeviceArgs {
    /// The device; `auto` takes the best there is
    #[arg(long, value_name = "auto|cpu", default_value = "auto")]
    pub device: String,

    /// Threads of the CPU, one per core if not given; they change the speed and no result
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
}

/// Work that is the same on every device.
pub trait OnDevice: Send {
    /// What it results in.
    type Result: Send;

    /// Does it.
    ///
    /// # Errors
    /// Whatever goes wrong.
    fn run<D: Device<f32>>(self, device: &D) -> Result<Self::Result>;
}

/// A device by choice.
#[derive(Debug)]
pub enum AnyDevice {
    /// The CPU.
    Cpu(Cpu),
}

impl DeviceArgs {
    /// The device asked for.
    ///
    /// # Errors
    /// If there is no such device.
    pub fn choose(&self) -> Result<AnyDevice> {
        match self.device.as_str() {
            "auto" | "cpu" => Ok(AnyDevice::Cpu(Cpu::new(self.threads)?)),
            other => {
                Err(Error::argument("--device", format!("must be auto or cpu, got {other:?}")))
            }
        }
    }
}

impl AnyDevice {
    /// Its name, in words.
    pub fn describe(&self) -> String {
        match self {
            Self::Cpu(cpu) => match cpu.threads() {
                1 => "cpu (1 thread)".to_owned(),
                threads => format!("cpu ({threads} threads)"),
            },
        }
    }

    /// Does `work` on it.
    ///
    /// # Errors
    /// Whatever goes wrong.
    pub fn run<W: OnDevice>(&self, work: W) -> Result<W::Result> {
        match self {
            Self::Cpu(cpu) => cpu.install(|| work.run(cpu)),
        }
    }

    /// Starts to measure the time of each kernel.
    pub fn start_profile(&self) {
        match self {
            Self::Cpu(cpu) => cpu.start_profile(),
        }
    }

    /// The times since then as a table, the most expensive kernel first.
    pub fn profile(&self) -> String {
        let times = match self {
            Self::Cpu(cpu) => cpu.profile(),
        };
        profile_table(&times)
    }
}

fn profile_table(times: &[KernelTime]) -> String {
    let all: Duration = times.iter().map(|time| time.total).sum();
    let mut table =
        format!("{:<26}{:>9}{:>11}{:>11}{:>8}", "kernel", "calls", "total s", "us/call", "share");
    for time in times {
        let seconds = time.total.as_secs_f64();
        table += &format!(
            "\n{:<26}{:>9}{seconds:>11.3}{:>11.1}{:>7.1}%",
            time.name,
            time.calls,
            seconds / time.calls as f64 * 1e6,
            100.0 * seconds / all.as_secs_f64(),
        );
    }
    table
}
