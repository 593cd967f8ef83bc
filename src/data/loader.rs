//! Batches of a data set: of images that live on the device as bytes, or of any numbers, on the host.

use super::Dataset;
use crate::device::Device;
use crate::dtype::Float;
pub use crate::ops::gather::Batch;
use crate::ops::gather::{gather, gather_batch};
use crate::rng::{Philox, stream};
use crate::{Error, Result, Shape, Tensor};
use std::sync::Arc;

/// `torch.utils.data.DataLoader`. The last batch is smaller when the rows do not divide. Clones share
/// the data.
///
/// [`DataLoader::new`] takes images, which stay on the device as bytes: a batch is gathered and scaled
/// to 0..1 there. [`DataLoader::from_values`] takes rows of any numbers and labels of any size.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::Device;
/// use signet::data::{DataLoader, synthetic};
///
/// // 100 hands to learn from, 20 to measure on; another order each epoch.
/// let data = synthetic(0, 100, 20);
/// let loader = DataLoader::<f32>::new(&Device::cpu()?, &data.train, 32, Some(7))?;
/// assert_eq!(loader.batches(), 4);
/// for batch in loader.epoch(0, 0)? {
///     let (images, labels) = batch?;
///     assert_eq!(images.dims(), [labels.numel(), 1, 28, 28]);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct DataLoader<T: Float = f32> {
    device: Device,
    rows: Rows<T>,
    count: usize,
    batch_size: usize,
    shuffle: Option<Philox>,
}

/// Where the rows are.
#[derive(Debug, Clone)]
enum Rows<T: Float> {
    /// On the device.
    Images { pixels: Tensor<u8>, labels: Tensor<i32> },
    /// On the host: `values` holds a row of `shape` for each label.
    Values { values: Arc<[T]>, shape: Vec<usize>, labels: Arc<[i32]> },
}

impl<T: Float> DataLoader<T> {
    /// Batches of `batch_size` images, in another random order each epoch when there is a seed to
    /// `shuffle` with, else in the data set's order.
    ///
    /// # Errors
    /// [`Error::Argument`] for a batch size of 0, and when the device fails.
    pub fn new(
        device: &Device,
        dataset: &Dataset,
        batch_size: usize,
        shuffle: Option<u64>,
    ) -> Result<Self> {
        if batch_size == 0 {
            return Err(Error::argument("batch_size", "must be at least 1, got 0"));
        }
        let count = dataset.len();
        let shape = [count, dataset.channels, dataset.height, dataset.width];
        let labels: Vec<i32> = dataset.labels.iter().map(|&label| i32::from(label)).collect();
        let rows = Rows::Images {
            pixels: Tensor::from_slice(device, &dataset.pixels, shape)?,
            labels: Tensor::from_slice(device, &labels, [count])?,
        };
        let shuffle = shuffle.map(Philox::new);
        Ok(Self { device: device.clone(), rows, count, batch_size, shuffle })
    }

    /// Batches of any numbers, as `TensorDataset(x, y)` gives them in PyTorch: `values` of `shape`
    /// `[N, ..]`, row-major, are handed out as they are, with the `N` `labels`, such as classes or
    /// indices of words. They stay on the host; each batch is copied to the device.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, data::DataLoader};
    ///
    /// // Three flowers of two measures, of the classes 0, 1 and 1000.
    /// let measures = vec![5.1, 1.4, 7.0, 4.7, 6.3, 6.0];
    /// let (device, labels) = (Device::cpu()?, vec![0, 1, 1000]);
    /// let loader = DataLoader::<f32>::from_values(&device, measures, [3, 2], labels, 2, None)?;
    /// let (x, y) = loader.epoch(0, 0)?.next().expect("there are two batches")?;
    /// assert_eq!((x.to_vec()?, y.to_vec()?), (vec![5.1, 1.4, 7.0, 4.7], vec![0, 1]));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] for a batch size of 0 or more than 2^32 rows; [`Error::Shape`] when `shape`
    /// has no dimensions, or fits the number of values or of labels not.
    pub fn from_values(
        device: &Device,
        values: Vec<T>,
        shape: impl Into<Shape>,
        labels: Vec<i32>,
        batch_size: usize,
        shuffle: Option<u64>,
    ) -> Result<Self> {
        const OP: &str = "DataLoader::from_values";
        if batch_size == 0 {
            return Err(Error::argument("batch_size", "must be at least 1, got 0"));
        }
        let shape = shape.into();
        let Some((&count, row)) = shape.dims().split_first() else {
            return Err(Error::shape(OP, "expected [N, ..], got []".to_owned()));
        };
        if values.len() != shape.numel() {
            let message =
                format!("shape {shape} needs {} values, got {}", shape.numel(), values.len());
            return Err(Error::shape(OP, message));
        }
        if labels.len() != count {
            return Err(Error::shape(OP, format!("{} labels for {count} rows", labels.len())));
        }
        if u32::try_from(count).is_err() {
            return Err(Error::argument("shape", format!("more than 2^32 rows: {count}")));
        }
        let rows =
            Rows::Values { values: values.into(), shape: row.to_vec(), labels: labels.into() };
        let shuffle = shuffle.map(Philox::new);
        Ok(Self { device: device.clone(), rows, count, batch_size, shuffle })
    }

    /// The number of rows, which are images as a rule.
    pub fn rows(&self) -> usize {
        self.count
    }

    /// The number of batches in an epoch.
    pub fn batches(&self) -> usize {
        self.count.div_ceil(self.batch_size)
    }

    /// The images of a whole batch.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// The images of batch number `batch`, counted from 0: only the last may have fewer.
    pub fn rows_of(&self, batch: usize) -> usize {
        self.batch_size.min(self.count.saturating_sub(batch.saturating_mul(self.batch_size)))
    }

    /// The labels of all images, in the data set's order.
    ///
    /// # Errors
    /// When the device fails.
    pub(crate) fn labels(&self) -> Result<Vec<i32>> {
        match &self.rows {
            Rows::Images { labels, .. } => labels.to_vec(),
            Rows::Values { labels, .. } => Ok(labels.to_vec()),
        }
    }

    /// The order in which `epoch` visits the images.
    pub(crate) fn order(&self, epoch: u64) -> Vec<u32> {
        match self.shuffle {
            Some(philox) => philox.permutation(stream::SHUFFLE, epoch, self.count),
            None => (0..self.count as u32).collect(),
        }
    }

    /// The images `order [B]`.
    ///
    /// # Errors
    /// When the device fails.
    pub(crate) fn gather(&self, order: &Tensor<u32>) -> Result<Batch<T>> {
        match &self.rows {
            Rows::Images { pixels, labels } => gather(pixels, labels, order),
            Rows::Values { values, shape, labels } => {
                let order = order.to_vec()?;
                let width: usize = shape.iter().product();
                let row = |&index: &u32| {
                    let first = index as usize * width;
                    values[first..first + width].iter().copied()
                };
                let picked: Vec<T> = order.iter().flat_map(row).collect();
                let targets: Vec<i32> = order.iter().map(|&i| labels[i as usize]).collect();
                let dims = [&[order.len()], &shape[..]].concat();
                Ok((
                    Tensor::from_slice(&self.device, &picked, &dims[..])?,
                    Tensor::from_slice(&self.device, &targets, [order.len()])?,
                ))
            }
        }
    }

    /// The batch of `order [N]` whose number lies in `batch [1]`, and which has `rows` images.
    ///
    /// # Errors
    /// When the device fails.
    pub(crate) fn gather_batch(
        &self,
        order: &Tensor<u32>,
        batch: &Tensor<u64>,
        rows: usize,
    ) -> Result<Batch<T>> {
        match &self.rows {
            Rows::Images { pixels, labels } => {
                gather_batch(pixels, labels, order, batch, [rows, self.batch_size])
            }
            // Which rows those are, the host has to know.
            Rows::Values { .. } => {
                let batch = batch.to_vec()?.first().map_or(0, |&batch| batch as usize);
                self.gather(&order.rows(batch * self.batch_size, rows))
            }
        }
    }

    /// The batches of `epoch`, from batch `first` on.
    ///
    /// # Errors
    /// When the device fails.
    pub fn epoch(&self, epoch: u64, first: usize) -> Result<Batches<'_, T>> {
        let order = Tensor::from_slice(&self.device, &self.order(epoch), [self.count])?;
        Ok(Batches { loader: self, order, next: first })
    }
}

/// The batches of one epoch.
pub struct Batches<'a, T: Float> {
    loader: &'a DataLoader<T>,
    order: Tensor<u32>,
    next: usize,
}

impl<T: Float> Iterator for Batches<'_, T> {
    type Item = Result<Batch<T>>;

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
