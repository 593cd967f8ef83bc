//! What a device is beside its kernels: buffers and views, copies, graphs, waiting.
#![forbid(unsafe_code)]

use super::{AnyView, AnyViewMut};
use crate::Result;
use crate::dtype::Element;
use std::fmt::Debug;
use std::ops::Range;

/// A device without its kernels: memory, copies to and from the host, graphs.
///
/// A handle is cheap to clone; buffers return to a pool when they are dropped, so a training step
/// that repeats allocates nothing. The borrow rules hold for views as for slices: several readers
/// or one writer.
pub(crate) trait Backend: Clone + Debug + 'static {
    /// Owned memory for elements of one type, zero-based and contiguous.
    type Buffer<E: Element>;
    /// Shared access to a run of a buffer.
    type View<'a, E: Element>: Copy;
    /// Exclusive access to a run of a buffer.
    type ViewMut<'a, E: Element>;
    /// Work that was captured, to be run again as a whole.
    type Graph;
    /// A copy of device memory that is on its way to the host.
    type Pending<E: Element>: Pending<E>;

    /// The device by its name: `cpu`, `cuda:0`.
    fn name(&self) -> String;

    /// A buffer of `len` elements whose contents are unspecified.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when the device has no memory left.
    fn alloc<E: Element>(&self, len: usize) -> Result<Self::Buffer<E>>;

    /// A buffer that holds `host`.
    ///
    /// # Errors
    /// As [`Backend::alloc`].
    fn upload<E: Element>(&self, host: &[E]) -> Result<Self::Buffer<E>> {
        let mut buffer = self.alloc(host.len())?;
        self.write(Self::view_mut(&mut buffer), host)?;
        Ok(buffer)
    }

    /// A copy of `buffer` with zeros behind it, `len` elements in all.
    ///
    /// # Errors
    /// As [`Backend::alloc`].
    fn grown<E: Element>(&self, buffer: &Self::Buffer<E>, len: usize) -> Result<Self::Buffer<E>> {
        let mut grown = self.alloc(len)?;
        self.zero(Self::view_mut(&mut grown))?;
        let (head, _) = Self::split_at(Self::view_mut(&mut grown), Self::len(buffer));
        self.copy(Self::view(buffer), head)?;
        Ok(grown)
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

    /// The values that `source` has when all work so far is done, on the host at some later time.
    /// Waits for nothing, and `source` may be written or dropped right away.
    ///
    /// # Errors
    /// When the device fails.
    fn read_later<E: Element>(&self, source: Self::View<'_, E>) -> Result<Self::Pending<E>>;

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

    /// Has `work` done later and as often as asked, as one thing: what it gives to the device is
    /// collected instead of run, and [`Backend::replay`] runs all of it. `None`, and `work` is not
    /// called, where a device has no such thing or cannot do it at present.
    ///
    /// A replay does what was collected to the very memory: what `work` read or wrote and did not
    /// allocate itself must be kept as long as the graph, and what changes between replays must lie
    /// in device memory. The graph owns what `work` allocates. All kernels should have run before,
    /// so that none has to be compiled meanwhile.
    ///
    /// # Errors
    /// Those of `work`, and when it asks for what cannot be collected: the host's reading, writing
    /// or waiting. Nothing has run then, and the device works as before.
    fn capture(&self, work: impl FnOnce() -> Result<()>) -> Result<Option<Self::Graph>>;

    /// Runs what was captured, behind all work so far.
    ///
    /// # Errors
    /// When the device fails.
    fn replay(&self, graph: &Self::Graph) -> Result<()>;

    /// An error while a graph is captured: for work that is told by value what changes from one
    /// run to the next.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device), saying that `what` cannot be part of a graph.
    fn refuse_in_graph(&self, what: &str) -> Result<()>;

    /// A view of a device that is known at run time alone, as this device's.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when it is of another device.
    fn view_of<'a, E: Element>(&self, view: AnyView<'a, E>) -> Result<Self::View<'a, E>>;

    /// As [`Backend::view_of`], to write.
    ///
    /// # Errors
    /// As [`Backend::view_of`].
    fn view_mut_of<'a, E: Element>(&self, view: AnyViewMut<'a, E>) -> Result<Self::ViewMut<'a, E>>;

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

/// Values on their way to the host, of [`Backend::read_later`].
pub(crate) trait Pending<E: Element> {
    /// Whether [`Pending::wait`] would not wait.
    ///
    /// # Errors
    /// When the device failed.
    fn is_ready(&self) -> Result<bool>;

    /// The values.
    ///
    /// # Errors
    /// When the device failed.
    fn wait(self) -> Result<Vec<E>>;
}

/// Where a kernel writes a gradient.
///
/// The first writer of a step overwrites, so nothing is zeroed beforehand; later ones add.
pub(crate) struct Output<'a, D: Backend, E: Element> {
    /// The elements to write.
    pub view: D::ViewMut<'a, E>,
    /// `true`: add to what is there; `false`: overwrite it.
    pub accumulate: bool,
}

impl<D: Backend, E: Element> Output<'_, D, E> {
    /// The same for a shorter while.
    pub fn reborrow(&mut self) -> Output<'_, D, E> {
        Output { view: D::reborrow(&mut self.view), accumulate: self.accumulate }
    }
}
