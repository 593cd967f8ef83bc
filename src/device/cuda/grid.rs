//! Grids of the simple kernels.
#![forbid(unsafe_code)]

/// Threads of a block, where a kernel asks for no other number.
pub(crate) const THREADS: u32 = 256;

/// One thread for each of `threads` pieces of work.
pub(crate) fn grid(threads: usize) -> [u32; 3] {
    // Kernels index with 32 bits, so the number of blocks fits.
    [threads.div_ceil(THREADS as usize) as u32, 1, 1]
}

/// One thread for each pack of 16 bytes: the elementwise kernels (`Pack` in `common.cuh`).
pub(crate) fn pack_grid<T>(elements: usize) -> [u32; 3] {
    grid(elements.div_ceil(16 / size_of::<T>()))
}
