//! Everything the driver knows, behind one lock.
//!
//! Work runs to its end inside the call that submits it, in the order of submission, whatever the
//! stream: that is one of the orders a GPU may choose, and always the same one.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cudarc::driver::sys::CUresult;

use crate::api::Outcome;
use crate::engine::Engine;
use crate::event::Event;
use crate::graph::{Captures, Graph};
use crate::heap::Heap;
use crate::module::{Function, Module};
use crate::stream::Stream;

/// The handle of the primary context.
pub const PRIMARY: usize = 0x10;
/// The handle of the memory pool.
pub const DEFAULT_POOL: usize = 0x20;
const FIRST_HANDLE: usize = 0x1000;

pub struct State {
    /// How often the primary context was retained and not released.
    pub retained: u32,
    /// The error that ended the context's life.
    pub sticky: Option<CUresult>,
    pub heap: Heap,
    pub streams: HashMap<usize, Stream>,
    pub events: HashMap<usize, Event>,
    pub modules: HashMap<usize, Module>,
    pub functions: HashMap<usize, Function>,
    pub graphs: HashMap<usize, Graph>,
    /// Instantiated graphs.
    pub execs: HashMap<usize, Graph>,
    pub captures: Captures,
    pub engine: Engine,
    next_handle: usize,
}

static INITIALISED: AtomicBool = AtomicBool::new(false);
static STATE: Mutex<Option<State>> = Mutex::new(None);

thread_local! {
    /// The context current to this thread.
    static CURRENT: Cell<usize> = const { Cell::new(0) };
}

/// The locked state.
pub struct Locked(MutexGuard<'static, Option<State>>);

impl std::ops::Deref for Locked {
    type Target = State;
    fn deref(&self) -> &State {
        self.0.as_ref().expect("`lock` filled it in")
    }
}

impl std::ops::DerefMut for Locked {
    fn deref_mut(&mut self) -> &mut State {
        self.0.as_mut().expect("`lock` filled it in")
    }
}

impl State {
    fn new() -> Self {
        Self {
            retained: 0,
            sticky: None,
            heap: Heap::new(),
            streams: HashMap::new(),
            events: HashMap::new(),
            modules: HashMap::new(),
            functions: HashMap::new(),
            graphs: HashMap::new(),
            execs: HashMap::new(),
            captures: Captures::default(),
            engine: Engine::new(),
            next_handle: FIRST_HANDLE,
        }
    }

    /// A number that no other object has, or ever had.
    pub fn new_handle(&mut self) -> usize {
        self.next_handle += 0x10;
        self.next_handle
    }
}

/// Locks the state, whatever condition it is in.
pub fn lock() -> Locked {
    let mut guard = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    guard.get_or_insert_with(State::new);
    Locked(guard)
}

/// The state, unless somebody else is using it.
pub fn try_lock() -> Option<Locked> {
    STATE.try_lock().ok().filter(|state| state.is_some()).map(Locked)
}

/// Fails before cuInit.
pub fn initialised() -> Outcome {
    if INITIALISED.load(Relaxed) { Ok(()) } else { Err(CUresult::CUDA_ERROR_NOT_INITIALIZED) }
}

pub fn set_initialised() {
    INITIALISED.store(true, Relaxed);
}

/// The context current to this thread, 0 if none.
pub fn current() -> usize {
    CURRENT.get()
}

pub fn set_current(context: usize) {
    CURRENT.set(context);
}

/// Locks the state for a call that needs a live, healthy context.
pub fn ready() -> Outcome<Locked> {
    let state = any_context()?;
    match state.sticky {
        Some(error) => Err(error),
        None => Ok(state),
    }
}

/// Locks the state for a call that works in a broken context too: destroying things.
pub fn any_context() -> Outcome<Locked> {
    initialised()?;
    let state = lock();
    if current() == 0 || state.retained == 0 {
        return Err(CUresult::CUDA_ERROR_INVALID_CONTEXT);
    }
    Ok(state)
}
