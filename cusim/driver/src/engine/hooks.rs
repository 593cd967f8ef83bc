//! What kernels call: the functions behind the shim's `cusim_hooks`.

use std::ffi::{CStr, c_char, c_int};

use super::collective::Site;
use super::run::{Failure, active};

/// As the shim declares it.
#[repr(C)]
pub struct Hooks {
    barrier: unsafe extern "C" fn(u32, c_int, *const c_char, c_int) -> c_int,
    warp: unsafe extern "C" fn(u32, u32, u64, u32, u32, *const c_char, c_int) -> u64,
    activemask: unsafe extern "C" fn() -> u32,
    trap: unsafe extern "C" fn(u32, *const c_char, *const c_char, c_int),
    access: unsafe extern "C" fn(usize, usize, u32, usize),
    fence: unsafe extern "C" fn(),
}

impl Hooks {
    pub fn new() -> Self {
        Self { barrier, warp, activemask, trap, access, fence }
    }
}

unsafe extern "C" fn barrier(kind: u32, p: c_int, file: *const c_char, line: c_int) -> c_int {
    // SAFETY: called by a kernel.
    unsafe { active() }.barrier(kind, p != 0, Site::new(file, line))
}

unsafe extern "C" fn warp(
    kind: u32,
    mask: u32,
    value: u64,
    argument: u32,
    width: u32,
    file: *const c_char,
    line: c_int,
) -> u64 {
    // SAFETY: called by a kernel.
    unsafe { active() }.exchange(kind, mask, value, argument, width, Site::new(file, line))
}

unsafe extern "C" fn activemask() -> u32 {
    // SAFETY: called by a kernel.
    unsafe { active() }.live_lanes()
}

unsafe extern "C" fn trap(what: u32, text: *const c_char, file: *const c_char, line: c_int) {
    // SAFETY: the shim passes a string literal.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned();
    let site = Site::new(file, line);
    let failure = match what {
        0 => Failure::Assert(text, site),
        1 => Failure::Trapped(text, site),
        _ => Failure::Misaligned(text, site),
    };
    // SAFETY: called by a kernel.
    unsafe { active() }.fail(failure)
}

unsafe extern "C" fn access(address: usize, size: usize, flags: u32, pc: usize) {
    const WRITE: u32 = 1;
    const ATOMIC: u32 = 2;
    // SAFETY: called by a kernel.
    let run = unsafe { active() };
    if let Some(checker) = &run.checker {
        let (write, atomic) = (flags & WRITE != 0, flags & ATOMIC != 0);
        if !checker.access(run, address, size, write, atomic, pc) {
            run.fail(Failure::OutOfBounds);
        }
    }
}

unsafe extern "C" fn fence() {
    // SAFETY: called by a kernel.
    let run = unsafe { active() };
    if let Some(checker) = &run.checker {
        checker.fence(run.current());
    }
}
