//! Copies to the host that nobody waits for.

use super::Cuda;
use super::driver;
use super::event::Event;
use super::memory::CudaView;
use crate::Result;
use crate::device::Pending;
use crate::dtype::Element;
use std::ffi::c_void;
use std::marker::PhantomData;
use std::{fmt, ptr};

/// The least that is allocated, so that copies of about the same size share it.
const LEAST: usize = 1 << 16;

/// Values on their way to the host; see [`Backend::read_later`](crate::device::Backend::read_later).
pub(crate) struct CudaPending<E> {
    device: Cuda,
    /// Taken when the values are.
    landing: Option<Landing>,
    len: usize,
    element: PhantomData<E>,
}

/// Page-locked memory of the host, which the device writes to by itself, and the point of the stream
/// at which it has.
#[derive(Debug)]
pub(super) struct Landing {
    address: *mut c_void,
    size: usize,
    arrived: Event,
}

// SAFETY: the memory is nobody else's, and page-locked for every thread.
unsafe impl Send for Landing {}
// SAFETY: as above.
unsafe impl Sync for Landing {}

impl Drop for Landing {
    fn drop(&mut self) {
        // SAFETY: the memory came from `cuMemHostAlloc` and is freed once. The driver waits for a
        // copy that still goes on. An error means that the context is lost.
        let _ = unsafe { driver::cuMemFreeHost(self.address) };
    }
}

impl Cuda {
    /// [`Backend::read_later`](crate::device::Backend::read_later).
    pub(super) fn start_reading<E: Element>(
        &self,
        source: CudaView<'_, E>,
    ) -> Result<CudaPending<E>> {
        self.check_owner(source.owner())?;
        self.refuse_while_capturing("copying to the host")?;
        let _turn = self.bind()?;
        let (len, bytes) = (source.len(), source.len() * size_of::<E>());
        let landing = self.landing(bytes)?;
        if bytes > 0 {
            // SAFETY: `source` borrows `bytes` bytes of a live buffer of this context, and as many
            // are there to write to, which nobody touches before the event or frees before the
            // driver has waited for the copy.
            unsafe {
                driver::cuMemcpyDtoHAsync_v2(
                    landing.address,
                    source.address(),
                    bytes,
                    self.stream(),
                )
            }
            .map_err(self.driver_error("copying from the device"))?;
        }
        let recorded = landing.arrived.record(self.stream());
        recorded.map_err(self.driver_error("marking the end of a copy"))?;
        let landing = Some(landing);
        Ok(CudaPending { device: self.clone(), landing, len, element: PhantomData })
    }

    /// Memory for `bytes` bytes that an earlier copy is done with, or else new memory.
    fn landing(&self, bytes: usize) -> Result<Landing> {
        let mut landings = self.0.landings.lock();
        if let Some(place) = landings.iter().position(|landing| landing.size >= bytes) {
            return Ok(landings.swap_remove(place));
        }
        let size = bytes.next_power_of_two().max(LEAST);
        let arrived = Event::new().map_err(self.driver_error("marking the end of a copy"))?;
        let mut address = ptr::null_mut();
        // SAFETY: the pointer is valid for writes, the size is not 0 and the context is current.
        unsafe { driver::cuMemHostAlloc(&mut address, size, 0) }
            .map_err(self.driver_error(format_args!("allocating {size} bytes of the host")))?;
        Ok(Landing { address, size, arrived })
    }
}

impl<E: Element> Pending<E> for CudaPending<E> {
    fn is_ready(&self) -> Result<bool> {
        let Some(landing) = &self.landing else { return Ok(true) };
        let _turn = self.device.bind()?;
        landing.arrived.is_done().map_err(self.device.driver_error("asking for the end of a copy"))
    }

    fn wait(mut self) -> Result<Vec<E>> {
        let mut values = vec![E::zeroed(); self.len];
        let is_ready = self.is_ready()?;
        let Some(landing) = self.landing.take() else { return Ok(values) };
        if !is_ready {
            landing.arrived.wait().map_err(self.device.driver_error("waiting for the device"))?;
        }
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut values);
        // SAFETY: the memory holds as many bytes, which the device has written and does not touch
        // any more.
        unsafe { bytes.as_mut_ptr().copy_from_nonoverlapping(landing.address.cast(), bytes.len()) };
        self.device.0.landings.lock().push(landing);
        Ok(values)
    }
}

impl<E> Drop for CudaPending<E> {
    fn drop(&mut self) {
        // Its memory may be written to once more behind a copy that goes on: on one stream.
        self.device.0.landings.lock().extend(self.landing.take());
    }
}

impl<E: Element> fmt::Debug for CudaPending<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CudaPending({} {})", self.len, E::NAME)
    }
}
