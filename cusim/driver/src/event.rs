//! Events. All work is done by the time an event is recorded, so an event is a point in time;
//! recorded in a capture, it is a place in the graph instead.
//!
//! A GPU lags behind its host. Where events are late (`CUSIM_LATE_EVENTS`), they are as on one that
//! lags as far as it can: not ready until somebody has waited for them, for a later event of their
//! stream, for the stream or for the context.
//!
//! The time between two of them is the clock's, or always the same (`CUSIM_EVENT_MS`), for programs
//! whose calls depend on it.
#![allow(non_snake_case)]

use std::ffi::c_uint;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Instant;

use cudarc::driver::sys::{CUevent, CUevent_flags, CUresult, CUstream};

use crate::api::{Outcome, driver_api, put};
use crate::config::Config;
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
    /// The stream that it was recorded in, and whether somebody has waited since.
    stream: usize,
    waited_for: bool,
}

/// What [`set_late`] chose: 0 nothing, 1 in time, 2 late.
static LATE: AtomicU8 = AtomicU8::new(0);

/// Whether events are late from now on, whatever the environment says.
pub fn set_late(late: bool) {
    LATE.store(1 + u8::from(late), Relaxed);
}

fn are_late() -> bool {
    match LATE.load(Relaxed) {
        0 => Config::get().late_events,
        chosen => chosen == 2,
    }
}

/// Somebody waits for what was done until now in `stream`, or in all streams.
pub fn wait_for_all(state: &mut State, stream: Option<usize>) {
    let events = state.events.values_mut();
    let events = events.filter(|event| stream.is_none_or(|stream| event.stream == stream));
    events.for_each(|event| event.waited_for = true);
}

impl Event {
    /// Whether the device has come so far, as far as the host can know.
    fn is_ready(&self) -> bool {
        matches!(self.recorded, Recorded::Never) || self.waited_for || !are_late()
    }

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
            if !from.is_ready() || !to.is_ready() {
                return Err(CUDA_ERROR_NOT_READY);
            }
            if let Some(always) = Config::get().event_ms {
                return put(milliseconds, if start <= end { always } else { -always });
            }
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
        let (recorded, stream, waited_for) = (Recorded::Never, 0, false);
        state.events.insert(handle, Event { timed, recorded, stream, waited_for });
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
        (event.recorded, event.stream, event.waited_for) = (recorded, stream as usize, false);
        Ok(())
    }

    fn cuEventQuery(event: CUevent) {
        let event = find(&*state::ready()?, event)?.outside_capture()?;
        if event.is_ready() { Ok(()) } else { Err(CUDA_ERROR_NOT_READY) }
    }

    fn cuEventSynchronize(event: CUevent) {
        let mut state = state::ready()?;
        let event = find(&state, event)?;
        if let Recorded::In(id, _) = event.recorded {
            state.captures.invalidate(id);
        }
        if let Recorded::At(reached) = event.outside_capture()?.recorded {
            // And for what lies before it in its stream.
            for other in state.events.values_mut().filter(|other| other.stream == event.stream) {
                other.waited_for |= matches!(other.recorded, Recorded::At(at) if at <= reached);
            }
        }
        Ok(())
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
