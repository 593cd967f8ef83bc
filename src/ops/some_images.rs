use super::{index32, numel32};
use crate::{Result, Shape};

/// Which images of a batch `[N, C, H, W]` are changed at random: an op draws a word for each of them,
/// and what else it needs, from its random stream.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct SomeImages {
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
}
