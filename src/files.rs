//! Writing files so that nobody ever sees half of one, and folders that one process owns at a time.
//! Shared with the program `signet`; no part of the library's interface.
#![forbid(unsafe_code)]

use crate::{Error, Result};
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem, StorageFull};
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;
use tempfile::NamedTempFile;

/// The names of files that are being written, between which comes something random.
const PART_PREFIX: &str = ".signet-";
const PART_SUFFIX: &str = ".part";

/// The file whose lock says that a process works in a folder. It stays: removing it would let one
/// process lock the file that another has just removed.
const LOCK: &str = ".lock";

/// Writes a file in one piece: beside its place first, synced to the disk, then renamed. After a
/// power cut there is the old file or the new one.
///
/// # Errors
/// [`Error::Io`] when the folder is missing or not writable, or the disk is full; the old file
/// stays and nothing is left behind then.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    write_part(path, bytes)
        .and_then(|part| put_in_place(part, path))
        .map_err(Error::io("write", path))
}

/// As [`write_atomic`], and what was there before becomes `previous` once the new file is whole and
/// on the disk. At every moment one of both is there and whole; for one moment `path` is not.
///
/// # Errors
/// As [`write_atomic`].
pub fn write_keeping(path: &Path, previous: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        let part = write_part(path, bytes)?;
        match fs::rename(path, previous) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => put_in_place(part, path),
        }
    };
    write().map_err(Error::io("write", path))
}

/// The bytes in a file beside `path`, on the disk.
fn write_part(path: &Path, bytes: &[u8]) -> io::Result<NamedTempFile> {
    let mut part = temporary_beside(path)?;
    part.as_file_mut().write_all(bytes)?;
    part.as_file().sync_all()?;
    Ok(part)
}

/// A new file beside `path` that vanishes unless it is kept.
///
/// # Errors
/// When the folder is missing or not writable.
pub fn temporary_beside(path: &Path) -> io::Result<NamedTempFile> {
    let folder = folder_of(path);
    // For a plain message when it is missing: below, it would name the temporary file.
    fs::metadata(folder)?;
    temporary_file(folder)
}

fn put_in_place(part: NamedTempFile, path: &Path) -> io::Result<()> {
    part.persist(path).map_err(|error| error.error)?;
    sync_folder(folder_of(path))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A new file in `folder` that vanishes unless it is kept, with the permissions of any new file.
///
/// # Errors
/// When the folder is not writable.
pub fn temporary_file(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(PART_PREFIX).suffix(PART_SUFFIX);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder).map_err(|error| match error.kind() {
        // Crate `tempfile` names the temporary file, which means nothing to who reads it.
        kind @ (PermissionDenied | ReadOnlyFilesystem | StorageFull) => kind.into(),
        _ => error,
    })
}

/// Whether `name` is that of a file of [`temporary_file`].
pub fn is_part(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with(PART_PREFIX) && name.ends_with(PART_SUFFIX))
}

/// Removes the files of [`temporary_file`] that are older than `age`: a process that was killed
/// left them behind. Younger ones may be somebody's work.
pub fn remove_abandoned(folder: &Path, age: Duration) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let modified = entry.metadata().and_then(|found| found.modified());
        // A clock that was set back makes a file younger than nothing.
        let is_old = modified.is_ok_and(|time| time.elapsed().unwrap_or_default() >= age);
        if is_part(&entry.file_name()) && is_old {
            // If it cannot be removed, it only takes room.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Makes a rename in `folder` last.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// A folder that this process alone writes into. The system gives it free when the process ends, in
/// whatever way.
#[derive(Debug)]
pub struct FolderLock {
    /// `None` on a file system without locks.
    _file: Option<File>,
}

impl FolderLock {
    /// Takes `folder`; `None` when another process has it.
    ///
    /// # Errors
    /// When the folder is missing or not writable.
    pub fn take(folder: &Path) -> io::Result<Option<Self>> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        let file = options.open(folder.join(LOCK))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: Some(file) })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                Ok(Some(Self { _file: None }))
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Whether `name` is that of the file that holds the lock.
    pub fn is_lock(name: &OsStr) -> bool {
        name == LOCK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_previous_file_stays_until_the_new_one_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let [path, previous] = ["state", "previous"].map(|name| folder.path().join(name));
        let read = |path| fs::read(path).unwrap_or_default();
        for (new, kept) in [("a", ""), ("b", "a"), ("c", "b")] {
            write_keeping(&path, &previous, new.as_bytes()).unwrap();
            assert_eq!((read(&path), read(&previous)), (new.into(), kept.into()));
        }
        // Nothing is lost where the new one cannot be written: not even its beginning can.
        let missing = folder.path().join("missing/state");
        assert!(write_keeping(&missing, &previous, b"d").is_err());
        assert_eq!((read(&path), read(&previous)), ("c".into(), "b".into()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_was_abandoned_goes_and_what_may_be_in_use_stays() {
        let folder = tempfile::tempdir().unwrap();
        let part = temporary_file(folder.path()).unwrap().into_temp_path().keep().unwrap();
        let other = folder.path().join("model.part");
        fs::write(&other, "").unwrap();
        remove_abandoned(folder.path(), Duration::from_secs(60));
        assert!(part.exists());
        remove_abandoned(folder.path(), Duration::ZERO);
        assert_eq!((part.exists(), other.exists()), (false, true));
    }

    #[test]
    fn a_folder_is_taken_once() {
        let folder = tempfile::tempdir().unwrap();
        let lock = FolderLock::take(folder.path()).unwrap();
        assert!(lock.is_some());
        assert!(FolderLock::take(folder.path()).unwrap().is_none());
        drop(lock);
        assert!(FolderLock::take(folder.path()).unwrap().is_some());
        assert!(FolderLock::take(&folder.path().join("missing")).is_err());
    }
}
