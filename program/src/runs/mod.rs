//! The folder of a run.
//!
//! | file | subject |
//! |---|---|
//! | `folder.rs` | its files, from the first to those that a run goes on from |
//! | `model_words.rs` | what its models' files say beside their values |
//! | `card.rs` | what its `README.md` says of its models |
#![forbid(unsafe_code)]

mod card;
mod folder;
mod model_words;

pub use folder::{BEST, MODEL, Record, Resumed, RunFolder};
pub use model_words::ModelWords;
