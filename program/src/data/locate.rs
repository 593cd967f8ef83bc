//! What `--data` says, and where the files may lie.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use signet::data::{DataError, FolderFiles, Source};

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

impl Request {
    /// What a run's record keeps of a request that `source` answered: a folder as an absolute path,
    /// so that it is found from any other folder, also where `auto` found it below the current one.
    /// A path that is no UTF-8 is kept as a URL, `file:///…`.
    pub fn kept(&self, source: &Source) -> String {
        match (self, source) {
            (Self::Folder(folder), _) => path_text(folder),
            (Self::Auto, Source::Folder { path, .. }) if path.is_relative() => path_text(path),
            _ => self.to_string(),
        }
    }

    /// The request that a record keeps as `text`.
    pub fn of_record(text: &str) -> Self {
        match text.strip_prefix(URL) {
            Some(encoded) => Self::Folder(path_of_url(encoded)),
            None => OsString::from(text).into(),
        }
    }
}

/// What a path that is no UTF-8 is kept as: no absolute path begins so.
const URL: &str = "file://";

/// An absolute path as text.
fn path_text(path: &Path) -> String {
    // It fails for an empty path, and where the current folder is gone.
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    if let Some(text) = path.to_str() {
        return text.to_owned();
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    let encoded = path.as_os_str().as_encoded_bytes().iter().map(|&byte| {
        if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    });
    encoded.fold(URL.to_owned(), |url, part| url + &part)
}

/// The path that [`path_text`] encoded.
fn path_of_url(encoded: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let byte = hex.filter(|_| first == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    #[cfg(unix)]
    return PathBuf::from(<OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes));
    #[cfg(not(unix))]
    return PathBuf::from(String::from_utf8_lossy(&bytes).into_owned());
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
    fn a_record_keeps_where_the_data_is_from_any_folder() {
        let source = |path: &str| Source::Folder {
            path: path.into(),
            convention: signet::data::Convention::Kaggle,
        };
        let here = std::env::current_dir().unwrap();
        let kept = Request::Folder("my data".into()).kept(&source("my data"));
        assert_eq!(kept, here.join("my data").to_str().unwrap());
        assert_eq!(Request::of_record(&kept), Request::Folder(here.join("my data")));
        // Folders that are called as the other requests are.
        let kept = Request::Folder("./auto".into()).kept(&source("./auto"));
        assert_eq!(Request::of_record(&kept), Request::Folder(here.join("auto")));

        let found = Request::Auto.kept(&source("data/asl_data"));
        assert_eq!(Request::of_record(&found), Request::Folder(here.join("data/asl_data")));
        let cache = here.join("cache");
        let found = Request::Auto.kept(&source(cache.to_str().unwrap()));
        assert_eq!(found, "auto", "that is found from anywhere");
        assert_eq!(Request::Synthetic.kept(&Source::Synthetic { seed: 0 }), "synthetic");
        assert_eq!(Request::of_record("synthetic"), Request::Synthetic);
    }

    #[cfg(unix)]
    #[test]
    fn a_record_keeps_paths_that_are_no_utf8() {
        use std::os::unix::ffi::OsStringExt;
        let folder = PathBuf::from(OsString::from_vec(b"/data/100% x\xfe".to_vec()));
        let request = Request::Folder(folder);
        let kept = request.kept(&Source::Synthetic { seed: 0 });
        assert_eq!(kept, "file:///data/100%25%20x%FE");
        assert_eq!(Request::of_record(&kept), request);
    }

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
