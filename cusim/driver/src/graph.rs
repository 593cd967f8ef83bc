//! Graphs: work collected by capturing streams, run again as a whole.
//!
//! Nodes are kept, and run, in the order they were captured in, which respects every dependency
//! a capture can express.
#![allow(non_snake_case)]

use std::collections::HashMap;
use std::ffi::{c_ulonglong, c_void};
use std::thread::{self, ThreadId};

use cudarc::driver::sys::{
    CUgraph, CUgraphExec, CUgraphNode, CUresult, CUstream, CUstreamCaptureMode,
};

use crate::api::{Outcome, driver_api, put};
use crate::launch::Launch;
use crate::memory::{Copy, Fill};
use crate::state::{self, State};
use crate::stream;

use CUresult::*;

/// Something a stream does.
#[derive(Clone, Debug)]
pub enum Work {
    Kernel(Launch),
    Copy(Copy),
    Fill(Fill),
    /// A function of the host and its argument.
    Host(unsafe extern "C" fn(*mut c_void), usize),
}

impl Work {
    /// Whether it could run; for work that is only being captured.
    pub fn check(&self, state: &State) -> Outcome {
        match self {
            Self::Kernel(_) | Self::Host(..) => Ok(()),
            Self::Copy(copy) => copy.check(state),
            Self::Fill(fill) => fill.check(state),
        }
    }

    pub fn run(&self, state: &mut State) -> Outcome {
        match self {
            Self::Kernel(launch) => launch.run(state),
            Self::Copy(copy) => copy.run(state),
            Self::Fill(fill) => fill.run(state),
            Self::Host(function, data) => {
                // SAFETY: whoever captured this vouches for function and data.
                unsafe { function(*data as *mut c_void) };
                Ok(())
            }
        }
    }
}

/// A graph, instantiated or not.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    nodes: Vec<Work>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CaptureId(usize);

#[derive(Debug)]
struct Capture {
    origin: usize,
    mode: CUstreamCaptureMode,
    thread: ThreadId,
    graph: Graph,
    valid: bool,
}

/// The captures under way.
#[derive(Debug, Default)]
pub struct Captures {
    active: HashMap<CaptureId, Capture>,
    begun: usize,
}

impl Captures {
    pub fn begin(&mut self, origin: usize, mode: CUstreamCaptureMode) -> CaptureId {
        self.begun += 1;
        let id = CaptureId(self.begun);
        let (thread, graph) = (thread::current().id(), Graph::default());
        self.active.insert(id, Capture { origin, mode, thread, graph, valid: true });
        id
    }

    /// Ends a capture; fails if something spoilt it.
    pub fn end(&mut self, id: CaptureId) -> Outcome<Graph> {
        let capture = self.active.remove(&id).ok_or(CUDA_ERROR_ILLEGAL_STATE)?;
        let relaxed = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        if capture.mode != relaxed && capture.thread != thread::current().id() {
            return Err(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
        }
        if capture.valid { Ok(capture.graph) } else { Err(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED) }
    }

    pub fn origin(&self, id: CaptureId) -> Option<usize> {
        self.active.get(&id).map(|c| c.origin)
    }

    pub fn is_valid(&self, id: CaptureId) -> bool {
        self.active.get(&id).is_some_and(|c| c.valid)
    }

    pub fn invalidate(&mut self, id: CaptureId) {
        if let Some(capture) = self.active.get_mut(&id) {
            capture.valid = false;
        }
    }

    pub fn add(&mut self, id: CaptureId, work: Work) -> Outcome {
        let capture = self.active.get_mut(&id).ok_or(CUDA_ERROR_ILLEGAL_STATE)?;
        if !capture.valid {
            return Err(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
        }
        capture.graph.nodes.push(work);
        Ok(())
    }

    /// For calls that might wait for, or order themselves against, work being captured: which
    /// captures forbid them depends on their mode.
    pub fn forbid_unsafe_call(&mut self) -> Outcome {
        use CUstreamCaptureMode::*;
        let here = thread::current().id();
        let mut forbidden = Ok(());
        for capture in self.active.values_mut() {
            let concerned = match capture.mode {
                CU_STREAM_CAPTURE_MODE_GLOBAL => true,
                CU_STREAM_CAPTURE_MODE_THREAD_LOCAL => capture.thread == here,
                CU_STREAM_CAPTURE_MODE_RELAXED => false,
            };
            if concerned {
                capture.valid = false;
                forbidden = Err(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
            }
        }
        forbidden
    }
}

/// Flags that exclude each other.
const AUTO_FREE_ON_LAUNCH: c_ulonglong = 1;
const DEVICE_LAUNCH: c_ulonglong = 4;

driver_api! {
    fn cuGraphInstantiateWithFlags(
        exec: *mut CUgraphExec,
        graph: CUgraph,
        flags: c_ulonglong,
    ) {
        let mut state = state::ready()?;
        if flags & AUTO_FREE_ON_LAUNCH != 0 && flags & DEVICE_LAUNCH != 0 {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        let graph = state.graphs.get(&(graph as usize)).ok_or(CUDA_ERROR_INVALID_VALUE)?.clone();
        let handle = state.new_handle();
        state.execs.insert(handle, graph);
        put(exec, handle as CUgraphExec)
    }

    fn cuGraphLaunch(exec: CUgraphExec, stream: CUstream) {
        let mut state = state::ready()?;
        let exec = state.execs.get(&(exec as usize)).ok_or(CUDA_ERROR_INVALID_VALUE)?;
        let nodes = exec.nodes.clone();
        nodes.into_iter().try_for_each(|work| stream::submit(&mut state, stream, work))
    }

    fn cuGraphUpload(exec: CUgraphExec, stream: CUstream) {
        let mut state = state::ready()?;
        stream::forbid_in_capture(&mut state, stream)?;
        state.execs.get(&(exec as usize)).map(|_| ()).ok_or(CUDA_ERROR_INVALID_VALUE)
    }

    fn cuGraphExecDestroy(exec: CUgraphExec) {
        let mut state = state::any_context()?;
        state.execs.remove(&(exec as usize)).map(|_| ()).ok_or(CUDA_ERROR_INVALID_VALUE)
    }

    fn cuGraphDestroy(graph: CUgraph) {
        let mut state = state::any_context()?;
        state.graphs.remove(&(graph as usize)).map(|_| ()).ok_or(CUDA_ERROR_INVALID_VALUE)
    }

    fn cuGraphGetNodes(graph: CUgraph, nodes: *mut CUgraphNode, count: *mut usize) {
        let state = state::ready()?;
        let handle = graph as usize;
        let graph = state.graphs.get(&handle).ok_or(CUDA_ERROR_INVALID_VALUE)?;
        if nodes.is_null() {
            return put(count, graph.nodes.len());
        }
        if count.is_null() {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        // SAFETY: not null, and the caller's: how many places `nodes` has.
        let room = unsafe { count.read() };
        for i in 0..room {
            // Nodes can be counted and nothing else: within a graph's handle, their number.
            let node = if i < graph.nodes.len() { handle + i + 1 } else { 0 };
            // SAFETY: the caller's array has `room` places.
            unsafe { nodes.add(i).write(node as CUgraphNode) };
        }
        put(count, graph.nodes.len().min(room))
    }
}
