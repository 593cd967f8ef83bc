//! Batches of a data set that lives on the device.

use super::Dataset;
use crate::device::Device;
use crate::dtype::Float;
use crate::ops::gather::gather;
use crate::rng::{Philox, stream};
use crate::{Error, Result, Tensor};
use std::marker::PhantomData;

/// `torch.utils.data.DataLoader`: the images stay on the device as bytes, a batch is gathered and
/// scaled to 0..1 there. The last batch is smaller when the rows do not divide.
#[derive(Debug)]
pub struct DataLoader<D: Device<T>, T: Float> {
    pixels: Tensor<D, u8>,
    labels: Tensor<D, i32>,
    rows: usize,
    batch_size: usize,
    shuffle: Option<Philox>,
    dtype: PhantomData<T>,
}

/// Images `[B, C, H, W]` and their classes `[B]`.
pub type Batch<D, T> = (Tensor<D, T>, Tensor<D, i32>);

impl<D: Device<T>, T: Float> DataLoader<D, T> {
    /// Batches of `batch_size` images, in another random order each epoch when there is a seed to
    /// `shuffle` with, else in the data set's order.
    ///
    /// # Errors
    /// [`Error::Argument`] for a batch size of 0, and when the device fails.
    pub fn new(
        device: &D,
        dataset: &Dataset,
        batch_size: usize,
        shuffle: Option<u64>,
    ) -> Result<Self> {
        if batch_size == 0 {
            return Err(Error::argument("batch_size", "must be at least 1, got 0"));
        }
        let rows = dataset.len();
        let shape = [rows, dataset.channels, dataset.height, dataset.width];
        let labels: Vec<i32> = dataset.labels.iter().map(|&label| i32::from(label)).collect();
        Ok(Self {
            pixels: Tensor::from_slice(device, &dataset.pixels, shape)?,
            labels: Tensor::from_slice(device, &labels, [rows])?,
            rows,
            batch_size,
            shuffle: shuffle.map(Philox::new),
            dtype: PhantomData,
        })
    }

    /// The number of images.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of batches in an epoch.
    pub fn batches(&self) -> usize {
        self.rows.div_ceil(self.batch_size)
    }

    /// The batches of `epoch`, from batch `first` on.
    ///
    /// # Errors
    /// When the device fails.
    pub fn epoch(&self, epoch: u64, first: usize) -> Result<Batches<D, T>> {
        let order = match self.shuffle {
            Some(philox) => philox.permutation(stream::SHUFFLE, epoch, self.rows),
            None => (0..self.rows as u32).collect(),
        };
        let order = Tensor::from_slice(self.pixels.device(), &order, [self.rows])?;
        let Self { pixels, labels, batch_size, dtype, .. } = self;
        let (pixels, labels) = (pixels.clone(), labels.clone());
        Ok(Batches { pixels, labels, order, batch_size: *batch_size, next: first, dtype: *dtype })
    }
}

/// The batches of one epoch.
pub struct Batches<D: Device<T>, T: Float> {
    pixels: Tensor<D, u8>,
    labels: Tensor<D, i32>,
    order: Tensor<D, u32>,
    batch_size: usize,
    next: usize,
    dtype: PhantomData<T>,
}

impl<D: Device<T>, T: Float> Iterator for Batches<D, T> {
    type Item = Result<Batch<D, T>>;

    fn next(&mut self) -> Option<Self::Item> {
        let (start, rows) = (self.next * self.batch_size, self.order.numel());
        if start >= rows {
            return None;
        }
        self.next += 1;
        let order = self.order.rows(start, self.batch_size.min(rows - start));
        Some(gather(&self.pixels, &self.labels, &order))
    }
}
