//! One launch under way.
//!
//! The scheduler below and the hooks that kernels call (on their fibres, "inside" the scheduler's
//! call of `resume`) share a `Run` by shared reference; all that changes is in cells.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use crate::heap::POISON;
use crate::launch::Shape;
use crate::module::{Kernel, Position};
use crate::shadow::checker::Checker;

use super::collective::{Barrier, Site, Waiting, Warp};
use super::fibre::{self, Fibre, Pool, Stop, Yielder};
use super::order::Order;
use super::trap::{self, Trapped};

/// Why a launch ended early. The thread is the one that [`Run::current`] names.
#[derive(Debug)]
pub enum Failure {
    Signal(Trapped),
    /// `assert`: what, and where.
    Assert(String, Site),
    /// `__trap`.
    Trapped(String, Site),
    /// An access to an address that is no multiple of what its type asks for.
    Misaligned(String, Site),
    /// Threads wait for each other in a way that cannot end well.
    Divergence(String, Option<Site>),
    /// Check mode saw an access that would have hit something else, and reported it.
    OutOfBounds,
}

/// Memory that is worth keeping from launch to launch.
#[derive(Default)]
pub struct Scratch {
    /// The coordinates of each thread of the block, and of which block shape they are.
    coordinates: Vec<[u32; 3]>,
    coordinates_of: [u32; 3],
    thread_order: Vec<u32>,
    block_order: Vec<u32>,
    pub(super) ready: RefCell<VecDeque<u32>>,
    /// Fibres of threads that wait.
    fibres: RefCell<Vec<Option<Fibre>>>,
    /// What they wait for.
    pub(super) waiting: Vec<Cell<Waiting>>,
    /// What each thread's last collective gave it.
    pub(super) results: RefCell<Vec<u64>>,
    pub(super) warps: RefCell<Vec<Warp>>,
}

pub struct Run<'a> {
    kernel: &'a Kernel,
    pub shape: Shape,
    pub(super) threads: u32,
    parameters: *mut *mut c_void,
    position: *mut Position,
    /// Where this thread's static shared memory is.
    shared: usize,
    pub checker: Option<Checker<'a>>,
    pub(super) scratch: Scratch,
    /// The block that runs, as coordinates.
    block: Cell<[u32; 3]>,
    /// How many threads of the block have been started, and have ended.
    started: Cell<u32>,
    pub(super) ended: Cell<u32>,
    /// The thread that runs.
    current: Cell<u32>,
    yielder: Cell<*const Yielder>,
    pub(super) barrier: RefCell<Barrier>,
    failure: Cell<Option<Failure>>,
}

/// The run whose kernel calls hooks. One at a time: launches happen under the driver's lock.
static ACTIVE: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// The run under way.
///
/// # Safety
/// Only for hooks, which nothing but a kernel calls.
pub unsafe fn active<'a>() -> &'a Run<'a> {
    // SAFETY: while a kernel runs, the pointer leads to its run.
    unsafe { &*ACTIVE.load(Relaxed).cast::<Run>() }
}

impl<'a> Run<'a> {
    pub fn new(
        kernel: &'a Kernel,
        shape: Shape,
        parameters: *mut *mut c_void,
        checker: Option<Checker<'a>>,
        mut scratch: Scratch,
        (order, launch): (Order, u32),
    ) -> Self {
        let threads = shape.threads();
        order.fill(&mut scratch.thread_order, threads, launch);
        // In a grid too large to number (it would take hours), blocks run forward.
        let blocks = u32::try_from(shape.blocks()).unwrap_or(0);
        order.fill(&mut scratch.block_order, blocks, launch);
        if scratch.coordinates_of != shape.block {
            let [x, y, _] = shape.block;
            scratch.coordinates.clear();
            scratch.coordinates.extend((0..threads).map(|t| [t % x, t / x % y, t / (x * y)]));
            scratch.coordinates_of = shape.block;
        }
        let many = threads as usize;
        if scratch.results.get_mut().len() < many {
            scratch.fibres.get_mut().resize_with(many, || None);
            scratch.waiting.resize(many, Cell::new(Waiting::Nothing));
            scratch.results.get_mut().resize(many, 0);
            scratch.warps.get_mut().resize_with(many.div_ceil(32), Warp::default);
        }
        Self {
            kernel,
            shape,
            threads,
            parameters,
            position: kernel.image.position,
            shared: kernel.image.shared_memory(),
            checker,
            scratch,
            block: Cell::new([0; 3]),
            started: Cell::new(0),
            ended: Cell::new(0),
            current: Cell::new(0),
            yielder: Cell::new(ptr::null()),
            barrier: RefCell::new(Barrier::default()),
            failure: Cell::new(None),
        }
    }

    pub fn into_scratch(self) -> Scratch {
        self.scratch
    }

    /// The thread that runs, or ran last: its number in the block.
    pub fn current(&self) -> u32 {
        self.current.get()
    }

    pub fn block(&self) -> [u32; 3] {
        self.block.get()
    }

    pub fn coordinates(&self, thread: u32) -> [u32; 3] {
        self.scratch.coordinates[thread as usize]
    }

    /// Runs the whole grid, or up to the first failure.
    pub fn execute(&self, pool: &mut Pool) -> Option<Failure> {
        trap::prepare_thread();
        // SAFETY: the image's place for positions; no kernel of it runs yet.
        unsafe {
            (*self.position).block_dim = self.shape.block;
            (*self.position).grid_dim = self.shape.grid;
        }
        ACTIVE.store(ptr::from_ref(self).cast_mut().cast(), Relaxed);
        let [x, y, _] = self.shape.grid;
        let blocks = self.shape.blocks();
        let mut failure = None;
        let mut worker = Some(pool.take());
        for i in 0..blocks {
            let b = self.scratch.block_order.get(i as usize).map_or(i, |&b| u64::from(b));
            let (x, y) = (u64::from(x), u64::from(y));
            self.block.set([(b % x) as u32, (b / x % y) as u32, (b / (x * y)) as u32]);
            self.begin_block(b as u32);
            failure = self.run_block(pool, &mut worker);
            if failure.is_some() {
                break;
            }
        }
        if let Some(worker) = worker {
            pool.give_back(worker);
        }
        ACTIVE.store(ptr::null_mut(), Relaxed);
        failure
    }

    fn begin_block(&self, number: u32) {
        // SAFETY: as in `execute`.
        unsafe { (*self.position).block = self.block.get() };
        // Shared memory starts out as anything: make it something that shows.
        let image = &self.kernel.image;
        for &i in &self.kernel.shared {
            let range = &image.shared[i].range;
            // SAFETY: this thread's instance of the image's shared variable.
            unsafe {
                ptr::write_bytes((self.shared + range.start) as *mut u8, POISON, range.len());
            }
        }
        let dynamic = self.shape.dynamic as usize;
        // SAFETY: the shim's buffer is as large as any device allows, and launches are checked.
        unsafe { ptr::write_bytes(image.dynamic as *mut u8, POISON, dynamic) };
        self.started.set(0);
        self.ended.set(0);
        for (w, warp) in self.scratch.warps.borrow_mut().iter_mut().enumerate() {
            let lanes = self.threads.saturating_sub(w as u32 * 32).min(32);
            warp.reset(if lanes == 32 { u32::MAX } else { (1 << lanes) - 1 });
        }
        if let Some(checker) = &self.checker {
            checker.begin_block(number);
        }
    }

    /// Runs one block to its end. `worker` is the fibre that starts threads.
    fn run_block(&self, pool: &mut Pool, worker: &mut Option<Fibre>) -> Option<Failure> {
        // Nothing that runs on a fibre looks at this.
        let mut fibres = self.scratch.fibres.borrow_mut();
        let failure = loop {
            let ready = self.scratch.ready.borrow_mut().pop_front();
            let slot = match ready {
                Some(thread) => &mut fibres[thread as usize],
                None if self.started.get() < self.threads => {
                    worker.get_or_insert_with(|| pool.take());
                    &mut *worker
                }
                None if self.ended.get() < self.threads => break self.stuck(&fibres),
                None => return None,
            };
            let fibre = slot.as_mut().expect("only threads that wait become ready");
            match fibre::resume(fibre, self) {
                // The usual case: the same thread waits again.
                Ok(Stop::Blocked) if ready == Some(self.current.get()) => {}
                Ok(Stop::Blocked) => {
                    let fibre = slot.take();
                    fibres[self.current.get() as usize] = fibre;
                }
                Ok(Stop::Idle) if ready.is_some() => {
                    let fibre = slot.take();
                    if let Some(other) = std::mem::replace(worker, fibre) {
                        pool.give_back(other);
                    }
                }
                Ok(Stop::Idle) => {}
                Ok(Stop::Failed) => {
                    let failure = self.failure.take();
                    break failure.expect("whoever stopped as failed has said why");
                }
                Err(trapped) => break Failure::Signal(trapped),
            }
        };
        // One of these may be the fibre that starts threads, in the middle of one.
        self.scratch.ready.borrow_mut().clear();
        for fibre in fibres.iter_mut().chain([worker]).filter_map(Option::take) {
            pool.abandon(fibre);
        }
        Some(failure)
    }

    /// Called on a fibre: runs threads that have not started yet, one after the other.
    pub fn start_threads(&self, yielder: &Yielder) {
        self.yielder.set(yielder);
        while let Some(thread) = self.next_thread() {
            self.enter(thread);
            // SAFETY: the parameters are the kernel's, as the caller of cuLaunchKernel promised.
            unsafe { (self.kernel.call)(self.parameters) };
            // A fibre that was suspended meanwhile has been told who it is again.
            self.end_thread();
        }
    }

    fn next_thread(&self) -> Option<u32> {
        let i = self.started.get();
        // Those who can go on go first: their warp's data is still in the cache.
        if i == self.threads || !self.scratch.ready.borrow().is_empty() {
            return None;
        }
        self.started.set(i + 1);
        // Without an order, it is forward.
        Some(self.scratch.thread_order.get(i as usize).copied().unwrap_or(i))
    }

    fn enter(&self, thread: u32) {
        self.current.set(thread);
        // SAFETY: as in `execute`.
        unsafe { (*self.position).thread = self.coordinates(thread) };
    }

    /// Called on a fibre: lets others run until somebody makes this thread ready.
    pub(super) fn wait(&self, waiting: Waiting) {
        let (thread, yielder) = (self.current.get(), self.yielder.get());
        self.scratch.waiting[thread as usize].set(waiting);
        // SAFETY: the yielder of the fibre this runs on, which lives as long as the fibre.
        unsafe { (*yielder).suspend(Stop::Blocked) };
        self.yielder.set(yielder);
        self.enter(thread);
    }

    /// Called on a fibre: ends the launch.
    pub fn fail(&self, failure: Failure) -> ! {
        self.failure.set(Some(failure));
        // SAFETY: as in `wait`.
        unsafe { (*self.yielder.get()).suspend(Stop::Failed) };
        unreachable!("a failed thread is never resumed")
    }
}
