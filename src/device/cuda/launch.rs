//! Launching a kernel: its arguments, grid and block, checked against what the device takes.

use super::driver;
use super::kernels::Function;
use super::memory::{CudaView, CudaViewMut};
use super::stream::COUNTERS;
use super::{Cuda, Limits};
use crate::device::{Cost, KernelRun, LaunchShape, Output};
use crate::dtype::Element;
use crate::{Error, Result};
use cudarc::driver::sys::{CUdeviceptr, CUfunction_attribute};
use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The most arguments a kernel takes here, and 8-byte words of them all: kept inside [`Launch`], so
/// that a launch allocates nothing on the host.
const MAX_ARGUMENTS: usize = 32;
const MAX_WORDS: usize = 128;

/// Dynamic shared memory that a kernel gets without asking the driver for more.
const SHARED_WITHOUT_OPT_IN: u32 = 48 * 1024;

/// A kernel and the arguments gathered for it, in the order of its parameters.
///
/// ```text
/// device
///     .kernel::<T>("conv2d", "conv2d_forward")?
///     .value(*geometry)
///     .input(input)
///     .input(weight)
///     .optional(bias)
///     .output(output)
///     .launch([blocks, 1, 1], [256, 1, 1])
/// ```
///
/// A `Launch` borrows its views until it runs: no buffer can be dropped, and no other access to a
/// written one made, between naming the argument and the launch.
#[must_use = "a kernel runs when `launch` is called"]
pub struct Launch<'a> {
    device: &'a Cuda,
    function: Arc<Function>,
    words: [u64; MAX_WORDS],
    used_words: usize,
    /// Of each argument: its first word, and its size in bytes.
    arguments: [(usize, usize); MAX_ARGUMENTS],
    count: usize,
    /// What the kernel writes: addresses and bytes.
    written: [(CUdeviceptr, usize); MAX_ARGUMENTS],
    written_count: usize,
    shared: u32,
    cost: Cost,
    /// The first thing that went wrong while arguments were added.
    problem: Option<Error>,
}

impl<'a> Launch<'a> {
    pub(super) fn new(device: &'a Cuda, function: Arc<Function>) -> Self {
        Self {
            device,
            function,
            words: [0; MAX_WORDS],
            used_words: 0,
            arguments: [(0, 0); MAX_ARGUMENTS],
            count: 0,
            written: [(0, 0); MAX_ARGUMENTS],
            written_count: 0,
            shared: 0,
            cost: Cost::default(),
            problem: None,
        }
    }

    /// Elements to read: `const E*`.
    pub fn input<E: Element>(self, view: CudaView<'a, E>) -> Self {
        self.pointer(view.address(), view.owner())
    }

    /// Elements to read, or none: `const E*`, which may be null.
    pub fn optional<E: Element>(self, view: Option<CudaView<'a, E>>) -> Self {
        match view {
            Some(view) => self.input(view),
            None => self.value(0_u64),
        }
    }

    /// Elements to write: `E*`. They may be read first, so in-place kernels take this alone.
    pub fn output<E: Element>(mut self, view: CudaViewMut<'a, E>) -> Self {
        // There are at most as many as arguments; one too many is refused as an argument.
        if let Some(written) = self.written.get_mut(self.written_count) {
            *written = (view.address(), view.len() * size_of::<E>());
            self.written_count += 1;
        }
        self.pointer(view.address(), view.owner())
    }

    /// Elements to write, or none: `E*`, which may be null.
    pub fn optional_output<E: Element>(self, view: Option<CudaViewMut<'a, E>>) -> Self {
        match view {
            Some(view) => self.output(view),
            None => self.value(0_u64),
        }
    }

    /// A gradient: two parameters, `E*` and `int accumulate`, 1 to add to what is there and 0 to
    /// overwrite it.
    pub fn gradient<'b: 'a, E: Element>(self, out: Output<'b, Cuda, E>) -> Self {
        self.output(out.view).value(i32::from(out.accumulate))
    }

    /// A gradient that may not be wanted: `E*`, which may be null, and `int accumulate`.
    pub fn optional_gradient<'b: 'a, E: Element>(self, out: Option<Output<'b, Cuda, E>>) -> Self {
        match out {
            Some(out) => self.gradient(out),
            None => self.value(0_u64).value(0_i32),
        }
    }

    /// A number, or a `#[repr(C)]` struct, by value.
    pub fn value<P: bytemuck::Pod>(mut self, value: P) -> Self {
        let bytes = bytemuck::bytes_of(&value);
        let words = bytes.len().div_ceil(size_of::<u64>());
        if self.count == MAX_ARGUMENTS || self.used_words + words > MAX_WORDS {
            let message = format!(
                "{}: more than {MAX_ARGUMENTS} arguments or {} bytes of them",
                self.function.name,
                MAX_WORDS * size_of::<u64>()
            );
            self.problem.get_or_insert_with(|| self.device.error(message));
            return self;
        }
        let slots: &mut [u8] = bytemuck::cast_slice_mut(&mut self.words[self.used_words..]);
        slots[..bytes.len()].copy_from_slice(bytes);
        self.arguments[self.count] = (self.used_words, bytes.len());
        self.used_words += words;
        self.count += 1;
        self
    }

    /// `unsigned*`: as many counters, all 0, which the kernel must leave at 0. They are those of the
    /// stream that the kernel is launched on, whose kernels never overlap (see [`Stream`]).
    ///
    /// [`Stream`]: super::stream::Stream
    pub fn counters(mut self, count: u32) -> Self {
        if count > COUNTERS {
            let message = format!("{}: {count} counters, there are {COUNTERS}", self.function.name);
            self.problem.get_or_insert_with(|| self.device.error(message));
        }
        let address = self.device.0.stream.counters();
        self.value(address)
    }

    /// Bytes of dynamic shared memory for each block.
    #[cfg_attr(not(test), expect(dead_code, reason = "no op's kernel needs any so far"))]
    pub fn shared(mut self, bytes: u32) -> Self {
        self.shared = bytes;
        self
    }

    /// What the kernel has to do, for the benchmarks and the plan of a step.
    pub fn cost(mut self, cost: Cost) -> Self {
        self.cost = cost;
        self
    }

    fn pointer(mut self, address: CUdeviceptr, owner: u64) -> Self {
        if let Err(error) = self.device.check_owner(owner) {
            self.problem.get_or_insert(error);
        }
        self.value(address)
    }

    /// Queues the kernel on the device's stream. An empty grid is no work and succeeds.
    ///
    /// # Errors
    /// [`Error::Device`] when the arguments do not fit the kernel's parameters, grid, block or
    /// shared memory are beyond the device, or the driver refuses the launch. What happens inside
    /// the kernel is reported by a later call that waits for it.
    pub fn launch(mut self, grid: [u32; 3], block: [u32; 3]) -> Result<()> {
        if let Some(problem) = self.problem.take() {
            return Err(problem);
        }
        let _turn = self.device.turn();
        self.check_arguments()?;
        if grid.contains(&0) {
            return Ok(());
        }
        let shape = LaunchShape { grid, block, dynamic_shared: self.shared };
        let run = KernelRun { name: self.function.name, launch: Some(shape), cost: self.cost };
        if self.device.rehearses() {
            self.device.note(run);
            return Ok(());
        }
        let what = || {
            format!(
                "{} with grid {grid:?}, block {block:?} and {} bytes of shared memory",
                self.function.name, self.shared
            )
        };
        check_size(&self.device.limits(), &self.function, grid, block, self.shared)
            .map_err(|message| self.device.error(format!("{}: {message}", what())))?;
        let _turn = self.device.bind()?;
        self.opt_in()?;

        let words = self.words.as_mut_ptr();
        let mut parameters = [std::ptr::null_mut::<c_void>(); MAX_ARGUMENTS];
        for (parameter, &(word, _)) in parameters.iter_mut().zip(&self.arguments[..self.count]) {
            *parameter = words.wrapping_add(word).cast();
        }
        let function = &self.function;
        self.device.note(run);
        let written = &self.written[..self.written_count];
        self.device.measure(function, shape, written, || {
            // SAFETY: the function's module stays loaded as long as the device. Every entry of
            // `parameters` points to a value in `self.words` of the size the kernel declares (where
            // the driver can tell, `check_arguments` compared them), and the driver copies them
            // before it returns. Pointers lead into buffers of this context that were alive, and
            // borrowed as the kernel uses them, until now. They may be dropped before the kernel
            // has run: their memory then goes back to the pool of this one stream, and whatever
            // uses it next is queued behind this kernel. That a kernel keeps inside its buffers is
            // what its sizes say, and what the tests under the simulator check.
            unsafe {
                driver::cuLaunchKernel(
                    function.raw,
                    grid[0],
                    grid[1],
                    grid[2],
                    block[0],
                    block[1],
                    block[2],
                    self.shared,
                    self.device.stream(),
                    parameters.as_mut_ptr(),
                    ptr::null_mut(),
                )
            }
            .map_err(self.device.driver_error(format_args!("launching {}", what())))
        })
    }

    /// Bytes of each of the kernel's parameters, where the driver tells.
    #[cfg(test)]
    pub(super) fn parameters(&self) -> Option<&[usize]> {
        self.function.parameters.as_deref()
    }

    fn check_arguments(&self) -> Result<()> {
        let Some(parameters) = &self.function.parameters else { return Ok(()) };
        let given = &self.arguments[..self.count];
        let name = self.function.name;
        if parameters.len() != given.len() {
            let (takes, given) = (parameters.len(), given.len());
            return Err(self
                .device
                .error(format!("{name} takes {takes} parameters and was given {given}")));
        }
        for (index, (&takes, &(_, given))) in parameters.iter().zip(given).enumerate() {
            if takes != given {
                return Err(self.device.error(format!(
                    "parameter {index} of {name} has {takes} bytes and was given {given}"
                )));
            }
        }
        Ok(())
    }

    /// Asks for more shared memory than every kernel gets, once per kernel and size.
    fn opt_in(&self) -> Result<()> {
        let function = &self.function;
        let total = self.shared + function.static_shared;
        if total <= SHARED_WITHOUT_OPT_IN
            || self.shared <= function.opted_in.load(Ordering::Relaxed)
        {
            return Ok(());
        }
        let attribute = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        // SAFETY: the function's module stays loaded as long as the device. `check_size` saw that
        // the size is within the device's limit, far below `i32::MAX`.
        unsafe { driver::cuFuncSetAttribute(function.raw, attribute, self.shared as i32) }
            .map_err(self.device.driver_error(format_args!(
                "giving {} {} bytes of shared memory",
                function.name, self.shared
            )))?;
        function.opted_in.store(self.shared, Ordering::Relaxed);
        Ok(())
    }
}

/// Says what of a launch is beyond the device or the kernel.
fn check_size(
    limits: &Limits,
    function: &Function,
    grid: [u32; 3],
    block: [u32; 3],
    shared: u32,
) -> Result<(), String> {
    if block.contains(&0) {
        return Err("a block must have threads".into());
    }
    for (axis, name) in ["x", "y", "z"].into_iter().enumerate() {
        if grid[axis] > limits.grid[axis] {
            return Err(format!("a grid has at most {} blocks in {name}", limits.grid[axis]));
        }
        if block[axis] > limits.block[axis] {
            return Err(format!("a block has at most {} threads in {name}", limits.block[axis]));
        }
    }
    let threads = block.iter().map(|&size| u64::from(size)).product::<u64>();
    if threads > u64::from(function.max_threads) {
        return Err(format!(
            "{threads} threads in a block, where the kernel's registers allow {}",
            function.max_threads
        ));
    }
    let total = u64::from(shared) + u64::from(function.static_shared);
    if total > u64::from(limits.shared) {
        return Err(format!(
            "a block has at most {} bytes of shared memory, {} of them the kernel's own",
            limits.shared, function.static_shared
        ));
    }
    Ok(())
}
