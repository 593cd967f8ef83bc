//! The one stream of a device, with the counters that its kernels share.

use super::driver::{self, DriverError};
use cudarc::driver::sys::{CUdeviceptr, CUstream, CUstream_flags};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

/// The counters of [`Launch::counters`](super::launch::Launch::counters).
pub(crate) const COUNTERS: u32 = 1 << 14;

/// A stream, and the counters of its kernels.
///
/// Kernels find the counters at 0 and leave them so, and all use the same ones. That is right because
/// no two kernels of a stream run at once: each begins when the one before it has ended. So the
/// counters lie here, and a launch takes both from the same value: a second stream would come with
/// counters of its own. A graph is captured on this stream alone, which makes it a chain, and runs on
/// it alone. Nothing that lets kernels of a stream overlap is in `driver.rs` (branches of a graph,
/// launches that do not wait for the one before); whoever brings it in must give each branch its
/// counters, and a test says so.
#[derive(Debug)]
pub(super) struct Stream {
    raw: CUstream,
    counters: AtomicU64,
}

// SAFETY: the stream is a name for the driver, whose functions may be called from any thread.
unsafe impl Send for Stream {}
// SAFETY: as above.
unsafe impl Sync for Stream {}

impl Stream {
    /// A stream of the current context, without counters yet.
    pub(super) fn new() -> Result<Self, DriverError> {
        let mut raw = ptr::null_mut();
        // The legacy stream, which somebody else in this process may use, is of no concern to it.
        let flags = CUstream_flags::CU_STREAM_NON_BLOCKING as u32;
        // SAFETY: the pointer is valid for writes, and a context is current.
        unsafe { driver::cuStreamCreate(&mut raw, flags) }?;
        Ok(Self { raw, counters: AtomicU64::new(0) })
    }

    /// For calls of the driver.
    pub(super) fn raw(&self) -> CUstream {
        self.raw
    }

    /// Waits for all its work.
    pub(super) fn synchronize(&self) -> Result<(), DriverError> {
        // SAFETY: the stream is alive.
        unsafe { driver::cuStreamSynchronize(self.raw) }
    }

    /// The address of the counters, [`COUNTERS`] numbers; 0 before they are made.
    pub(super) fn counters(&self) -> CUdeviceptr {
        self.counters.load(Ordering::Relaxed)
    }

    /// Allocates the counters, of which there are none yet.
    pub(super) fn allocate_counters(&self) -> Result<(), DriverError> {
        let mut address = 0;
        // SAFETY: the pointer is valid for writes, the size is not 0 and the context is current.
        unsafe { driver::cuMemAlloc_v2(&mut address, Self::counter_bytes()) }?;
        self.counters.store(address, Ordering::Relaxed);
        Ok(())
    }

    /// Sets the counters to 0.
    pub(super) fn zero_counters(&self) -> Result<(), DriverError> {
        let (address, bytes) = (self.counters.load(Ordering::Relaxed), Self::counter_bytes());
        // SAFETY: as many bytes were allocated there, and all who use them do so on this stream.
        unsafe { driver::cuMemsetD8Async(address, 0, bytes, self.raw) }
    }

    pub(super) fn counter_bytes() -> usize {
        COUNTERS as usize * size_of::<u32>()
    }

    /// Gives the counters back. The caller has waited for the stream.
    pub(super) fn free_counters(&self) {
        match self.counters.swap(0, Ordering::Relaxed) {
            0 => {}
            // SAFETY: the counters came from `cuMemAlloc`, and no kernel uses them any more.
            address => _ = unsafe { driver::cuMemFree_v2(address) },
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: the stream came from `cuStreamCreate` and is destroyed once. An error means that
        // the context is lost, and the stream with it.
        let _ = unsafe { driver::cuStreamDestroy_v2(self.raw) };
    }
}
