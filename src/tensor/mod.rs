//! Tensors: a shape over memory of a device, and where a gradient for it would go.
//!
//! | file | subject |
//! |---|---|
//! | `mod.rs` | [`Tensor`] |
//! | `shape.rs` | [`Shape`] |
//! | `sizes.rs` | [`Sizes`]: a shape that is asked for |
//! | `text.rs` | values as PyTorch prints them |
#![forbid(unsafe_code)]

mod shape;
mod sizes;
mod text;

pub use shape::Shape;
pub use sizes::Sizes;

use crate::autograd::{Leaf, Origin};
use crate::device::{AnyBuffer, AnyView, AnyViewMut, Backend, Device};
use crate::dtype::Element;
use crate::{Error, Result};
use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use text::values_text;

/// Memory that tensors share. Only optimizers, running statistics and loaders write to it, and
/// never while a kernel reads: they wait for one another.
pub(crate) type SharedBuffer<E> = Arc<RwLock<AnyBuffer<E>>>;

/// A contiguous row-major tensor of `E` on a [`Device`]. Clones share memory.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor};
/// let device = Device::cpu()?;
/// let x = Tensor::from_slice(&device, &[1.0_f32, 2.0, 3.0, 4.0], [2, 2])?;
/// let labels: Tensor<i32> = Tensor::from_slice(&device, &[0, 1], [2])?;
/// assert_eq!(x.matmul(&x)?.to_vec()?, [7.0, 10.0, 15.0, 22.0]);
/// assert_eq!((x.dims(), labels.dims()), (&[2, 2][..], &[2][..]));
/// # Ok(()) }
/// ```
///
/// As a type, `Tensor` is `Tensor<f32>`. Numbers such as `1.0` make a `Tensor<f64>` where nothing says
/// otherwise, as Rust takes them for `f64`: write `1.0_f32`.
///
/// Images are `[N, C, H, W]`. A tensor may go to another thread, and threads may share it.
pub struct Tensor<E: Element = f32> {
    device: Device,
    shape: Shape,
    data: SharedBuffer<E>,
    offset: usize,
    identity: Arc<Identity>,
    origin: Origin<E>,
}

/// What all tensors over the same elements share, views of a part included.
#[derive(Debug, Default)]
pub(crate) struct Identity {
    /// A backward pass that needs them as they were asks.
    version: AtomicU64,
    name: Mutex<Option<String>>,
}

impl Identity {
    pub(crate) fn named(name: String) -> Arc<Self> {
        Arc::new(Self { version: AtomicU64::new(0), name: Mutex::new(Some(name)) })
    }

    /// How often they were written.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Relaxed)
    }

    /// Says that the elements were written.
    pub(crate) fn changed(&self) {
        self.version.fetch_add(1, Ordering::Relaxed);
    }
}

impl<E: Element> Tensor<E> {
    /// A tensor that holds a copy of `values`.
    ///
    /// # Errors
    /// [`Error::Shape`] when their number is not that of the shape; [`Error::Device`] without
    /// memory.
    pub fn from_slice(device: &Device, values: &[E], shape: impl Into<Shape>) -> Result<Self> {
        let shape = shape.into();
        if values.len() != shape.numel() {
            let message =
                format!("shape {shape} needs {} values, got {}", shape.numel(), values.len());
            return Err(Error::shape("from_slice", message));
        }
        Ok(Self::from_buffer(device, device.upload(values)?, shape))
    }

    /// A tensor of zeros.
    ///
    /// # Errors
    /// [`Error::Device`] without memory.
    pub fn zeros(device: &Device, shape: impl Into<Shape>) -> Result<Self> {
        let shape = shape.into();
        let mut buffer = device.alloc(shape.numel())?;
        device.zero(Device::view_mut(&mut buffer))?;
        Ok(Self::from_buffer(device, buffer, shape))
    }

    /// A tensor over a buffer that an op has filled.
    pub(crate) fn from_buffer(device: &Device, buffer: AnyBuffer<E>, shape: Shape) -> Self {
        debug_assert_eq!(Device::len(&buffer), shape.numel());
        Self::from_shared(device, Arc::new(RwLock::new(buffer)), 0, shape)
    }

    /// A tensor over a run of shared memory.
    pub(crate) fn from_shared(
        device: &Device,
        data: SharedBuffer<E>,
        offset: usize,
        shape: Shape,
    ) -> Self {
        let (identity, origin) = (Arc::default(), Origin::Leaf(Leaf::constant()));
        Self { device: device.clone(), shape, data, offset, identity, origin }
    }

    /// The same tensor, known to share its elements with others.
    pub(crate) fn with_identity(self, identity: Arc<Identity>) -> Self {
        Self { identity, ..self }
    }

    /// The same tensor with another origin.
    pub(crate) fn with_origin(self, origin: Origin<E>) -> Self {
        Self { origin, ..self }
    }

    pub(crate) fn origin(&self) -> &Origin<E> {
        &self.origin
    }

    pub(crate) fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// How often its elements were written.
    pub(crate) fn version(&self) -> u64 {
        self.identity.version()
    }

    /// What error messages call it: a parameter has the name of its place in the model.
    pub fn name(&self) -> Option<String> {
        self.identity.name.lock().clone()
    }

    /// Names it and all its clones, for error messages.
    pub fn set_name(&self, name: impl Into<String>) {
        *self.identity.name.lock() = Some(name.into());
    }

    /// The device that holds it.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Its shape.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The sizes of its dimensions.
    pub fn dims(&self) -> &[usize] {
        self.shape.dims()
    }

    /// The number of its elements.
    pub fn numel(&self) -> usize {
        self.shape.numel()
    }

    /// The same values (and memory) as a constant: what is computed from them needs no gradient.
    pub fn detach(&self) -> Self {
        self.detach_as(self.shape.clone())
    }

    /// The same memory under another shape of as many elements, as a constant.
    pub(crate) fn detach_as(&self, shape: Shape) -> Self {
        Self {
            origin: Origin::Leaf(Leaf::constant()),
            device: self.device.clone(),
            shape,
            data: Arc::clone(&self.data),
            offset: self.offset,
            identity: Arc::clone(&self.identity),
        }
    }

    /// `count` elements from `first` on, of a tensor with one dimension, as a constant.
    pub(crate) fn rows(&self, first: usize, count: usize) -> Self {
        debug_assert!(self.shape.rank() == 1 && first + count <= self.numel());
        Self { offset: self.offset + first, ..self.detach_as(Shape::from([count])) }
    }

    /// Its memory, or a copy where others share it.
    pub(crate) fn into_buffer(mut self) -> Result<AnyBuffer<E>> {
        let is_whole = Device::len(&self.data.read_recursive()) == self.numel();
        if is_whole {
            match Arc::try_unwrap(self.data) {
                Ok(data) => return Ok(data.into_inner()),
                Err(shared) => self.data = shared,
            }
        }
        let mut copy = self.device.alloc(self.numel())?;
        self.device.copy(self.read().view(), Device::view_mut(&mut copy))?;
        Ok(copy)
    }

    /// The values, row-major, on the host. Waits for the device.
    ///
    /// # Errors
    /// [`Error::Device`] when the device failed.
    pub fn to_vec(&self) -> Result<Vec<E>> {
        self.device.read(self.read().view())
    }

    /// The value of a tensor with one element. Waits for the device.
    ///
    /// # Errors
    /// [`Error::Shape`] when there are more or fewer; [`Error::Device`] when the device failed.
    pub fn item(&self) -> Result<E> {
        match self.to_vec()?[..] {
            [value] => Ok(value),
            _ => Err(Error::shape("item", format!("expected one element, got {}", self.shape))),
        }
    }

    /// Overwrites the values, seen by every clone. A backward pass that needs the old ones is an error
    /// from here on.
    ///
    /// # Errors
    /// [`Error::Shape`] when their number is another; [`Error::Device`] when the device failed.
    pub fn set(&self, values: &[E]) -> Result<()> {
        if values.len() != self.numel() {
            let message = format!("{} values for a tensor {}", values.len(), self.shape);
            return Err(Error::shape("set", message));
        }
        self.device.write(self.write().view_mut(), values)
    }

    /// Whether both lie in the same buffer, which a kernel cannot read and write at once.
    pub(crate) fn shares_buffer(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.data, &other.data)
    }

    /// Borrows the memory for kernels to read.
    pub(crate) fn read(&self) -> Reading<'_, E> {
        Reading { buffer: self.data.read_recursive(), offset: self.offset, len: self.numel() }
    }

    /// Borrows the memory for a kernel to write.
    pub(crate) fn write(&self) -> Writing<'_, E> {
        self.identity.changed();
        Writing { buffer: self.data.write(), offset: self.offset, len: self.numel() }
    }
}

impl<E: Element> Clone for Tensor<E> {
    fn clone(&self) -> Self {
        Self {
            device: self.device.clone(),
            shape: self.shape.clone(),
            data: Arc::clone(&self.data),
            offset: self.offset,
            identity: Arc::clone(&self.identity),
            origin: self.origin.clone(),
        }
    }
}

/// The values in PyTorch's layout, then shape, type and device; waits for the device. Values that
/// cannot be read, as while a graph is captured or where the device failed, are left out.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// # use signet::{Device, Tensor};
/// let x = Tensor::from_slice(&Device::cpu()?, &[0.5, -1.25, 100.125, 3.0], [2, 2])?;
/// assert_eq!(format!("{x:?}"), "\
/// tensor([[  0.5000,  -1.2500],
///         [100.1250,   3.0000]], shape=[2, 2], dtype=float64, device=cpu)");
/// # Ok(()) }
/// ```
impl<E: Element> fmt::Debug for Tensor<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const PREFIX: &str = "tensor(";
        f.write_str(PREFIX)?;
        // A kernel may be writing to it.
        let buffer = self.data.try_read_recursive();
        let reading =
            buffer.map(|buffer| Reading::<E> { buffer, offset: self.offset, len: self.numel() });
        match reading.and_then(|reading| self.device.read(reading.view()).ok()) {
            Some(values) => f.write_str(&values_text(&values, self.dims(), PREFIX.len()))?,
            None => f.write_str("...")?,
        }
        write!(f, ", shape={}, dtype={}, device={})", self.shape, E::NAME, self.device.name())
    }
}

/// A tensor's memory, borrowed to read.
pub(crate) struct Reading<'a, E: Element> {
    buffer: RwLockReadGuard<'a, AnyBuffer<E>>,
    offset: usize,
    len: usize,
}

impl<E: Element> Reading<'_, E> {
    pub(crate) fn view(&self) -> AnyView<'_, E> {
        Device::slice(Device::view(&self.buffer), self.offset..self.offset + self.len)
    }
}

/// A tensor's memory, borrowed to write.
pub(crate) struct Writing<'a, E: Element> {
    buffer: RwLockWriteGuard<'a, AnyBuffer<E>>,
    offset: usize,
    len: usize,
}

impl<E: Element> Writing<'_, E> {
    pub(crate) fn view_mut(&mut self) -> AnyViewMut<'_, E> {
        Device::slice_mut(Device::view_mut(&mut self.buffer), self.offset..self.offset + self.len)
    }
}
