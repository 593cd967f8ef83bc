//! The folder of a run.
//!
//! | file | subject |
//! |---|---|
//! | `folder.rs` | its files, from the first to those that a run goes on from |
//! | `card.rs` | what its `README.md` says of its models |
#![forbid(unsafe_code)]

mod card;
mod folder;

pub use folder::{BEST, MODEL, Record, Resumed, RunFolder};
