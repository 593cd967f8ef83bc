//! The memory of a device: buffers, and views that kernels read and write.

use crate::Result;
use crate::dtype::Element;
use std::fmt::Debug;
use std::ops::Range;

/// The memory of a device.
///
/// A handle is cheap to clone; buffers return to a pool when they are dropped, so a training step
/// that repeats allocates nothing. The borrow rules hold for views as for slices: several readers
/// or one writer.
pub trait Memory: Clone + Debug + 'static {
    /// Owned memory for elements of one type, zero-based and contiguous.
    type Buffer<E: Element>;
    /// Shared access to a run of a buffer.
    type View<'a, E: Element>: Copy;
    /// Exclusive access to a run of a buffer.
    type ViewMut<'a, E: Element>;

    /// The device as `--device` names it: `cpu`, `cuda:0`.
    fn name(&self) -> String;

    /// A buffer of `len` elements whose contents are unspecified.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when the device has no memory left.
    fn alloc<E: Element>(&self, len: usize) -> Result<Self::Buffer<E>>;

    /// A buffer that holds `host`.
    ///
    /// # Errors
    /// As [`Memory::alloc`].
    fn upload<E: Element>(&self, host: &[E]) -> Result<Self::Buffer<E>> {
        let mut buffer = self.alloc(host.len())?;
        self.write(Self::view_mut(&mut buffer), host)?;
        Ok(buffer)
    }

    /// Copies `host` into `target`, which must have its length.
    ///
    /// # Errors
    /// When the device fails.
    fn write<E: Element>(&self, target: Self::ViewMut<'_, E>, host: &[E]) -> Result<()>;

    /// The values of `source` on the host. Waits for the device.
    ///
    /// # Errors
    /// When the device fails, also by an earlier kernel.
    fn read<E: Element>(&self, source: Self::View<'_, E>) -> Result<Vec<E>>;

    /// Copies `source` over `target`, which must have its length.
    ///
    /// # Errors
    /// When the device fails.
    fn copy<E: Element>(
        &self,
        source: Self::View<'_, E>,
        target: Self::ViewMut<'_, E>,
    ) -> Result<()>;

    /// Sets every byte of `target` to zero.
    ///
    /// # Errors
    /// When the device fails.
    fn zero<E: Element>(&self, target: Self::ViewMut<'_, E>) -> Result<()>;

    /// Waits until all work given to the device is done.
    ///
    /// # Errors
    /// When any of it failed.
    fn synchronize(&self) -> Result<()>;

    /// The number of elements of `buffer`.
    fn len<E: Element>(buffer: &Self::Buffer<E>) -> usize;

    /// All of `buffer`, to read.
    fn view<E: Element>(buffer: &Self::Buffer<E>) -> Self::View<'_, E>;

    /// All of `buffer`, to write.
    fn view_mut<E: Element>(buffer: &mut Self::Buffer<E>) -> Self::ViewMut<'_, E>;

    /// The elements `range` of `view`, which must contain them.
    fn slice<'a, E: Element>(view: Self::View<'a, E>, range: Range<usize>) -> Self::View<'a, E>;

    /// The same access for a shorter time, as `&mut *view` is for a slice.
    fn reborrow<'s, E: Element>(view: &'s mut Self::ViewMut<'_, E>) -> Self::ViewMut<'s, E>;

    /// The first `at` elements and the rest; `at` is at most the length.
    fn split_at<'a, E: Element>(
        view: Self::ViewMut<'a, E>,
        at: usize,
    ) -> (Self::ViewMut<'a, E>, Self::ViewMut<'a, E>);

    /// The elements `range` of `view`, which must contain them, to write.
    fn slice_mut<E: Element>(
        view: Self::ViewMut<'_, E>,
        range: Range<usize>,
    ) -> Self::ViewMut<'_, E> {
        let (head, _) = Self::split_at(view, range.end);
        Self::split_at(head, range.start).1
    }
}

/// Where a kernel writes a gradient.
///
/// The first writer of a step overwrites, so nothing is zeroed beforehand; later ones add.
pub struct Output<'a, D: Memory, E: Element> {
    /// The elements to write.
    pub view: D::ViewMut<'a, E>,
    /// `true`: add to what is there; `false`: overwrite it.
    pub accumulate: bool,
}

impl<D: Memory, E: Element> Output<'_, D, E> {
    /// The same for a shorter while.
    pub fn reborrow(&mut self) -> Output<'_, D, E> {
        Output { view: D::reborrow(&mut self.view), accumulate: self.accumulate }
    }
}
