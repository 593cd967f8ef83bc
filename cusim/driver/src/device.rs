//! The one device: its name, sizes and attributes.
#![allow(non_snake_case)]

use std::ffi::{c_char, c_int, c_void};

use cudarc::driver::sys::{
    CUdevice, CUdevice_attribute, CUmemPool_attribute, CUmemoryPool, CUresult, CUuuid,
};

use crate::api::{Outcome, driver_api, put};
use crate::config::Config;
use crate::state;

use CUresult::*;

pub const MAX_THREADS: u32 = 1024;
pub const MAX_BLOCK: [u32; 3] = [1024, 1024, 64];
pub const MAX_GRID: [u32; 3] = [i32::MAX as u32, 65535, 65535];
/// Shared memory a block may have without opting in.
pub const SHARED: u32 = 48 * 1024;

const NAME: &str = "cusim (CUDA on the CPU)";
const UUID: [u8; 16] = *b"cusim, no GPU   ";
const CLOCK_KHZ: i32 = 1_500_000;
const MEMORY_CLOCK_KHZ: i32 = 7_000_000;
const DRIVER_VERSION: i32 = 13_000;

fn check(device: CUdevice) -> Outcome {
    state::initialised()?;
    if device == 0 { Ok(()) } else { Err(CUDA_ERROR_INVALID_DEVICE) }
}

/// The value of an attribute; zero for features that are not there.
fn attribute(attribute: CUdevice_attribute) -> i32 {
    use CUdevice_attribute::*;
    let config = Config::get();
    let value = match attribute {
        CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK => MAX_THREADS,
        CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X => MAX_BLOCK[0],
        CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y => MAX_BLOCK[1],
        CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z => MAX_BLOCK[2],
        CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X => MAX_GRID[0],
        CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y => MAX_GRID[1],
        CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z => MAX_GRID[2],
        CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK => SHARED,
        CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN => config.shared_opt_in(),
        CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR => {
            config.shared_of_multiprocessor()
        }
        CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK => 1024,
        CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY => 65536,
        CU_DEVICE_ATTRIBUTE_WARP_SIZE => 32,
        CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK => 65536,
        CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR => 65536,
        CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR => config.threads_of_multiprocessor(),
        CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR => 16,
        CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT => config.multiprocessors,
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR => config.capability / 10,
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR => config.capability % 10,
        CU_DEVICE_ATTRIBUTE_CLOCK_RATE => CLOCK_KHZ as u32,
        CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE => MEMORY_CLOCK_KHZ as u32,
        CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH => 256,
        CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE => 4 << 20,
        CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT => 512,
        CU_DEVICE_ATTRIBUTE_MAX_PITCH => i32::MAX as u32,
        CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT
        | CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY
        | CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS
        | CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING
        | CU_DEVICE_ATTRIBUTE_GLOBAL_L1_CACHE_SUPPORTED
        | CU_DEVICE_ATTRIBUTE_LOCAL_L1_CACHE_SUPPORTED
        | CU_DEVICE_ATTRIBUTE_STREAM_PRIORITIES_SUPPORTED
        | CU_DEVICE_ATTRIBUTE_COMPUTE_PREEMPTION_SUPPORTED
        | CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED => 1,
        CU_DEVICE_ATTRIBUTE_SINGLE_TO_DOUBLE_PRECISION_PERF_RATIO => 32,
        _ => 0,
    };
    value as i32
}

driver_api! {
    fn cuDriverGetVersion(version: *mut c_int) {
        put(version, DRIVER_VERSION)
    }

    fn cuDeviceGetCount(count: *mut c_int) {
        state::initialised()?;
        put(count, 1)
    }

    fn cuDeviceGet(device: *mut CUdevice, ordinal: c_int) {
        check(ordinal)?;
        put(device, ordinal)
    }

    fn cuDeviceGetName(name: *mut c_char, length: c_int, device: CUdevice) {
        check(device)?;
        let room = usize::try_from(length).ok().filter(|&l| l > 0 && !name.is_null());
        let room = room.ok_or(CUDA_ERROR_INVALID_VALUE)?;
        let shown = NAME.len().min(room - 1);
        // SAFETY: the caller's buffer has `room` bytes, of which these are `shown` and a NUL.
        unsafe {
            name.cast::<u8>().copy_from_nonoverlapping(NAME.as_ptr(), shown);
            name.add(shown).write(0);
        }
        Ok(())
    }

    fn cuDeviceGetUuid_v2(uuid: *mut CUuuid, device: CUdevice) {
        check(device)?;
        put(uuid, CUuuid { bytes: UUID.map(|b| b as c_char) })
    }

    fn cuDeviceTotalMem_v2(bytes: *mut usize, device: CUdevice) {
        check(device)?;
        put(bytes, Config::get().memory)
    }

    fn cuDeviceGetAttribute(value: *mut c_int, which: CUdevice_attribute, device: CUdevice) {
        check(device)?;
        put(value, attribute(which))
    }

    fn cuDeviceGetDefaultMemPool(pool: *mut CUmemoryPool, device: CUdevice) {
        check(device)?;
        put(pool, state::DEFAULT_POOL as CUmemoryPool)
    }

    fn cuDeviceGetMemPool(pool: *mut CUmemoryPool, device: CUdevice) {
        check(device)?;
        put(pool, state::DEFAULT_POOL as CUmemoryPool)
    }

    fn cuDeviceCanAccessPeer(can: *mut c_int, device: CUdevice, peer: CUdevice) {
        check(device)?;
        check(peer)?;
        put(can, 0)
    }

    fn cuDeviceSetMemPool(device: CUdevice, _pool: CUmemoryPool) {
        check(device)
    }

    /// Pools hold nothing back here, whatever their settings.
    fn cuMemPoolSetAttribute(
        _pool: CUmemoryPool,
        _attribute: CUmemPool_attribute,
        _value: *mut c_void,
    ) {
        state::ready().map(|_| ())
    }

    fn cuMemPoolTrimTo(_pool: CUmemoryPool, _keep: usize) {
        state::ready().map(|_| ())
    }

    fn cuProfilerStart() {
        state::initialised()
    }

    fn cuProfilerStop() {
        state::initialised()
    }
}
