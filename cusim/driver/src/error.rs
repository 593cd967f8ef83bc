//! The driver's error codes by name.
#![allow(non_snake_case)]

use std::ffi::{CStr, c_char, c_int};

use cudarc::driver::sys::CUresult;

use crate::api::{enter, put};
use cusim_common::calls::CallSite;

macro_rules! errors {
    ($($name:ident $text:literal,)*) => {
        const ERRORS: &[(CUresult, &CStr, &CStr)] = &[$((
            CUresult::$name,
            c_str(concat!(stringify!($name), "\0")),
            c_str(concat!($text, "\0")),
        ),)*];
    };
}

/// A literal that ends with a NUL.
const fn c_str(text: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(text.as_bytes()) {
        Ok(text) => text,
        Err(_) => panic!("only for literals that end with their only NUL"),
    }
}

errors! {
    CUDA_SUCCESS "no error",
    CUDA_ERROR_INVALID_VALUE "invalid argument",
    CUDA_ERROR_OUT_OF_MEMORY "out of memory",
    CUDA_ERROR_NOT_INITIALIZED "initialization error",
    CUDA_ERROR_DEINITIALIZED "driver shutting down",
    CUDA_ERROR_STUB_LIBRARY "CUDA driver is a stub library",
    CUDA_ERROR_DEVICE_UNAVAILABLE "CUDA-capable device(s) is/are busy or unavailable",
    CUDA_ERROR_NO_DEVICE "no CUDA-capable device is detected",
    CUDA_ERROR_INVALID_DEVICE "invalid device ordinal",
    CUDA_ERROR_DEVICE_NOT_LICENSED "device doesn't have valid Grid license",
    CUDA_ERROR_INVALID_IMAGE "device kernel image is invalid",
    CUDA_ERROR_INVALID_CONTEXT "invalid device context",
    CUDA_ERROR_MAP_FAILED "mapping of buffer object failed",
    CUDA_ERROR_NO_BINARY_FOR_GPU "no kernel image is available for execution on the device",
    CUDA_ERROR_ECC_UNCORRECTABLE "uncorrectable ECC error encountered",
    CUDA_ERROR_UNSUPPORTED_LIMIT "limit is not supported on this architecture",
    CUDA_ERROR_INVALID_PTX "a PTX JIT compilation failed",
    CUDA_ERROR_NVLINK_UNCORRECTABLE "uncorrectable NVLink error detected during the execution",
    CUDA_ERROR_UNSUPPORTED_PTX_VERSION "the provided PTX was compiled with an unsupported toolchain.",
    CUDA_ERROR_INVALID_SOURCE "device kernel image is invalid",
    CUDA_ERROR_FILE_NOT_FOUND "file not found",
    CUDA_ERROR_SHARED_OBJECT_SYMBOL_NOT_FOUND "shared object symbol not found",
    CUDA_ERROR_SHARED_OBJECT_INIT_FAILED "shared object initialization failed",
    CUDA_ERROR_OPERATING_SYSTEM "OS call failed or operation not supported on this OS",
    CUDA_ERROR_INVALID_HANDLE "invalid resource handle",
    CUDA_ERROR_ILLEGAL_STATE "the operation cannot be performed in the present state",
    CUDA_ERROR_NOT_FOUND "named symbol not found",
    CUDA_ERROR_NOT_READY "device not ready",
    CUDA_ERROR_ILLEGAL_ADDRESS "an illegal memory access was encountered",
    CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES "too many resources requested for launch",
    CUDA_ERROR_LAUNCH_TIMEOUT "the launch timed out and was terminated",
    CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE "cannot set while device is active in this process",
    CUDA_ERROR_CONTEXT_IS_DESTROYED "context is destroyed",
    CUDA_ERROR_ASSERT "device-side assert triggered",
    CUDA_ERROR_HARDWARE_STACK_ERROR "hardware stack error",
    CUDA_ERROR_ILLEGAL_INSTRUCTION "an illegal instruction was encountered",
    CUDA_ERROR_MISALIGNED_ADDRESS "misaligned address",
    CUDA_ERROR_INVALID_ADDRESS_SPACE "operation not supported on global/shared address space",
    CUDA_ERROR_INVALID_PC "invalid program counter",
    CUDA_ERROR_LAUNCH_FAILED "unspecified launch failure",
    CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE "too many blocks in cooperative launch",
    CUDA_ERROR_NOT_PERMITTED "operation not permitted",
    CUDA_ERROR_NOT_SUPPORTED "operation not supported",
    CUDA_ERROR_SYSTEM_NOT_READY "system not yet initialized",
    CUDA_ERROR_SYSTEM_DRIVER_MISMATCH "system has unsupported display driver / cuda driver combination",
    CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED "operation not permitted when stream is capturing",
    CUDA_ERROR_STREAM_CAPTURE_INVALIDATED "operation failed due to a previous error during capture",
    CUDA_ERROR_STREAM_CAPTURE_MERGE "operation would result in a merge of separate capture sequences",
    CUDA_ERROR_STREAM_CAPTURE_UNMATCHED "capture was not ended in the same stream as it began",
    CUDA_ERROR_STREAM_CAPTURE_UNJOINED "capturing stream has unjoined work",
    CUDA_ERROR_STREAM_CAPTURE_ISOLATION "dependency created on uncaptured work in another stream",
    CUDA_ERROR_STREAM_CAPTURE_IMPLICIT "operation would make the legacy stream depend on a capturing blocking stream",
    CUDA_ERROR_CAPTURED_EVENT "operation not permitted on an event last recorded in a capturing stream",
    CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD "attempt to terminate a thread-local capture sequence from another thread",
    CUDA_ERROR_TIMEOUT "wait operation timed out",
    CUDA_ERROR_UNKNOWN "unknown error",
}

/// The error called `name`, for `CUSIM_FAULT`.
pub fn by_name(name: &str) -> Option<CUresult> {
    ERRORS.iter().find(|(_, n, _)| n.to_bytes() == name.as_bytes()).map(|&(code, ..)| code)
}

/// Whether a context that met `error` returns it from then on.
pub fn is_sticky(error: CUresult) -> bool {
    use CUresult::*;
    matches!(
        error,
        CUDA_ERROR_ILLEGAL_ADDRESS
            | CUDA_ERROR_LAUNCH_FAILED
            | CUDA_ERROR_LAUNCH_TIMEOUT
            | CUDA_ERROR_ECC_UNCORRECTABLE
            | CUDA_ERROR_NVLINK_UNCORRECTABLE
            | CUDA_ERROR_ASSERT
            | CUDA_ERROR_HARDWARE_STACK_ERROR
            | CUDA_ERROR_ILLEGAL_INSTRUCTION
            | CUDA_ERROR_MISALIGNED_ADDRESS
            | CUDA_ERROR_INVALID_ADDRESS_SPACE
            | CUDA_ERROR_INVALID_PC
            | CUDA_ERROR_DEVICE_UNAVAILABLE
    )
}

fn find(error: c_int) -> Result<&'static (CUresult, &'static CStr, &'static CStr), CUresult> {
    let known = ERRORS.iter().find(|(code, ..)| *code as c_int == error);
    known.ok_or(CUresult::CUDA_ERROR_INVALID_VALUE)
}

// These two are asked about any number, which need not be a value of cudarc's `enum`.

/// See the CUDA driver API.
///
/// # Safety
/// As the CUDA driver API asks of the caller.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorName(error: c_int, name: *mut *const c_char) -> c_int {
    static SITE: CallSite = CallSite::new("cuGetErrorName");
    enter(&SITE, || put(name, find(error)?.1.as_ptr()))
}

/// See the CUDA driver API.
///
/// # Safety
/// As the CUDA driver API asks of the caller.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorString(error: c_int, text: *mut *const c_char) -> c_int {
    static SITE: CallSite = CallSite::new("cuGetErrorString");
    enter(&SITE, || put(text, find(error)?.2.as_ptr()))
}
