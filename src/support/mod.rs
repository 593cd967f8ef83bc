//! What needs nothing of the library, shared with the program `signet`; no part of the library's
//! interface.
//!
//! | file | subject |
//! |---|---|
//! | `words.rs` | numbers, names and paths as people write them |
//! | `file_kind.rs` | what a file is, as its first bytes tell |
//! | `flood_fill.rs` | what hangs together in an image |
//! | `unoptimised.rs` | a word to who forgot `--release` |
#![forbid(unsafe_code)]

mod file_kind;
mod flood_fill;
pub(crate) mod unoptimised;
pub mod words;

pub use file_kind::FileKind;
pub use flood_fill::flood_fill;
