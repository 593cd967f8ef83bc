//! Which device a program runs on: what the user asked for, and what there is.

use super::{Cpu, Cuda};
use crate::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// What `--device` asks for.
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
            Err(Error::argument("--device", message))
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

/// The device for `choice`, and a line that says what it is and why: `cuda:0: NVIDIA H100 …`.
/// `threads` is for the CPU, see [`Cpu::new`].
///
/// Nothing of CUDA is touched for [`DeviceChoice::Cpu`].
///
/// # Errors
/// [`Error::Device`] when the GPU that was asked for cannot be used, [`Error::Argument`] for 0
/// threads.
pub fn choose(choice: DeviceChoice, threads: Option<usize>) -> Result<(AnyDevice, String)> {
    match choice {
        DeviceChoice::Cpu => cpu(threads, ""),
        DeviceChoice::Cuda(ordinal) => Ok(gpu(Cuda::new(ordinal)?)),
        DeviceChoice::Auto => match Cuda::new(0) {
            Ok(device) => Ok(gpu(device)),
            Err(Error::Device { message, .. }) => cpu(threads, &format!(" (no GPU: {message})")),
            Err(other) => Err(other),
        },
    }
}

fn cpu(threads: Option<usize>, why: &str) -> Result<(AnyDevice, String)> {
    let device = Cpu::new(threads)?;
    let plural = if device.threads() == 1 { "" } else { "s" };
    let line = format!("cpu: {} thread{plural}{why}", device.threads());
    Ok((AnyDevice::Cpu(device), line))
}

fn gpu(device: Cuda) -> (AnyDevice, String) {
    let info = device.info();
    let (major, minor) = info.capability;
    let gib = info.memory as f64 / f64::from(1 << 30);
    let line = format!(
        "cuda:{}: {}, {gib:.1} GiB, compute capability {major}.{minor}",
        info.ordinal, info.name
    );
    (AnyDevice::Cuda(device), line)
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
        let (device, line) = choose(DeviceChoice::Cpu, Some(1)).unwrap();
        assert!(matches!(device, AnyDevice::Cpu(_)));
        assert_eq!(line, "cpu: 1 thread");
        assert!(choose(DeviceChoice::Cpu, Some(0)).is_err());
    }
}
