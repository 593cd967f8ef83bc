//! What can go wrong, as values: each says what was wrong, where, and what to do about it.
#![forbid(unsafe_code)]

mod data;

pub use data::DataError;

use crate::support::words;
use std::path::{Path, PathBuf};

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Shapes that do not fit an operation, with both sides in the message.
    #[error("{op}: {message}")]
    Shape {
        /// The operation that was asked for.
        op: &'static str,
        /// What does not fit, with the shapes.
        message: String,
    },
    /// A hyper-parameter outside its range.
    #[error("{name}: {message}")]
    Argument {
        /// The hyper-parameter, by its PyTorch name.
        name: &'static str,
        /// What is wrong with it and what it may be.
        message: String,
    },
    /// A misuse of the tape.
    #[error("autograd: {0}")]
    Autograd(String),
    /// A device that failed or is not there.
    #[error("{device}: {message}")]
    Device {
        /// The device, as [`DeviceChoice`](crate::device::DeviceChoice) prints.
        device: String,
        /// What failed and what to do.
        message: String,
    },
    /// Reading or making the data set.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A model or state file that cannot be used.
    #[error("{}: {message}", words::path(path))]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what to do.
        message: String,
    },
    /// The operating system refused a file operation.
    #[error("cannot {action} {}: {source}", words::path(path))]
    Io {
        /// What was tried: `read`, `write`, `create`.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Training stopped because its numbers are no longer numbers.
    #[error("{0}")]
    NonFinite(String),
}

/// How the message of an allocation begins that a device had no memory for.
pub(crate) const OUT_OF_MEMORY: &str = "out of memory";

impl Error {
    /// Whether a device had no memory for an allocation.
    pub fn is_out_of_memory(&self) -> bool {
        matches!(self, Self::Device { message, .. } if message.starts_with(OUT_OF_MEMORY))
    }

    /// A [`Error::Shape`].
    pub fn shape(op: &'static str, message: impl Into<String>) -> Self {
        Self::Shape { op, message: message.into() }
    }

    /// A [`Error::Argument`].
    pub fn argument(name: &'static str, message: impl Into<String>) -> Self {
        Self::Argument { name, message: message.into() }
    }

    /// Turns an I/O error into an [`Error::Io`]: `.map_err(Error::io("read", &path))`.
    pub fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Self::Io { action, path, source }
    }
}
