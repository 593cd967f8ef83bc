//! Memory: allocation, copies, fills.
#![allow(non_snake_case)]

use std::ffi::{c_int, c_uchar, c_uint, c_ushort, c_void};

use cudarc::driver::sys::{CUdeviceptr, CUmemoryPool, CUresult, CUstream};

use crate::api::{Outcome, driver_api, put};
use crate::config::Config;
use crate::graph::Work;
use crate::state::{self, State};
use crate::stream;

use CUresult::*;

/// Which way bytes go. Addresses of the host are taken on trust, as the driver does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    HostToDevice,
    DeviceToHost,
    DeviceToDevice,
}

#[derive(Clone, Copy, Debug)]
pub struct Copy {
    pub to: usize,
    pub from: usize,
    pub bytes: usize,
    pub direction: Direction,
}

#[derive(Clone, Copy, Debug)]
pub struct Fill {
    pub to: usize,
    /// The value and how many of its bytes count: 1, 2 or 4.
    pub value: u32,
    pub width: usize,
    pub count: usize,
}

/// Fails unless all of the range is device memory (or a module's variable).
fn check_device(state: &State, start: usize, bytes: usize) -> Outcome {
    let known = state.heap.find(start, bytes).is_some()
        || state.modules.values().any(|m| m.has_variable(start, bytes))
        || state.heap.pinned().any(|(s, len)| start >= s && start + bytes <= s + len);
    if known { Ok(()) } else { Err(CUDA_ERROR_INVALID_VALUE) }
}

impl Copy {
    pub fn check(&self, state: &State) -> Outcome {
        if self.bytes == 0 {
            return Ok(());
        }
        if self.direction != Direction::HostToDevice {
            check_device(state, self.from, self.bytes)?;
        }
        if self.direction != Direction::DeviceToHost {
            check_device(state, self.to, self.bytes)?;
        }
        if self.to == 0 || self.from == 0 { Err(CUDA_ERROR_INVALID_VALUE) } else { Ok(()) }
    }

    pub fn run(&self, state: &State) -> Outcome {
        self.check(state)?;
        // SAFETY: device ranges were checked, host ranges are the caller's promise; ranges that
        // overlap are allowed for.
        unsafe { std::ptr::copy(self.from as *const u8, self.to as *mut u8, self.bytes) };
        match self.direction {
            Direction::HostToDevice => state.heap.mark_initialised(self.to, self.bytes),
            Direction::DeviceToDevice => {
                state.heap.copy_initialised(self.to, self.from, self.bytes);
            }
            Direction::DeviceToHost => {}
        }
        Ok(())
    }
}

impl Fill {
    pub fn check(&self, state: &State) -> Outcome {
        if !self.to.is_multiple_of(self.width) {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        let bytes = self.count.checked_mul(self.width).ok_or(CUDA_ERROR_INVALID_VALUE)?;
        if bytes == 0 { Ok(()) } else { check_device(state, self.to, bytes) }
    }

    pub fn run(&self, state: &State) -> Outcome {
        self.check(state)?;
        // SAFETY: the range is device memory, aligned to the width.
        unsafe {
            match self.width {
                1 => std::ptr::write_bytes(self.to as *mut u8, self.value as u8, self.count),
                2 => std::slice::from_raw_parts_mut(self.to as *mut u16, self.count)
                    .fill(self.value as u16),
                _ => {
                    std::slice::from_raw_parts_mut(self.to as *mut u32, self.count).fill(self.value)
                }
            }
        }
        state.heap.mark_initialised(self.to, self.count * self.width);
        Ok(())
    }
}

/// Runs a synchronous call, which a capture may forbid.
fn now(work: &Work) -> Outcome {
    let mut state = state::ready()?;
    state.captures.forbid_unsafe_call()?;
    stream::legacy_use(&mut state)?;
    work.run(&mut state)
}

fn copy(to: usize, from: usize, bytes: usize, direction: Direction) -> Work {
    Work::Copy(Copy { to, from, bytes, direction })
}

fn fill(to: CUdeviceptr, value: u32, width: usize, count: usize) -> Work {
    Work::Fill(Fill { to: to as usize, value, width, count })
}

driver_api! {
    fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) {
        let state = state::ready()?;
        put(free, state.heap.free_bytes())?;
        put(total, Config::get().memory)
    }

    fn cuMemAlloc_v2(pointer: *mut CUdeviceptr, bytes: usize) {
        let mut state = state::ready()?;
        state.captures.forbid_unsafe_call()?;
        put(pointer, state.heap.allocate(bytes)? as CUdeviceptr)
    }

    fn cuMemAllocAsync(pointer: *mut CUdeviceptr, bytes: usize, stream: CUstream) {
        let mut state = state::ready()?;
        // The real driver makes an allocation node of it; here a graph owns no memory.
        stream::forbid_in_capture(&mut state, stream)?;
        put(pointer, state.heap.allocate(bytes)? as CUdeviceptr)
    }

    fn cuMemAllocFromPoolAsync(
        pointer: *mut CUdeviceptr,
        bytes: usize,
        _pool: CUmemoryPool,
        stream: CUstream,
    ) {
        let mut state = state::ready()?;
        stream::forbid_in_capture(&mut state, stream)?;
        put(pointer, state.heap.allocate(bytes)? as CUdeviceptr)
    }

    /// The host reaches device memory here, so managed memory is nothing special.
    fn cuMemAllocManaged(pointer: *mut CUdeviceptr, bytes: usize, _flags: c_uint) {
        let mut state = state::ready()?;
        state.captures.forbid_unsafe_call()?;
        put(pointer, state.heap.allocate(bytes)? as CUdeviceptr)
    }

    fn cuMemFree_v2(pointer: CUdeviceptr) {
        let mut state = state::ready()?;
        state.captures.forbid_unsafe_call()?;
        if pointer == 0 { Ok(()) } else { state.heap.free(pointer as usize) }
    }

    fn cuMemFreeAsync(pointer: CUdeviceptr, stream: CUstream) {
        let mut state = state::ready()?;
        stream::forbid_in_capture(&mut state, stream)?;
        if pointer == 0 { Ok(()) } else { state.heap.free(pointer as usize) }
    }

    fn cuMemHostAlloc(pointer: *mut *mut c_void, bytes: usize, _flags: c_uint) {
        let mut state = state::ready()?;
        state.captures.forbid_unsafe_call()?;
        put(pointer, state.heap.allocate_pinned(bytes)? as *mut c_void)
    }

    fn cuMemAllocHost_v2(pointer: *mut *mut c_void, bytes: usize) {
        let mut state = state::ready()?;
        state.captures.forbid_unsafe_call()?;
        put(pointer, state.heap.allocate_pinned(bytes)? as *mut c_void)
    }

    fn cuMemFreeHost(pointer: *mut c_void) {
        let mut state = state::ready()?;
        state.captures.forbid_unsafe_call()?;
        state.heap.free_pinned(pointer as usize)
    }

    fn cuMemHostGetDevicePointer_v2(
        device: *mut CUdeviceptr,
        host: *mut c_void,
        _flags: c_uint,
    ) {
        let state = state::ready()?;
        let known = state.heap.pinned().any(|(start, _)| start == host as usize);
        put(device, if known { host as CUdeviceptr } else { return Err(CUDA_ERROR_INVALID_VALUE) })
    }

    fn cuMemcpyHtoD_v2(to: CUdeviceptr, from: *const c_void, bytes: usize) {
        now(&copy(to as usize, from as usize, bytes, Direction::HostToDevice))
    }

    fn cuMemcpyDtoH_v2(to: *mut c_void, from: CUdeviceptr, bytes: usize) {
        now(&copy(to as usize, from as usize, bytes, Direction::DeviceToHost))
    }

    fn cuMemcpyDtoD_v2(to: CUdeviceptr, from: CUdeviceptr, bytes: usize) {
        now(&copy(to as usize, from as usize, bytes, Direction::DeviceToDevice))
    }

    fn cuMemcpyHtoDAsync_v2(
        to: CUdeviceptr,
        from: *const c_void,
        bytes: usize,
        stream: CUstream,
    ) {
        let work = copy(to as usize, from as usize, bytes, Direction::HostToDevice);
        stream::submit(&mut *state::ready()?, stream, work)
    }

    fn cuMemcpyDtoHAsync_v2(to: *mut c_void, from: CUdeviceptr, bytes: usize, stream: CUstream) {
        let work = copy(to as usize, from as usize, bytes, Direction::DeviceToHost);
        stream::submit(&mut *state::ready()?, stream, work)
    }

    fn cuMemcpyDtoDAsync_v2(
        to: CUdeviceptr,
        from: CUdeviceptr,
        bytes: usize,
        stream: CUstream,
    ) {
        let work = copy(to as usize, from as usize, bytes, Direction::DeviceToDevice);
        stream::submit(&mut *state::ready()?, stream, work)
    }

    fn cuMemsetD8_v2(to: CUdeviceptr, value: c_uchar, count: usize) {
        now(&fill(to, value.into(), 1, count))
    }

    fn cuMemsetD16_v2(to: CUdeviceptr, value: c_ushort, count: usize) {
        now(&fill(to, value.into(), 2, count))
    }

    fn cuMemsetD32_v2(to: CUdeviceptr, value: c_uint, count: usize) {
        now(&fill(to, value, 4, count))
    }

    fn cuMemsetD8Async(to: CUdeviceptr, value: c_uchar, count: usize, stream: CUstream) {
        stream::submit(&mut *state::ready()?, stream, fill(to, value.into(), 1, count))
    }

    fn cuMemsetD16Async(to: CUdeviceptr, value: c_ushort, count: usize, stream: CUstream) {
        stream::submit(&mut *state::ready()?, stream, fill(to, value.into(), 2, count))
    }

    fn cuMemsetD32Async(to: CUdeviceptr, value: c_uint, count: usize, stream: CUstream) {
        stream::submit(&mut *state::ready()?, stream, fill(to, value, 4, count))
    }

    fn cuDeviceGetPCIBusId(text: *mut std::ffi::c_char, length: c_int, device: c_int) {
        state::initialised()?;
        let id = b"0000:00:00.0\0";
        if device != 0 || text.is_null() || usize::try_from(length).unwrap_or(0) < id.len() {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        // SAFETY: the caller's buffer is long enough, as just checked.
        unsafe { text.cast::<u8>().copy_from_nonoverlapping(id.as_ptr(), id.len()) };
        Ok(())
    }
}
