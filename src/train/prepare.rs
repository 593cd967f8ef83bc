//! What a GPU needs before a run, and what to say where it has too little memory for it.

use super::{Config, Trainer};
use crate::data::{Split, synthetic};
use crate::device::{Cuda, Device};
use crate::{Error, Result};

/// Compiles all kernels that a run with `config` needs, side by side and for its very sizes, where
/// `device` compiles kernels. That is faster than one after the other as a run comes to them, and so
/// is the run. To be called before the run's [`Trainer`] is made; `fuse` is whether its model
/// [fuses](crate::nn::Sequential::fuse) layers.
///
/// # Errors
/// [`Error::Argument`] for a setting outside its range, [`Error::Device`] when a kernel does not
/// compile.
pub fn prepare(device: &Device, config: &Config, fuse: bool) -> Result<()> {
    let Device::Cuda(cuda) = device else { return Ok(()) };
    cuda.set_specialise(true);
    cuda.rehearse(|| {
        // Which kernels are needed depends on the images' size alone.
        let batch = synthetic(config.seed, config.batch_size, 1);
        let trainer = Trainer::new(device, config.clone(), &batch)?;
        trainer.model().fuse(fuse);
        trainer.rehearse()
    })
}

/// The error of a run, where it is that of a GPU without enough memory with the largest batch that
/// fits. `fuse` is whether the run [fuses](crate::nn::Sequential::fuse) layers, and `graphs` whether
/// it [captures graphs](Trainer::use_graphs).
pub fn with_batch_that_fits(
    error: Error,
    device: &Device,
    config: &Config,
    split: &Split,
    fuse: bool,
    graphs: bool,
) -> Error {
    let is_out_of_memory = error.is_out_of_memory();
    match (device, error) {
        (Device::Cuda(cuda), Error::Device { device, message }) if is_out_of_memory => {
            let found = largest_batch(cuda, config, split, fuse, graphs).map_or_else(
                || "not even a batch size of 1 fits: use another GPU, or the CPU".into(),
                |size| format!("the largest batch size that fits is {size}"),
            );
            Error::Device { device, message: format!("{message}; {found}") }
        }
        (_, error) => error,
    }
}

/// The largest batch smaller than that of `config` with which a GPU has memory for all that a
/// run does; `None` when there is none.
///
/// It is found by trying, with half of what is left to choose from each time: what a step takes is
/// more than a sum over its tensors, and the memory may be shared with other programs. A try makes
/// the steps and validations of two epochs that need memory, so the answer takes some seconds.
fn largest_batch(
    cuda: &Cuda,
    config: &Config,
    split: &Split,
    fuse: bool,
    graphs: bool,
) -> Option<usize> {
    // Kernels for the very sizes would have to be compiled for each try, and take the same memory.
    cuda.set_specialise(false);
    cuda.trim().ok()?;
    let device = Device::from(cuda.clone());
    let fits = |batch_size| {
        let config = Config { batch_size, ..config.clone() };
        let tried = Trainer::new(&device, config, split).and_then(|mut trainer| {
            trainer.model().fuse(fuse);
            trainer.use_graphs(graphs);
            trainer.take_memory()
        });
        // What is kept for reuse would not be there when the run begins.
        cuda.trim().and(tried).is_ok()
    };
    let (mut fitting, mut failing) = (0, config.batch_size);
    while failing - fitting > 1 {
        let middle = fitting.midpoint(failing);
        if fits(middle) { fitting = middle } else { failing = middle }
    }
    (fitting > 0).then_some(fitting)
}
