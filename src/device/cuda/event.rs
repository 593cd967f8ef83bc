//! Points of the stream, between which the device tells the time.

use super::Cuda;
use super::probe::has_driver_symbol;
use crate::Result;
use cudarc::driver::sys::{self, CUevent_flags};
use cudarc::driver::{DriverError, result};
use std::time::Duration;

/// A point of the stream, destroyed on drop.
#[derive(Debug)]
pub(crate) struct Event(sys::CUevent);

impl Event {
    fn record(stream: sys::CUstream) -> Result<Self, DriverError> {
        let event = Self(result::event::create(CUevent_flags::CU_EVENT_DEFAULT)?);
        // SAFETY: the event was just made, and the caller's stream is alive.
        unsafe { result::event::record(event.0, stream) }?;
        Ok(event)
    }

    /// The time from `self` to `end`, both done.
    pub(super) fn until(&self, end: &Self) -> Result<Duration, DriverError> {
        let mut milliseconds = 0.0_f32;
        // The second version came with CUDA 12.8, and cudarc has it alone.
        if has_driver_symbol("cuEventElapsedTime_v2") {
            // SAFETY: both events are alive and were recorded, and the pointer is valid for writes.
            unsafe { sys::cuEventElapsedTime_v2(&mut milliseconds, self.0, end.0) }.result()?;
        } else {
            type ElapsedTime =
                unsafe extern "C" fn(*mut f32, sys::CUevent, sys::CUevent) -> sys::CUresult;
            // SAFETY: the library is loaded, as it made the events; the type is that of the
            // function in NVIDIA's header.
            let elapsed = unsafe { sys::culib().get::<ElapsedTime>(b"cuEventElapsedTime") };
            let Ok(elapsed) = elapsed else {
                return Err(DriverError(sys::CUresult::CUDA_ERROR_NOT_SUPPORTED));
            };
            // SAFETY: as above.
            unsafe { elapsed(&mut milliseconds, self.0, end.0) }.result()?;
        }
        Ok(Duration::from_secs_f64(f64::from(milliseconds.max(0.0)) / 1e3))
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: the event was made by `record` and is destroyed once. An error means that the
        // context is already lost, and the event with it.
        let _ = unsafe { result::event::destroy(self.0) };
    }
}

impl Cuda {
    /// A point behind all work that was queued so far.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when the driver refuses.
    pub(crate) fn event(&self) -> Result<Event> {
        Event::record(self.stream()).map_err(self.driver_error("marking a point in time"))
    }

    /// The time between two points that the device has passed.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when one of them is still ahead, or work between
    /// them failed.
    pub(crate) fn between(&self, start: &Event, end: &Event) -> Result<Duration> {
        start.until(end).map_err(self.driver_error("reading the time between two points"))
    }
}
