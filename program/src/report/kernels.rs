//! The time of each kernel, of a run with `--profile`.

use std::io;

use maud::{Markup, html};
use serde::{Deserialize, Serialize};

use super::table::{bar, with_bars};
use super::words;
use crate::runs::RunFolder;
use signet::checkpoint::invalid;
use signet::device::KernelTime;
use signet::files::write_atomic;
use signet::{Error, Result};

/// The file's name in a run's folder.
const PROFILE: &str = "profile.json";

/// The time of a kernel, as `profile.json` holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Kernel {
    name: String,
    calls: u64,
    /// Of all calls together.
    seconds: f64,
}

/// Writes the times into the run's folder.
///
/// # Errors
/// [`Error::Io`] when they cannot be written.
pub(crate) fn write(folder: &RunFolder, times: &[KernelTime]) -> Result<()> {
    let kernel = |time: &KernelTime| Kernel {
        name: time.name.to_owned(),
        calls: time.calls,
        seconds: time.total.as_secs_f64(),
    };
    let kernels: Vec<_> = times.iter().map(kernel).collect();
    let path = folder.file(PROFILE);
    let json = serde_json::to_string_pretty(&kernels)
        .map_err(|e| invalid(&path, format!("cannot be written as JSON: {e}")))?;
    write_atomic(&path, format!("{json}\n").as_bytes())
}

/// The times in the run's folder, the longest first; none where there is no such file.
///
/// # Errors
/// [`Error::Io`] when they cannot be read, [`Error::Checkpoint`] when they are damaged.
pub(super) fn read(folder: &RunFolder) -> Result<Vec<Kernel>> {
    let path = folder.file(PROFILE);
    let json = match std::fs::read_to_string(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(Error::io("read", &path))?,
    };
    serde_json::from_str(&json)
        .map_err(|e| invalid(&path, format!("holds no times of kernels: {e}")))
}

/// A table with a row for each kernel.
pub(super) fn kernels(kernels: &[Kernel], caption: &str) -> Markup {
    let all: f64 = kernels.iter().map(|kernel| kernel.seconds).sum();
    let rows = html! {
        @for Kernel { name, calls, seconds } in kernels {
            tr {
                th scope="row" { code { (name) } }
                td.number { (words::count(*calls)) }
                td.number { (format!("{seconds:.3} s")) }
                td.number { (format!("{:.1} µs", seconds / *calls as f64 * 1e6)) }
                td.number { (format!("{:.1} %", 100.0 * seconds / all)) }
                (bar(seconds / all))
            }
        }
    };
    with_bars("kernels", caption, ("Kernel", &["Calls", "Total", "A call", "Share"]), rows)
}
