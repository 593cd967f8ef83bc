//! Signet.
#[cfg(feature = "cli")]
pub mod cli;
pub mod data;
mod error;
pub mod rng;

pub use error::{Error, Result};
