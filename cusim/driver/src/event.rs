//! Events. All work is done by the time an event is recorded, so an event is a point in time;
//! recorded in a capture, it is a place in the graph instead.
#![allow(non_snake_case)]

use std::ffi::c_uint;
use std::time::Instant;

use cudarc::driver::sys::{CUevent, CUevent_flags, CUresult, CUstream};

use crate::api::{Outcome, driver_api, put};
use crate::graph::CaptureId;
use crate::state::{self, State};
use crate::stream::capture_of;

use CUresult::*;

#[derive(Clone, Copy, Debug)]
enum Recorded {
    Never,
    At(Instant),
    /// In a stream being captured.
    In(CaptureId, usize),
}

#[derive(Clone, Copy, Debug)]
pub struct Event {
    timed: bool,
    recorded: Recorded,
}

impl Event {
    pub fn in_capture(&self, id: CaptureId) -> bool {
        matches!(self.recorded, Recorded::In(of, _) if of == id)
    }

    pub fn forget(&mut self) {
        self.recorded = Recorded::Never;
    }

    /// Fails for events that exist only within a graph.
    fn outside_capture(self) -> Outcome<Self> {
        match self.recorded {
            Recorded::In(..) => Err(CUDA_ERROR_CAPTURED_EVENT),
            _ => Ok(self),
        }
    }
}

fn find(state: &State, event: CUevent) -> Outcome<Event> {
    state.events.get(&(event as usize)).copied().ok_or(CUDA_ERROR_INVALID_HANDLE)
}

fn elapsed(milliseconds: *mut f32, from: CUevent, to: CUevent) -> Outcome {
    let state = state::ready()?;
    let (from, to) = (find(&state, from)?, find(&state, to)?);
    match (from.outside_capture()?.recorded, to.outside_capture()?.recorded) {
        (Recorded::At(start), Recorded::At(end)) if from.timed && to.timed => {
            let forward = end.saturating_duration_since(start).as_secs_f32();
            let backward = start.saturating_duration_since(end).as_secs_f32();
            put(milliseconds, (forward - backward) * 1e3)
        }
        _ => Err(CUDA_ERROR_INVALID_HANDLE),
    }
}

driver_api! {
    fn cuEventCreate(event: *mut CUevent, flags: c_uint) {
        let mut state = state::ready()?;
        let timed = flags & CUevent_flags::CU_EVENT_DISABLE_TIMING as c_uint == 0;
        let handle = state.new_handle();
        state.events.insert(handle, Event { timed, recorded: Recorded::Never });
        put(event, handle as CUevent)
    }

    fn cuEventDestroy_v2(event: CUevent) {
        let mut state = state::any_context()?;
        state.events.remove(&(event as usize)).map(|_| ()).ok_or(CUDA_ERROR_INVALID_HANDLE)
    }

    fn cuEventRecord(event: CUevent, stream: CUstream) {
        let mut state = state::ready()?;
        let recorded = match capture_of(&state, stream)? {
            Some(id) => Recorded::In(id, stream as usize),
            None => Recorded::At(Instant::now()),
        };
        let event = state.events.get_mut(&(event as usize)).ok_or(CUDA_ERROR_INVALID_HANDLE)?;
        event.recorded = recorded;
        Ok(())
    }

    fn cuEventQuery(event: CUevent) {
        find(&*state::ready()?, event)?.outside_capture().map(|_| ())
    }

    fn cuEventSynchronize(event: CUevent) {
        let mut state = state::ready()?;
        let event = find(&state, event)?;
        if let Recorded::In(id, _) = event.recorded {
            state.captures.invalidate(id);
        }
        event.outside_capture().map(|_| ())
    }

    fn cuEventElapsedTime_v2(milliseconds: *mut f32, from: CUevent, to: CUevent) {
        elapsed(milliseconds, from, to)
    }

    fn cuStreamWaitEvent(stream: CUstream, event: CUevent, _flags: c_uint) {
        let mut state = state::ready()?;
        let waiting = capture_of(&state, stream)?;
        match (find(&state, event)?.recorded, waiting) {
            // Nothing to wait for: what was recorded has been done.
            (Recorded::Never, _) | (Recorded::At(_), None) => Ok(()),
            // Work outside the graph cannot be waited for inside it.
            (Recorded::At(_), Some(id)) => {
                state.captures.invalidate(id);
                Err(CUDA_ERROR_STREAM_CAPTURE_ISOLATION)
            }
            (Recorded::In(id, _), Some(other)) if id != other => {
                state.captures.invalidate(id);
                state.captures.invalidate(other);
                Err(CUDA_ERROR_STREAM_CAPTURE_MERGE)
            }
            // A stream that waits for captured work joins the capture.
            (Recorded::In(id, recorded_in), _) => {
                if !state.captures.is_valid(id) {
                    return Err(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
                }
                let handle = stream as usize;
                let joined = state.streams.get_mut(&handle);
                let joined = joined.ok_or(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT)?;
                if joined.capture.is_none() {
                    (joined.capture, joined.unjoined) = (Some(id), true);
                }
                if recorded_in != handle
                    && let Some(source) = state.streams.get_mut(&recorded_in)
                {
                    source.unjoined = false;
                }
                Ok(())
            }
        }
    }
}
