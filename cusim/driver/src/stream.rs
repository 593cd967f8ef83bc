//! Streams, and capturing them.
//!
//! Work submitted to a stream runs at once. A stream being captured collects it instead.
#![allow(non_snake_case)]

use std::ffi::{c_int, c_uint, c_void};

use cudarc::driver::sys::{
    CUgraph, CUhostFn, CUresult, CUstream, CUstream_flags, CUstreamCaptureMode,
    CUstreamCaptureStatus,
};

use crate::api::{Outcome, driver_api, put};
use crate::event;
use crate::graph::{CaptureId, Work};
use crate::state::{self, State};

use CUresult::*;

#[derive(Clone, Copy, Debug, Default)]
pub struct Stream {
    /// Not synchronised with the legacy stream.
    pub non_blocking: bool,
    pub capture: Option<CaptureId>,
    /// Whether it has captured work that its capture's first stream does not wait for yet.
    pub unjoined: bool,
}

/// Handles with a meaning of their own: null and `CU_STREAM_LEGACY`, `CU_STREAM_PER_THREAD`.
const LEGACY: [usize; 2] = [0, 1];
const PER_THREAD: usize = 2;

/// Which capture a stream takes part in.
pub fn capture_of(state: &State, stream: CUstream) -> Outcome<Option<CaptureId>> {
    let handle = stream as usize;
    if LEGACY.contains(&handle) || handle == PER_THREAD {
        return Ok(None);
    }
    state.streams.get(&handle).map(|s| s.capture).ok_or(CUDA_ERROR_INVALID_HANDLE)
}

/// Runs `work`, or adds it to the stream's capture.
pub fn submit(state: &mut State, stream: CUstream, work: Work) -> Outcome {
    match capture_of(state, stream)? {
        Some(id) => {
            work.check(state)?;
            state.captures.add(id, work)?;
            if let Some(stream) = state.streams.get_mut(&(stream as usize)) {
                stream.unjoined = true;
            }
            Ok(())
        }
        None => {
            if LEGACY.contains(&(stream as usize)) {
                legacy_use(state)?;
            }
            work.run(state)
        }
    }
}

/// Fails, and spoils the capture, if a stream that the legacy stream waits for is captured.
pub fn legacy_use(state: &mut State) -> Outcome {
    let blocking = state.streams.values().filter(|s| !s.non_blocking).find_map(|s| s.capture);
    match blocking {
        Some(id) => {
            state.captures.invalidate(id);
            Err(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT)
        }
        None => Ok(()),
    }
}

/// Fails, and spoils the capture, if `stream` is being captured.
pub fn forbid_in_capture(state: &mut State, stream: CUstream) -> Outcome {
    match capture_of(state, stream)? {
        Some(id) => {
            state.captures.invalidate(id);
            Err(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED)
        }
        None => Ok(()),
    }
}

fn create(handle: *mut CUstream, flags: c_uint) -> Outcome {
    let mut state = state::ready()?;
    let non_blocking = flags & CUstream_flags::CU_STREAM_NON_BLOCKING as c_uint != 0;
    let new = state.new_handle();
    state.streams.insert(new, Stream { non_blocking, ..Stream::default() });
    put(handle, new as CUstream)
}

driver_api! {
    fn cuStreamCreate(stream: *mut CUstream, flags: c_uint) {
        create(stream, flags)
    }

    fn cuStreamCreateWithPriority(stream: *mut CUstream, flags: c_uint, _priority: c_int) {
        create(stream, flags)
    }

    fn cuStreamDestroy_v2(stream: CUstream) {
        let mut state = state::any_context()?;
        let gone = state.streams.remove(&(stream as usize)).ok_or(CUDA_ERROR_INVALID_HANDLE)?;
        if let Some(id) = gone.capture {
            state.captures.invalidate(id);
        }
        Ok(())
    }

    fn cuStreamSynchronize(stream: CUstream) {
        let mut state = state::ready()?;
        forbid_in_capture(&mut state, stream)?;
        if LEGACY.contains(&(stream as usize)) {
            legacy_use(&mut state)?;
        }
        event::wait_for_all(&mut state, Some(stream as usize));
        Ok(())
    }

    fn cuStreamQuery(stream: CUstream) {
        forbid_in_capture(&mut *state::ready()?, stream)
    }

    fn cuStreamGetFlags(stream: CUstream, flags: *mut c_uint) {
        let state = state::ready()?;
        capture_of(&state, stream)?;
        let known = state.streams.get(&(stream as usize));
        put(flags, c_uint::from(known.is_some_and(|s| s.non_blocking)))
    }

    fn cuStreamGetPriority(stream: CUstream, priority: *mut c_int) {
        let state = state::ready()?;
        capture_of(&state, stream)?;
        put(priority, 0)
    }

    fn cuLaunchHostFunc(stream: CUstream, function: CUhostFn, data: *mut c_void) {
        let function = function.ok_or(CUDA_ERROR_INVALID_VALUE)?;
        let mut state = state::ready()?;
        if capture_of(&state, stream)?.is_some() {
            return submit(&mut state, stream, Work::Host(function, data as usize));
        }
        // It may call anything but the driver; it must not find the lock taken all the same.
        drop(state);
        // SAFETY: the caller vouches for function and data.
        unsafe { function(data) };
        Ok(())
    }

    fn cuStreamBeginCapture_v2(stream: CUstream, mode: CUstreamCaptureMode) {
        let mut state = state::ready()?;
        // The legacy stream cannot be captured.
        let handle = stream as usize;
        if LEGACY.contains(&handle) {
            return Err(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
        }
        if capture_of(&state, stream)?.is_some() {
            return Err(CUDA_ERROR_ILLEGAL_STATE);
        }
        let id = state.captures.begin(handle, mode);
        let stream = state.streams.get_mut(&handle).ok_or(CUDA_ERROR_INVALID_HANDLE)?;
        stream.capture = Some(id);
        Ok(())
    }

    fn cuStreamEndCapture(stream: CUstream, graph: *mut CUgraph) {
        let mut state = state::ready()?;
        let id = capture_of(&state, stream)?.ok_or(CUDA_ERROR_ILLEGAL_STATE)?;
        if state.captures.origin(id) != Some(stream as usize) {
            return Err(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
        }
        let mut unjoined = false;
        for (&handle, member) in &mut state.streams {
            if member.capture == Some(id) {
                unjoined |= member.unjoined && handle != stream as usize;
                (member.capture, member.unjoined) = (None, false);
            }
        }
        for event in state.events.values_mut().filter(|e| e.in_capture(id)) {
            event.forget();
        }
        put(graph, std::ptr::null_mut())?;
        let captured = state.captures.end(id)?;
        if unjoined {
            return Err(CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
        }
        let handle = state.new_handle();
        state.graphs.insert(handle, captured);
        put(graph, handle as CUgraph)
    }

    fn cuStreamIsCapturing(stream: CUstream, status: *mut CUstreamCaptureStatus) {
        let state = state::ready()?;
        use CUstreamCaptureStatus::*;
        put(status, match capture_of(&state, stream)? {
            None => CU_STREAM_CAPTURE_STATUS_NONE,
            Some(id) if state.captures.is_valid(id) => CU_STREAM_CAPTURE_STATUS_ACTIVE,
            Some(_) => CU_STREAM_CAPTURE_STATUS_INVALIDATED,
        })
    }
}
