//! The driver's errors, with what failed and what to do about it.
#![forbid(unsafe_code)]

use super::driver::DriverError;
use crate::Error;
use std::fmt::Display;

/// An error of device `cuda:<ordinal>`.
pub(super) fn device_error(ordinal: usize, message: impl Into<String>) -> Error {
    Error::Device { device: format!("cuda:{ordinal}"), message: message.into() }
}

/// `map_err(driver_error(ordinal, "copying to the device"))`: the driver refused `action`.
pub(super) fn driver_error(
    ordinal: usize,
    action: impl Display,
) -> impl FnOnce(DriverError) -> Error {
    move |error| {
        let advice = advice(error);
        let separator = if advice.is_empty() { "" } else { "; " };
        device_error(ordinal, format!("{action} failed: {error}{separator}{advice}"))
    }
}

/// What a user can do about an error; empty where there is nothing better than its text.
fn advice(error: DriverError) -> &'static str {
    match error {
        DriverError::CUDA_ERROR_ILLEGAL_ADDRESS
        | DriverError::CUDA_ERROR_MISALIGNED_ADDRESS
        | DriverError::CUDA_ERROR_INVALID_ADDRESS_SPACE
        | DriverError::CUDA_ERROR_INVALID_PC
        | DriverError::CUDA_ERROR_ILLEGAL_INSTRUCTION
        | DriverError::CUDA_ERROR_ASSERT
        | DriverError::CUDA_ERROR_HARDWARE_STACK_ERROR
        | DriverError::CUDA_ERROR_LAUNCH_FAILED => {
            "a kernel failed, perhaps an earlier one, and took the CUDA context with it: start the \
             program again. `compute-sanitizer signet ...` names the kernel and the line; please \
             report it"
        }
        DriverError::CUDA_ERROR_LAUNCH_TIMEOUT => {
            "the display's watchdog stopped a kernel: use a GPU that drives no display, or a \
             smaller batch"
        }
        DriverError::CUDA_ERROR_ECC_UNCORRECTABLE | DriverError::CUDA_ERROR_DEVICE_UNAVAILABLE => {
            "the GPU itself reports a fault or is taken: look at `nvidia-smi`"
        }
        DriverError::CUDA_ERROR_NO_BINARY_FOR_GPU
        | DriverError::CUDA_ERROR_INVALID_IMAGE
        | DriverError::CUDA_ERROR_INVALID_PTX
        | DriverError::CUDA_ERROR_UNSUPPORTED_PTX_VERSION => {
            "the driver does not accept what NVRTC compiled: update the driver, or install an \
             NVRTC no newer than it"
        }
        DriverError::CUDA_ERROR_OUT_OF_MEMORY => "try a smaller batch",
        _ => "",
    }
}
