//! Random changes of images, so that a network sees each one differently in every epoch: rotation,
//! shift, zoom, slant, stretch, flip, brightness, contrast and light from a side; before them, if
//! asked for, another background and a random filter.

mod cpu;
mod cuda;
mod options;

pub use options::AugmentOptions;

use crate::device::{Backend, Cost, Device, kernels};
use crate::dtype::{Float, Plain};
use crate::ops::background::background;
use crate::ops::random_filter::random_filter;
use crate::ops::{index32, numel32};
use crate::rng::{both_sides, share, stream};
use crate::{Result, Tensor};

/// How one batch of images is changed. Image `i` takes the words of the Philox blocks
/// `(seed, stream, step, 3 i)` to `3 i + 2`, see [`Draw`].
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct AugmentGeometry {
    /// The run's seed.
    pub seed: u64,
    /// The largest angle, in radians.
    pub rotation: f64,
    /// The largest shift, as a share of width and height.
    pub shift: f64,
    /// The least magnification.
    pub zoom: f64,
    /// The greatest magnification less the least.
    pub zoom_range: f64,
    /// How much brighter or darker an image becomes at most: its values times `1 ± brightness`.
    pub brightness: f64,
    /// The same for differences from the image's mean.
    pub contrast: f64,
    /// How much brighter one edge becomes at most, and the opposite one darker.
    pub light: f64,
    /// The largest angle by which upright lines are slanted, in radians.
    pub shear: f64,
    /// How much wider and lower, or narrower and higher, an image becomes at most.
    pub aspect: f64,
    /// `p * 2^32`; an image whose word is below it is mirrored left to right.
    pub flip: u32,
    /// The random stream.
    pub stream: u32,
    /// Images.
    pub batch: u32,
    /// Channels, all changed alike.
    pub channels: u32,
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
}

impl Plain for AugmentGeometry {}

impl AugmentGeometry {
    /// Reads and writes each pixel once; about 60 FLOP for one.
    pub fn cost<T>(&self) -> Cost {
        let sizes = [self.batch, self.channels, self.height, self.width];
        Cost::elementwise::<T>(sizes.map(|size| size as usize).iter().product(), 2, 60)
    }
}

/// What is drawn for one image, each from -1 to 1 but for `zoom` and `light` (0 to 1), `flip` and
/// `direction` (a word each).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Draw<T> {
    /// Of the angle.
    pub rotation: T,
    /// Of the shift, `[x, y]`.
    pub shift: [T; 2],
    /// Of the zoom's range.
    pub zoom: T,
    /// Decides over the mirroring.
    pub flip: u32,
    /// Of the brightness.
    pub brightness: T,
    /// Of the contrast.
    pub contrast: T,
    /// Of the light's strength.
    pub light: T,
    /// Where the light comes from, as a share of a turn.
    pub direction: T,
    /// Of the angle of the slant.
    pub shear: T,
    /// Of the stretch.
    pub aspect: T,
}

impl<T: Float> Draw<T> {
    /// From the words of three blocks.
    pub fn new([a, b, c]: [[u32; 4]; 3]) -> Self {
        Self {
            rotation: both_sides(a[0]),
            shift: [both_sides(a[1]), both_sides(a[2])],
            zoom: share(a[3]),
            flip: b[0],
            brightness: both_sides(b[1]),
            contrast: both_sides(b[2]),
            light: share(b[3]),
            direction: share(c[0]),
            shear: both_sides(c[1]),
            aspect: both_sides(c[2]),
        }
    }
}

kernels! {
    /// What augmentation asks of a device.
    pub(crate) trait AugmentKernels<T: Float>: Backend {
        /// Output pixel `p`, measured from the image's centre, takes the input at
        /// `rotate(stretch(slant(mirror(p)))) / zoom + shift`, between pixels linearly, outside the image
        /// from its edge. That value times brightness and light is cut to 0..1; then its difference from
        /// the image's mean is multiplied by the contrast, and cut to 0..1 again.
        fn augment(
            &self,
            geometry: &AugmentGeometry,
            step: Self::View<'_, u64>,
            input: Self::View<'_, T>,
            output: Self::ViewMut<'_, T>,
        ) -> Result<()>;
    }
}

/// `images [N, C, H, W]` (0 to 1), each changed in its own random way, which depends on `seed`, the
/// training step (`[1]`, on the device) and its place in the batch.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor};
/// use signet::ops::augment::{AugmentOptions, augment};
///
/// let device = Device::cpu()?;
/// // Grey squares, brighter to the right; the seed is 1, and this is training step 0.
/// let ramp: Vec<f32> = (0..2 * 28 * 28).map(|i| (i % 28) as f32 / 28.0).collect();
/// let images = Tensor::from_slice(&device, &ramp, [2, 1, 28, 28])?;
/// let step = Tensor::from_slice(&device, &[0], [1])?;
/// let changed = augment(&images, &AugmentOptions::course(), 1, &step)?;
/// assert_eq!(changed.dims(), images.dims());
/// assert_ne!(changed.to_vec()?, ramp);
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) for another rank, or as [`background`],
/// [`Error::Argument`](crate::Error::Argument) for a range that makes no sense.
pub fn augment<T: Float>(
    images: &Tensor<T>,
    options: &AugmentOptions,
    seed: u64,
    step: &Tensor<u64>,
) -> Result<Tensor<T>> {
    const OP: &str = "augment";
    options.check()?;
    let images = match options.background {
        0.0 => images,
        p => &background(images, p, seed, step)?,
    };
    let images = match options.filter {
        0.0 => images,
        p => &random_filter(images, p, seed, step)?,
    };
    let shape = images.shape();
    let sizes = shape.expect(OP, "[N, C, H, W]")?;
    numel32(OP, shape)?;
    for size in sizes {
        index32(OP, size)?;
    }
    let [batch, channels, height, width] = sizes.map(|size| size as u32);
    let geometry = AugmentGeometry {
        seed,
        rotation: options.rotation.to_radians(),
        shift: options.shift,
        zoom: options.zoom[0],
        zoom_range: options.zoom[1] - options.zoom[0],
        brightness: options.brightness,
        contrast: options.contrast,
        light: options.light,
        shear: options.shear.to_radians(),
        aspect: options.aspect,
        flip: (options.flip * 2f64.powi(32)).min(f64::from(u32::MAX)) as u32,
        stream: stream::AUGMENT,
        batch,
        channels,
        height,
        width,
    };
    let device = images.device();
    let mut output = device.alloc(images.numel())?;
    let view = Device::view_mut(&mut output);
    device.augment(&geometry, step.read().view(), images.read().view(), view)?;
    Ok(Tensor::from_buffer(device, output, shape.clone()))
}
