//! Points of the stream, between which the device tells the time.

use super::Cuda;
use super::driver::{self, DriverError};
use super::probe::has_driver_symbol;
use crate::Result;
use cudarc::driver::sys::{CUevent, CUevent_flags, CUstream};
use std::ptr;
use std::time::Duration;

/// A point of the stream, destroyed on drop.
#[derive(Debug)]
pub(crate) struct Event(CUevent);

// SAFETY: the event is a name for the driver, whose functions may be called from any thread.
unsafe impl Send for Event {}
// SAFETY: as above.
unsafe impl Sync for Event {}

impl Event {
    /// An event that carries no time.
    pub(super) fn new() -> Result<Self, DriverError> {
        Self::create(CUevent_flags::CU_EVENT_DISABLE_TIMING)
    }

    fn create(flags: CUevent_flags) -> Result<Self, DriverError> {
        let mut event = ptr::null_mut();
        // SAFETY: the pointer is valid for writes, and a context is current.
        unsafe { driver::cuEventCreate(&mut event, flags as u32) }?;
        Ok(Self(event))
    }

    /// An event at the end of all work of `stream` so far, with the time at which it is done.
    pub(super) fn timed(stream: CUstream) -> Result<Self, DriverError> {
        let event = Self::create(CUevent_flags::CU_EVENT_DEFAULT)?;
        event.record(stream)?;
        Ok(event)
    }

    /// Moves the event to the end of all work of `stream` so far.
    pub(super) fn record(&self, stream: CUstream) -> Result<(), DriverError> {
        // SAFETY: the event is alive, and so is the caller's stream.
        unsafe { driver::cuEventRecord(self.0, stream) }
    }

    /// Whether the work before it is done.
    pub(super) fn is_done(&self) -> Result<bool, DriverError> {
        // SAFETY: the event is alive.
        match unsafe { driver::cuEventQuery(self.0) } {
            Ok(()) => Ok(true),
            Err(DriverError::CUDA_ERROR_NOT_READY) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Waits for the work before it.
    pub(super) fn wait(&self) -> Result<(), DriverError> {
        // SAFETY: the event is alive.
        unsafe { driver::cuEventSynchronize(self.0) }
    }

    /// The time from `self` to `end`, both done and timed.
    pub(super) fn until(&self, end: &Self) -> Result<Duration, DriverError> {
        let mut milliseconds = 0.0_f32;
        if has_driver_symbol("cuEventElapsedTime_v2") {
            // SAFETY: both events are alive and were recorded, and the pointer is valid for writes.
            unsafe { driver::cuEventElapsedTime_v2(&mut milliseconds, self.0, end.0) }?;
        } else {
            // SAFETY: as above.
            unsafe { driver::cuEventElapsedTime(&mut milliseconds, self.0, end.0) }?;
        }
        // A driver that answers no time at all has measured nothing.
        let seconds = f64::from(milliseconds.max(0.0)) / 1e3;
        Ok(Duration::try_from_secs_f64(seconds).unwrap_or_default())
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: the event was made by `new` or `timed` and is destroyed once. An error means that
        // the context is already lost, and the event with it.
        let _ = unsafe { driver::cuEventDestroy_v2(self.0) };
    }
}

impl Cuda {
    /// A point behind all work that was queued so far.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when the driver refuses.
    pub(crate) fn event(&self) -> Result<Event> {
        Event::timed(self.stream()).map_err(self.driver_error("marking a point in time"))
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
