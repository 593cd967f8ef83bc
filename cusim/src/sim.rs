//! The loaded simulator and what can be asked of it.

use std::ffi::{CString, c_char, c_void};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::library::{self, Error};
use crate::report::Report;

/// The order in which the blocks of a grid, and the threads of a block, get to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Forward,
    Reverse,
    /// Anew for each launch, from this seed.
    Shuffled(u64),
}

impl Order {
    /// One of each kind: a kernel that gives the same bits in all of them most likely does so in
    /// any.
    pub const ALL: [Self; 3] = [Self::Forward, Self::Reverse, Self::Shuffled(1)];
}

struct Libraries {
    driver: *mut c_void,
    nvrtc: *mut c_void,
}

/// Declares the functions that tests reach into the libraries with.
macro_rules! functions {
    ($($field:ident: $symbol:literal in $library:ident, fn($($arg:ty),*) $(-> $result:ty)?;)*) => {
        /// cusim, loaded into this process.
        pub struct Sim {
            $($field: unsafe extern "C" fn($($arg),*) $(-> $result)?,)*
        }

        impl Sim {
            fn open() -> Result<Self, Error> {
                let libraries = Libraries {
                    driver: library::open(&library::find(library::DRIVER)?)?,
                    nvrtc: library::open(&library::find(library::NVRTC)?)?,
                };
                Ok(Self {
                    $($field: {
                        let address = library::symbol(libraries.$library, $symbol)?;
                        type Function = unsafe extern "C" fn($($arg),*) $(-> $result)?;
                        // SAFETY: the library defines it with this signature.
                        unsafe { std::mem::transmute::<*mut c_void, Function>(address) }
                    },)*
                })
            }
        }
    };
}

functions! {
    set_order: c"cusim_set_order" in driver, fn(u32, u64);
    set_late_events: c"cusim_set_late_events" in driver, fn(bool);
    calls: c"cusim_calls" in driver, fn(*const c_char) -> u64;
    nvrtc_calls: c"cusim_nvrtc_calls" in nvrtc, fn(*const c_char) -> u64;
    arm: c"cusim_arm" in driver, fn(*const c_char) -> bool;
    nvrtc_arm: c"cusim_nvrtc_arm" in nvrtc, fn(*const c_char) -> bool;
    allocated_bytes: c"cusim_allocated_bytes" in driver, fn() -> usize;
    peak_bytes: c"cusim_peak_bytes" in driver, fn() -> usize;
    allocations: c"cusim_allocations" in driver, fn() -> usize;
    report_count: c"cusim_report_count" in driver, fn() -> usize;
    report: c"cusim_report" in driver, fn(usize, *mut u8, usize) -> usize;
    clear_reports: c"cusim_clear_reports" in driver, fn();
}

impl Sim {
    /// Loads both libraries, so that cudarc finds them when it looks for libcuda and libnvrtc.
    /// Must come before cudarc's first call. Later calls return the same.
    pub fn load() -> Result<&'static Self, Error> {
        static SIM: OnceLock<Sim> = OnceLock::new();
        static LOADING: Mutex<()> = Mutex::new(());
        // Two tests that load at once must not both do so.
        let _one = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sim) = SIM.get() {
            return Ok(sim);
        }
        let sim = Self::open()?;
        Ok(SIM.get_or_init(|| sim))
    }

    /// Sets the order for all launches from now on.
    pub fn set_order(&self, order: Order) {
        let (kind, seed) = match order {
            Order::Forward => (0, 0),
            Order::Reverse => (1, 0),
            Order::Shuffled(seed) => (2, seed),
        };
        // SAFETY: takes any numbers.
        unsafe { (self.set_order)(kind, seed) };
    }

    /// Whether events are ready only when somebody has waited for them, for a later event of their
    /// stream, for the stream or for the context: the host of a GPU that lags sees them so.
    pub fn set_late_events(&self, late: bool) {
        // SAFETY: takes any truth.
        unsafe { (self.set_late_events)(late) };
    }

    /// How often a driver function was called, such as `cuLaunchKernel`; versioned functions
    /// with or without their `_v2`, and `*` for all.
    #[must_use]
    pub fn calls(&self, function: &str) -> u64 {
        // SAFETY: a C string.
        c_string(function).map_or(0, |f| unsafe { (self.calls)(f.as_ptr()) })
    }

    /// The same for NVRTC's functions.
    #[must_use]
    pub fn nvrtc_calls(&self, function: &str) -> u64 {
        // SAFETY: a C string.
        c_string(function).map_or(0, |f| unsafe { (self.nvrtc_calls)(f.as_ptr()) })
    }

    /// Makes driver calls fail: `function:k:error`, as `CUSIM_FAULT` (see the README), counting
    /// from now. Replaces what was armed; an empty `spec` disarms.
    ///
    /// # Panics
    /// If `spec` is malformed.
    pub fn arm(&self, spec: &str) {
        // SAFETY: a C string.
        let armed = c_string(spec).is_some_and(|s| unsafe { (self.arm)(s.as_ptr()) });
        assert!(armed, "{spec:?} is not function:k:error");
    }

    /// The same for NVRTC's functions.
    ///
    /// # Panics
    /// If `spec` is malformed.
    pub fn arm_nvrtc(&self, spec: &str) {
        // SAFETY: a C string.
        let armed = c_string(spec).is_some_and(|s| unsafe { (self.nvrtc_arm)(s.as_ptr()) });
        assert!(armed, "{spec:?} is not function:k:error");
    }

    /// Bytes of device memory allocated now.
    #[must_use]
    pub fn allocated_bytes(&self) -> usize {
        // SAFETY: takes nothing.
        unsafe { (self.allocated_bytes)() }
    }

    /// The most bytes of device memory there ever were.
    #[must_use]
    pub fn peak_bytes(&self) -> usize {
        // SAFETY: takes nothing.
        unsafe { (self.peak_bytes)() }
    }

    /// How many device allocations exist now.
    #[must_use]
    pub fn allocations(&self) -> usize {
        // SAFETY: takes nothing.
        unsafe { (self.allocations)() }
    }

    /// Everything found wrong so far in this process.
    #[must_use]
    pub fn reports(&self) -> Vec<Report> {
        // SAFETY: takes nothing.
        let count = unsafe { (self.report_count)() };
        let json = |index| {
            let mut buffer = vec![0_u8; 16 * 1024];
            // SAFETY: a buffer and its size.
            let length = unsafe { (self.report)(index, buffer.as_mut_ptr(), buffer.len()) };
            buffer.truncate(length);
            String::from_utf8(buffer).ok()
        };
        (0..count).filter_map(|index| Report::from_json(&json(index)?)).collect()
    }

    /// Forgets all reports.
    pub fn clear_reports(&self) {
        // SAFETY: takes nothing.
        unsafe { (self.clear_reports)() };
    }
}

fn c_string(text: &str) -> Option<CString> {
    CString::new(text).ok()
}
