//! What `--data` says, and where the files may lie.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::{DataError, FolderFiles};

/// What `--data` asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Request {
    /// The real set if it can be had, else the synthetic one.
    #[default]
    Auto,
    /// The synthetic set.
    Synthetic,
    /// The real set from this folder, and nothing else.
    Folder(PathBuf),
}

impl FromStr for Request {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "auto" => Self::Auto,
            "synthetic" => Self::Synthetic,
            folder => Self::Folder(PathBuf::from(folder)),
        })
    }
}

/// The user's cache folder for the real set; none where the system has no such thing.
pub fn cache_folder() -> Option<PathBuf> {
    Some(dirs::cache_dir()?.join("signet").join("asl"))
}

/// The folder where `--data auto` finds the real set on this machine, if any: `$SIGNET_DATA`,
/// `data/asl_data` below the current folder, the cache.
///
/// # Errors
/// If `$SIGNET_DATA` is set and the files are not there: whoever set it wanted that folder.
pub fn find_local() -> Result<Option<PathBuf>, DataError> {
    find_in(std::env::var_os("SIGNET_DATA"), Path::new("data/asl_data"), cache_folder().as_deref())
}

fn find_in(
    variable: Option<OsString>,
    working: &Path,
    cache: Option<&Path>,
) -> Result<Option<PathBuf>, DataError> {
    if let Some(folder) = variable.filter(|value| !value.is_empty()) {
        FolderFiles::find(&folder).map_err(|error| {
            error.with_help("SIGNET_DATA names this folder: correct it, or unset it")
        })?;
        return Ok(Some(PathBuf::from(folder)));
    }
    let found = [Some(working), cache].into_iter().flatten().find(|f| FolderFiles::find(f).is_ok());
    Ok(found.map(Path::to_path_buf))
}
