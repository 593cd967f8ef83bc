//! The functions of libnvrtc that cudarc calls.
#![allow(non_snake_case)]

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_int};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cudarc::nvrtc::sys::{nvrtcProgram, nvrtcResult};
use cusim_common::blob::{Blob, Kind};
use cusim_common::calls::{self, CallSite};

use crate::compile::{self, Failure, Input};
use crate::options::{ARCHS, Options};

use nvrtcResult::*;

type Outcome = Result<(), nvrtcResult>;

#[derive(Default)]
struct Program {
    source: String,
    name: String,
    headers: Vec<(String, String)>,
    expressions: Vec<String>,
    lowered: Vec<CString>,
    log: String,
    /// Absent until compiled, and where the target is virtual.
    cubin: Option<String>,
    ptx: Option<String>,
}

static PROGRAMS: Mutex<Option<HashMap<usize, Program>>> = Mutex::new(None);

/// The programs that exist, and under what number.
struct Programs(MutexGuard<'static, Option<HashMap<usize, Program>>>);

impl Programs {
    fn lock() -> Self {
        Self(PROGRAMS.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn all(&mut self) -> &mut HashMap<usize, Program> {
        self.0.get_or_insert_default()
    }

    fn get(&mut self, handle: nvrtcProgram) -> Result<&mut Program, nvrtcResult> {
        self.all().get_mut(&(handle as usize)).ok_or(NVRTC_ERROR_INVALID_PROGRAM)
    }
}

const RESULTS: &[(nvrtcResult, &CStr)] = &[
    (NVRTC_SUCCESS, c"NVRTC_SUCCESS"),
    (NVRTC_ERROR_OUT_OF_MEMORY, c"NVRTC_ERROR_OUT_OF_MEMORY"),
    (NVRTC_ERROR_PROGRAM_CREATION_FAILURE, c"NVRTC_ERROR_PROGRAM_CREATION_FAILURE"),
    (NVRTC_ERROR_INVALID_INPUT, c"NVRTC_ERROR_INVALID_INPUT"),
    (NVRTC_ERROR_INVALID_PROGRAM, c"NVRTC_ERROR_INVALID_PROGRAM"),
    (NVRTC_ERROR_INVALID_OPTION, c"NVRTC_ERROR_INVALID_OPTION"),
    (NVRTC_ERROR_COMPILATION, c"NVRTC_ERROR_COMPILATION"),
    (NVRTC_ERROR_BUILTIN_OPERATION_FAILURE, c"NVRTC_ERROR_BUILTIN_OPERATION_FAILURE"),
    (NVRTC_ERROR_INTERNAL_ERROR, c"NVRTC_ERROR_INTERNAL_ERROR"),
];

/// The answer is a number: an injected fault may be one that `nvrtcResult` does not know.
fn enter(site: &'static CallSite, body: impl FnOnce() -> Outcome) -> c_int {
    let answer = match site.enter() {
        Some(error) => {
            if let Ok(number) = error.parse() {
                return number;
            }
            let named = RESULTS.iter().find(|(_, name)| name.to_bytes() == error.as_bytes());
            named.map_or(NVRTC_ERROR_INTERNAL_ERROR, |&(result, _)| result)
        }
        None => body().err().unwrap_or(NVRTC_SUCCESS),
    };
    answer as c_int
}

/// Defines exported functions, each checked against cudarc's declaration of it.
macro_rules! nvrtc_api {
    ($(fn $name:ident($($arg:ident: $type:ty),* $(,)?) $body:block)*) => { $(
        /// See the NVRTC documentation.
        ///
        /// # Safety
        /// As the NVRTC documentation asks of the caller.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($arg: $type),*) -> c_int {
            const _: unsafe fn($($type),*) -> nvrtcResult = cudarc::nvrtc::sys::$name;
            static SITE: CallSite = CallSite::new(stringify!($name));
            enter(&SITE, || $body)
        }
    )* };
}

/// Writes a result through a pointer of the caller's.
fn put<T>(place: *mut T, value: T) -> Outcome {
    if place.is_null() {
        return Err(NVRTC_ERROR_INVALID_INPUT);
    }
    // SAFETY: the caller of the API function passed a valid pointer, as its documentation asks.
    unsafe { place.write(value) };
    Ok(())
}

/// Copies text and a NUL to the caller's buffer, which has the size we reported.
fn put_text(place: *mut c_char, text: &str) -> Outcome {
    if place.is_null() {
        return Err(NVRTC_ERROR_INVALID_INPUT);
    }
    // SAFETY: the caller allocated as many bytes as the size function told: text and NUL.
    unsafe {
        place.cast::<u8>().copy_from_nonoverlapping(text.as_ptr(), text.len());
        place.add(text.len()).write(0);
    }
    Ok(())
}

/// Text of the caller's.
fn text(place: *const c_char) -> Option<String> {
    // SAFETY: the caller passed a null pointer or a C string.
    (!place.is_null()).then(|| unsafe { CStr::from_ptr(place) }.to_string_lossy().into_owned())
}

/// An array of `count` texts of the caller's.
fn texts(array: *const *const c_char, count: c_int) -> Vec<String> {
    let count = if array.is_null() { 0 } else { usize::try_from(count).unwrap_or(0) };
    // SAFETY: the caller passed an array of `count` C strings.
    (0..count).filter_map(|i| text(unsafe { *array.add(i) })).collect()
}

nvrtc_api! {
    fn nvrtcVersion(major: *mut c_int, minor: *mut c_int) {
        put(major, 13)?;
        put(minor, 0)
    }

    fn nvrtcGetNumSupportedArchs(count: *mut c_int) {
        put(count, ARCHS.len() as c_int)
    }

    fn nvrtcGetSupportedArchs(archs: *mut c_int) {
        // SAFETY: the caller's array has as many places as nvrtcGetNumSupportedArchs told.
        ARCHS.iter().enumerate().try_for_each(|(i, &a)| put(unsafe { archs.add(i) }, a as c_int))
    }

    fn nvrtcCreateProgram(
        program: *mut nvrtcProgram,
        source: *const c_char,
        name: *const c_char,
        header_count: c_int,
        headers: *const *const c_char,
        include_names: *const *const c_char,
    ) {
        let source = text(source).ok_or(NVRTC_ERROR_INVALID_INPUT)?;
        let name = text(name).filter(|n| !n.is_empty());
        let name = name.unwrap_or_else(|| "default_program".to_owned());
        let names = texts(include_names, header_count);
        let headers = names.into_iter().zip(texts(headers, header_count)).collect();
        let mut programs = Programs::lock();
        let handle = programs.all().keys().max().unwrap_or(&0) + 1;
        programs.all().insert(handle, Program { source, name, headers, ..Program::default() });
        put(program, handle as nvrtcProgram)
    }

    fn nvrtcDestroyProgram(program: *mut nvrtcProgram) {
        if program.is_null() {
            return Err(NVRTC_ERROR_INVALID_PROGRAM);
        }
        // SAFETY: not null, and the caller's. cudarc passes a shared reference: only read it.
        let handle = unsafe { *program };
        let gone = Programs::lock().all().remove(&(handle as usize));
        gone.map(|_| ()).ok_or(NVRTC_ERROR_INVALID_PROGRAM)
    }

    fn nvrtcAddNameExpression(program: nvrtcProgram, expression: *const c_char) {
        let expression = text(expression).ok_or(NVRTC_ERROR_INVALID_INPUT)?;
        // NVRTC takes `&kernel<float>` as well as `kernel<float>`.
        let expression = expression.trim().trim_start_matches('&').trim().to_owned();
        Programs::lock().get(program)?.expressions.push(expression);
        Ok(())
    }

    fn nvrtcGetLoweredName(
        program: nvrtcProgram,
        expression: *const c_char,
        lowered: *mut *const c_char,
    ) {
        let wanted = text(expression).ok_or(NVRTC_ERROR_INVALID_INPUT)?;
        let wanted = wanted.trim().trim_start_matches('&').trim();
        let mut programs = Programs::lock();
        let program = programs.get(program)?;
        if program.lowered.is_empty() {
            return Err(NVRTC_ERROR_NO_LOWERED_NAMES_BEFORE_COMPILATION);
        }
        let at = program.expressions.iter().position(|e| e == wanted);
        let name = at.and_then(|at| program.lowered.get(at));
        // The string lives as long as the program, as documented.
        put(lowered, name.ok_or(NVRTC_ERROR_NAME_EXPRESSION_NOT_VALID)?.as_ptr())
    }

    fn nvrtcCompileProgram(program: nvrtcProgram, count: c_int, options: *const *const c_char) {
        let args = texts(options, count);
        // Compile outside the lock: others may compile at the same time.
        let (source, name, headers, expressions) = {
            let mut programs = Programs::lock();
            let p = programs.get(program)?;
            (p.source.clone(), p.name.clone(), p.headers.clone(), p.expressions.clone())
        };
        let (log, result) = match Options::parse(&args) {
            Err(why) => (format!("nvrtc: error: {why}\n"), Err(NVRTC_ERROR_INVALID_OPTION)),
            Ok(options) => {
                let input = Input {
                    source: &source,
                    name: &name,
                    headers: &headers,
                    options: &options,
                    expressions: &expressions,
                };
                match compile::compile(&input) {
                    Ok(compiled) => (compiled.log.clone(), Ok((options, compiled))),
                    Err(Failure::Program(log)) => (log, Err(NVRTC_ERROR_COMPILATION)),
                    Err(Failure::Environment(why)) => {
                        eprintln!("cusim: {why}");
                        (why, Err(NVRTC_ERROR_BUILTIN_OPERATION_FAILURE))
                    }
                }
            }
        };
        let mut programs = Programs::lock();
        let program = programs.get(program)?;
        program.log = log;
        let (options, compiled) = result?;
        let blob = |kind| {
            let path = compiled.path.to_string_lossy().into_owned();
            Blob { kind, arch: options.arch, checked: compile::check_mode(), path }.encode()
        };
        program.cubin = options.real.then(|| blob(Kind::Cubin));
        program.ptx = Some(blob(Kind::Ptx));
        program.lowered = compiled.lowered.into_iter().filter_map(|n| CString::new(n).ok()).collect();
        Ok(())
    }

    fn nvrtcGetProgramLogSize(program: nvrtcProgram, size: *mut usize) {
        put(size, Programs::lock().get(program)?.log.len() + 1)
    }

    fn nvrtcGetProgramLog(program: nvrtcProgram, log: *mut c_char) {
        put_text(log, &Programs::lock().get(program)?.log)
    }

    fn nvrtcGetPTXSize(program: nvrtcProgram, size: *mut usize) {
        let mut programs = Programs::lock();
        let ptx = programs.get(program)?.ptx.as_ref().ok_or(NVRTC_ERROR_INVALID_PROGRAM)?;
        put(size, ptx.len() + 1)
    }

    fn nvrtcGetPTX(program: nvrtcProgram, ptx: *mut c_char) {
        let mut programs = Programs::lock();
        let text = programs.get(program)?.ptx.as_ref().ok_or(NVRTC_ERROR_INVALID_PROGRAM)?;
        put_text(ptx, text)
    }

    fn nvrtcGetCUBINSize(program: nvrtcProgram, size: *mut usize) {
        let mut programs = Programs::lock();
        let program = programs.get(program)?;
        program.ptx.as_ref().ok_or(NVRTC_ERROR_INVALID_PROGRAM)?;
        // Zero for a virtual target, as documented.
        put(size, program.cubin.as_ref().map_or(0, |c| c.len() + 1))
    }

    fn nvrtcGetCUBIN(program: nvrtcProgram, cubin: *mut c_char) {
        let mut programs = Programs::lock();
        let text = programs.get(program)?.cubin.as_ref().ok_or(NVRTC_ERROR_INVALID_PROGRAM)?;
        put_text(cubin, text)
    }
}

/// The name of a result.
#[unsafe(no_mangle)]
pub extern "C" fn nvrtcGetErrorString(result: nvrtcResult) -> *const c_char {
    let known = RESULTS.iter().find(|(r, _)| *r == result);
    known.map_or(c"NVRTC_ERROR unknown", |(_, name)| name).as_ptr()
}

/// How often `function` was called (cusim's own; `*` sums over all).
///
/// # Safety
/// `function` must be a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cusim_nvrtc_calls(function: *const c_char) -> u64 {
    text(function).map_or(0, |f| calls::count(&f))
}

/// Arms faults as `CUSIM_FAULT` does (cusim's own); false if `spec` is malformed.
///
/// # Safety
/// `spec` must be a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cusim_nvrtc_arm(spec: *const c_char) -> bool {
    text(spec).is_some_and(|s| calls::arm(&s).is_ok())
}
