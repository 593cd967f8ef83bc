//! Which device a program runs on: what the user asked for, and what there is.
#![forbid(unsafe_code)]

use super::cuda::{KernelCache, NoGpu};
use super::{Cpu, Cuda, Device, KernelTime, Memory, Precision, Precisions};
use crate::support::words::counted;
use crate::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// Which device is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// `auto`: the first GPU where it works, else the CPU.
    #[default]
    Auto,
    /// `cpu`.
    Cpu,
    /// `cuda:N`, or `cuda` for the first: this GPU or an error.
    Cuda(usize),
}

/// A device that was chosen at run time. A program asks once which it is and is generic from there.
#[derive(Debug, Clone)]
pub enum AnyDevice {
    /// The CPU.
    Cpu(Cpu),
    /// A GPU.
    Cuda(Cuda),
}

impl FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |what: &str| {
            let message = format!("{text:?} {what}; choose auto, cpu, cuda or cuda:N (cuda:0)");
            Err(Error::argument("device", message))
        };
        match text.split_once(':') {
            None if text == "auto" => Ok(Self::Auto),
            None if text == "cpu" => Ok(Self::Cpu),
            None if text == "cuda" => Ok(Self::Cuda(0)),
            None if text == "gpu" => wrong("is not a device: GPUs are called cuda here"),
            // Only digits: `parse` alone would take "+1".
            Some(("cuda", number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                number.parse().map(Self::Cuda).or_else(|_| wrong("has no GPU's number"))
            }
            Some(("cuda", _)) => wrong("has no GPU's number"),
            _ => wrong("is not a device"),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}

/// What [`choose`] came to. Prints as one line: what was chosen and, for the CPU, why no GPU.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// The device.
    pub device: AnyDevice,
    /// Why it is no GPU, where one would have been taken.
    pub no_gpu: Option<NoGpu>,
}

/// Work that is the same on every device, for [`AnyDevice::run`].
pub trait OnDevice: Send {
    /// What it results in.
    type Result: Send;

    /// Does it.
    ///
    /// # Errors
    /// Whatever goes wrong.
    fn run<D: Device<f32>>(self, device: &D) -> Result<Self::Result>;
}

/// The device for `choice`; `threads` is for the CPU, see [`Cpu::new`].
///
/// Nothing of CUDA is touched for [`DeviceChoice::Cpu`].
///
/// # Errors
/// [`Error::Device`] when the GPU that was asked for cannot be used, [`Error::Argument`] for 0
/// threads.
pub fn choose(choice: DeviceChoice, threads: Option<usize>) -> Result<Chosen> {
    let (device, no_gpu) = match choice {
        DeviceChoice::Cpu => (AnyDevice::Cpu(Cpu::new(threads)?), None),
        DeviceChoice::Cuda(ordinal) => (AnyDevice::Cuda(Cuda::new(ordinal)?), None),
        DeviceChoice::Auto => match Cuda::open(0, KernelCache::of_user()) {
            Ok(device) => (AnyDevice::Cuda(device), None),
            Err(reason) => (AnyDevice::Cpu(Cpu::new(threads)?), Some(reason)),
        },
    };
    Ok(Chosen { device, no_gpu })
}

impl AnyDevice {
    /// Its name, in words.
    pub fn describe(&self) -> String {
        match self {
            Self::Cpu(cpu) if cpu.threads() == 1 => "cpu (1 thread)".into(),
            Self::Cpu(cpu) => format!("cpu ({})", counted(cpu.threads() as u64, "thread")),
            Self::Cuda(cuda) => format!("{} ({})", cuda.name(), cuda.info()),
        }
    }

    /// What it rounds operands of products to.
    pub fn precisions(&self) -> Precisions {
        match self {
            Self::Cpu(_) => Precision::F32.into(),
            Self::Cuda(cuda) => cuda.precisions(),
        }
    }

    /// As [`Cuda::set_precisions`]; the CPU rounds nothing.
    ///
    /// # Errors
    /// [`Error::Argument`] when the device cannot round so.
    pub fn set_precisions(&self, precisions: impl Into<Precisions>) -> Result<()> {
        let precisions = precisions.into();
        match self {
            Self::Cuda(cuda) => cuda.set_precisions(precisions),
            Self::Cpu(_) if precisions == Precision::F32.into() => Ok(()),
            Self::Cpu(_) => {
                let message = format!("the CPU computes in f32, not in {precisions}");
                Err(Error::argument("precision", message))
            }
        }
    }

    /// Does `work` on it.
    ///
    /// # Errors
    /// Whatever goes wrong.
    pub fn run<W: OnDevice>(&self, work: W) -> Result<W::Result> {
        match self {
            Self::Cpu(cpu) => cpu.install(|| work.run(cpu)),
            Self::Cuda(cuda) => work.run(cuda),
        }
    }

    /// Starts to measure the time of each kernel.
    pub fn start_profile(&self) {
        match self {
            Self::Cpu(cpu) => cpu.start_profile(),
            Self::Cuda(cuda) => cuda.start_profile(),
        }
    }

    /// The time per kernel since then, the most expensive first.
    ///
    /// # Errors
    /// [`Error::Device`] when the device fails.
    pub fn profile(&self) -> Result<Vec<KernelTime>> {
        match self {
            Self::Cpu(cpu) => Ok(cpu.profile()),
            Self::Cuda(cuda) => cuda.profile(),
        }
    }
}

impl fmt::Display for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.device.describe())?;
        match &self.no_gpu {
            // Such a machine is meant to compute on its CPU: no advice is asked for.
            Some(NoGpu::NoDriver) => f.write_str(", as there is no CUDA driver"),
            Some(reason) => write!(f, ", as there is no GPU: {reason}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_parse_and_print() {
        for (text, choice, printed) in [
            ("auto", DeviceChoice::Auto, "auto"),
            ("cpu", DeviceChoice::Cpu, "cpu"),
            ("cuda", DeviceChoice::Cuda(0), "cuda:0"),
            ("cuda:0", DeviceChoice::Cuda(0), "cuda:0"),
            ("cuda:12", DeviceChoice::Cuda(12), "cuda:12"),
        ] {
            assert_eq!(text.parse::<DeviceChoice>().unwrap(), choice);
            assert_eq!(choice.to_string(), printed);
        }
    }

    #[test]
    fn a_wrong_choice_says_what_there_is() {
        let huge = "cuda:99999999999999999999999";
        for text in ["", "gpu", "CPU", "cpu:0", "cuda:", "cuda:x", "cuda:-1", "cuda:+1", huge] {
            let message = text.parse::<DeviceChoice>().unwrap_err().to_string();
            assert!(message.contains(&format!("{text:?}")), "{message}");
            assert!(message.contains("auto, cpu, cuda or cuda:N"), "{message}");
        }
    }

    #[test]
    fn the_cpu_is_chosen_by_name() {
        let chosen = choose(DeviceChoice::Cpu, Some(1)).unwrap();
        assert!(matches!(chosen.device, AnyDevice::Cpu(_)));
        assert_eq!(chosen.to_string(), "cpu (1 thread)");
        assert!(choose(DeviceChoice::Cpu, Some(0)).is_err());
    }
}
