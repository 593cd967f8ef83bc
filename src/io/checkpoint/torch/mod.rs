//! What `torch.save` wrote: state dicts, whole modules, and checkpoints that have one of both.
//!
//! | file | subject |
//! |---|---|
//! | `pickle.rs` | the machine that the bytes of a pickle are instructions for |
//! | `globals.rs` | the fixed list of what a file may name, and what comes of calling it |
//! | `object.rs` | what the machine makes: a graph of plain values |
//! | `container.rs` | the two formats of files, and where in them the numbers lie |
//! | `dict.rs` | from the graph to a state dict |
//!
//! A pickle is a program: Python's own reader imports what it names and calls it. This one knows a
//! few dozen names and what their results look like, makes those results itself, and refuses all
//! others. It takes time and memory in proportion to the file, whatever is in it.

mod container;
mod dict;
mod globals;
mod object;
mod pickle;

use crate::nn::StateDict;
use container::Container;

/// Whether a file begins as these do.
pub(super) fn is_likely(bytes: &[u8]) -> bool {
    container::is_zip(bytes) || container::is_pickle(bytes)
}

/// Reads the bytes of a file.
///
/// # Errors
/// Why it cannot be read.
pub(super) fn parse(bytes: &[u8]) -> Result<StateDict, String> {
    let mut container = Container::open(bytes)?;
    let graph = container.graph()?;
    container.prepare(&graph)?;
    dict::state_dict(&graph, &mut container)
}
