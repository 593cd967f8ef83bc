//! What was found: on standard error, in the file `CUSIM_REPORT`, and kept for tests to ask for.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use cudarc::driver::sys::CUresult;

use crate::engine::collective::Site;
use crate::engine::run::{Failure, Run};
use crate::engine::trap::Trapped;
use crate::heap::Heap;
use crate::lines::{self, Line};
use crate::module::Kernel;
use crate::state;

/// One finding.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// `race`, `out-of-bounds`, `uninitialised`, `divergence`, `illegal-address`, `misaligned`,
    /// `assert`, `launch-failure` or `leak`.
    pub kind: &'static str,
    pub kernel: String,
    pub line: Option<Line>,
    /// The other access of a race.
    pub other_line: Option<Line>,
    /// All of it in words.
    pub text: String,
}

/// Where in a launch something happened.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The return address of a check, from the start of the image.
    pub pc: u32,
    pub block: [u32; 3],
    pub thread: [u32; 3],
}

#[derive(Default)]
struct Reports {
    all: Vec<Report>,
    /// What has been reported: a kind, and the instructions involved.
    seen: HashSet<(&'static str, String, u32, u32)>,
}

static REPORTS: Mutex<Option<Reports>> = Mutex::new(None);

fn lock() -> MutexGuard<'static, Option<Reports>> {
    REPORTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Everything reported so far.
pub fn all() -> Vec<Report> {
    lock().as_ref().map(|r| r.all.clone()).unwrap_or_default()
}

pub fn clear() {
    *lock() = None;
}

/// Whether this is news.
fn is_new(kind: &'static str, kernel: &Kernel, pcs: (u32, u32)) -> bool {
    let key = (kind, kernel.image.path.clone(), pcs.0, pcs.1);
    lock().get_or_insert_default().seen.insert(key)
}

fn add(report: Report) {
    eprintln!("cusim: {}", report.text);
    if let Some(path) = std::env::var_os("CUSIM_REPORT") {
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let written = file.and_then(|mut f| writeln!(f, "{}", report.to_json()));
        if let Err(why) = written {
            eprintln!("cusim: CUSIM_REPORT={}: {why}", path.display());
        }
    }
    lock().get_or_insert_default().all.push(report);
}

impl Report {
    /// One line of JSON.
    pub fn to_json(&self) -> String {
        let mut out = format!("{{\"kind\":{},\"kernel\":{}", quote(self.kind), quote(&self.kernel));
        let lines = [("", &self.line), ("other_", &self.other_line)];
        for (prefix, line) in lines.into_iter().filter_map(|(p, l)| Some((p, l.as_ref()?))) {
            // Writing to a String cannot fail.
            _ = write!(out, ",\"{prefix}file\":{}", quote(&line.file));
            _ = write!(out, ",\"{prefix}line\":{}", line.line);
        }
        out + &format!(",\"text\":{}}}", quote(&self.text))
    }
}

fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => _ = write!(out, "\\u{:04x}", c as u32),
            c => out.push(c),
        }
    }
    out + "\""
}

/// `tile` for `_ZZ6matmulE4tile`.
pub fn simple_name(symbol: &str) -> &str {
    let Some(at) = symbol.rfind('E').filter(|_| symbol.starts_with("_ZZ")) else {
        return symbol;
    };
    let tail = symbol[at + 1..].trim_start_matches(|c: char| c.is_ascii_digit());
    tail.split("_0").next().filter(|t| !t.is_empty()).unwrap_or(symbol)
}

fn line(kernel: &Kernel, pc: u32) -> Option<Line> {
    // A return address belongs to the instruction after the call.
    lines::find(&kernel.image.path, u64::from(pc).saturating_sub(1))
}

fn shown(line: Option<&Line>) -> String {
    line.map_or_else(|| "an unknown line".to_owned(), Line::to_string)
}

fn coordinates([x, y, z]: [u32; 3]) -> String {
    format!("({x},{y},{z})")
}

fn who(place: Place) -> String {
    format!("block {} thread {}", coordinates(place.block), coordinates(place.thread))
}

fn verb(write: bool) -> &'static str {
    if write { "write" } else { "read" }
}

pub fn race(
    kernel: &Kernel,
    (now, write): (Place, bool),
    (earlier, earlier_write): (Place, bool),
    size: usize,
    what: &str,
) {
    let pcs = (now.pc.min(earlier.pc), now.pc.max(earlier.pc));
    if !is_new("race", kernel, pcs) {
        return;
    }
    let (here, there) = (line(kernel, now.pc), line(kernel, earlier.pc));
    let text = format!(
        "race in kernel {}: {} of {size} bytes at {} by {}, {} at {} by {}, at {what}",
        kernel.name,
        verb(write),
        shown(here.as_ref()),
        who(now),
        verb(earlier_write),
        shown(there.as_ref()),
        who(earlier),
    );
    let kernel = kernel.name.clone();
    add(Report { kind: "race", kernel, line: here, other_line: there, text });
}

pub fn out_of_bounds(
    kernel: &Kernel,
    place: Place,
    address: usize,
    size: usize,
    write: bool,
    near: &str,
) {
    if !is_new("out-of-bounds", kernel, (place.pc, 0)) {
        return;
    }
    let here = line(kernel, place.pc);
    let text = format!(
        "out of bounds in kernel {}: {} of {size} bytes at {} by {}, at {near} (address {address:#x})",
        kernel.name,
        verb(write),
        shown(here.as_ref()),
        who(place),
    );
    let kernel = kernel.name.clone();
    add(Report { kind: "out-of-bounds", kernel, line: here, text, ..Report::default() });
}

pub fn uninitialised(kernel: &Kernel, place: Place, size: usize, what: &str) {
    if !is_new("uninitialised", kernel, (place.pc, 0)) {
        return;
    }
    let here = line(kernel, place.pc);
    let text = format!(
        "uninitialised read in kernel {}: {size} bytes at {} by {}, at {what}",
        kernel.name,
        shown(here.as_ref()),
        who(place),
    );
    let kernel = kernel.name.clone();
    add(Report { kind: "uninitialised", kernel, line: here, text, ..Report::default() });
}

/// Reports why a launch failed; returns the error that the context is left with.
pub fn failure(failure: &Failure, kernel: &Kernel, run: &Run, heap: &Heap) -> CUresult {
    use CUresult::*;
    let thread = run.coordinates(run.current());
    let place = Place { pc: 0, block: run.block(), thread };
    let at = |site: Site| Some(Line { file: site.file(), line: site.line() });
    let (kind, error, what, here) = match failure {
        // Reported where it was found.
        Failure::OutOfBounds => return CUDA_ERROR_ILLEGAL_ADDRESS,
        Failure::Signal(trapped) => {
            let offset = trapped.pc.wrapping_sub(kernel.image.base) as u64;
            let (kind, error, what) = signal(trapped, heap);
            (kind, error, what, lines::find(&kernel.image.path, offset))
        }
        Failure::Assert(what, site) => ("assert", CUDA_ERROR_ASSERT, what.clone(), at(*site)),
        Failure::Trapped(what, site) => {
            ("launch-failure", CUDA_ERROR_LAUNCH_FAILED, what.clone(), at(*site))
        }
        Failure::Misaligned(alignment, site) => {
            let what = format!("access to an address that is no multiple of {alignment}");
            ("misaligned", CUDA_ERROR_MISALIGNED_ADDRESS, what, at(*site))
        }
        Failure::Divergence(what, site) => {
            let here = site.and_then(at);
            let block = coordinates(place.block);
            let text = format!("divergence in kernel {}, block {block}: {what}", kernel.name);
            let kernel = kernel.name.clone();
            add(Report { kind: "divergence", kernel, line: here, text, ..Report::default() });
            return CUDA_ERROR_LAUNCH_FAILED;
        }
    };
    let name = &kernel.name;
    let text = format!("{what} in kernel {name}: at {} by {}", shown(here.as_ref()), who(place));
    add(Report { kind, kernel: name.clone(), line: here, text, ..Report::default() });
    error
}

/// What a signal means.
fn signal(trapped: &Trapped, heap: &Heap) -> (&'static str, CUresult, String) {
    use CUresult::*;
    match trapped.signal {
        libc::SIGFPE => {
            ("launch-failure", CUDA_ERROR_LAUNCH_FAILED, "integer division by zero".to_owned())
        }
        libc::SIGILL => {
            ("launch-failure", CUDA_ERROR_ILLEGAL_INSTRUCTION, "illegal instruction".to_owned())
        }
        _ => {
            let what = format!("illegal address {}", describe_address(heap, trapped.address));
            ("illegal-address", CUDA_ERROR_ILLEGAL_ADDRESS, what)
        }
    }
}

/// An address in words: how far past which allocation.
fn describe_address(heap: &Heap, address: usize) -> String {
    let before = heap.live().take_while(|&(start, _)| start <= address).last();
    match before.filter(|_| heap.owns(address)) {
        Some((start, size)) => {
            format!("{address:#x}, byte {} of an allocation of {size} bytes", address - start)
        }
        // The processor does not say which address it was.
        None if address == 0 => {
            format!("{address:#x} (or a vector access that is not aligned: try CUSIM_CHECK)")
        }
        None if heap.owns(address) => format!("{address:#x}, in memory that was freed"),
        None => format!("{address:#x}"),
    }
}

/// Reports what is still allocated when the context goes.
pub fn leaks(heap: &Heap) {
    let (count, bytes) = (heap.live().count(), heap.used());
    if count > 0 {
        let text = format!("leak: {bytes} bytes in {count} allocations");
        add(Report { kind: "leak", text, ..Report::default() });
    }
}

/// With `CUSIM_LEAKS`, also reports what a program that never lets its context go has allocated
/// when it ends.
pub fn leaks_at_exit() {
    extern "C" fn at_exit() {
        // Another thread may be in the middle of a call, and will never finish it.
        if let Some(state) = state::try_lock().filter(|s| s.retained > 0 && s.sticky.is_none()) {
            leaks(&state.heap);
        }
    }
    static ONCE: Once = Once::new();
    if std::env::var_os("CUSIM_LEAKS").is_some_and(|v| !v.is_empty() && v != "0") {
        ONCE.call_once(|| {
            // SAFETY: this library is never unloaded before the process ends: dlopen'ed by cudarc
            // or by the helper crate, neither of which closes it. Failure loses one report.
            _ = unsafe { libc::atexit(at_exit) };
        });
    }
}
