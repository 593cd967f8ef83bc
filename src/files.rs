//! Writing files so that nobody ever sees half of one.

use crate::{Error, Result};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use tempfile::NamedTempFile;

/// The names of files that are being written, between which comes something random.
pub(crate) const PART_PREFIX: &str = ".signet-";
pub(crate) const PART_SUFFIX: &str = ".part";

/// Writes a file in one piece: beside its place first, synced to the disk, then renamed. After a
/// power cut there is the old file or the new one.
///
/// # Errors
/// [`Error::Io`] when the folder is missing or not writable, or the disk is full; the old file
/// stays and nothing is left behind then.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        // For a plain message when it is missing: below, it would name the temporary file.
        fs::metadata(folder)?;
        let mut part = temporary_file(folder)?;
        part.write_all(bytes)?;
        part.as_file().sync_all()?;
        part.persist(path).map_err(|error| error.error)?;
        sync_folder(folder)
    };
    write().map_err(Error::io("write", path))
}

/// A new file in `folder` that vanishes unless it is kept, with the permissions of any new file.
///
/// # Errors
/// When the folder is not writable.
pub(crate) fn temporary_file(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(PART_PREFIX).suffix(PART_SUFFIX);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

/// Makes a rename in `folder` last.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}
