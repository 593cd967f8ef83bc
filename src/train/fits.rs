//! Which batch fits a GPU's memory.

use super::{Config, Trainer};
use crate::data::Split;
use crate::device::Cuda;

/// The largest batch smaller than that of `config` with which `device` has memory for all that a
/// run does; `None` when there is none.
///
/// It is found by trying, with half of what is left to choose from each time: what a step takes is
/// more than a sum over its tensors, and the memory may be shared with other programs. A try makes
/// the steps and validations of two epochs that need memory, so the answer takes some seconds.
/// `fuse` is whether the run [fuses](crate::nn::Sequential::fuse) layers, and `graphs` whether it
/// [captures graphs](Trainer::use_graphs).
pub fn largest_batch(
    device: &Cuda,
    config: &Config,
    split: &Split,
    fuse: bool,
    graphs: bool,
) -> Option<usize> {
    // Kernels for the very sizes would have to be compiled for each try, and take the same memory.
    device.set_specialise(false);
    device.trim().ok()?;
    let fits = |batch_size| {
        let config = Config { batch_size, ..config.clone() };
        let tried = Trainer::new(device, config, split).and_then(|mut trainer| {
            trainer.model().fuse(fuse);
            trainer.use_graphs(graphs);
            trainer.take_memory()
        });
        // What is kept for reuse would not be there when the run begins.
        device.trim().and(tried).is_ok()
    };
    let (mut fitting, mut failing) = (0, config.batch_size);
    while failing - fitting > 1 {
        let middle = fitting.midpoint(failing);
        if fits(middle) { fitting = middle } else { failing = middle }
    }
    (fitting > 0).then_some(fitting)
}
