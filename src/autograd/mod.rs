//! Automatic differentiation: what was computed, and its gradients.
//!
//! | file | subject |
//! |---|---|
//! | `tape.rs` | what was computed, and the walk back |
//! | `gradients.rs` | the gradients under way |
//! | `arena.rs` | parameters, all of a model's in one buffer |
//! | `gradcheck.rs` | gradients against finite differences |
#![forbid(unsafe_code)]

pub(crate) mod arena;
mod gradcheck;
pub(crate) mod gradients;
pub(crate) mod tape;

pub use arena::{Arena, Parameter};
pub use gradcheck::{GradcheckOptions, Worst, gradcheck};
pub use gradients::Gradients;
pub use tape::{NodeId, Tape, Watched};
