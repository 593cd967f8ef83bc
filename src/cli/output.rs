//! Where output goes: results to stdout, notices to stderr, files in one piece.

use std::fmt::{Arguments, Display};
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use crate::data::temporary_file;
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

/// Writes a file in one piece: beside its place first, so that nobody ever sees half of it.
///
/// A device such as `/dev/stdout` is written directly.
///
/// # Errors
/// If the folder is missing or not writable, or the disk is full; nothing is left behind then.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        let is_special = fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir());
        if is_special {
            return fs::write(path, bytes);
        }
        if path.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        // For a plain message when it is missing: below, it would name the temporary file.
        fs::metadata(folder)?;
        let mut part = temporary_file(folder)?;
        part.write_all(bytes)?;
        part.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(Error::io("write", path))
}
