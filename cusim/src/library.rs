//! Where the two libraries are, and making others find them.

use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::temp::TempDir;

/// Why the libraries could not be used.
#[derive(Debug)]
pub enum Error {
    /// No file of this name beside the running program or above it.
    NotFound {
        file: String,
        searched: Vec<PathBuf>,
    },
    /// The dynamic linker refused it.
    Refused {
        path: PathBuf,
        why: String,
    },
    /// It is from another version of cusim.
    Outdated {
        function: CString,
    },
    Io(io::Error),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotFound { file, searched } => {
                write!(f, "no {file} in {searched:?}: is cusim a dependency of what is running?")
            }
            Self::Refused { path, why } => write!(f, "cannot load {}: {why}", path.display()),
            Self::Outdated { function } => write!(f, "the library has no {function:?}"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

pub const DRIVER: &str = "cusim_driver";
pub const NVRTC: &str = "cusim_nvrtc";

/// The names under which programs look for the real libraries.
const REAL_NAMES: [(&str, &[&str]); 2] = [
    (DRIVER, &["libcuda.so", "libcuda.so.1"]),
    (NVRTC, &["libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12"]),
];

/// The newest build of a library for the program that is running.
///
/// Cargo leaves it in `target/<profile>/deps`; a test runs from there, a binary from one level
/// above, an example from a sibling. `CUSIM_LIB_DIR` is searched instead if it is set.
pub fn find(library: &str) -> Result<PathBuf, Error> {
    let dirs: Vec<PathBuf> = match std::env::var_os("CUSIM_LIB_DIR") {
        Some(dir) => vec![dir.into()],
        None => {
            let exe = std::env::current_exe()?;
            exe.ancestors().skip(1).take(3).flat_map(|d| [d.join("deps"), d.to_owned()]).collect()
        }
    };
    for dir in &dirs {
        let Ok(entries) = fs::read_dir(dir) else { continue };
        let matching = entries.flatten().filter(|e| {
            // With or without the hash that cargo adds in some versions.
            let name = e.file_name().to_string_lossy().into_owned();
            let stem = name.strip_prefix("lib").and_then(|n| n.strip_suffix(".so"));
            let rest = stem.and_then(|s| s.strip_prefix(library));
            rest.is_some_and(|r| r.is_empty() || r.starts_with('-'))
        });
        let newest = matching.max_by_key(|e| e.metadata().and_then(|m| m.modified()).ok());
        if let Some(entry) = newest {
            return Ok(entry.path());
        }
    }
    Err(Error::NotFound { file: format!("lib{library}.so"), searched: dirs })
}

/// Loads a library such that a later `dlopen` by the real name gets it: glibc compares the name
/// with the SONAMEs of what is loaded.
pub fn open(path: &Path) -> Result<*mut libc::c_void, Error> {
    let c_path = CString::new(path.as_os_str().as_encoded_bytes()).map_err(io::Error::other)?;
    // SAFETY: our own library; loading it runs no code of ours.
    let handle = unsafe { libc::dlopen(c_path.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    if handle.is_null() {
        // SAFETY: dlopen has just failed, so there is a text.
        let why = unsafe { CStr::from_ptr(libc::dlerror()) };
        let why = why.to_string_lossy().into_owned();
        return Err(Error::Refused { path: path.to_owned(), why });
    }
    Ok(handle)
}

/// A function of an open library.
pub fn symbol(handle: *mut libc::c_void, name: &CStr) -> Result<*mut libc::c_void, Error> {
    // SAFETY: an open handle and a C string.
    let address = unsafe { libc::dlsym(handle, name.as_ptr()) };
    if address.is_null() { Err(Error::Outdated { function: name.to_owned() }) } else { Ok(address) }
}

/// A directory that holds the libraries under their real names, for a child process to find by
/// `LD_LIBRARY_PATH`. It is removed when this is dropped.
#[derive(Debug)]
pub struct LinkDir(TempDir);

impl LinkDir {
    pub fn new() -> Result<Self, Error> {
        let dir = TempDir::new()?;
        for (library, names) in REAL_NAMES {
            let target = find(library)?;
            for name in names {
                symlink(&target, dir.path().join(name))?;
            }
        }
        Ok(Self(dir))
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// What `LD_LIBRARY_PATH` is to be: this directory, then what it is now.
    #[must_use]
    pub fn search_path(&self) -> std::ffi::OsString {
        let mut path = self.path().as_os_str().to_owned();
        if let Some(now) = std::env::var_os("LD_LIBRARY_PATH").filter(|p| !p.is_empty()) {
            path.push(":");
            path.push(now);
        }
        path
    }
}
