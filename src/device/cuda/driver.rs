//! The driver's functions that this crate calls, and its errors as numbers; see `boundary.rs`.

use super::boundary::functions;
use cudarc::driver::sys::{
    self, CUcontext, CUdevice, CUdevice_attribute, CUdeviceptr, CUevent, CUfunction,
    CUfunction_attribute, CUgraph, CUgraphExec, CUmodule, CUresult as Declared, CUstream,
    CUstreamCaptureMode, CUstreamCaptureStatus,
};
use std::ffi::{CStr, c_char, c_int, c_uchar, c_uint, c_ulonglong, c_void};
use std::{fmt, ptr};

use DriverError as Failure;

functions! {
    required fn cuInit(flags: c_uint);
    required fn cuDriverGetVersion(version: *mut c_int);

    required fn cuDeviceGetCount(count: *mut c_int);
    required fn cuDeviceGet(device: *mut CUdevice, ordinal: c_int);
    required fn cuDeviceGetName(name: *mut c_char, room: c_int, device: CUdevice);
    required fn cuDeviceTotalMem_v2(bytes: *mut usize, device: CUdevice);
    required fn cuDeviceGetAttribute(
        value: *mut c_int, attribute: CUdevice_attribute, device: CUdevice,
    );
    required fn cuDevicePrimaryCtxRetain(context: *mut CUcontext, device: CUdevice);
    required fn cuDevicePrimaryCtxRelease_v2(device: CUdevice);
    required fn cuCtxGetCurrent(context: *mut CUcontext);
    required fn cuCtxSetCurrent(context: CUcontext);

    required fn cuStreamCreate(stream: *mut CUstream, flags: c_uint);
    required fn cuStreamDestroy_v2(stream: CUstream);
    required fn cuStreamSynchronize(stream: CUstream);
    required fn cuStreamBeginCapture_v2(stream: CUstream, mode: CUstreamCaptureMode);
    required fn cuStreamEndCapture(stream: CUstream, graph: *mut CUgraph);
    required fn cuStreamIsCapturing(stream: CUstream, status: *mut CUstreamCaptureStatus);

    required fn cuGraphInstantiateWithFlags(
        executable: *mut CUgraphExec, graph: CUgraph, flags: c_ulonglong,
    );
    required fn cuGraphLaunch(executable: CUgraphExec, stream: CUstream);
    required fn cuGraphExecDestroy(executable: CUgraphExec);
    required fn cuGraphDestroy(graph: CUgraph);

    required fn cuEventCreate(event: *mut CUevent, flags: c_uint);
    required fn cuEventDestroy_v2(event: CUevent);
    required fn cuEventRecord(event: CUevent, stream: CUstream);
    required fn cuEventQuery(event: CUevent);
    required fn cuEventSynchronize(event: CUevent);
    // The second version came with CUDA 12.8, and cudarc has it alone.
    optional fn cuEventElapsedTime_v2(milliseconds: *mut f32, start: CUevent, end: CUevent);
    unlisted fn cuEventElapsedTime(milliseconds: *mut f32, start: CUevent, end: CUevent);

    required fn cuMemAlloc_v2(address: *mut CUdeviceptr, bytes: usize);
    required fn cuMemFree_v2(address: CUdeviceptr);
    required fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize);
    required fn cuMemHostAlloc(address: *mut *mut c_void, bytes: usize, flags: c_uint);
    required fn cuMemFreeHost(address: *mut c_void);
    required fn cuMemcpyHtoDAsync_v2(
        target: CUdeviceptr, source: *const c_void, bytes: usize, stream: CUstream,
    );
    required fn cuMemcpyDtoHAsync_v2(
        target: *mut c_void, source: CUdeviceptr, bytes: usize, stream: CUstream,
    );
    required fn cuMemcpyDtoDAsync_v2(
        target: CUdeviceptr, source: CUdeviceptr, bytes: usize, stream: CUstream,
    );
    required fn cuMemsetD8Async(
        target: CUdeviceptr, value: c_uchar, bytes: usize, stream: CUstream,
    );

    required fn cuModuleLoadData(module: *mut CUmodule, image: *const c_void);
    required fn cuModuleUnload(module: CUmodule);
    required fn cuModuleGetFunction(
        function: *mut CUfunction, module: CUmodule, name: *const c_char,
    );
    required fn cuFuncGetAttribute(
        value: *mut c_int, attribute: CUfunction_attribute, function: CUfunction,
    );
    required fn cuFuncSetAttribute(
        function: CUfunction, attribute: CUfunction_attribute, value: c_int,
    );
    // Since CUDA 12.4.
    optional fn cuFuncGetParamInfo(
        function: CUfunction, index: usize, offset: *mut usize, size: *mut usize,
    );
    required fn cuLaunchKernel(
        function: CUfunction,
        grid_x: c_uint,
        grid_y: c_uint,
        grid_z: c_uint,
        block_x: c_uint,
        block_y: c_uint,
        block_z: c_uint,
        shared: c_uint,
        stream: CUstream,
        parameters: *mut *mut c_void,
        extra: *mut *mut c_void,
    );

    unlisted fn cuGetErrorName(error: c_int, name: *mut *const c_char);
    unlisted fn cuGetErrorString(error: c_int, text: *mut *const c_char);
}

/// What the driver answered to a call that failed: any number but 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DriverError(c_int);

impl DriverError {
    /// The function that was to be called is not there.
    const MISSING: Self = Self::CUDA_ERROR_SHARED_OBJECT_SYMBOL_NOT_FOUND;

    /// The error with this number.
    #[cfg(test)]
    pub(super) fn of(answer: c_int) -> Self {
        Self(answer)
    }

    fn check(answer: c_int) -> Result<(), Self> {
        if answer == 0 { Ok(()) } else { Err(Self(answer)) }
    }
}

impl fmt::Display for DriverError {
    /// The name and the explanation: `CUDA_ERROR_OUT_OF_MEMORY (out of memory)`; for a number that
    /// nobody knows `error 917 (unknown error)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = NAMES.iter().find(|(error, _)| error == self).map(|&(_, name)| name.to_owned());
        // SAFETY: whoever has an error has called the driver, and the pointer is valid for writes.
        let says = |text: &mut *const c_char| unsafe { cuGetErrorString(self.0, text) };
        // A newer driver may know an error that is not in the list.
        // SAFETY: as above.
        let is_called = |name: &mut *const c_char| unsafe { cuGetErrorName(self.0, name) };
        match (known.or_else(|| text(is_called)), text(says)) {
            (Some(name), Some(text)) => write!(f, "{name} ({text})"),
            (Some(name), None) => f.write_str(&name),
            (None, text) => {
                let text = text.unwrap_or_else(|| "unknown error".into());
                write!(f, "error {} ({text})", self.0)
            }
        }
    }
}

/// A text of the driver's, which it keeps as long as it is loaded.
fn text(ask: impl FnOnce(&mut *const c_char) -> Result<(), DriverError>) -> Option<String> {
    let mut text = ptr::null();
    ask(&mut text).ok()?;
    if text.is_null() {
        return None;
    }
    // SAFETY: the driver set it to a C string of its own.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    (!text.is_empty()).then(|| text.into_owned())
}

/// The errors that cudarc's header knows, as constants and by name.
macro_rules! errors {
    ($($name:ident)*) => {
        #[allow(dead_code, reason = "the list is the header's; few are told apart")]
        impl DriverError {
            $(pub(super) const $name: Self = Self(Declared::$name as c_int);)*
        }

        const NAMES: &[(DriverError, &str)] = &[$((DriverError::$name, stringify!($name))),*];
    };
}

errors! {
    CUDA_ERROR_INVALID_VALUE CUDA_ERROR_OUT_OF_MEMORY CUDA_ERROR_NOT_INITIALIZED
    CUDA_ERROR_DEINITIALIZED CUDA_ERROR_PROFILER_DISABLED CUDA_ERROR_PROFILER_NOT_INITIALIZED
    CUDA_ERROR_PROFILER_ALREADY_STARTED CUDA_ERROR_PROFILER_ALREADY_STOPPED
    CUDA_ERROR_STUB_LIBRARY CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER CUDA_ERROR_DEVICE_UNAVAILABLE
    CUDA_ERROR_NO_DEVICE CUDA_ERROR_INVALID_DEVICE CUDA_ERROR_DEVICE_NOT_LICENSED
    CUDA_ERROR_INVALID_IMAGE CUDA_ERROR_INVALID_CONTEXT CUDA_ERROR_CONTEXT_ALREADY_CURRENT
    CUDA_ERROR_MAP_FAILED CUDA_ERROR_UNMAP_FAILED CUDA_ERROR_ARRAY_IS_MAPPED
    CUDA_ERROR_ALREADY_MAPPED CUDA_ERROR_NO_BINARY_FOR_GPU CUDA_ERROR_ALREADY_ACQUIRED
    CUDA_ERROR_NOT_MAPPED CUDA_ERROR_NOT_MAPPED_AS_ARRAY CUDA_ERROR_NOT_MAPPED_AS_POINTER
    CUDA_ERROR_ECC_UNCORRECTABLE CUDA_ERROR_UNSUPPORTED_LIMIT CUDA_ERROR_CONTEXT_ALREADY_IN_USE
    CUDA_ERROR_PEER_ACCESS_UNSUPPORTED CUDA_ERROR_INVALID_PTX
    CUDA_ERROR_INVALID_GRAPHICS_CONTEXT CUDA_ERROR_NVLINK_UNCORRECTABLE
    CUDA_ERROR_JIT_COMPILER_NOT_FOUND CUDA_ERROR_UNSUPPORTED_PTX_VERSION
    CUDA_ERROR_JIT_COMPILATION_DISABLED CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY
    CUDA_ERROR_UNSUPPORTED_DEVSIDE_SYNC CUDA_ERROR_CONTAINED CUDA_ERROR_INVALID_SOURCE
    CUDA_ERROR_FILE_NOT_FOUND CUDA_ERROR_SHARED_OBJECT_SYMBOL_NOT_FOUND
    CUDA_ERROR_SHARED_OBJECT_INIT_FAILED CUDA_ERROR_OPERATING_SYSTEM CUDA_ERROR_INVALID_HANDLE
    CUDA_ERROR_ILLEGAL_STATE CUDA_ERROR_LOSSY_QUERY CUDA_ERROR_NOT_FOUND CUDA_ERROR_NOT_READY
    CUDA_ERROR_ILLEGAL_ADDRESS CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES CUDA_ERROR_LAUNCH_TIMEOUT
    CUDA_ERROR_LAUNCH_INCOMPATIBLE_TEXTURING CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED
    CUDA_ERROR_PEER_ACCESS_NOT_ENABLED CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE
    CUDA_ERROR_CONTEXT_IS_DESTROYED CUDA_ERROR_ASSERT CUDA_ERROR_TOO_MANY_PEERS
    CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED
    CUDA_ERROR_HARDWARE_STACK_ERROR CUDA_ERROR_ILLEGAL_INSTRUCTION CUDA_ERROR_MISALIGNED_ADDRESS
    CUDA_ERROR_INVALID_ADDRESS_SPACE CUDA_ERROR_INVALID_PC CUDA_ERROR_LAUNCH_FAILED
    CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE CUDA_ERROR_TENSOR_MEMORY_LEAK
    CUDA_ERROR_NOT_PERMITTED CUDA_ERROR_NOT_SUPPORTED CUDA_ERROR_SYSTEM_NOT_READY
    CUDA_ERROR_SYSTEM_DRIVER_MISMATCH CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE
    CUDA_ERROR_MPS_CONNECTION_FAILED CUDA_ERROR_MPS_RPC_FAILURE CUDA_ERROR_MPS_SERVER_NOT_READY
    CUDA_ERROR_MPS_MAX_CLIENTS_REACHED CUDA_ERROR_MPS_MAX_CONNECTIONS_REACHED
    CUDA_ERROR_MPS_CLIENT_TERMINATED CUDA_ERROR_CDP_NOT_SUPPORTED
    CUDA_ERROR_CDP_VERSION_MISMATCH CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED
    CUDA_ERROR_STREAM_CAPTURE_INVALIDATED CUDA_ERROR_STREAM_CAPTURE_MERGE
    CUDA_ERROR_STREAM_CAPTURE_UNMATCHED CUDA_ERROR_STREAM_CAPTURE_UNJOINED
    CUDA_ERROR_STREAM_CAPTURE_ISOLATION CUDA_ERROR_STREAM_CAPTURE_IMPLICIT
    CUDA_ERROR_CAPTURED_EVENT CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD CUDA_ERROR_TIMEOUT
    CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE CUDA_ERROR_EXTERNAL_DEVICE
    CUDA_ERROR_INVALID_CLUSTER_SIZE CUDA_ERROR_FUNCTION_NOT_LOADED
    CUDA_ERROR_INVALID_RESOURCE_TYPE CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION
    CUDA_ERROR_KEY_ROTATION CUDA_ERROR_UNKNOWN
}
