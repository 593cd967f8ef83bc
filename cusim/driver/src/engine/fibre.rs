//! Fibres and the stacks they run on.

use std::ops::Range;
use std::ptr;

use corosensei::stack::{Stack, StackPointer};
use corosensei::{Coroutine, CoroutineResult};

use super::run::Run;
use super::trap::{self, Trapped};

/// Why a fibre gave control back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// No thread is left to start; it can be used for other threads.
    Idle,
    /// Its thread waits, and goes on when the fibre is resumed.
    Blocked,
    /// Its thread must not go on: the launch has failed.
    Failed,
}

pub type Yielder = corosensei::Yielder<*const Run<'static>, Stop>;
pub type Fibre = Coroutine<*const Run<'static>, Stop, Trapped, PooledStack>;

/// Bytes of a stack with its guard page. Only what a kernel touches becomes real memory.
const STACK: usize = 256 * 1024;
const PAGE: usize = 4096;
/// One for each thread of the largest block, one that starts threads, and a few to spare.
const STACKS: usize = 1024 + 8;
/// How far apart consecutive stacks begin within a page, so that their tops do not all compete
/// for the same lines of the cache.
const COLOUR: usize = 5 * 64;

/// A stack out of the pool's range.
pub struct PooledStack {
    base: usize,
    limit: usize,
}

// SAFETY: the lowest page of each stack stays inaccessible, and the rest is far larger than
// corosensei's minimum; `base` is a multiple of 64.
unsafe impl Stack for PooledStack {
    fn base(&self) -> StackPointer {
        StackPointer::new(self.base).expect("stacks are mapped above address zero")
    }

    fn limit(&self) -> StackPointer {
        StackPointer::new(self.limit).expect("stacks are mapped above address zero")
    }
}

/// Fibres that wait for threads to run.
pub struct Pool {
    /// Where all stacks lie: empty if they could not be reserved.
    range: Range<usize>,
    idle: Vec<Fibre>,
    /// Stacks of abandoned fibres.
    spare: Vec<PooledStack>,
    made: usize,
}

impl Pool {
    pub fn new() -> Self {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let size = STACK * STACKS;
        // SAFETY: a fresh mapping touches nothing that exists.
        let start = unsafe { libc::mmap(ptr::null_mut(), size, libc::PROT_NONE, flags, -1, 0) };
        let range =
            if start == libc::MAP_FAILED { 0..0 } else { start as usize..start as usize + size };
        Self { range, idle: Vec::new(), spare: Vec::new(), made: 0 }
    }

    /// Whether an address lies on a stack.
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// A fibre ready to start threads.
    pub fn take(&mut self) -> Fibre {
        if let Some(fibre) = self.idle.pop() {
            return fibre;
        }
        let stack = self.spare.pop().unwrap_or_else(|| self.new_stack());
        Coroutine::with_stack(stack, |yielder, mut run: *const Run<'static>| {
            loop {
                // SAFETY: whoever resumes a fibre passes the run under way, which outlives this
                // use of it: a fibre in the middle of a run is never left for another.
                unsafe { (*run).start_threads(yielder) };
                run = yielder.suspend(Stop::Idle);
            }
        })
    }

    pub fn give_back(&mut self, fibre: Fibre) {
        self.idle.push(fibre);
    }

    /// Drops a fibre in the middle of its thread, or after a signal ended it.
    pub fn abandon(&mut self, mut fibre: Fibre) {
        // SAFETY: below a suspended thread lie only frames of the kernel, compiled without
        // exceptions and destructors to run, and our own, which own nothing.
        unsafe { fibre.force_reset() };
        self.spare.push(fibre.into_stack());
    }

    fn new_stack(&mut self) -> PooledStack {
        let limit = self.range.start + self.made * STACK;
        assert!(limit + STACK <= self.range.end, "more fibres than threads in a block");
        let (low, size) = ((limit + PAGE) as *mut _, STACK - PAGE);
        // SAFETY: these pages are ours and not in use yet.
        let done = unsafe { libc::mprotect(low, size, libc::PROT_READ | libc::PROT_WRITE) };
        assert!(done == 0, "cusim: no memory for stacks");
        let base = limit + STACK - (self.made * COLOUR) % PAGE;
        self.made += 1;
        PooledStack { base, limit }
    }
}

/// Lets a fibre run until it stops, or a signal ends it.
pub fn resume(fibre: &mut Fibre, run: &Run) -> Result<Stop, Trapped> {
    trap::catch(fibre.trap_handler());
    // The lifetime is only a name here: see `Pool::take`.
    match fibre.resume(ptr::from_ref(run).cast()) {
        CoroutineResult::Yield(stop) => Ok(stop),
        CoroutineResult::Return(trapped) => Err(trapped),
    }
}
