//! A batch from the data set: rows of bytes, picked by index and scaled to 0..1.

mod cpu;
mod cuda;

use crate::device::{Backend, Cost, Device, kernels};
use crate::dtype::{Float, Plain};
use crate::ops::index32;
use crate::{Error, Result, Shape, Tensor};

/// Sizes of one gather.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct GatherGeometry {
    /// Rows to pick.
    pub rows: u32,
    /// Bytes of a row.
    pub width: u32,
    /// Rows of a whole batch: batch `b` begins at `order[b * batch_size]`.
    pub batch_size: u32,
}

impl Plain for GatherGeometry {}

impl GatherGeometry {
    /// Reads each byte of the rows, divides it by 255 and writes it.
    pub fn cost<T>(&self) -> Cost {
        let bytes = self.rows as usize * self.width as usize;
        Cost::elementwise::<T>(bytes, 1, 1).moving::<u8>(bytes as u64)
    }
}

kernels! {
    /// What a gather asks of a device.
    pub(crate) trait GatherKernels<T: Float>: Backend {
        /// `images[i, j] = pixels[order[k], j] / 255` and `targets[i] = labels[order[k]]`, with
        /// `k = batch[0] * batch_size + i`, or `k = i` without a `batch`. Every `k` must be in the
        /// order, and every index a row.
        fn gather(
            &self,
            geometry: &GatherGeometry,
            pixels: Self::View<'_, u8>,
            labels: Self::View<'_, i32>,
            order: Self::View<'_, u32>,
            batch: Option<Self::View<'_, u64>>,
            images: Self::ViewMut<'_, T>,
            targets: Self::ViewMut<'_, i32>,
        ) -> Result<()>;
    }
}

/// Images `[B, ..]` scaled to 0..1, and their labels `[B]`.
pub type Batch<T> = (Tensor<T>, Tensor<i32>);

/// The rows `order [B]` of `pixels [N, ..]`, scaled to 0..1, and their labels. The caller sees to it
/// that every index is less than `N`.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor};
/// use signet::ops::gather::gather;
///
/// let device = Device::cpu()?;
/// let pixels = Tensor::from_slice(&device, &[0_u8, 255, 51, 0], [2, 2])?;
/// let labels = Tensor::from_slice(&device, &[7, 8], [2])?;
/// let order = Tensor::from_slice(&device, &[1], [1])?;
/// let (images, targets) = gather::<f64>(&pixels, &labels, &order)?;
/// assert_eq!((images.to_vec()?, targets.to_vec()?), (vec![0.2, 0.0], vec![8]));
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::Shape`] when labels do not fit pixels.
pub fn gather<T: Float>(
    pixels: &Tensor<u8>,
    labels: &Tensor<i32>,
    order: &Tensor<u32>,
) -> Result<Batch<T>> {
    rows(pixels, labels, order, None, [order.numel(); 2])
}

/// The first `rows` rows of a batch of `pixels [N, ..]`: batch `b` of `order` begins at its element
/// `b * batch_size`, and `batch [1]` tells `b` in device memory, so that a captured graph gathers
/// another batch each time it is replayed. The caller sees to it that the batch is in the order, and
/// every index less than `N`.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor};
/// use signet::ops::gather::gather_batch;
///
/// let device = Device::cpu()?;
/// let pixels = Tensor::from_slice(&device, &[0_u8, 255, 51, 0], [4, 1])?;
/// let labels = Tensor::from_slice(&device, &[6, 7, 8, 9], [4])?;
/// let order = Tensor::from_slice(&device, &[3, 2, 1, 0], [4])?;
/// // The second batch of two.
/// let batch = Tensor::from_slice(&device, &[1], [1])?;
/// let (images, targets) = gather_batch::<f64>(&pixels, &labels, &order, &batch, [2, 2])?;
/// assert_eq!((images.to_vec()?, targets.to_vec()?), (vec![1.0, 0.0], vec![7, 6]));
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::Shape`] when labels do not fit pixels or a batch is longer than the order.
pub fn gather_batch<T: Float>(
    pixels: &Tensor<u8>,
    labels: &Tensor<i32>,
    order: &Tensor<u32>,
    batch: &Tensor<u64>,
    [rows, batch_size]: [usize; 2],
) -> Result<Batch<T>> {
    self::rows(pixels, labels, order, Some(batch), [rows, batch_size])
}

fn rows<T: Float>(
    pixels: &Tensor<u8>,
    labels: &Tensor<i32>,
    order: &Tensor<u32>,
    batch: Option<&Tensor<u64>>,
    [rows, batch_size]: [usize; 2],
) -> Result<Batch<T>> {
    const OP: &str = "gather";
    let (&[all, ref row @ ..], 1) = (pixels.dims(), order.shape().rank()) else {
        let message = format!(
            "pixels {} and order {}: expected [N, ..] and [B]",
            pixels.shape(),
            order.shape()
        );
        return Err(Error::shape(OP, message));
    };
    if labels.dims() != [all] {
        return Err(Error::shape(OP, format!("labels {} for {all} images", labels.shape())));
    }
    if rows > order.numel() || batch.is_some_and(|batch| batch.numel() != 1) {
        let message = format!("{rows} rows of an order of {}", order.numel());
        return Err(Error::shape(OP, message));
    }
    index32(OP, pixels.numel())?;
    let width = row.iter().product::<usize>();
    let geometry = GatherGeometry {
        rows: index32(OP, rows)?,
        width: index32(OP, width)?,
        batch_size: index32(OP, batch_size)?,
    };
    index32(OP, rows * width)?;
    let device = pixels.device();
    let (mut images, mut targets) = (device.alloc(rows * width)?, device.alloc(rows)?);
    let batch = batch.map(Tensor::read);
    device.gather(
        &geometry,
        pixels.read().view(),
        labels.read().view(),
        order.read().view(),
        batch.as_ref().map(|batch| batch.view()),
        Device::view_mut(&mut images),
        Device::view_mut(&mut targets),
    )?;
    let shape = Shape::from([&[rows], row].concat());
    let images = Tensor::from_buffer(device, images, shape);
    Ok((images, Tensor::from_buffer(device, targets, Shape::from([rows]))))
}
