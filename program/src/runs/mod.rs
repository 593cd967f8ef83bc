//! The folder of a run.
//!
//! | file | subject |
//! |---|---|
//! | `folder.rs` | its files, from the first to those that a run goes on from |
//! | `epoch_line.rs` | an epoch as a line of JSON |
//! | `model_words.rs` | what its models' files say beside their values |
//! | `samples.rs` | runs for tests |
//! | `card.rs` | what its `README.md` says of its models |
#![forbid(unsafe_code)]

mod card;
mod epoch_line;
mod folder;
mod model_words;
#[cfg(test)]
pub(crate) mod samples;

pub use epoch_line::EpochLine;
pub use folder::{BEST, MODEL, Record, Resumed, RunFolder};
pub use model_words::ModelWords;
