//! Where output goes: results to stdout, notices to stderr, files in one piece.

use std::fmt::{Arguments, Display};
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use crate::files::write_atomic;
use crate::{Error, Result};

/// Writes a result to stdout, with a line end.
///
/// # Errors
/// If stdout cannot be written; `cli::run` takes a closed pipe for the wish to stop, so a
/// subcommand just passes the error on.
pub fn print(result: impl Display) -> Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{result}").and_then(|()| stdout.flush()).map_err(Error::io("write", "stdout"))
}

/// Writes a line to stderr; if nobody reads it, that is no reason to stop.
pub fn note(line: Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Writes a file in one piece; a device such as `/dev/stdout` is written directly.
///
/// # Errors
/// If the folder is missing or not writable, or the disk is full; nothing is left behind then.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => {
            Err(Error::io("write", path)(io::ErrorKind::IsADirectory.into()))
        }
        Ok(found) if !found.is_file() => fs::write(path, bytes).map_err(Error::io("write", path)),
        _ => write_atomic(path, bytes),
    }
}
