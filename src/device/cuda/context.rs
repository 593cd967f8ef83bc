//! A GPU's primary context.

use super::driver::{self, DriverError};
use cudarc::driver::sys::{CUcontext, CUdevice, CUdevice_attribute};
use std::ptr;

/// The primary context of a GPU, kept as long as this value.
#[derive(Debug)]
pub(super) struct Context {
    device: CUdevice,
    raw: CUcontext,
}

// SAFETY: the context is a name for the driver, whose functions may be called from any thread.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Context {
    /// That of GPU number `ordinal`, which becomes the current one. The driver has started.
    pub(super) fn new(ordinal: usize) -> Result<Self, DriverError> {
        let (mut device, mut raw) = (0, ptr::null_mut());
        let ordinal = i32::try_from(ordinal).map_err(|_| DriverError::CUDA_ERROR_INVALID_DEVICE)?;
        // SAFETY: the pointer is valid for writes.
        unsafe { driver::cuDeviceGet(&mut device, ordinal) }?;
        // SAFETY: as above; the driver just gave this device.
        unsafe { driver::cuDevicePrimaryCtxRetain(&mut raw, device) }?;
        let context = Self { device, raw };
        context.bind()?;
        Ok(context)
    }

    /// Makes it the current one of this thread.
    pub(super) fn bind(&self) -> Result<(), DriverError> {
        let mut current = ptr::null_mut();
        // SAFETY: the pointer is valid for writes.
        unsafe { driver::cuCtxGetCurrent(&mut current) }?;
        if current == self.raw {
            return Ok(());
        }
        // SAFETY: the context is retained as long as `self`.
        unsafe { driver::cuCtxSetCurrent(self.raw) }
    }

    /// A number that the driver tells of the GPU.
    pub(super) fn attribute(&self, attribute: CUdevice_attribute) -> Result<u32, DriverError> {
        device_attribute(self.device, attribute)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: `new` retained it, and it is released once. An error means that it is lost.
        let _ = unsafe { driver::cuDevicePrimaryCtxRelease_v2(self.device) };
    }
}

/// A number that the driver tells of a GPU that it gave.
pub(super) fn device_attribute(
    device: CUdevice,
    attribute: CUdevice_attribute,
) -> Result<u32, DriverError> {
    let mut value = 0;
    // SAFETY: the pointer is valid for writes; for another device the driver answers an error.
    unsafe { driver::cuDeviceGetAttribute(&mut value, attribute, device) }?;
    Ok(value.unsigned_abs())
}
