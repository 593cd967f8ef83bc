//! What `--data` says, and where the files may lie.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

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

impl From<OsString> for Request {
    fn from(text: OsString) -> Self {
        match text.to_str() {
            Some("auto") => Self::Auto,
            Some("synthetic") => Self::Synthetic,
            _ => Self::Folder(PathBuf::from(text)),
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Synthetic => f.write_str("synthetic"),
            Self::Folder(folder) => write!(f, "{}", folder.display()),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_comes_first_then_the_working_folder_then_the_cache() {
        let root = tempfile::tempdir().unwrap();
        let folder = |name: &str, files: &[&str]| {
            let folder = root.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            for file in files {
                std::fs::write(folder.join(file), "").unwrap();
            }
            folder
        };
        let files = ["sign_mnist_train.csv.gz", "sign_mnist_test.csv"];
        let [variable, working, cache] = ["v", "w", "c"].map(|name| folder(name, &files));
        let half = folder("half", &files[..1]);
        let find = |variable: Option<&PathBuf>, working: &Path, cache: &Path| {
            find_in(variable.map(|folder| folder.clone().into()), working, Some(cache))
        };
        assert_eq!(find(Some(&variable), &working, &cache), Ok(Some(variable.clone())));
        assert_eq!(find(None, &working, &cache), Ok(Some(working.clone())));
        assert_eq!(find(None, &half, &cache), Ok(Some(cache.clone())), "half a set is none");
        assert_eq!(find(None, &half, &half), Ok(None));
        let error = find(Some(&half), &working, &cache).unwrap_err();
        assert!(error.to_string().contains("no sign_mnist_valid.csv or sign_mnist_test.csv"));
        assert!(error.help().unwrap().contains("SIGNET_DATA"));
        let empty = find_in(Some("".into()), &working, None);
        assert_eq!(empty, Ok(Some(working)), "an empty variable is an unset one");
    }
}
