//! What an optimizer remembers, on the host: what is in a checkpoint.

use serde::{Deserialize, Serialize};

/// What an optimizer remembers, on the host: PyTorch's `state_dict`, whose `state[i]` is here
/// `steps[i]` and parameter `i`'s part of each of the moments.
#[derive(Debug, Clone, PartialEq)]
pub struct OptimizerState<T> {
    /// The steps that each parameter has made, in the arena's order; 0: PyTorch would have no state of
    /// it. One number alone stands for all parameters.
    pub steps: Vec<u64>,
    /// Moments by PyTorch's names, each as long as the arena.
    pub moments: Vec<(String, Vec<T>)>,
    /// Which parameters follow which options; none: those that the optimizer has.
    pub param_groups: Vec<ParamGroup>,
}

/// A group of parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParamGroup {
    /// Their numbers in the arena.
    pub params: Vec<usize>,
    /// Their options by name, 1 and 0 for yes and no.
    pub options: Vec<(String, f64)>,
}
