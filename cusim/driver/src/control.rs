//! cusim's own functions, for the helper crate: what no environment variable can do at run time.

use std::ffi::{CStr, c_char};

use cusim_common::calls;

use crate::engine::order::Order;
use crate::{event, report, state};

/// Text of the helper's.
///
/// # Safety
/// `text` must be a C string.
unsafe fn text<'a>(text: *const c_char) -> &'a str {
    // SAFETY: as the caller promises.
    unsafe { CStr::from_ptr(text) }.to_str().unwrap_or_default()
}

/// Sets the order of threads and blocks: 0 forward, 1 reverse, 2 shuffled by `seed`.
#[unsafe(no_mangle)]
pub extern "C" fn cusim_set_order(kind: u32, seed: u64) {
    state::lock().engine.order = match kind {
        0 => Order::Forward,
        1 => Order::Reverse,
        _ => Order::Shuffled(seed),
    };
}

/// Whether events are ready only when somebody has waited for them.
#[unsafe(no_mangle)]
pub extern "C" fn cusim_set_late_events(late: bool) {
    event::set_late(late);
}

/// How often `function` was called, with or without its `_v2`; `*` sums over all.
///
/// # Safety
/// `function` must be a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cusim_calls(function: *const c_char) -> u64 {
    // SAFETY: as the caller promises.
    calls::count(unsafe { text(function) })
}

/// Arms the faults of `spec`, as `CUSIM_FAULT` does, instead of those armed before; false if it
/// is malformed.
///
/// # Safety
/// `spec` must be a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cusim_arm(spec: *const c_char) -> bool {
    // SAFETY: as the caller promises.
    calls::arm(unsafe { text(spec) }).is_ok()
}

/// Bytes of device memory allocated now.
#[unsafe(no_mangle)]
pub extern "C" fn cusim_allocated_bytes() -> usize {
    state::lock().heap.used()
}

/// The most bytes of device memory there ever were.
#[unsafe(no_mangle)]
pub extern "C" fn cusim_peak_bytes() -> usize {
    state::lock().heap.peak()
}

/// How many device allocations exist now.
#[unsafe(no_mangle)]
pub extern "C" fn cusim_allocations() -> usize {
    state::lock().heap.live().count()
}

/// How many reports there are.
#[unsafe(no_mangle)]
pub extern "C" fn cusim_report_count() -> usize {
    report::all().len()
}

/// Copies report `index`, as a line of JSON, to `buffer` as far as it has room; returns its
/// length, or 0 if there is no such report.
///
/// # Safety
/// `buffer` must have room for `room` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cusim_report(index: usize, buffer: *mut u8, room: usize) -> usize {
    let Some(report) = report::all().into_iter().nth(index) else { return 0 };
    let json = report.to_json();
    // SAFETY: no more than there is room for.
    unsafe { buffer.copy_from_nonoverlapping(json.as_ptr(), json.len().min(room)) };
    json.len()
}

/// Forgets all reports.
#[unsafe(no_mangle)]
pub extern "C" fn cusim_clear_reports() {
    report::clear();
}
