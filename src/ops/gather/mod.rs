//! A batch from the data set: rows of bytes, picked by index and scaled to 0..1.

mod cpu;
mod cuda;

use crate::device::{Cost, Device, Memory};
use crate::dtype::Float;
use crate::ops::index32;
use crate::{Error, Result, Shape, Tensor};

/// Sizes of one gather.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct GatherGeometry {
    /// Rows to pick.
    pub rows: u32,
    /// Bytes of a row.
    pub width: u32,
}

impl GatherGeometry {
    /// Reads each byte of the rows, divides it by 255 and writes it.
    pub fn cost<T>(&self) -> Cost {
        let bytes = self.rows as usize * self.width as usize;
        Cost::elementwise::<T>(bytes, 1, 1).moving::<u8>(bytes as u64)
    }
}

/// What a gather asks of a device.
pub trait GatherKernels<T: Float>: Memory {
    /// `images[i, j] = pixels[order[i], j] / 255` and `targets[i] = labels[order[i]]`. Every index
    /// must be a row.
    fn gather(
        &self,
        geometry: &GatherGeometry,
        pixels: Self::View<'_, u8>,
        labels: Self::View<'_, i32>,
        order: Self::View<'_, u32>,
        images: Self::ViewMut<'_, T>,
        targets: Self::ViewMut<'_, i32>,
    ) -> Result<()>;
}

/// The rows `order [B]` of `pixels [N, ..]`, scaled to 0..1 as `[B, ..]`, and their labels `[B]`.
/// The caller sees to it that every index is less than `N`.
///
/// # Errors
/// [`Error::Shape`] when labels do not fit pixels.
pub fn gather<D: Device<T>, T: Float>(
    pixels: &Tensor<D, u8>,
    labels: &Tensor<D, i32>,
    order: &Tensor<D, u32>,
) -> Result<(Tensor<D, T>, Tensor<D, i32>)> {
    const OP: &str = "gather";
    let (&[all, ref row @ ..], &[rows]) = (pixels.dims(), order.dims()) else {
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
    index32(OP, pixels.numel())?;
    let width = row.iter().product::<usize>();
    let geometry = GatherGeometry { rows: index32(OP, rows)?, width: index32(OP, width)? };
    index32(OP, rows * width)?;
    let device = pixels.device();
    let (mut images, mut targets) = (device.alloc(rows * width)?, device.alloc(rows)?);
    device.gather(
        &geometry,
        pixels.read().view(),
        labels.read().view(),
        order.read().view(),
        D::view_mut(&mut images),
        D::view_mut(&mut targets),
    )?;
    let shape = Shape::from([&[rows], row].concat());
    let images = Tensor::from_buffer(device, images, shape);
    Ok((images, Tensor::from_buffer(device, targets, Shape::from([rows]))))
}
