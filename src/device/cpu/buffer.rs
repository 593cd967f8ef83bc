//! Aligned buffers, and the pool they return to.
#![forbid(unsafe_code)]

use crate::dtype::Element;
use crate::error::OUT_OF_MEMORY;
use crate::{Error, Result};
use aligned_vec::{AVec, ConstAlign};
use std::collections::HashMap;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// One cache line, which is also the widest vector register.
const ALIGNMENT: usize = 64;

/// Memory as 64-bit words: one pool serves every element type, and `bytemuck` reads a word as any
/// of them.
type Storage = AVec<u64, ConstAlign<ALIGNMENT>>;

/// Free memory by its size. A training step asks for the same sizes again and again: taking them
/// from here spares the system calls and page faults of fresh memory.
#[derive(Debug, Default)]
pub struct Pool {
    free: Mutex<HashMap<usize, Vec<Storage>>>,
    /// Buffers that were made because none of their size was free.
    made: AtomicUsize,
}

impl Pool {
    pub(super) fn made(&self) -> usize {
        self.made.load(Ordering::Relaxed)
    }
}

/// Memory of [`Cpu`](crate::Cpu): `len` elements, aligned to a cache line.
pub(crate) struct CpuBuffer<E> {
    words: Storage,
    len: usize,
    pool: Arc<Pool>,
    element: PhantomData<E>,
}

impl<E: Element> CpuBuffer<E> {
    /// # Errors
    /// [`Error::Device`] when the system has no room for it.
    pub(super) fn from_pool(pool: &Arc<Pool>, len: usize) -> Result<Self> {
        let no_room = || Error::Device {
            device: "cpu".into(),
            message: format!(
                "{OUT_OF_MEMORY}: no room for {len} elements of {} bytes; ask for a smaller shape or \
                 batch",
                size_of::<E>()
            ),
        };
        // No allocation is larger, and `AVec` takes that for granted.
        let most = isize::MAX as usize - ALIGNMENT;
        let bytes = len.checked_mul(size_of::<E>()).filter(|&bytes| bytes <= most);
        let bytes = bytes.ok_or_else(no_room)?;
        let size = bytes.div_ceil(size_of::<u64>());
        let mut free = pool.free.lock().unwrap_or_else(PoisonError::into_inner);
        let recycled = free.get_mut(&size).and_then(Vec::pop);
        drop(free);
        let mut words = match recycled {
            Some(words) => words,
            None => {
                let mut words = Storage::new(ALIGNMENT);
                words.try_reserve_exact(size).map_err(|_| no_room())?;
                words.resize(size, 0);
                pool.made.fetch_add(1, Ordering::Relaxed);
                words
            }
        };
        if cfg!(debug_assertions) {
            // All ones is a NaN in either float type: a kernel that leaves a hole is seen.
            words.fill(u64::MAX);
        }
        Ok(Self { words, len, pool: Arc::clone(pool), element: PhantomData })
    }
}

impl<E: Element> Deref for CpuBuffer<E> {
    type Target = [E];
    fn deref(&self) -> &[E] {
        &bytemuck::cast_slice(&self.words)[..self.len]
    }
}

impl<E: Element> DerefMut for CpuBuffer<E> {
    fn deref_mut(&mut self) -> &mut [E] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[..self.len]
    }
}

impl<E> Drop for CpuBuffer<E> {
    fn drop(&mut self) {
        let words = std::mem::replace(&mut self.words, AVec::new(ALIGNMENT));
        let mut free = self.pool.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.entry(words.len()).or_default().push(words);
    }
}
