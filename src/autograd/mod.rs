//! Automatic differentiation: what was computed, and its gradients.
//!
//! An op that reads a tensor whose gradient somebody wants leaves a [node](graph) with its output:
//! which nodes its inputs have, and a closure that turns the gradient of the output into theirs.
//! Nodes are numbered as they are made, so an input's number is less than its user's: walking all
//! nodes that the result was computed from, from the highest number down, meets every node after
//! all its uses. That is back-propagation.
//!
//! ```
//! # use signet::{Device, Tensor};
//! # fn main() -> signet::Result<()> {
//! let device = Device::cpu()?;
//! let x = Tensor::from_slice(&device, &[2.0_f64, 3.0], [2])?.requires_grad(true)?;
//! let y = x.mul(&x)?.sum()?; // x0^2 + x1^2
//! y.backward()?;
//! assert_eq!(x.grad()?.expect("backward ran").to_vec()?, [4.0, 6.0]);
//! # Ok(()) }
//! ```
//!
//! | file | subject |
//! |---|---|
//! | `graph.rs` | leaves and nodes: who wants a gradient, and how it is computed |
//! | `backward.rs` | the walk |
//! | `gradients.rs` | the gradients under way |
//! | `saved.rs` | values that a backward pass needs, and whether they are still the same |
//! | `arena.rs` | parameters, all of a model's in one buffer |
//! | `gradcheck.rs` | gradients against finite differences |
#![forbid(unsafe_code)]

mod arena;
mod backward;
mod gradcheck;
mod gradients;
mod graph;
mod saved;

pub use arena::Arena;
pub use gradcheck::{GradcheckOptions, Worst, gradcheck};
pub use gradients::{Gradients, NodeId};
pub(crate) use graph::{Leaf, Origin, is_recorded};
pub use saved::SavedTensor;

use std::cell::Cell;

thread_local! {
    static RECORDS: Cell<bool> = const { Cell::new(true) };
}

/// Runs `work` without recording what it computes on this thread, as `torch.no_grad()`: for
/// evaluation, where nobody asks for gradients. What was computed inside counts as a constant.
///
/// Without it the results are the same; what a backward pass would need is kept as long as they.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor, no_grad};
/// let x = Tensor::from_slice(&Device::cpu()?, &[2.0_f32], [1])?.requires_grad(true)?;
/// assert!(x.mul(&x)?.needs_grad());
/// assert!(!no_grad(|| x.mul(&x))?.needs_grad());
/// # Ok(()) }
/// ```
pub fn no_grad<R>(work: impl FnOnce() -> R) -> R {
    /// Puts back what was, also where `work` panics.
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            RECORDS.set(self.0);
        }
    }
    let _before = Before(RECORDS.replace(false));
    work()
}

/// Whether this thread is outside of [`no_grad`].
pub(crate) fn records() -> bool {
    RECORDS.get()
}
