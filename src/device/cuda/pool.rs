//! Device memory that is kept for reuse.

use super::driver;
use cudarc::driver::sys::CUdeviceptr;
use std::collections::HashMap;

/// Sizes are rounded up to this many bytes, which is what the driver aligns to anyway: more
/// requests then share a size.
const GRANULE: usize = 256;

/// Bytes of device memory, as [`Cuda::memory_use`](super::Cuda::memory_use) reports them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// In buffers that are alive, and in graphs.
    pub in_use: usize,
    /// Free, kept for the next buffer of the same size.
    pub pooled: usize,
    /// The most that `in_use` ever was.
    pub peak: usize,
    /// How often the driver was asked for memory. A training step in its steady state asks never.
    pub driver_allocations: u64,
}

/// The device's blocks that are free, and how much there is of all.
///
/// A training step asks for the same sizes again and again. Taking them from here costs a look-up;
/// asking the driver costs microseconds, and a free waits for the whole device.
#[derive(Debug, Default)]
pub(super) struct Pool {
    free: FreeBlocks,
    usage: MemoryUse,
}

/// Free blocks by their size.
#[derive(Debug, Default)]
pub(super) struct FreeBlocks(HashMap<usize, Vec<CUdeviceptr>>);

/// A run of device memory that its holder gives back with [`Pool::give`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    /// 0 for an empty block, which owns nothing.
    pub(super) address: CUdeviceptr,
    /// Bytes.
    pub(super) size: usize,
}

/// The bytes of a block of at least `bytes`.
pub(super) fn block_size(bytes: usize) -> usize {
    bytes.next_multiple_of(GRANULE)
}

impl FreeBlocks {
    /// One of exactly `size` bytes.
    pub(super) fn take(&mut self, size: usize) -> Option<Block> {
        let address = self.0.get_mut(&size)?.pop()?;
        Some(Block { address, size })
    }

    pub(super) fn give(&mut self, block: Block) {
        self.0.entry(block.size).or_default().push(block.address);
    }
}

impl Pool {
    /// A block of at least `bytes`: a free one or, failing that, a new one from `allocate`.
    pub(super) fn take<E>(
        &mut self,
        bytes: usize,
        allocate: impl FnOnce(usize) -> Result<CUdeviceptr, E>,
    ) -> Result<Block, E> {
        let size = block_size(bytes);
        if size == 0 {
            return Ok(Block { address: 0, size });
        }
        let block = match self.free.take(size) {
            Some(block) => {
                self.usage.pooled -= size;
                block
            }
            None => {
                self.usage.driver_allocations += 1;
                Block { address: allocate(size)?, size }
            }
        };
        self.usage.in_use += size;
        self.usage.peak = self.usage.peak.max(self.usage.in_use);
        Ok(block)
    }

    /// Takes back a block of [`Pool::take`].
    pub(super) fn give(&mut self, block: Block) {
        if block.size == 0 {
            return;
        }
        self.usage.in_use -= block.size;
        self.usage.pooled += block.size;
        self.free.give(block);
    }

    pub(super) fn usage(&self) -> MemoryUse {
        self.usage
    }

    /// Gives the free blocks back to the driver. The caller has waited for the stream, so that no
    /// kernel uses them any more.
    pub(super) fn trim(&mut self) {
        for address in self.free.0.drain().flat_map(|(_, blocks)| blocks) {
            // SAFETY: a block in `free` came from `cuMemAlloc`, nobody holds it, and it leaves the
            // list here, so it is freed once. An error means that the context is already lost, and
            // its memory with it.
            let _ = unsafe { driver::cuMemFree_v2(address) };
        }
        self.usage.pooled = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_of_the_same_size_is_reused() {
        let mut pool = Pool::default();
        let fresh = |_| Ok::<_, ()>(4096);
        let block = pool.take(100, fresh).unwrap();
        assert_eq!(block, Block { address: 4096, size: 256 });
        pool.give(block);
        let again = pool.take(256, |_| Err("asked the driver")).unwrap();
        assert_eq!(again, block);
        let usage = MemoryUse { in_use: 256, pooled: 0, peak: 256, driver_allocations: 1 };
        assert_eq!(pool.usage(), usage);
    }

    #[test]
    fn an_empty_block_is_no_memory() {
        let mut pool = Pool::default();
        let block = pool.take(0, |_| Err("asked the driver")).unwrap();
        pool.give(block);
        assert_eq!(pool.usage(), MemoryUse::default());
    }

    #[test]
    fn a_refused_block_counts_nothing() {
        let mut pool = Pool::default();
        pool.take(1, |_| Err("no memory")).unwrap_err();
        assert_eq!((pool.usage().in_use, pool.usage().peak), (0, 0));
    }
}
