//! Device memory: each allocation on pages of its own, with untouchable pages after it.
//!
//! All of it lies in one range of addresses reserved at the start. Addresses are never used
//! twice, so an access after free hits untouchable pages for as long as the process lives.

use std::collections::BTreeMap;
use std::ptr;

use cudarc::driver::sys::CUresult;

use crate::api::Outcome;
use crate::config::Config;
use crate::shadow::Shadow;

use CUresult::*;

const PAGE: usize = 4096;
/// What the driver API promises, and kernels with vector loads rely on.
const ALIGNMENT: usize = 256;
/// Addresses to reserve; halved until the system agrees.
const RESERVE: usize = 16 << 40;
/// Fresh memory is full of this: NaN as float and double, -1 as integer.
pub const POISON: u8 = 0xff;

pub struct Allocation {
    /// As asked for.
    pub size: usize,
    /// Check mode's knowledge about it.
    pub shadow: Option<Shadow>,
}

/// Device memory, and pinned host memory (which kernels can reach too).
pub struct Heap {
    base: usize,
    end: usize,
    next: usize,
    allocations: BTreeMap<usize, Allocation>,
    pinned: BTreeMap<usize, usize>,
    /// Bytes of device memory in use.
    used: usize,
    /// The most there ever were.
    peak: usize,
}

impl Heap {
    pub fn new() -> Self {
        let (base, end) = reserve();
        Self {
            base,
            end,
            next: base,
            allocations: BTreeMap::new(),
            pinned: BTreeMap::new(),
            used: 0,
            peak: 0,
        }
    }

    pub fn used(&self) -> usize {
        self.used
    }

    pub fn peak(&self) -> usize {
        self.peak
    }

    pub fn free_bytes(&self) -> usize {
        Config::get().memory.saturating_sub(self.used)
    }

    /// Start and size of each device allocation.
    pub fn live(&self) -> impl Iterator<Item = (usize, usize)> {
        self.allocations.iter().map(|(&start, a)| (start, a.size))
    }

    /// Start and allocation, to look shadows up in.
    pub fn allocations(&self) -> impl Iterator<Item = (usize, &Allocation)> {
        self.allocations.iter().map(|(&start, a)| (start, a))
    }

    pub fn pinned(&self) -> impl Iterator<Item = (usize, usize)> {
        self.pinned.iter().map(|(&start, &size)| (start, size))
    }

    /// Allocates `size` bytes of device memory, poisoned.
    pub fn allocate(&mut self, size: usize) -> Outcome<usize> {
        if size == 0 {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        if size > self.free_bytes() {
            return Err(CUDA_ERROR_OUT_OF_MEMORY);
        }
        let start = self.map(size)?;
        // SAFETY: `size` bytes from `start` were just mapped.
        unsafe { ptr::write_bytes(start as *mut u8, POISON, size) };
        let shadow = Config::get().check.then(|| Shadow::uninitialised(size));
        self.allocations.insert(start, Allocation { size, shadow });
        self.used += size;
        self.peak = self.peak.max(self.used);
        Ok(start)
    }

    /// Frees device memory.
    pub fn free(&mut self, start: usize) -> Outcome {
        let allocation = self.allocations.remove(&start).ok_or(CUDA_ERROR_INVALID_VALUE)?;
        self.used -= allocation.size;
        self.unmap(start, allocation.size);
        Ok(())
    }

    /// Allocates pinned host memory.
    pub fn allocate_pinned(&mut self, size: usize) -> Outcome<usize> {
        if size == 0 {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        let start = self.map(size)?;
        self.pinned.insert(start, size);
        Ok(start)
    }

    pub fn free_pinned(&mut self, start: usize) -> Outcome {
        let size = self.pinned.remove(&start).ok_or(CUDA_ERROR_INVALID_VALUE)?;
        self.unmap(start, size);
        Ok(())
    }

    /// Frees all device memory.
    pub fn clear(&mut self) {
        for (start, allocation) in std::mem::take(&mut self.allocations) {
            self.unmap(start, allocation.size);
        }
        self.used = 0;
    }

    /// The device allocation that holds all of `start..start + size`, and where in it that is.
    pub fn find(&self, start: usize, size: usize) -> Option<(&Allocation, usize)> {
        let (&base, allocation) = self.allocations.range(..=start).next_back()?;
        let offset = start - base;
        (offset.checked_add(size)? <= allocation.size).then_some((allocation, offset))
    }

    /// Notes that the host wrote here.
    pub fn mark_initialised(&self, start: usize, size: usize) {
        if let Some((Allocation { shadow: Some(shadow), .. }, offset)) = self.find(start, size) {
            shadow.mark_initialised(offset, size);
        }
    }

    /// Notes that one range was copied to another.
    pub fn copy_initialised(&self, to: usize, from: usize, size: usize) {
        let (Some((to, to_offset)), Some((from, from_offset))) =
            (self.find(to, size), self.find(from, size))
        else {
            // From a module's variable or the host: initialised.
            return self.mark_initialised(to, size);
        };
        if let (Some(to), Some(from)) = (&to.shadow, &from.shadow) {
            to.copy_initialised(to_offset, from, from_offset, size);
        }
    }

    /// Maps pages such that `size` bytes end as close to an untouchable page as alignment allows.
    fn map(&mut self, size: usize) -> Outcome<usize> {
        let pages = size.checked_next_multiple_of(PAGE).ok_or(CUDA_ERROR_OUT_OF_MEMORY)?;
        let first = self.next;
        let next = first.checked_add(pages).and_then(|n| n.checked_add(PAGE));
        let next = next.filter(|&n| n <= self.end).ok_or(CUDA_ERROR_OUT_OF_MEMORY)?;
        // SAFETY: these pages lie in our reservation and nothing uses them yet.
        if unsafe { libc::mprotect(first as *mut _, pages, libc::PROT_READ | libc::PROT_WRITE) }
            != 0
        {
            return Err(CUDA_ERROR_OUT_OF_MEMORY);
        }
        self.next = next;
        Ok(first + pages - size.next_multiple_of(ALIGNMENT))
    }

    /// Makes an allocation's pages untouchable for good.
    fn unmap(&self, start: usize, size: usize) {
        let first = start / PAGE * PAGE;
        let length = (start + size).next_multiple_of(PAGE) - first;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED;
        // SAFETY: replaces pages of our reservation that only this allocation used. Should it
        // fail, the pages stay mapped: a leak, and an access after free goes unnoticed.
        unsafe { libc::mmap(first as *mut _, length, libc::PROT_NONE, flags, -1, 0) };
    }

    /// Whether an address lies where device memory is, was, or could be.
    pub fn owns(&self, address: usize) -> bool {
        (self.base..self.end).contains(&address)
    }
}

fn reserve() -> (usize, usize) {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let mut size = RESERVE;
    while size > PAGE {
        // SAFETY: a fresh mapping touches nothing that exists.
        let base = unsafe { libc::mmap(ptr::null_mut(), size, libc::PROT_NONE, flags, -1, 0) };
        if base != libc::MAP_FAILED {
            return (base as usize, base as usize + size);
        }
        size /= 2;
    }
    // Every allocation will fail with out of memory.
    (PAGE, PAGE)
}
