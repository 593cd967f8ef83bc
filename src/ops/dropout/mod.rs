//! Dropout, its mask drawn from Philox and never stored.

mod cpu;
mod cuda;

pub(crate) use cpu::scaled;

use crate::device::{Backend, Device, Output, each_field_on, kernels};
use crate::dtype::{Float, Plain};
use crate::tensor::Reading;
use crate::{Error, Result, Tensor};

/// Which elements a step drops: element `i` where word `i % 4` of Philox block
/// `(seed, stream, step, i / 4)` is less than `threshold`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct DropoutGeometry {
    /// The run's seed.
    pub seed: u64,
    /// What the kept elements are multiplied with, `1 / (1 - p)`; 0 when all are dropped.
    pub scale: f64,
    /// The layer.
    pub stream: u32,
    /// `p * 2^32`; a word below it drops its element.
    pub threshold: u32,
}

impl Plain for DropoutGeometry {}

impl DropoutGeometry {
    /// Drops each element with probability `p` in `[0, 1]`.
    ///
    /// # Errors
    /// [`Error::Argument`] for another `p`.
    pub fn new(p: f64, seed: u64, stream: u32) -> Result<Self> {
        if !(0.0..=1.0).contains(&p) {
            return Err(Error::argument(
                "p",
                format!("must be a probability from 0 to 1, got {p}"),
            ));
        }
        let scale = if p < 1.0 { 1.0 / (1.0 - p) } else { 0.0 };
        let threshold = (p * 2f64.powi(32)).min(f64::from(u32::MAX)) as u32;
        Ok(Self { seed, scale, stream, threshold })
    }
}

/// The mask of one training step. The step lies on the device, `[1]`, so that a captured graph drops
/// other elements each time it is replayed.
#[derive(Debug, Clone)]
pub struct DropoutMask {
    /// Seed, layer and probability.
    pub geometry: DropoutGeometry,
    /// The training step.
    pub step: Tensor<u64>,
}

impl DropoutMask {
    /// The mask of `step`.
    ///
    /// # Errors
    /// [`Error::Device`] when the device fails.
    pub fn new(device: &Device, geometry: DropoutGeometry, step: u64) -> Result<Self> {
        Ok(Self { geometry, step: Tensor::from_slice(device, &[step], [1])? })
    }

    /// For a kernel, with its step borrowed.
    pub(crate) fn view<'a>(&self, step: &'a Reading<'_, u64>) -> DropoutView<'a, Device> {
        DropoutView { geometry: self.geometry, step: step.view() }
    }
}

/// A [`DropoutMask`], borrowed for a kernel.
pub(crate) struct DropoutView<'a, M: Backend> {
    /// Seed, layer and probability.
    pub geometry: DropoutGeometry,
    /// The training step, `[1]`.
    pub step: M::View<'a, u64>,
}

each_field_on!(DropoutView<'a> { geometry, step });

impl<'a, M: Backend> DropoutView<'a, M> {
    /// For a kernel that drops only where there is a step.
    pub(crate) fn parts(drop: Option<Self>) -> (DropoutGeometry, Option<M::View<'a, u64>>) {
        match drop {
            Some(Self { geometry, step }) => (geometry, Some(step)),
            None => (bytemuck::Zeroable::zeroed(), None),
        }
    }
}

kernels! {
    /// What dropout asks of a device.
    pub(crate) trait DropoutKernels<T: Float>: Backend {
        /// `y = x * scale` where an element is kept, else 0: forward on values, backward on gradients,
        /// the mask drawn anew.
        fn dropout(
            &self,
            geometry: &DropoutGeometry,
            step: Self::View<'_, u64>,
            x: Self::View<'_, T>,
            y: Output<'_, Self, T>,
        ) -> Result<()>;
    }
}

impl<T: Float> Tensor<T> {
    /// Zeroes the elements that `mask` drops and scales the others, so that the expectation stays.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// use signet::ops::dropout::{DropoutGeometry, DropoutMask};
    ///
    /// let device = Device::cpu()?;
    /// // Half of the elements, drawn from seed 1, stream 0 and the training step 7.
    /// let mask = DropoutMask::new(&device, DropoutGeometry::new(0.5, 1, 0)?, 7)?;
    /// let x = Tensor::from_slice(&device, &[1.0_f32; 64], [64])?;
    /// let y = x.dropout(&mask)?.to_vec()?;
    /// assert!(y.contains(&0.0) && y.contains(&2.0));
    /// assert!(y.iter().all(|y| [0.0, 2.0].contains(y)));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When the device fails.
    pub fn dropout(&self, mask: &DropoutMask) -> Result<Self> {
        crate::ops::numel32("dropout", self.shape())?;
        let device = self.device().clone();
        let numel = self.numel();
        let DropoutMask { geometry, step } = mask.clone();
        let mut y = device.alloc(numel)?;
        let output = Output { view: Device::view_mut(&mut y), accumulate: false };
        device.dropout(&geometry, step.read().view(), self.read().view(), output)?;
        let output = Self::from_buffer(&device, y, self.shape().clone());
        let step = step.save("dropout", "step");
        Ok(output.with_grad_fn([Some(self)], move |[x], gradient, gradients| {
            let Some(output) = gradients.output(x, numel)? else { return Ok(()) };
            device.dropout(&geometry, step.read()?.view(), gradient.read().view(), output)
        }))
    }
}
