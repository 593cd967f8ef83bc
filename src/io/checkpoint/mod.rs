//! Models as files: safetensors, which Signet writes too, and what `torch.save` left behind.
//!
//! | file | subject |
//! |---|---|
//! | `safetensors.rs` | safetensors, with a checksum in ours |
//! | `torch/` | `.pth` and `.pt` files: a reader of pickles that executes nothing |
//! | `other.rs` | what a file is that is neither |
//! | `keys.rs` | which of a file's keys is which of the network's |
//! | `usable.rs` | values that a network can compute with |
//!
//! What a file is follows from its bytes; its name's ending does not matter.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use signet::nn::{Linear, Module, Sequential};
//! use signet::{Device, checkpoint, layers};
//!
//! let device = Device::cpu()?;
//! let make = |seed| Sequential::<f32>::new(&device, seed, layers![Linear::new(4, 2)]);
//! let (model, other) = (make(0)?, make(1)?);
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("model.safetensors");
//! checkpoint::save(&path, &model.state_dict()?, None)?;
//! let (dict, _words) = checkpoint::load(&path)?;
//! other.load_state_dict(&dict)?;
//! assert_eq!(other.state_dict()?, model.state_dict()?);
//! # Ok(()) }
//! ```
#![forbid(unsafe_code)]

pub mod keys;
mod other;
mod safetensors;
mod torch;
pub mod usable;

pub(crate) use safetensors::save_keeping;
pub use safetensors::{Metadata, save};

use crate::nn::StateDict;
use crate::{Error, Result};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The largest file that is read, in bytes. A model of the ASL network has 1.6 MB, with the state of
/// its optimizer 5 MB.
const MAX_BYTES: u64 = 1 << 30;

/// Reads a model's file: its tensors by name, and the words beside them.
///
/// A safetensors file may hold F32, F64, F16, BF16, I64 and I32; its words are its metadata. A file of
/// `torch.save`, in today's format (zip) or the one before PyTorch 1.6, may hold a state dict, a
/// whole module of `torch.nn` classes, or a checkpoint that has one of both under a usual name such
/// as `state_dict` or `model_state_dict`; it has no words. Nothing in it is executed: what it
/// names is looked up in a fixed list, and anything else is an error.
///
/// # Errors
/// [`Error::Io`] when it cannot be read, [`Error::Checkpoint`] when it is damaged, something else,
/// or holds another element type.
pub fn load(path: &Path) -> Result<(StateDict, Metadata)> {
    let read = || {
        let mut bytes = Vec::new();
        File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(Error::io("read", path))?;
    if bytes.len() as u64 > MAX_BYTES {
        let message = "has more than a gigabyte; a model of this network has 2 MB";
        return Err(invalid(path, message));
    }
    parse(path, &bytes)
}

/// As [`load`], from the bytes of a file; `path` is for messages.
///
/// # Errors
/// [`Error::Checkpoint`] as [`load`].
pub fn parse(path: &Path, bytes: &[u8]) -> Result<(StateDict, Metadata)> {
    let explained = |message: String| invalid(path, message);
    if !safetensors::is_likely(bytes) {
        if let Some(what) = other::what_it_is(bytes) {
            return Err(explained(what));
        }
        if torch::is_likely(bytes) {
            return Ok((torch::parse(bytes).map_err(explained)?, Metadata::new()));
        }
    }
    safetensors::parse(path, bytes)
}

/// A [`Error::Checkpoint`].
pub fn invalid(path: &Path, message: impl Into<String>) -> Error {
    Error::Checkpoint { path: path.to_path_buf(), message: message.into() }
}
