//! The frame around every exported driver function: its signature is checked against cudarc's,
//! the call is counted, traced, or made to fail, and a `Result` becomes a number: an injected fault
//! may be one that `CUresult` does not know.

use std::ffi::{CStr, c_char, c_int};

use cudarc::driver::sys::CUresult;
use cusim_common::calls::CallSite;

use crate::{error, state};

pub type Outcome<T = ()> = Result<T, CUresult>;

/// Runs an API function's body unless a fault is due.
pub fn enter(site: &'static CallSite, body: impl FnOnce() -> Outcome) -> c_int {
    if let Some(name) = site.enter() {
        if let Ok(number) = name.parse() {
            return number;
        }
        let injected = error::by_name(&name).unwrap_or(CUresult::CUDA_ERROR_UNKNOWN);
        // As on a real device, some errors end the context's life.
        if error::is_sticky(injected) {
            state::lock().sticky.get_or_insert(injected);
        }
        return injected as c_int;
    }
    body().err().unwrap_or(CUresult::CUDA_SUCCESS) as c_int
}

/// Defines exported functions. `const _` makes the compiler compare each with cudarc's.
macro_rules! driver_api {
    ($($(#[$attribute:meta])* fn $name:ident($($arg:ident: $type:ty),* $(,)?) $body:block)*) => { $(
        $(#[$attribute])*
        /// See the CUDA driver API.
        ///
        /// # Safety
        /// As the CUDA driver API asks of the caller.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($arg: $type),*) -> std::ffi::c_int {
            const _: unsafe fn($($type),*) -> cudarc::driver::sys::CUresult =
                cudarc::driver::sys::$name;
            static SITE: cusim_common::calls::CallSite =
                cusim_common::calls::CallSite::new(stringify!($name));
            crate::api::enter(&SITE, || $body)
        }
    )* };
}
pub(crate) use driver_api;

/// Writes a result through a pointer of the caller's; null is the caller's mistake.
pub fn put<T>(place: *mut T, value: T) -> Outcome {
    if place.is_null() {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    // SAFETY: the caller passed a pointer valid for writes, as the driver API asks.
    unsafe { place.write(value) };
    Ok(())
}

/// Text of the caller's.
pub fn text(place: *const c_char) -> Outcome<String> {
    if place.is_null() {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    // SAFETY: the caller passed a C string, as the driver API asks.
    Ok(unsafe { CStr::from_ptr(place) }.to_string_lossy().into_owned())
}
