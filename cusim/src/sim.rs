//! The loaded simulator and what can be asked of it.

use std::ffi::{CStr, CString, c_char, c_void};
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

/// cusim, loaded into this process.
pub struct Sim {
    set_order: unsafe extern "C" fn(u32, u64),
    calls: unsafe extern "C" fn(*const c_char) -> u64,
    nvrtc_calls: unsafe extern "C" fn(*const c_char) -> u64,
    arm: unsafe extern "C" fn(*const c_char) -> bool,
    nvrtc_arm: unsafe extern "C" fn(*const c_char) -> bool,
    allocated_bytes: unsafe extern "C" fn() -> usize,
    peak_bytes: unsafe extern "C" fn() -> usize,
    allocations: unsafe extern "C" fn() -> usize,
    report_count: unsafe extern "C" fn() -> usize,
    report: unsafe extern "C" fn(usize, *mut u8, usize) -> usize,
    clear_reports: unsafe extern "C" fn(),
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

    fn open() -> Result<Self, Error> {
        let driver_path = library::find(library::DRIVER)?;
        let nvrtc_path = library::find(library::NVRTC)?;
        let driver = library::open(&driver_path)?;
        let nvrtc = library::open(&nvrtc_path)?;
        let find = |handle: *mut c_void, name: &CStr| {
            // SAFETY: an open handle and a C string.
            let address = unsafe { libc::dlsym(handle, name.as_ptr()) };
            let why = || format!("it has no {name:?}");
            if address.is_null() {
                return Err(Error::Refused { path: driver_path.clone(), why: why() });
            }
            Ok(address)
        };
        macro_rules! function {
            ($library:expr, $name:literal) => {{
                let address = find($library, $name)?;
                // SAFETY: the library defines it with the signature of the field it goes to.
                unsafe { std::mem::transmute::<*mut c_void, _>(address) }
            }};
        }
        Ok(Self {
            set_order: function!(driver, c"cusim_set_order"),
            calls: function!(driver, c"cusim_calls"),
            nvrtc_calls: function!(nvrtc, c"cusim_nvrtc_calls"),
            arm: function!(driver, c"cusim_arm"),
            nvrtc_arm: function!(nvrtc, c"cusim_nvrtc_arm"),
            allocated_bytes: function!(driver, c"cusim_allocated_bytes"),
            peak_bytes: function!(driver, c"cusim_peak_bytes"),
            allocations: function!(driver, c"cusim_allocations"),
            report_count: function!(driver, c"cusim_report_count"),
            report: function!(driver, c"cusim_report"),
            clear_reports: function!(driver, c"cusim_clear_reports"),
        })
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
