//! Random convolution: images blurred, sharpened or turned towards their negative, each by a filter of
//! its own, so that a network goes by shapes and not by the greys of one camera (Xu et al., 2021,
//! "Robust and generalizable visual representation learning via random convolutions").

mod cpu;
mod cuda;

use crate::device::{Backend, Cost, Device, kernels};
use crate::dtype::Float;
use crate::ops::SomeImages;
use crate::rng::{both_sides, share, stream};
use crate::{Result, Tensor};

/// The most rows and columns of a filter.
pub const MOST_SIZE: usize = 5;

/// Philox blocks of an image: one says whether and how, seven hold the weights.
pub const BLOCKS: u32 = 1 + (MOST_SIZE * MOST_SIZE).div_ceil(4) as u32;

/// What a filter makes of an image is flat if its standard deviation is no more: then it has nothing
/// that could be brought to the image's own.
pub const FLAT: f64 = 1e-3;

/// Reads and writes each of `values` once, and some 30 FLOP for one: half of the filters have 9
/// weights.
pub(crate) fn cost<T>(values: usize) -> Cost {
    Cost::elementwise::<T>(values, 2, 30)
}

/// What is drawn for image `i`, from the words of the Philox blocks `(seed, stream, step, 8 i)` to
/// `8 i + 7`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RandomFilter<T> {
    /// Rows and columns: 1, 3 (twice as often) or 5.
    pub size: usize,
    /// The share of the image that stays beside what the filter makes of it.
    pub kept: T,
    /// From -1 to 1; the first `size * size` are the filter, row by row.
    pub weights: [T; MOST_SIZE * MOST_SIZE],
}

impl<T: Float> RandomFilter<T> {
    /// From the words of an image's blocks, but the first, which decides over it.
    pub fn new(block: impl Fn(u32) -> [u32; 4]) -> Self {
        let [_, size, kept, _] = block(0);
        let words: [[u32; 4]; BLOCKS as usize - 1] = std::array::from_fn(|j| block(1 + j as u32));
        Self {
            size: [1, 3, 3, 5][(size % 4) as usize],
            kept: share(kept),
            weights: std::array::from_fn(|i| both_sides(words[i / 4][i % 4])),
        }
    }
}

kernels! {
    /// What random filters ask of a device.
    pub(crate) trait RandomFilterKernels<T: Float>: Backend {
        /// A filtered image becomes `kept` of itself and the rest of its convolution with the weights,
        /// each channel by itself, edges repeated, brought to the image's own mean and standard
        /// deviation (over all channels); a flat convolution is the mean alone.
        fn random_filter(
            &self,
            geometry: &SomeImages,
            step: Self::View<'_, u64>,
            input: Self::View<'_, T>,
            output: Self::ViewMut<'_, T>,
        ) -> Result<()>;
    }
}

/// `images [N, C, H, W]`, about the share `p` of them through a random filter; which and through
/// which depends on `seed`, the training step (`[1]`, on the device) and the place in the batch.
/// Values between 0 and 1 may leave that range.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor};
/// use signet::ops::random_filter::random_filter;
///
/// let device = Device::cpu()?;
/// // Grey squares, brighter to the right; the seed is 1, and this is training step 0.
/// let ramp: Vec<f32> = (0..2 * 28 * 28).map(|i| (i % 28) as f32 / 28.0).collect();
/// let images = Tensor::from_slice(&device, &ramp, [2, 1, 28, 28])?;
/// let step = Tensor::from_slice(&device, &[0], [1])?;
/// let changed = random_filter(&images, 1.0, 1, &step)?;
/// assert_eq!(changed.dims(), images.dims());
/// assert_ne!(changed.to_vec()?, ramp);
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) for another rank.
pub fn random_filter<T: Float>(
    images: &Tensor<T>,
    p: f64,
    seed: u64,
    step: &Tensor<u64>,
) -> Result<Tensor<T>> {
    let shape = images.shape();
    let geometry = SomeImages::new("random_filter", shape, p, seed, stream::FILTER)?;
    let device = images.device();
    let mut output = device.alloc(images.numel())?;
    let view = Device::view_mut(&mut output);
    device.random_filter(&geometry, step.read().view(), images.read().view(), view)?;
    Ok(Tensor::from_buffer(device, output, shape.clone()))
}
