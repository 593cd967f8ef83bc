//! Work captured as a CUDA graph: many launches that cost the host one.
//!
//! While a graph is captured, the device's stream collects its work and runs none of it. The
//! addresses in it are fixed from then on, so buffers come from memory that belongs to the graph:
//! it starts with nothing, takes free blocks of the device's pool, or new ones of the driver, and
//! keeps them. Within the graph they are used again and again as in the pool, whose order of
//! events is that of the graph.

use super::Cuda;
use super::driver::{self, DriverError};
use super::pool::{Block, FreeBlocks};
use crate::Result;
use cudarc::driver::sys::{
    CUgraph, CUgraphExec, CUstream, CUstreamCaptureMode, CUstreamCaptureStatus,
};
use parking_lot::Mutex;
use std::ffi::c_int;
use std::sync::Arc;
use std::{fmt, ptr};

/// A captured graph, ready to be launched; see [`Backend::capture`](crate::device::Backend::capture).
pub(crate) struct CudaGraph {
    executable: CUgraphExec,
    // Behind the executable, which uses it.
    memory: Arc<GraphMemory>,
}

// SAFETY: the executable is a name for the driver, whose functions may be called from any thread.
unsafe impl Send for CudaGraph {}
// SAFETY: as above.
unsafe impl Sync for CudaGraph {}

/// The blocks of a graph. They go back to the device's pool when the graph and all buffers that
/// were allocated during its capture are gone.
pub(super) struct GraphMemory {
    device: Cuda,
    owned: Mutex<Vec<Block>>,
    free: Mutex<FreeBlocks>,
}

impl GraphMemory {
    /// A free block of `size` bytes that is the graph's already.
    pub(super) fn reuse(&self, size: usize) -> Option<Block> {
        self.free.lock().take(size)
    }

    /// Makes a block the graph's.
    pub(super) fn own(&self, block: Block) {
        self.owned.lock().push(block);
    }

    /// Takes back a block of the graph.
    pub(super) fn give(&self, block: Block) {
        self.free.lock().give(block);
    }
}

impl Drop for GraphMemory {
    fn drop(&mut self) {
        // Launches of the graph may be queued. Whoever gets the blocks next is queued behind them.
        let mut pool = self.device.pool();
        self.owned.get_mut().drain(..).for_each(|block| pool.give(block));
    }
}

impl CudaGraph {
    /// Bytes of device memory that it owns.
    pub fn memory(&self) -> usize {
        self.memory.owned.lock().iter().map(|block| block.size).sum()
    }
}

impl Drop for CudaGraph {
    fn drop(&mut self) {
        let _turn = self.memory.device.bind();
        // SAFETY: the executable came from `cuGraphInstantiate` and is destroyed once; the driver
        // lets launches that are queued finish. An error means that the context is lost.
        let _ = unsafe { driver::cuGraphExecDestroy(self.executable) };
    }
}

impl fmt::Debug for CudaGraph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let device = self.memory.device.ordinal();
        write!(f, "CudaGraph({} bytes, cuda:{device})", self.memory())
    }
}

/// A capture under way, ended on drop too: should the work panic, the stream still works.
struct Capture<'a> {
    device: &'a Cuda,
    is_over: bool,
}

impl<'a> Capture<'a> {
    fn begin(device: &'a Cuda, memory: &Arc<GraphMemory>) -> Result<Self, DriverError> {
        // Relaxed: allocations are free to go on meanwhile, and other threads with other devices.
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        // SAFETY: the stream lives as long as the device.
        unsafe { driver::cuStreamBeginCapture_v2(device.stream(), mode) }?;
        *device.0.capture.lock() = Some(Arc::clone(memory));
        Ok(Self { device, is_over: false })
    }

    fn end(mut self) -> Result<Graph, DriverError> {
        self.finish()
    }

    fn finish(&mut self) -> Result<Graph, DriverError> {
        self.is_over = true;
        *self.device.0.capture.lock() = None;
        let stream = self.device.stream();
        let ended = Graph::end_capture(stream);
        if ended.is_err() && is_capturing(stream) {
            // It must end, or whatever comes next would be captured too and never run.
            drop(Graph::end_capture(stream));
        }
        ended
    }
}

/// Whether the driver says that a stream, which is alive, is still being captured.
fn is_capturing(stream: CUstream) -> bool {
    // A number, as the driver may write one that is no value of the `enum`.
    let mut status: c_int = 0;
    let place = (&raw mut status).cast::<CUstreamCaptureStatus>();
    // SAFETY: the stream is alive, and the pointer valid for writes of an `int`.
    let asked = unsafe { driver::cuStreamIsCapturing(stream, place) };
    asked.is_ok() && status != CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE as c_int
}

impl Drop for Capture<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            drop(self.finish());
        }
    }
}

/// A graph that cannot be launched yet, destroyed on drop.
struct Graph(CUgraph);

impl Graph {
    /// What a stream, which is alive, was given since the capture began.
    fn end_capture(stream: CUstream) -> Result<Self, DriverError> {
        let mut graph = ptr::null_mut();
        // SAFETY: the stream is alive, the pointer valid for writes, and the graph the caller's.
        unsafe { driver::cuStreamEndCapture(stream, &mut graph) }?;
        Ok(Self(graph))
    }

    fn instantiate(&self) -> Result<CUgraphExec, DriverError> {
        let mut executable = ptr::null_mut();
        // SAFETY: the graph is alive and the pointer valid for writes.
        unsafe { driver::cuGraphInstantiateWithFlags(&mut executable, self.0, 0) }?;
        Ok(executable)
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // The capture of no work at all may be no graph.
        if !self.0.is_null() {
            // SAFETY: the graph came from `cuStreamEndCapture` and is destroyed once.
            let _ = unsafe { driver::cuGraphDestroy(self.0) };
        }
    }
}

impl Cuda {
    /// [`Backend::capture`](crate::device::Backend::capture).
    pub(super) fn capture_graph(
        &self,
        work: impl FnOnce() -> Result<()>,
    ) -> Result<Option<CudaGraph>> {
        self.refuse_while_capturing("capturing another graph")?;
        if self.is_profiled() {
            return Ok(None);
        }
        self.capture_now(work).map(Some)
    }

    /// Captures `work`, whether kernels are timed or not. No capture is under way.
    pub(super) fn capture_now(&self, work: impl FnOnce() -> Result<()>) -> Result<CudaGraph> {
        let _turn = self.bind()?;
        let (owned, free) = Default::default();
        let memory = Arc::new(GraphMemory { device: self.clone(), owned, free });
        let capture = Capture::begin(self, &memory)
            .map_err(self.driver_error("beginning to capture a graph"))?;
        let worked = work();
        let graph = capture.end();
        // The reason, rather than that the capture is spoilt.
        worked?;
        let graph = graph.map_err(self.driver_error("capturing a graph"))?;
        let executable = graph.instantiate().map_err(self.driver_error("instantiating a graph"))?;
        Ok(CudaGraph { executable, memory })
    }

    /// [`Backend::replay`](crate::device::Backend::replay).
    pub(super) fn replay_graph(&self, graph: &CudaGraph) -> Result<()> {
        self.check_owner(graph.memory.device.id())?;
        self.refuse_while_capturing("launching another graph")?;
        let _turn = self.bind()?;
        // SAFETY: the executable is alive, and so is the memory that it owns; that what else it
        // uses is kept is the promise of whoever captured it. The stream lives as long as the device.
        unsafe { driver::cuGraphLaunch(graph.executable, self.stream()) }
            .map_err(self.driver_error("launching a graph"))
    }

    /// The memory of the graph being captured, if one is.
    pub(super) fn capturing(&self) -> Option<Arc<GraphMemory>> {
        self.0.capture.lock().clone()
    }

    /// An error while this thread captures a graph; waits until no other does.
    pub(super) fn refuse_while_capturing(&self, what: &str) -> Result<()> {
        let _turn = self.turn();
        match &*self.0.capture.lock() {
            None => Ok(()),
            Some(_) => Err(self.error(format!("{what} cannot be part of a CUDA graph"))),
        }
    }
}
