//! Buffers and views of device memory, and the copies between them and the host.

use super::Cuda;
use super::driver::{self, DriverError};
use super::error::device_error;
use super::graph::{CudaGraph, GraphMemory};
use super::pending::CudaPending;
use super::pool::{Block, block_size};
use super::stream::Stream;
use crate::device::any::elsewhere;
use crate::device::{AnyView, AnyViewMut, Backend};
use crate::dtype::Element;
use crate::error::OUT_OF_MEMORY;
use crate::{Error, Result};
use cudarc::driver::sys::CUdeviceptr;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;
use std::sync::OnceLock;

/// Memory of a [`Cuda`] device: `len` elements, aligned to 256 bytes.
///
/// Dropping it returns the memory to the device's pool, also while kernels that use it are still
/// queued: the next holder's work comes after them on the same stream.
pub(crate) struct CudaBuffer<E> {
    block: Block,
    len: usize,
    device: Cuda,
    /// Whose the block is, where it was allocated for a graph.
    graph: Option<Arc<GraphMemory>>,
    element: PhantomData<E>,
}

/// Shared access to a run of a [`CudaBuffer`]. The elements are on the device: the host reads them
/// by [`Backend::read`].
pub(crate) struct CudaView<'a, E> {
    address: CUdeviceptr,
    len: usize,
    /// The [`Cuda`] handle whose stream orders the accesses.
    owner: u64,
    lifetime: PhantomData<&'a [E]>,
}

/// Exclusive access to a run of a [`CudaBuffer`].
pub(crate) struct CudaViewMut<'a, E> {
    address: CUdeviceptr,
    len: usize,
    /// The [`Cuda`] handle whose stream orders the accesses.
    owner: u64,
    lifetime: PhantomData<&'a mut [E]>,
}

impl<E> Drop for CudaBuffer<E> {
    fn drop(&mut self) {
        match (&self.graph, self.device.capturing()) {
            (Some(graph), _) => graph.give(self.block),
            // The graph being captured may use it, so nobody else may before that is gone. Another
            // thread's does not, and keeps it a while; to wait for that could be to wait for ever.
            (None, Some(graph)) => graph.own(self.block),
            (None, None) => self.device.pool().give(self.block),
        }
    }
}

impl<E> Clone for CudaView<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for CudaView<'_, E> {}

impl<'a, E: Element> CudaView<'a, E> {
    /// The number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn address(&self) -> CUdeviceptr {
        self.address
    }

    pub(super) fn owner(&self) -> u64 {
        self.owner
    }
}

impl<'a, E: Element> CudaViewMut<'a, E> {
    /// The number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn address(&self) -> CUdeviceptr {
        self.address
    }

    pub(super) fn owner(&self) -> u64 {
        self.owner
    }
}

/// The address of element `index` of a run that starts at `address`.
fn element_address<E>(address: CUdeviceptr, index: usize) -> CUdeviceptr {
    address + (index * size_of::<E>()) as CUdeviceptr
}

impl Cuda {
    /// Checks that a view belongs to this handle: only its stream knows when the elements are
    /// ready.
    pub(super) fn check_owner(&self, owner: u64) -> Result<()> {
        if owner == self.id() {
            return Ok(());
        }
        let message = "was given a buffer of another device handle; clone one handle instead of \
                       opening the device twice";
        Err(self.error(message))
    }

    /// Waits for the stream. This device's context is the current one.
    fn wait(&self) -> Result<()> {
        self.0.stream.synchronize().map_err(self.driver_error("waiting for the device"))
    }

    /// A block of at least `bytes` bytes: of the graph being captured, the pool or the driver.
    fn take(&self, bytes: usize) -> Result<(Block, Option<Arc<GraphMemory>>)> {
        // Before asking for a graph: another thread's has nothing to do with this memory.
        let _turn = self.bind()?;
        let graph = self.capturing();
        if let Some(block) = graph.as_ref().and_then(|graph| graph.reuse(block_size(bytes))) {
            return Ok((block, graph));
        }
        let allocate = |size| {
            let mut address = 0;
            // SAFETY: the pointer is valid for writes, the size is not 0 (the pool sees to that) and
            // the context is current.
            unsafe { driver::cuMemAlloc_v2(&mut address, size) }.map(|()| address)
        };
        let mut taken = self.pool().take(bytes, allocate);
        let full = Err(DriverError::CUDA_ERROR_OUT_OF_MEMORY);
        if taken == full && graph.is_none() {
            // The blocks that lie in the pool may be what is missing.
            self.trim()?;
            taken = self.pool().take(bytes, allocate);
        }
        let block = taken.map_err(|error| self.allocation_error(bytes, error))?;
        if let Some(graph) = &graph {
            graph.own(block);
        }
        Ok((block, graph))
    }

    /// Makes the counters of [`Launch::counters`](super::launch::Launch::counters), all 0.
    pub(super) fn make_counters(&self) -> Result<()> {
        let stream = &self.0.stream;
        let _turn = self.bind()?;
        let bytes = Stream::counter_bytes();
        stream
            .allocate_counters()
            .map_err(self.driver_error(format_args!("allocating {bytes} bytes")))?;
        stream.zero_counters().map_err(self.driver_error("zeroing the counters"))
    }

    fn allocation_error(&self, bytes: usize, error: DriverError) -> Error {
        if error != DriverError::CUDA_ERROR_OUT_OF_MEMORY {
            return self.driver_error(format!("allocating {bytes} bytes"))(error);
        }
        let in_use = self.memory_use().in_use;
        let (mut free, mut total) = (0, 0);
        // SAFETY: both pointers are valid for writes.
        let free = match unsafe { driver::cuMemGetInfo_v2(&mut free, &mut total) } {
            Ok(()) => format!("{free} of the device's {total} are free"),
            Err(_) => format!("the device has {}", self.info().memory),
        };
        self.error(format!(
            "{OUT_OF_MEMORY}: asked for {bytes} bytes while {in_use} are in use and {free}; try a \
             smaller batch"
        ))
    }
}

/// Whether fresh buffers are filled with NaN, so that a kernel that leaves a hole is seen: in debug
/// builds they are, in release builds not, and `SIGNET_FILL_MEMORY`, 1 or 0, decides otherwise. What
/// looks for reads of memory that nobody wrote (`initcheck` of `compute-sanitizer`) sees none where
/// all is filled.
pub(super) fn fills_fresh_memory() -> bool {
    static FILLS: OnceLock<bool> = OnceLock::new();
    *FILLS.get_or_init(|| match std::env::var("SIGNET_FILL_MEMORY").as_deref() {
        Ok("0") => false,
        Ok("1") => true,
        _ => cfg!(debug_assertions),
    })
}

/// A copy between runs of unlike length is a mistake of the caller's.
fn check_lengths(op: &'static str, source: usize, target: usize) -> Result<()> {
    if source == target {
        return Ok(());
    }
    Err(Error::shape(op, format!("{source} elements for a target of {target}")))
}

impl Backend for Cuda {
    type Buffer<E: Element> = CudaBuffer<E>;
    type View<'a, E: Element> = CudaView<'a, E>;
    type ViewMut<'a, E: Element> = CudaViewMut<'a, E>;
    type Graph = CudaGraph;
    type Pending<E: Element> = CudaPending<E>;

    fn name(&self) -> String {
        format!("cuda:{}", self.ordinal())
    }

    fn alloc<E: Element>(&self, len: usize) -> Result<CudaBuffer<E>> {
        // No allocation is larger, and the pool rounds sizes up.
        let bytes = len.checked_mul(size_of::<E>()).filter(|&bytes| bytes <= isize::MAX as usize);
        let bytes = bytes.ok_or_else(|| {
            device_error(self.ordinal(), format!("{len} elements are more than fit in memory"))
        })?;
        // Until it is filled: a graph that another thread captures in between would take the fill along.
        let _turn = self.turn();
        let (block, graph) = self.take(bytes)?;
        let buffer = CudaBuffer { block, len, device: self.clone(), graph, element: PhantomData };
        if bytes > 0 && fills_fresh_memory() {
            // All ones is a NaN in either float type: a kernel that leaves a hole is seen.
            // SAFETY: the block holds `block.size` bytes and belongs to `buffer`; on the stream the
            // fill comes after all work of its earlier holder.
            unsafe { driver::cuMemsetD8Async(block.address, 0xFF, block.size, self.stream()) }
                .map_err(self.driver_error("filling a fresh buffer"))?;
        }
        Ok(buffer)
    }

    fn write<E: Element>(&self, target: CudaViewMut<'_, E>, host: &[E]) -> Result<()> {
        self.check_owner(target.owner)?;
        check_lengths("write", host.len(), target.len)?;
        self.refuse_while_capturing("copying from the host")?;
        if host.is_empty() {
            return Ok(());
        }
        let _turn = self.bind()?;
        // SAFETY: `target` borrows `len` elements of a live buffer of this context exclusively, and
        // `host` has as many. On the stream the copy comes after all queued work on them. The
        // driver may read `host` after the call returns, and has done so when the stream is waited
        // for below; where that fails the context is lost, and no copy goes on.
        unsafe {
            let (source, bytes) = (host.as_ptr().cast(), size_of_val(host));
            driver::cuMemcpyHtoDAsync_v2(target.address, source, bytes, self.stream())
        }
        .map_err(self.driver_error("copying to the device"))?;
        // Most drivers copy ordinary (pageable) memory to a staging buffer before they return, but
        // NVIDIA promises only that they might. The plain `cuMemcpyHtoD` promises it, and would not
        // be ordered with this stream.
        self.wait()
    }

    fn read<E: Element>(&self, source: CudaView<'_, E>) -> Result<Vec<E>> {
        self.check_owner(source.owner)?;
        self.refuse_while_capturing("copying to the host")?;
        let mut host = vec![E::zeroed(); source.len];
        let _turn = self.bind()?;
        if !host.is_empty() {
            // SAFETY: `source` borrows `len` elements of a live buffer of this context, and `host`
            // has as many. The driver may write to `host` until the stream has been waited for
            // below, before `host` is returned or dropped; where that fails the context is lost,
            // and no copy goes on.
            unsafe {
                let (target, bytes) = (host.as_mut_ptr().cast(), size_of_val(&host[..]));
                driver::cuMemcpyDtoHAsync_v2(target, source.address, bytes, self.stream())
            }
            .map_err(self.driver_error("copying from the device"))?;
        }
        self.wait()?;
        Ok(host)
    }

    fn read_later<E: Element>(&self, source: CudaView<'_, E>) -> Result<CudaPending<E>> {
        self.start_reading(source)
    }

    fn copy<E: Element>(&self, source: CudaView<'_, E>, target: CudaViewMut<'_, E>) -> Result<()> {
        self.check_owner(source.owner)?;
        self.check_owner(target.owner)?;
        check_lengths("copy", source.len, target.len)?;
        let bytes = source.len * size_of::<E>();
        if bytes == 0 {
            return Ok(());
        }
        let _turn = self.bind()?;
        // SAFETY: both runs hold `bytes` bytes of live buffers of this context; `target` is borrowed
        // exclusively, so they do not overlap.
        unsafe {
            driver::cuMemcpyDtoDAsync_v2(target.address, source.address, bytes, self.stream())
        }
        .map_err(self.driver_error("copying on the device"))
    }

    fn zero<E: Element>(&self, target: CudaViewMut<'_, E>) -> Result<()> {
        self.check_owner(target.owner)?;
        let bytes = target.len * size_of::<E>();
        if bytes == 0 {
            return Ok(());
        }
        let _turn = self.bind()?;
        // SAFETY: `target` borrows `bytes` bytes of a live buffer of this context exclusively, and
        // zero bytes are a valid value of every `Element`.
        unsafe { driver::cuMemsetD8Async(target.address, 0, bytes, self.stream()) }
            .map_err(self.driver_error("zeroing device memory"))
    }

    fn synchronize(&self) -> Result<()> {
        self.refuse_while_capturing("waiting for the device")?;
        let _turn = self.bind()?;
        self.wait()
    }

    fn capture(&self, work: impl FnOnce() -> Result<()>) -> Result<Option<CudaGraph>> {
        self.capture_graph(work)
    }

    fn replay(&self, graph: &CudaGraph) -> Result<()> {
        self.replay_graph(graph)
    }

    fn refuse_in_graph(&self, what: &str) -> Result<()> {
        self.refuse_while_capturing(what)
    }

    fn view_of<'a, E: Element>(&self, view: AnyView<'a, E>) -> Result<CudaView<'a, E>> {
        match view {
            AnyView::Cuda(view) => Ok(view),
            AnyView::Cpu(_) => Err(elsewhere(&self.name(), "the CPU")),
        }
    }

    fn view_mut_of<'a, E: Element>(&self, view: AnyViewMut<'a, E>) -> Result<CudaViewMut<'a, E>> {
        match view {
            AnyViewMut::Cuda(view) => Ok(view),
            AnyViewMut::Cpu(_) => Err(elsewhere(&self.name(), "the CPU")),
        }
    }

    fn len<E: Element>(buffer: &CudaBuffer<E>) -> usize {
        buffer.len
    }

    fn view<E: Element>(buffer: &CudaBuffer<E>) -> CudaView<'_, E> {
        let owner = buffer.device.id();
        CudaView { address: buffer.block.address, len: buffer.len, owner, lifetime: PhantomData }
    }

    fn view_mut<E: Element>(buffer: &mut CudaBuffer<E>) -> CudaViewMut<'_, E> {
        let owner = buffer.device.id();
        CudaViewMut { address: buffer.block.address, len: buffer.len, owner, lifetime: PhantomData }
    }

    fn slice<'a, E: Element>(view: Self::View<'a, E>, range: Range<usize>) -> Self::View<'a, E> {
        let Range { start, end } = range;
        assert!(start <= end && end <= view.len, "elements {start}..{end} of {}", view.len);
        CudaView { address: element_address::<E>(view.address, start), len: end - start, ..view }
    }

    fn reborrow<'s, E: Element>(view: &'s mut CudaViewMut<'_, E>) -> CudaViewMut<'s, E> {
        CudaViewMut { lifetime: PhantomData, ..*view }
    }

    fn split_at<'a, E: Element>(
        view: Self::ViewMut<'a, E>,
        at: usize,
    ) -> (Self::ViewMut<'a, E>, Self::ViewMut<'a, E>) {
        assert!(at <= view.len, "element {at} of {}", view.len);
        let tail = CudaViewMut {
            address: element_address::<E>(view.address, at),
            len: view.len - at,
            ..view
        };
        (CudaViewMut { len: at, ..view }, tail)
    }
}

impl<E: Element> fmt::Debug for CudaBuffer<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CudaBuffer({} {}, {})", self.len, E::NAME, self.device.name())
    }
}

impl<E: Element> fmt::Debug for CudaView<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CudaView({} {})", self.len, E::NAME)
    }
}

impl<E: Element> fmt::Debug for CudaViewMut<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CudaViewMut({} {})", self.len, E::NAME)
    }
}
