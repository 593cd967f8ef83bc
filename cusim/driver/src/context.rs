//! Initialisation and the primary context.
#![allow(non_snake_case)]

use std::ffi::{c_int, c_uint};

use cudarc::driver::sys::{CUcontext, CUdevice, CUfunc_cache, CUlimit, CUresult};

use crate::api::{Outcome, driver_api, put};
use crate::engine::trap;
use crate::{event, report, state};

use CUresult::*;

fn check(device: CUdevice) -> Outcome {
    state::initialised()?;
    if device == 0 { Ok(()) } else { Err(CUDA_ERROR_INVALID_DEVICE) }
}

driver_api! {
    fn cuInit(flags: c_uint) {
        if flags != 0 {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        trap::install();
        report::leaks_at_exit();
        state::set_initialised();
        Ok(())
    }

    fn cuDevicePrimaryCtxRetain(context: *mut CUcontext, device: CUdevice) {
        check(device)?;
        state::lock().retained += 1;
        put(context, state::PRIMARY as CUcontext)
    }

    fn cuDevicePrimaryCtxRelease_v2(device: CUdevice) {
        check(device)?;
        let mut state = state::lock();
        state.retained = state.retained.checked_sub(1).ok_or(CUDA_ERROR_INVALID_CONTEXT)?;
        if state.retained == 0 {
            // In a broken context nothing can be freed: no leak of the program's.
            if state.sticky.is_none() {
                report::leaks(&state.heap);
            }
            // The real driver frees what is left, and so forgets a sticky error.
            state.heap.clear();
            state.sticky = None;
        }
        Ok(())
    }

    fn cuDevicePrimaryCtxSetFlags_v2(device: CUdevice, _flags: c_uint) {
        check(device)
    }

    fn cuDevicePrimaryCtxGetState(device: CUdevice, flags: *mut c_uint, active: *mut c_int) {
        check(device)?;
        put(flags, 0)?;
        put(active, c_int::from(state::lock().retained > 0))
    }

    fn cuCtxSetFlags(_flags: c_uint) {
        state::ready().map(|_| ())
    }

    fn cuCtxGetFlags(flags: *mut c_uint) {
        state::any_context()?;
        put(flags, 0)
    }

    fn cuCtxGetCurrent(context: *mut CUcontext) {
        state::initialised()?;
        put(context, state::current() as CUcontext)
    }

    fn cuCtxSetCurrent(context: CUcontext) {
        state::initialised()?;
        if !matches!(context as usize, 0 | state::PRIMARY) {
            return Err(CUDA_ERROR_INVALID_CONTEXT);
        }
        state::set_current(context as usize);
        Ok(())
    }

    fn cuCtxGetDevice(device: *mut CUdevice) {
        state::any_context()?;
        put(device, 0)
    }

    fn cuCtxSynchronize() {
        let mut state = state::ready()?;
        state.captures.forbid_unsafe_call()?;
        event::wait_for_all(&mut state, None);
        Ok(())
    }

    fn cuCtxGetStreamPriorityRange(least: *mut c_int, greatest: *mut c_int) {
        state::ready()?;
        put(least, 0)?;
        put(greatest, -5)
    }

    fn cuCtxGetCacheConfig(config: *mut CUfunc_cache) {
        state::ready()?;
        put(config, CUfunc_cache::CU_FUNC_CACHE_PREFER_NONE)
    }

    fn cuCtxSetCacheConfig(_config: CUfunc_cache) {
        state::ready().map(|_| ())
    }

    fn cuCtxGetLimit(value: *mut usize, limit: CUlimit) {
        state::ready()?;
        put(value, match limit {
            CUlimit::CU_LIMIT_STACK_SIZE => 1024,
            CUlimit::CU_LIMIT_PRINTF_FIFO_SIZE => 1 << 20,
            CUlimit::CU_LIMIT_MALLOC_HEAP_SIZE => 8 << 20,
            _ => return Err(CUDA_ERROR_UNSUPPORTED_LIMIT),
        })
    }

    fn cuCtxSetLimit(_limit: CUlimit, _value: usize) {
        state::ready().map(|_| ())
    }
}
