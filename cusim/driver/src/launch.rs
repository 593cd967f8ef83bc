//! Launching kernels, within the limits of the device.
#![allow(non_snake_case)]

use std::ffi::{c_int, c_uint, c_void};
use std::sync::Arc;

use cudarc::driver::sys::{
    CUfunc_cache, CUfunction, CUfunction_attribute, CUoccupancyB2DSize, CUresult, CUstream,
};

use crate::api::{Outcome, driver_api, put};
use crate::config::Config;
use crate::device;
use crate::graph::Work;
use crate::module::{Function, Kernel};
use crate::state::{self, State};
use crate::stream;

use CUresult::*;

/// The shape of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub grid: [u32; 3],
    pub block: [u32; 3],
    /// Bytes of dynamic shared memory.
    pub dynamic: u32,
}

impl Shape {
    pub fn threads(&self) -> u32 {
        self.block.iter().product()
    }

    pub fn blocks(&self) -> u64 {
        self.grid.iter().map(|&n| u64::from(n)).product()
    }

    /// What the real driver checks before it launches.
    fn check(&self, function: &Function) -> Outcome {
        let within = |n: [u32; 3], max: [u32; 3]| n.iter().zip(max).all(|(&n, m)| 1 <= n && n <= m);
        let threads = self.block.iter().map(|&n| u64::from(n)).product::<u64>();
        if !within(self.grid, device::MAX_GRID)
            || !within(self.block, device::MAX_BLOCK)
            || threads > u64::from(device::MAX_THREADS)
            || self.dynamic > function.max_dynamic
        {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        if function.kernel.bound != 0 && threads > u64::from(function.kernel.bound) {
            return Err(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
        }
        Ok(())
    }
}

/// A launch with its parameters copied, as graphs keep it.
#[derive(Clone, Debug)]
pub struct Launch {
    kernel: Arc<Kernel>,
    shape: Shape,
    /// Each parameter, in words for the sake of alignment.
    parameters: Vec<Vec<u128>>,
}

impl Launch {
    /// # Safety
    /// `parameters` must point to the kernel's parameters.
    unsafe fn copy(kernel: Arc<Kernel>, shape: Shape, parameters: *const *mut c_void) -> Self {
        let copy = |(i, &size): (usize, &u32)| {
            let mut words = vec![0_u128; (size as usize).div_ceil(size_of::<u128>())];
            // SAFETY: the caller vouches for the parameters; `words` has room for this one.
            unsafe {
                let from = (*parameters.add(i)).cast::<u8>();
                from.copy_to_nonoverlapping(words.as_mut_ptr().cast(), size as usize);
            }
            words
        };
        let parameters = kernel.sizes.iter().enumerate().map(copy).collect();
        Self { kernel, shape, parameters }
    }

    pub fn run(&self, state: &mut State) -> Outcome {
        let mut pointers: Vec<*mut c_void> =
            self.parameters.iter().map(|p| p.as_ptr().cast_mut().cast()).collect();
        run(state, &self.kernel, self.shape, pointers.as_mut_ptr());
        Ok(())
    }
}

/// Runs a kernel. As on a GPU, what goes wrong inside shows at the next call.
fn run(state: &mut State, kernel: &Kernel, shape: Shape, parameters: *mut *mut c_void) {
    let State { engine, heap, sticky, .. } = state;
    if sticky.is_none() {
        *sticky = engine.launch(kernel, shape, parameters, heap).err();
    }
}

fn launch(
    function: CUfunction,
    shape: Shape,
    stream: CUstream,
    parameters: *mut *mut c_void,
    extra: *mut *mut c_void,
) -> Outcome {
    let mut state = state::ready()?;
    let function = state.functions.get(&(function as usize)).ok_or(CUDA_ERROR_INVALID_HANDLE)?;
    shape.check(function)?;
    if !extra.is_null() {
        // Parameters in one buffer: nothing that cudarc does.
        return Err(CUDA_ERROR_NOT_SUPPORTED);
    }
    let kernel = Arc::clone(&function.kernel);
    if parameters.is_null() && !kernel.sizes.is_empty() {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    if stream::capture_of(&state, stream)?.is_some() {
        // SAFETY: the caller passed pointers to the kernel's parameters.
        let work = Work::Kernel(unsafe { Launch::copy(kernel, shape, parameters) });
        return stream::submit(&mut state, stream, work);
    }
    if stream.is_null() {
        stream::legacy_use(&mut state)?;
    }
    run(&mut state, &kernel, shape, parameters);
    Ok(())
}

/// How many blocks a multiprocessor holds at once, by threads and shared memory.
fn resident_blocks(function: &Function, threads: u32, dynamic: usize) -> u32 {
    let config = Config::get();
    let by_threads = config.threads_of_multiprocessor() / threads.next_multiple_of(32).max(32);
    let shared = function.kernel.shared_bytes + dynamic as u32 + 1024;
    let by_shared = config.shared_of_multiprocessor() / shared;
    by_threads.min(by_shared).min(16)
}

fn find(state: &State, function: CUfunction) -> Outcome<&Function> {
    state.functions.get(&(function as usize)).ok_or(CUDA_ERROR_INVALID_HANDLE)
}

fn occupancy(blocks: *mut c_int, function: CUfunction, threads: c_int, dynamic: usize) -> Outcome {
    let state = state::ready()?;
    let function = find(&state, function)?;
    let threads = u32::try_from(threads).ok().filter(|&t| t > 0).ok_or(CUDA_ERROR_INVALID_VALUE)?;
    put(blocks, resident_blocks(function, threads, dynamic) as c_int)
}

/// The block size that keeps the most threads resident, and a grid of it that fills the device.
fn best_block(
    grid: *mut c_int,
    block: *mut c_int,
    function: CUfunction,
    dynamic_for: CUoccupancyB2DSize,
    dynamic: usize,
    limit: c_int,
) -> Outcome {
    // The callback may call the driver: it must not find the lock taken.
    let function = find(&*state::ready()?, function)?.clone();
    let bound = match function.kernel.bound {
        0 => device::MAX_THREADS,
        bound => bound.min(device::MAX_THREADS),
    };
    let most = u32::try_from(limit).ok().filter(|&l| l > 0).unwrap_or(bound).min(bound);
    let resident = |threads: u32| {
        // SAFETY: the caller's function, called as documented.
        let dynamic = dynamic_for.map_or(dynamic, |f| unsafe { f(threads as c_int) });
        (resident_blocks(&function, threads, dynamic), threads)
    };
    let candidates = (1..=most.div_ceil(32)).map(|warps| resident((warps * 32).min(most)));
    let (blocks, threads) = candidates
        .max_by_key(|(blocks, threads)| (blocks * threads, *threads))
        .unwrap_or((1, most));
    put(grid, (blocks * Config::get().multiprocessors) as c_int)?;
    put(block, threads as c_int)
}

driver_api! {
    fn cuLaunchKernel(
        function: CUfunction,
        grid_x: c_uint,
        grid_y: c_uint,
        grid_z: c_uint,
        block_x: c_uint,
        block_y: c_uint,
        block_z: c_uint,
        dynamic: c_uint,
        stream: CUstream,
        parameters: *mut *mut c_void,
        extra: *mut *mut c_void,
    ) {
        let grid = [grid_x, grid_y, grid_z];
        let shape = Shape { grid, block: [block_x, block_y, block_z], dynamic };
        launch(function, shape, stream, parameters, extra)
    }

    /// Blocks run one after the other, so a grid cannot wait for all of itself.
    fn cuLaunchCooperativeKernel(
        _function: CUfunction,
        _grid_x: c_uint,
        _grid_y: c_uint,
        _grid_z: c_uint,
        _block_x: c_uint,
        _block_y: c_uint,
        _block_z: c_uint,
        _dynamic: c_uint,
        _stream: CUstream,
        _parameters: *mut *mut c_void,
    ) {
        Err(CUDA_ERROR_NOT_SUPPORTED)
    }

    fn cuFuncGetAttribute(
        value: *mut c_int,
        attribute: CUfunction_attribute,
        function: CUfunction,
    ) {
        use CUfunction_attribute::*;
        let state = state::ready()?;
        let function = find(&state, function)?;
        let capability = Config::get().capability as c_int;
        put(value, match attribute {
            CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK => match function.kernel.bound {
                0 => device::MAX_THREADS as c_int,
                bound => bound.min(device::MAX_THREADS) as c_int,
            },
            CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES => function.kernel.shared_bytes as c_int,
            CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES => function.max_dynamic as c_int,
            CU_FUNC_ATTRIBUTE_PTX_VERSION | CU_FUNC_ATTRIBUTE_BINARY_VERSION => capability,
            // Registers cannot be known here: a plausible number.
            CU_FUNC_ATTRIBUTE_NUM_REGS => 32,
            _ => 0,
        })
    }

    fn cuFuncGetParamInfo(
        function: CUfunction,
        index: usize,
        offset: *mut usize,
        size: *mut usize,
    ) {
        let state = state::ready()?;
        let sizes = &find(&state, function)?.kernel.sizes;
        let &bytes = sizes.get(index).ok_or(CUDA_ERROR_INVALID_VALUE)?;
        // Alignments are not known here: for numbers and pointers, the size is.
        let place = sizes[..=index].iter().fold(0_usize, |end, &bytes| {
            end.next_multiple_of((bytes as usize).next_power_of_two().min(8)) + bytes as usize
        });
        put(offset, place - bytes as usize)?;
        if size.is_null() { Ok(()) } else { put(size, bytes as usize) }
    }

    fn cuFuncSetAttribute(
        function: CUfunction,
        attribute: CUfunction_attribute,
        value: c_int,
    ) {
        use CUfunction_attribute::*;
        let mut state = state::ready()?;
        let function = state.functions.get_mut(&(function as usize));
        let function = function.ok_or(CUDA_ERROR_INVALID_HANDLE)?;
        match attribute {
            CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES => {
                let most = Config::get().shared_opt_in() - function.kernel.shared_bytes;
                let value = u32::try_from(value).ok().filter(|&v| v <= most);
                function.max_dynamic = value.ok_or(CUDA_ERROR_INVALID_VALUE)?;
                Ok(())
            }
            CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT => Ok(()),
            _ => Err(CUDA_ERROR_INVALID_VALUE),
        }
    }

    fn cuFuncSetCacheConfig(function: CUfunction, _config: CUfunc_cache) {
        find(&*state::ready()?, function).map(|_| ())
    }

    fn cuOccupancyMaxActiveBlocksPerMultiprocessor(
        blocks: *mut c_int,
        function: CUfunction,
        threads: c_int,
        dynamic: usize,
    ) {
        occupancy(blocks, function, threads, dynamic)
    }

    fn cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
        blocks: *mut c_int,
        function: CUfunction,
        threads: c_int,
        dynamic: usize,
        _flags: c_uint,
    ) {
        occupancy(blocks, function, threads, dynamic)
    }

    fn cuOccupancyMaxPotentialBlockSize(
        grid: *mut c_int,
        block: *mut c_int,
        function: CUfunction,
        dynamic_for: CUoccupancyB2DSize,
        dynamic: usize,
        limit: c_int,
    ) {
        best_block(grid, block, function, dynamic_for, dynamic, limit)
    }

    fn cuOccupancyMaxPotentialBlockSizeWithFlags(
        grid: *mut c_int,
        block: *mut c_int,
        function: CUfunction,
        dynamic_for: CUoccupancyB2DSize,
        dynamic: usize,
        limit: c_int,
        _flags: c_uint,
    ) {
        best_block(grid, block, function, dynamic_for, dynamic, limit)
    }

    fn cuOccupancyAvailableDynamicSMemPerBlock(
        bytes: *mut usize,
        function: CUfunction,
        blocks: c_int,
        _threads: c_int,
    ) {
        let state = state::ready()?;
        let function = find(&state, function)?;
        let blocks = u32::try_from(blocks).ok().filter(|&b| b > 0);
        let blocks = blocks.ok_or(CUDA_ERROR_INVALID_VALUE)?;
        let each = Config::get().shared_of_multiprocessor() / blocks;
        put(bytes, each.saturating_sub(function.kernel.shared_bytes + 1024) as usize)
    }
}
