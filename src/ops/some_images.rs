use super::{index32, numel32};
use crate::device::cuda::{CudaView, CudaViewMut, THREADS};
use crate::device::{Cost, Cuda};
use crate::dtype::{Float, Plain};
use crate::rng::Philox;
use crate::{Result, Shape};
use rayon::prelude::*;

/// Which images of a batch `[N, C, H, W]` are changed at random. Each has Philox blocks of its own in
/// the op's random stream; the first word of the first decides, the others say how.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct SomeImages {
    /// The run's seed.
    pub seed: u64,
    /// `p * 2^32`; an image whose word is below it is changed.
    pub threshold: f64,
    /// The random stream.
    pub stream: u32,
    /// Channels.
    pub channels: u32,
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
}

impl Plain for SomeImages {}

impl SomeImages {
    /// About the share `p` of the images of `shape`.
    pub(super) fn new(
        op: &'static str,
        shape: &Shape,
        p: f64,
        seed: u64,
        stream: u32,
    ) -> Result<Self> {
        let [_, channels, height, width] = shape.expect(op, "[N, C, H, W]")?;
        numel32(op, shape)?;
        Ok(Self {
            seed,
            threshold: p * 2f64.powi(32),
            stream,
            channels: index32(op, channels)?,
            height: index32(op, height)?,
            width: index32(op, width)?,
        })
    }

    /// Whether an image with this word is one of them.
    pub fn has(&self, word: u32) -> bool {
        f64::from(word) < self.threshold
    }

    /// Values of an image.
    pub fn numel(&self) -> usize {
        [self.channels, self.height, self.width].iter().map(|&size| size as usize).product()
    }

    /// Writes each image of `input [N, C, H, W]` to `output`: with `change(scratch, block, input,
    /// output)` where it is one of them, else as it is. `block(j)` is one of its `blocks` Philox
    /// blocks; the scratch goes from image to image for its memory.
    pub(super) fn change<T: Float, S: Default>(
        &self,
        step: u64,
        blocks: u32,
        input: &[T],
        output: &mut [T],
        change: impl Fn(&mut S, &dyn Fn(u32) -> [u32; 4], &[T], &mut [T]) + Sync,
    ) {
        let numel = self.numel();
        if numel == 0 {
            return;
        }
        let philox = Philox::new(self.seed);
        let images = output.par_chunks_mut(numel).zip(input.par_chunks(numel)).enumerate();
        images.for_each_init(S::default, |scratch, (i, (output, input))| {
            let block = |j| philox.block(self.stream, step, blocks * i as u32 + j);
            if self.has(block(0)[0]) {
                change(scratch, &block, input, output);
            } else {
                output.copy_from_slice(input);
            }
        });
    }

    /// Launches `kernel`, a block for each image, from the file of the same name.
    pub(super) fn launch<T: Float>(
        &self,
        cuda: &Cuda,
        kernel: &'static str,
        cost: Cost,
        step: CudaView<'_, u64>,
        input: CudaView<'_, T>,
        output: CudaViewMut<'_, T>,
    ) -> Result<()> {
        let images = output.len().checked_div(self.numel()).unwrap_or(0) as u32;
        cuda.kernel::<T>(kernel, kernel)?
            .cost(cost)
            .value(*self)
            .input(step)
            .input(input)
            .output(output)
            .launch([images, 1, 1], [THREADS, 1, 1])
    }
}
