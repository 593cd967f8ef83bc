//! Which GPUs there are, or why there is none.
//!
//! A library may not be there, or lack functions that are called later, so both are looked for first;
//! and a container may hold a `libcuda` that is a stub, whose `cuInit` fails. No answer here is a
//! panic, each says what is missing and how to get it.

use super::context::device_attribute;
use super::driver::{self, DriverError};
use super::nvrtc;
use crate::Error;
use cudarc::driver::sys::CUdevice_attribute as Attribute;
use std::ffi::{CStr, c_int, c_void};
use std::fmt;
use std::path::PathBuf;

/// The oldest compute capability that the kernels are made for: Turing.
pub const MINIMUM_CAPABILITY: (u32, u32) = (7, 5);

/// A GPU of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuInfo {
    /// The `N` of `cuda:N`.
    pub ordinal: usize,
    /// `NVIDIA H100 80GB HBM3`.
    pub name: String,
    /// Compute capability, `(9, 0)`.
    pub capability: (u32, u32),
    /// Bytes of memory.
    pub memory: u64,
    /// Streaming multiprocessors.
    pub multiprocessors: u32,
}

impl fmt::Display for GpuInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gib = self.memory as f64 / f64::from(1 << 30);
        let (major, minor) = self.capability;
        write!(f, "{}, {gib:.1} GiB, compute capability {major}.{minor}", self.name)
    }
}

/// The NVRTC that would compile the kernels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NvrtcInfo {
    /// `(13, 2)`.
    pub version: (u32, u32),
    /// Where the library was loaded from, where the system tells (Linux).
    pub path: Option<PathBuf>,
    /// What it compiles for, as ten times the compute capability.
    pub targets: Vec<u32>,
}

/// Why there is no GPU to use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoGpu {
    /// There is no `libcuda`.
    #[error(
        "no CUDA driver was found (libcuda.so.1, nvcuda.dll); install NVIDIA's driver, or start \
         the container with GPU access"
    )]
    NoDriver,
    /// There is a `libcuda` that lacks functions.
    #[error(
        "the CUDA driver lacks {0}: it is too old or a stub; install NVIDIA's driver, or start the \
         container with GPU access"
    )]
    DriverIncomplete(&'static str),
    /// The driver is there and does not work.
    #[error(
        "the CUDA driver does not work: {0}; see whether `nvidia-smi` works, and start a container \
         with GPU access"
    )]
    DriverFailed(String),
    /// The driver knows no GPU.
    #[error("the CUDA driver sees no GPU (is CUDA_VISIBLE_DEVICES empty?)")]
    NoDevice,
    /// There are fewer GPUs than the number asks for.
    #[error("there is no cuda:{ordinal}: the driver sees {count}, counted from cuda:0")]
    NoSuchDevice {
        /// The number that was asked for.
        ordinal: usize,
        /// How many there are.
        count: usize,
    },
    /// The GPU is older than the kernels.
    #[error(
        "{name} has compute capability {}.{}, and {}.{} (Turing) is the least that works",
        capability.0, capability.1, MINIMUM_CAPABILITY.0, MINIMUM_CAPABILITY.1
    )]
    TooOld {
        /// The GPU.
        name: String,
        /// Its compute capability.
        capability: (u32, u32),
    },
    /// There is no `libnvrtc`.
    #[error(
        "NVRTC, which compiles the kernels, was not found (libnvrtc.so.13 or .12); install the \
         CUDA toolkit or `pip install nvidia-cuda-nvrtc`, and put its folder on LD_LIBRARY_PATH"
    )]
    NoNvrtc,
    /// NVRTC is there and does not work.
    #[error("NVRTC, which compiles the kernels, does not work: {0}")]
    NvrtcFailed(String),
    /// Everything is there, and yet a first kernel did not run.
    #[error("{0}")]
    Unusable(String),
}

/// The GPUs of this machine, once everything is there to use them: driver and compiler.
///
/// # Errors
/// The first thing that is missing.
pub fn probe() -> Result<Vec<GpuInfo>, NoGpu> {
    let gpus = gpus()?;
    nvrtc_info()?;
    Ok(gpus)
}

/// The newest CUDA that the driver supports, `(13, 0)`.
///
/// # Errors
/// Why the driver cannot be used.
pub fn driver_version() -> Result<(u32, u32), NoGpu> {
    init()?;
    let mut version = 0;
    // SAFETY: the driver is there with all symbols, and the pointer is valid for writes.
    unsafe { driver::cuDriverGetVersion(&mut version) }.map_err(failed("cuDriverGetVersion"))?;
    let version = version.unsigned_abs();
    Ok((version / 1000, version % 1000 / 10))
}

/// The GPUs that the driver sees, at least one.
///
/// # Errors
/// Why there is none.
pub fn gpus() -> Result<Vec<GpuInfo>, NoGpu> {
    init()?;
    let mut count = 0;
    // SAFETY: the driver is there with all symbols, and the pointer is valid for writes.
    unsafe { driver::cuDeviceGetCount(&mut count) }.map_err(failed("cuDeviceGetCount"))?;
    match count {
        ..=0 => Err(NoGpu::NoDevice),
        count => {
            let about = |ordinal| format!("asking about cuda:{ordinal}");
            (0..count).map(|ordinal| gpu(ordinal).map_err(failed(about(ordinal)))).collect()
        }
    }
}

/// The NVRTC that would compile the kernels.
///
/// # Errors
/// Why it cannot be used.
pub fn nvrtc_info() -> Result<NvrtcInfo, NoGpu> {
    // SAFETY: this loads and unloads a library by the name of NVRTC, whose start-up code is as
    // trustworthy as that of every library on the search path.
    if !unsafe { cudarc::nvrtc::sys::is_culib_present() } {
        return Err(NoGpu::NoNvrtc);
    }
    let missing = |name: &&str| nvrtc_symbol(name).is_none();
    if let Some(missing) = required(nvrtc::FUNCTIONS).find(missing) {
        return Err(NoGpu::NvrtcFailed(format!("it lacks {missing}; install a newer one")));
    }
    let failed = |call: &'static str| {
        move |error: nvrtc::CompileError| {
            NoGpu::NvrtcFailed(format!("{call} failed: {}", error.code))
        }
    };
    Ok(NvrtcInfo {
        version: nvrtc::version().map_err(failed("nvrtcVersion"))?,
        path: nvrtc_symbol("nvrtcVersion").and_then(mapped_file),
        targets: nvrtc::supported_targets().map_err(failed("asking for its targets"))?,
    })
}

impl NoGpu {
    /// The reason as an error of `cuda:<ordinal>`.
    pub(super) fn into_error(self, ordinal: usize) -> Error {
        super::error::device_error(ordinal, self.to_string())
    }
}

/// Starts the driver. Does nothing where it has started.
fn init() -> Result<(), NoGpu> {
    // SAFETY: this loads and unloads a library by the name of the driver, whose start-up code is as
    // trustworthy as that of every library on the search path.
    if !unsafe { cudarc::driver::sys::is_culib_present() } {
        return Err(NoGpu::NoDriver);
    }
    let missing = |name: &&str| !has_driver_symbol(name);
    if let Some(missing) = required(driver::FUNCTIONS).find(missing) {
        return Err(NoGpu::DriverIncomplete(missing));
    }
    // SAFETY: the driver is there.
    unsafe { driver::cuInit(0) }.map_err(failed("cuInit"))
}

/// The names of the functions that must be there.
fn required(functions: &[(&'static str, bool)]) -> impl Iterator<Item = &'static str> {
    functions.iter().filter(|(_, required)| *required).map(|&(name, _)| name)
}

/// `map_err(failed("cuInit"))`: this call or question failed.
fn failed(call: impl fmt::Display) -> impl FnOnce(DriverError) -> NoGpu {
    move |error| NoGpu::DriverFailed(format!("{call} failed: {error}"))
}

fn gpu(ordinal: i32) -> Result<GpuInfo, DriverError> {
    let mut device = 0;
    // SAFETY: the pointer is valid for writes.
    unsafe { driver::cuDeviceGet(&mut device, ordinal) }?;
    let attribute = |attribute| device_attribute(device, attribute);
    let mut name = [0_u8; 256];
    let room = name.len() as c_int - 1;
    // SAFETY: the driver just gave this device, and there is room for as many bytes.
    unsafe { driver::cuDeviceGetName(name.as_mut_ptr().cast(), room, device) }?;
    let name = CStr::from_bytes_until_nul(&name).unwrap_or_default();
    let mut memory = 0;
    // SAFETY: as above; the pointer is valid for writes.
    unsafe { driver::cuDeviceTotalMem_v2(&mut memory, device) }?;
    Ok(GpuInfo {
        ordinal: ordinal.unsigned_abs() as usize,
        name: name.to_string_lossy().into_owned(),
        capability: (
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        ),
        memory: memory as u64,
        multiprocessors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
    })
}

/// Whether the driver has a function. Only for use once `is_culib_present` said yes.
pub(super) fn has_driver_symbol(name: &str) -> bool {
    // SAFETY: the library is there, so cudarc does not panic; the symbol is looked up and neither
    // called nor read.
    unsafe { cudarc::driver::sys::culib().get::<*const c_void>(name.as_bytes()) }.is_ok()
}

/// The address of one of NVRTC's functions. Only for use once `is_culib_present` said yes.
fn nvrtc_symbol(name: &str) -> Option<usize> {
    // SAFETY: as in `has_driver_symbol`.
    let symbol = unsafe { cudarc::nvrtc::sys::culib().get::<*const c_void>(name.as_bytes()) };
    Some(*symbol.ok()? as usize)
}

/// The file that is mapped at an address of this process.
fn mapped_file(address: usize) -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    maps.lines().find_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let parse = |text| usize::from_str_radix(text, 16).ok();
        if !(parse(start)?..parse(end)?).contains(&address) {
            return None;
        }
        Some(PathBuf::from(&rest[rest.find('/')?..]))
    })
}
