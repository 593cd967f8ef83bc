//! The driver's errors, with what failed and what to do about it.
#![forbid(unsafe_code)]

use crate::Error;
use cudarc::driver::DriverError;
use cudarc::driver::sys::CUresult;
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
        let advice = advice(error.0);
        let separator = if advice.is_empty() { "" } else { "; " };
        device_error(ordinal, format!("{action} failed: {}{separator}{advice}", describe(error)))
    }
}

/// The driver's name for an error and its explanation: `CUDA_ERROR_OUT_OF_MEMORY (out of memory)`.
pub(super) fn describe(error: DriverError) -> String {
    match error.error_string() {
        Ok(text) => format!("{:?} ({})", error.0, text.to_string_lossy()),
        Err(_) => format!("{:?}", error.0),
    }
}

/// What a user can do about an error; empty where there is nothing better than its text.
fn advice(error: CUresult) -> &'static str {
    match error {
        CUresult::CUDA_ERROR_ILLEGAL_ADDRESS
        | CUresult::CUDA_ERROR_MISALIGNED_ADDRESS
        | CUresult::CUDA_ERROR_INVALID_ADDRESS_SPACE
        | CUresult::CUDA_ERROR_INVALID_PC
        | CUresult::CUDA_ERROR_ILLEGAL_INSTRUCTION
        | CUresult::CUDA_ERROR_ASSERT
        | CUresult::CUDA_ERROR_HARDWARE_STACK_ERROR
        | CUresult::CUDA_ERROR_LAUNCH_FAILED => {
            "a kernel failed, perhaps an earlier one, and took the CUDA context with it: start the \
             program again. `compute-sanitizer signet ...` names the kernel and the line; please \
             report it"
        }
        CUresult::CUDA_ERROR_LAUNCH_TIMEOUT => {
            "the display's watchdog stopped a kernel: use a GPU that drives no display, or a \
             smaller --batch-size"
        }
        CUresult::CUDA_ERROR_ECC_UNCORRECTABLE | CUresult::CUDA_ERROR_DEVICE_UNAVAILABLE => {
            "the GPU itself reports a fault or is taken: look at `nvidia-smi`"
        }
        CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU
        | CUresult::CUDA_ERROR_INVALID_IMAGE
        | CUresult::CUDA_ERROR_INVALID_PTX
        | CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION => {
            "the driver does not accept what NVRTC compiled: update the driver, or install an \
             NVRTC no newer than it (see `signet devices`)"
        }
        CUresult::CUDA_ERROR_OUT_OF_MEMORY => "try a smaller --batch-size",
        _ => "",
    }
}
