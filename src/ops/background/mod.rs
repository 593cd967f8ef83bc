//! Other backgrounds behind hands, drawn at random: a network that has only seen the walls of one set
//! of photographs takes them for part of the letter.

mod cpu;
mod cuda;

use crate::device::{Backend, Cost, Device, kernels};
use crate::dtype::Float;
use crate::ops::SomeImages;
use crate::rng::{both_sides, share, stream};
use crate::{Error, Result, Tensor};

/// Neighbours that differ by no more hang together: five steps of 255, and half of one so that
/// rounding never decides.
pub const STEP: f64 = 5.5 / 255.0;

/// The most pixels of an image: a GPU keeps a byte for each in a block's shared memory.
pub const MOST_PIXELS: u32 = 1 << 14;

/// Philox blocks of an image.
const BLOCKS: u32 = 3;

/// How much lighter or darker a background becomes at most from its middle to an edge.
const SLOPE: f64 = 0.1;
/// The greatest height of its waves.
const WAVE: f64 = 0.3;
/// Radians of its waves from one edge to the other, at most.
const WAVES: f64 = 16.0;

/// Reads and writes each of `values` once; the search compares each with its four neighbours some
/// five times.
pub(crate) fn cost<T>(values: usize) -> Cost {
    Cost::elementwise::<T>(values, 2, 40)
}

/// What may be put behind the hand of image `i`, from the words of the Philox blocks
/// `(seed, stream, step, 3 i)` to `3 i + 2`: a grey that changes evenly towards one side, with or
/// without waves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backdrop<T> {
    /// The grey in the middle.
    grey: T,
    /// What is added from the middle to the right edge, and to the lower one.
    slope: [T; 2],
    /// The height of the waves.
    wave: T,
    /// Radians from one edge to the other, to the right and down.
    waves: [T; 2],
    /// Radians in the middle.
    phase: T,
}

impl<T: Float> Backdrop<T> {
    /// From the words of three blocks, but the first, which decides over it. Half of the
    /// backdrops have no waves.
    pub fn new([a, b, c]: [[u32; 4]; 3]) -> Self {
        Self {
            grey: share(a[1]),
            slope: [T::of(SLOPE) * both_sides(a[2]), T::of(SLOPE) * both_sides(a[3])],
            wave: T::of(WAVE) * both_sides::<T>(b[0]).max(T::zero()),
            waves: [T::of(WAVES) * both_sides(b[1]), T::of(WAVES) * both_sides(b[2])],
            phase: T::of(std::f64::consts::PI) * both_sides(c[0]),
        }
    }

    /// At `x`, `y` from the middle, in parts of the width and height.
    pub fn at(&self, x: T, y: T) -> T {
        let two = T::of(2.0);
        let even = self.grey + two * (self.slope[0] * x + self.slope[1] * y);
        let value = match self.wave > T::zero() {
            true => even + self.wave * (self.phase + self.waves[0] * x + self.waves[1] * y).sin(),
            false => even,
        };
        value.max(T::zero()).min(T::one())
    }
}

kernels! {
    /// What replacing backgrounds asks of a device.
    pub(crate) trait BackgroundKernels<T: Float>: Backend {
        /// The background of an image is its two upper corners and whatever hangs together with one of
        /// them, side by side, in steps of at most [`STEP`] in every channel. Its pixels become those of
        /// the [`Backdrop`].
        fn background(
            &self,
            geometry: &SomeImages,
            step: Self::View<'_, u64>,
            input: Self::View<'_, T>,
            output: Self::ViewMut<'_, T>,
        ) -> Result<()>;
    }
}

/// `images [N, C, H, W]` (0 to 1) with the backgrounds of about the share `p` of them replaced; which
/// and by what depends on `seed`, the training step (`[1]`, on the device) and the place in the batch.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor};
/// use signet::ops::background::background;
///
/// let device = Device::cpu()?;
/// // Grey squares, brighter to the right; the seed is 1, and this is training step 0.
/// let ramp: Vec<f32> = (0..2 * 28 * 28).map(|i| (i % 28) as f32 / 28.0).collect();
/// let images = Tensor::from_slice(&device, &ramp, [2, 1, 28, 28])?;
/// let step = Tensor::from_slice(&device, &[0], [1])?;
/// let changed = background(&images, 1.0, 1, &step)?;
/// assert_eq!(changed.dims(), images.dims());
/// assert_ne!(changed.to_vec()?, ramp);
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::Shape`] for another rank, and for more than [`MOST_PIXELS`] in an image.
pub fn background<T: Float>(
    images: &Tensor<T>,
    p: f64,
    seed: u64,
    step: &Tensor<u64>,
) -> Result<Tensor<T>> {
    const OP: &str = "background";
    let shape = images.shape();
    let geometry = SomeImages::new(OP, shape, p, seed, stream::BACKGROUND)?;
    let SomeImages { height, width, .. } = geometry;
    if u64::from(height) * u64::from(width) > u64::from(MOST_PIXELS) {
        let message = format!(
            "finds backgrounds in images of up to {MOST_PIXELS} pixels, got {height} x {width}; \
             go without this change"
        );
        return Err(Error::shape(OP, message));
    }
    let device = images.device();
    let mut output = device.alloc(images.numel())?;
    let view = Device::view_mut(&mut output);
    device.background(&geometry, step.read().view(), images.read().view(), view)?;
    Ok(Tensor::from_buffer(device, output, shape.clone()))
}
