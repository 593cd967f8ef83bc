//! Which device a program runs on: what the user asked for, and what there is.
#![forbid(unsafe_code)]

use super::cuda::{KernelCache, NoGpu};
use super::{Cpu, Cuda, Device};
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
    pub device: Device,
    /// Why it is no GPU, where one would have been taken.
    pub no_gpu: Option<NoGpu>,
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
        DeviceChoice::Cpu => (Device::Cpu(Cpu::new(threads)?), None),
        DeviceChoice::Cuda(ordinal) => (Device::Cuda(Cuda::new(ordinal)?), None),
        DeviceChoice::Auto => match Cuda::open(0, KernelCache::of_user()) {
            Ok(device) => (Device::Cuda(device), None),
            Err(reason) => (Device::Cpu(Cpu::new(threads)?), Some(reason)),
        },
    };
    Ok(Chosen { device, no_gpu })
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
        assert!(matches!(chosen.device, Device::Cpu(_)));
        assert_eq!(chosen.to_string(), "cpu (1 thread)");
        assert!(choose(DeviceChoice::Cpu, Some(0)).is_err());
    }
}
