//! What is known to have happened before, across blocks: through `__threadfence` and atomics.
//!
//! As in PTX's memory model: an atomic operation by a thread that has executed a fence releases what
//! it (and, through barriers, its block) did before that fence; an atomic operation on the same
//! place, and behind it a fence by the same thread, acquires it.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use super::cell::Access;

/// A set of accesses known to have happened.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Of these blocks, everything before this phase.
    blocks: HashMap<u32, u32>,
    /// Of these threads of blocks, everything up to and including this phase.
    threads: HashMap<(u32, u16), u32>,
}

impl Known {
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty() && self.threads.is_empty()
    }

    pub fn clear(&mut self) {
        self.blocks.clear();
        self.threads.clear();
    }

    pub fn contains(&self, access: &Access) -> bool {
        if self.is_empty() {
            return false;
        }
        let (block, thread) = (access.block, access.thread);
        self.blocks.get(&block).is_some_and(|&phase| access.phase < phase)
            || self.threads.get(&(block, thread)).is_some_and(|&phase| access.phase <= phase)
    }

    pub fn add_block(&mut self, block: u32, before: u32) {
        let phase = self.blocks.entry(block).or_default();
        *phase = before.max(*phase);
    }

    pub fn add_thread(&mut self, block: u32, thread: u16, upto: u32) {
        let phase = self.threads.entry((block, thread)).or_default();
        *phase = upto.max(*phase);
    }

    pub fn join(&mut self, other: &Self) {
        for (&block, &phase) in &other.blocks {
            self.add_block(block, phase);
        }
        for (&(block, thread), &phase) in &other.threads {
            self.add_thread(block, thread, phase);
        }
    }
}
