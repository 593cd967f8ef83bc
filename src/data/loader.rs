//! Batches of a data set that lives on the device.

use super::Dataset;
use crate::device::Device;
use crate::dtype::Float;
pub use crate::ops::gather::Batch;
use crate::ops::gather::{gather, gather_batch};
use crate::rng::{Philox, stream};
use crate::{Error, Result, Tensor};
use std::marker::PhantomData;

/// `torch.utils.data.DataLoader`: the images stay on the device as bytes, a batch is gathered and
/// scaled to 0..1 there. The last batch is smaller when the rows do not divide. Clones share the
/// images.
#[derive(Debug, Clone)]
pub struct DataLoader<D: Device<T>, T: Float> {
    pixels: Tensor<D, u8>,
    labels: Tensor<D, i32>,
    rows: usize,
    batch_size: usize,
    shuffle: Option<Philox>,
    dtype: PhantomData<T>,
}

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

    /// The images of a whole batch.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// The images of batch number `batch`, counted from 0: only the last may have fewer.
    pub fn rows_of(&self, batch: usize) -> usize {
        self.batch_size.min(self.rows.saturating_sub(batch.saturating_mul(self.batch_size)))
    }

    /// The labels of all images, in the data set's order.
    ///
    /// # Errors
    /// When the device fails.
    pub(crate) fn labels(&self) -> Result<Vec<i32>> {
        self.labels.to_vec()
    }

    /// The order in which `epoch` visits the images.
    pub(crate) fn order(&self, epoch: u64) -> Vec<u32> {
        match self.shuffle {
            Some(philox) => philox.permutation(stream::SHUFFLE, epoch, self.rows),
            None => (0..self.rows as u32).collect(),
        }
    }

    /// The images `order [B]`.
    ///
    /// # Errors
    /// When the device fails.
    pub(crate) fn gather(&self, order: &Tensor<D, u32>) -> Result<Batch<D, T>> {
        gather(&self.pixels, &self.labels, order)
    }

    /// The batch of `order [N]` whose number lies in `batch [1]`, and which has `rows` images.
    ///
    /// # Errors
    /// When the device fails.
    pub(crate) fn gather_batch(
        &self,
        order: &Tensor<D, u32>,
        batch: &Tensor<D, u64>,
        rows: usize,
    ) -> Result<Batch<D, T>> {
        gather_batch(&self.pixels, &self.labels, order, batch, [rows, self.batch_size])
    }

    /// The batches of `epoch`, from batch `first` on.
    ///
    /// # Errors
    /// When the device fails.
    pub fn epoch(&self, epoch: u64, first: usize) -> Result<Batches<'_, D, T>> {
        let order = Tensor::from_slice(self.pixels.device(), &self.order(epoch), [self.rows])?;
        Ok(Batches { loader: self, order, next: first })
    }
}

/// The batches of one epoch.
pub struct Batches<'a, D: Device<T>, T: Float> {
    loader: &'a DataLoader<D, T>,
    order: Tensor<D, u32>,
    next: usize,
}

impl<D: Device<T>, T: Float> Iterator for Batches<'_, D, T> {
    type Item = Result<Batch<D, T>>;

    fn next(&mut self) -> Option<Self::Item> {
        let rows = self.loader.rows_of(self.next);
        if rows == 0 {
            return None;
        }
        let start = self.next * self.loader.batch_size;
        self.next += 1;
        Some(self.loader.gather(&self.order.rows(start, rows)))
    }
}
