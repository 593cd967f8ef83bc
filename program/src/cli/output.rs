//! Where output goes: results to stdout, notices to stderr, files in one piece.

use std::fmt::{Arguments, Display};
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use super::prose::wrapped;
use super::terminal::{notes_width, stdout_is_terminal, table_width};
use crate::words::lines;
use signet::files::{temporary_beside, write_atomic};
use signet::{Error, Result};

/// Writes a result to stdout, with a line end. Control characters that came with a name are escaped.
///
/// # Errors
/// If stdout cannot be written; `cli::run` takes a closed pipe for the wish to stop, so a
/// subcommand just passes the error on.
pub fn print(result: impl Display) -> Result<()> {
    print_drawing(&lines(&result.to_string()))
}

/// Writes a drawing of our own to stdout, whose colours are control characters: nothing of it comes from
/// a file.
///
/// # Errors
/// As [`print()`].
pub fn print_drawing(drawing: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{drawing}")
        .and_then(|()| stdout.flush())
        .map_err(Error::io("write", "stdout"))
}

/// Writes sentences to stdout as [`print()`] does; on a terminal that is narrower, in several lines.
///
/// # Errors
/// As [`print()`].
pub fn say(result: impl Display) -> Result<()> {
    print(wrapped(&result.to_string(), table_width()))
}

/// Writes a line to stderr, control characters escaped, in several lines where a terminal is narrower; if
/// nobody reads it, that is no reason to stop.
pub fn note(line: Arguments<'_>) {
    let text = wrapped(&lines(&line.to_string()), notes_width());
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// That [`write_file`] can write `path` as things are: found out before the work whose result goes there.
///
/// # Errors
/// If the folder is missing or not writable.
pub fn can_write(path: &Path) -> Result<()> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => {
            Err(Error::io("write", path)(io::ErrorKind::IsADirectory.into()))
        }
        Ok(found) if !found.is_file() => Ok(()),
        _ => temporary_beside(path).map(drop).map_err(Error::io("write", path)),
    }
}

/// That stdout takes bytes that are no text.
///
/// # Errors
/// In the name of `option`, if stdout is a terminal.
pub fn refuse_terminal(option: &'static str) -> Result<()> {
    if stdout_is_terminal() {
        let message = "stdout is a terminal; send it to a file or a program (> FILE, | PROGRAM)";
        return Err(Error::argument(option, message));
    }
    Ok(())
}

/// Writes bytes to stdout, for another program.
///
/// # Errors
/// If it cannot be written.
pub fn write_stdout(bytes: &[u8]) -> Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(Error::io("write", "stdout"))
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
