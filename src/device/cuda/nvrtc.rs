//! Compiling CUDA C++ at run time.
//!
//! The result is a CUBIN for the very device: a driver accepts it as long as it is of NVRTC's
//! release family, while PTX from a newer NVRTC is refused by an older driver. Only a device that
//! NVRTC does not know yet gets PTX, which its driver compiles further.

use super::boundary::functions;
use super::sources::{Header, Source};
use super::tuning::Tuning;
use crate::device::Precision;
use crate::dtype::Float;
use cudarc::nvrtc::sys::{self, nvrtcProgram, nvrtcResult as Declared};
use std::any::TypeId;
use std::borrow::Cow;
use std::ffi::{CString, c_char, c_int};
use std::fmt;
use std::ptr;

use CompileError as Failure;

functions! {
    required fn nvrtcVersion(major: *mut c_int, minor: *mut c_int);
    required fn nvrtcGetNumSupportedArchs(count: *mut c_int);
    required fn nvrtcGetSupportedArchs(archs: *mut c_int);
    required fn nvrtcCreateProgram(
        program: *mut nvrtcProgram,
        source: *const c_char,
        name: *const c_char,
        header_count: c_int,
        headers: *const *const c_char,
        header_names: *const *const c_char,
    );
    required fn nvrtcDestroyProgram(program: *mut nvrtcProgram);
    required fn nvrtcCompileProgram(
        program: nvrtcProgram, option_count: c_int, options: *const *const c_char,
    );
    required fn nvrtcGetCUBINSize(program: nvrtcProgram, size: *mut usize);
    required fn nvrtcGetCUBIN(program: nvrtcProgram, code: *mut c_char);
    required fn nvrtcGetPTXSize(program: nvrtcProgram, size: *mut usize);
    required fn nvrtcGetPTX(program: nvrtcProgram, code: *mut c_char);
    required fn nvrtcGetProgramLogSize(program: nvrtcProgram, size: *mut usize);
    required fn nvrtcGetProgramLog(program: nvrtcProgram, log: *mut c_char);
}

/// The type that kernels call `SCALAR`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Scalar {
    Float,
    Double,
}

impl Scalar {
    /// `T`'s name in CUDA C++.
    pub(super) fn of<T: Float>() -> Self {
        if TypeId::of::<T>() == TypeId::of::<f64>() { Self::Double } else { Self::Float }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Float => "float",
            Self::Double => "double",
        })
    }
}

/// How many constants a module may be compiled for.
const MAX_CONSTANTS: usize = 28;

/// The sizes that a specialised module is compiled for, or none. A copy allocates nothing, so that
/// a launch can look its module up by it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Constants {
    values: [u32; MAX_CONSTANTS],
    count: usize,
}

impl Constants {
    /// `None` when there are too many.
    pub(super) fn new(constants: &[u32]) -> Option<Self> {
        let mut values = [0; MAX_CONSTANTS];
        values.get_mut(..constants.len())?.copy_from_slice(constants);
        Some(Self { values, count: constants.len() })
    }
}

/// What a file is compiled for, beside the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Variant {
    pub(super) scalar: Scalar,
    /// [`Precision::F32`] for doubles, and for files without products.
    pub(super) precision: Precision,
    pub(super) constants: Constants,
}

impl Variant {
    /// For any sizes, rounding nothing.
    pub(super) fn of(scalar: Scalar) -> Self {
        Self { scalar, precision: Precision::F32, constants: Constants::default() }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SCALAR = {}", self.scalar)?;
        if self.precision != Precision::F32 {
            write!(f, ", in {}", self.precision)?;
        }
        match self.constants.count {
            0 => Ok(()),
            count => write!(f, ", GEOMETRY = {:?}", &self.constants.values[..count]),
        }
    }
}

/// What code is made for. The number is ten times the compute capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// Machine code for one device.
    Cubin(u32),
    /// The intermediate language, for devices that are newer than NVRTC.
    Ptx(u32),
}

impl Target {
    /// The target for a device of `capability`, of those that NVRTC supports.
    pub(super) fn choose(capability: (u32, u32), supported: &[u32]) -> Option<Self> {
        let device = capability.0 * 10 + capability.1;
        if supported.contains(&device) {
            return Some(Self::Cubin(device));
        }
        supported.iter().copied().filter(|&arch| arch < device).max().map(Self::Ptx)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cubin(arch) => write!(f, "sm_{arch}"),
            Self::Ptx(arch) => write!(f, "compute_{arch}"),
        }
    }
}

/// All that NVRTC is told.
///
/// Rounding is spelled out though these are the defaults: what a kernel computes must not hang on a
/// default, and nothing here is "fast math". Contraction to fused multiply-adds is on.
pub(super) fn options(target: Target, variant: &Variant) -> Vec<String> {
    let Variant { scalar, precision, constants } = variant;
    let mut options = vec![
        format!("--gpu-architecture={target}"),
        "--std=c++17".into(),
        "--fmad=true".into(),
        "--ftz=false".into(),
        "--prec-div=true".into(),
        "--prec-sqrt=true".into(),
        format!("-DSCALAR={scalar}"),
    ];
    if *scalar == Scalar::Double {
        options.push("-DSCALAR_IS_DOUBLE".into());
    }
    // The names of `mma.cuh`.
    match precision {
        Precision::F32 => {}
        Precision::Tf32 => options.push("-DPRECISION=PRECISION_TF32".into()),
        Precision::Bf16 => options.push("-DPRECISION=PRECISION_BF16".into()),
    }
    if constants.count > 0 {
        let values: Vec<_> =
            constants.values[..constants.count].iter().map(u32::to_string).collect();
        options.push(format!("-DGEOMETRY={}", values.join(",")));
    }
    if Tuning::get().group != Tuning::DEFAULT.group {
        options.push(format!("-DGEMM_GROUP={}u", Tuning::get().group));
    }
    options
}

/// Compiled code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Compiled {
    /// A CUBIN or PTX, as the target says.
    pub(super) code: Vec<u8>,
    /// What NVRTC had to say: warnings, and what the options asked for.
    pub(super) log: String,
}

/// Why there is no compiled code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CompileError {
    /// NVRTC's name for it, or its number.
    pub(super) code: Cow<'static, str>,
    /// NVRTC's log: errors with file and line.
    pub(super) log: String,
}

/// A program of NVRTC's, destroyed on drop.
struct Program(nvrtcProgram);

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: the program came from `nvrtcCreateProgram` and is destroyed once. Nobody can do
        // anything about one that does not go.
        let _ = unsafe { nvrtcDestroyProgram(&mut self.0) };
    }
}

/// NVRTC's version. The caller knows that the library is there.
pub(super) fn version() -> Result<(u32, u32), CompileError> {
    let (mut major, mut minor): (c_int, c_int) = (0, 0);
    // SAFETY: both pointers are valid for writes.
    unsafe { nvrtcVersion(&mut major, &mut minor) }?;
    Ok((major.unsigned_abs(), minor.unsigned_abs()))
}

/// The targets that NVRTC compiles for, as ten times the compute capability.
pub(super) fn supported_targets() -> Result<Vec<u32>, CompileError> {
    let mut count: c_int = 0;
    // SAFETY: the pointer is valid for writes.
    unsafe { nvrtcGetNumSupportedArchs(&mut count) }?;
    let mut archs = vec![0 as c_int; usize::try_from(count).unwrap_or(0)];
    if !archs.is_empty() {
        // SAFETY: the array has as many places as NVRTC just said it fills.
        unsafe { nvrtcGetSupportedArchs(archs.as_mut_ptr()) }?;
    }
    Ok(archs.into_iter().map(c_int::unsigned_abs).collect())
}

/// Compiles `source` to what `target` names.
pub(super) fn compile(
    source: &Source,
    headers: &[Header],
    target: Target,
    options: &[String],
) -> Result<Compiled, CompileError> {
    let text = c_string(source.text)?;
    let file = c_string(source.file)?;
    let header_texts = headers.iter().map(|h| c_string(h.text)).collect::<Result<Vec<_>, _>>()?;
    let header_names = headers.iter().map(|h| c_string(h.name)).collect::<Result<Vec<_>, _>>()?;
    let options = options.iter().map(|o| c_string(o)).collect::<Result<Vec<_>, _>>()?;
    let (header_texts, header_names) = (pointers(&header_texts), pointers(&header_names));
    let options = pointers(&options);

    let mut program = Program(ptr::null_mut());
    // SAFETY: all pointers lead to C strings that live until the end of this function, beyond the
    // program, and both arrays have as many entries as the count says.
    unsafe {
        nvrtcCreateProgram(
            &mut program.0,
            text.as_ptr(),
            file.as_ptr(),
            headers.len() as c_int,
            header_texts.as_ptr(),
            header_names.as_ptr(),
        )
    }?;
    // SAFETY: the program is alive, and the array has as many entries as the count says.
    let compiled =
        unsafe { nvrtcCompileProgram(program.0, options.len() as c_int, options.as_ptr()) };
    let log = program.fetch(nvrtcGetProgramLogSize, nvrtcGetProgramLog);
    let log = String::from_utf8_lossy(&log.unwrap_or_default()).trim_matches(['\0', '\n']).into();
    if let Err(error) = compiled {
        return Err(CompileError { log, ..error });
    }
    let code = match target {
        Target::Cubin(_) => program.fetch(nvrtcGetCUBINSize, nvrtcGetCUBIN),
        Target::Ptx(_) => program.fetch(nvrtcGetPTXSize, nvrtcGetPTX),
    }?;
    Ok(Compiled { code, log })
}

impl Program {
    /// What one pair of NVRTC's functions gives: the first tells the size, the second the content.
    fn fetch(
        &self,
        size_of: unsafe fn(nvrtcProgram, *mut usize) -> Result<(), CompileError>,
        content: unsafe fn(nvrtcProgram, *mut c_char) -> Result<(), CompileError>,
    ) -> Result<Vec<u8>, CompileError> {
        let mut size = 0;
        // SAFETY: the program is alive and the pointer valid for writes.
        unsafe { size_of(self.0, &mut size) }?;
        let mut bytes = vec![0_u8; size];
        // SAFETY: as above, and there is room for as many bytes as NVRTC just said it writes.
        unsafe { content(self.0, bytes.as_mut_ptr().cast()) }?;
        Ok(bytes)
    }
}

/// NVRTC's names of its answers, by their numbers.
macro_rules! answers {
    ($($name:ident)*) => {
        const ANSWERS: &[(c_int, &str)] = &[$((Declared::$name as c_int, stringify!($name))),*];
    };
}

answers! {
    NVRTC_ERROR_OUT_OF_MEMORY NVRTC_ERROR_PROGRAM_CREATION_FAILURE NVRTC_ERROR_INVALID_INPUT
    NVRTC_ERROR_INVALID_PROGRAM NVRTC_ERROR_INVALID_OPTION NVRTC_ERROR_COMPILATION
    NVRTC_ERROR_BUILTIN_OPERATION_FAILURE NVRTC_ERROR_NO_NAME_EXPRESSIONS_AFTER_COMPILATION
    NVRTC_ERROR_NO_LOWERED_NAMES_BEFORE_COMPILATION NVRTC_ERROR_NAME_EXPRESSION_NOT_VALID
    NVRTC_ERROR_INTERNAL_ERROR NVRTC_ERROR_TIME_FILE_WRITE_FAILED
    NVRTC_ERROR_NO_PCH_CREATE_ATTEMPTED NVRTC_ERROR_PCH_CREATE_HEAP_EXHAUSTED
    NVRTC_ERROR_PCH_CREATE NVRTC_ERROR_CANCELLED NVRTC_ERROR_TIME_TRACE_FILE_WRITE_FAILED
}

impl CompileError {
    /// The function that was to be called is not there.
    const MISSING: Self =
        Self { code: Cow::Borrowed("a function that is not there"), log: String::new() };

    fn check(answer: c_int) -> Result<(), Self> {
        if answer == 0 {
            return Ok(());
        }
        let known = ANSWERS.iter().find(|(number, _)| *number == answer);
        let code = match known {
            Some(&(_, name)) => name.into(),
            None => format!("error {answer} (unknown error)").into(),
        };
        Err(Self { code, log: String::new() })
    }
}

fn c_string(text: &str) -> Result<CString, CompileError> {
    CString::new(text)
        .map_err(|_| CompileError { code: "zero byte in the source".into(), log: String::new() })
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_are_these() {
        let common = ["--std=c++17", "--fmad=true", "--ftz=false", "--prec-div=true"];
        let expected = |target: &str, rest: &[&str]| {
            let mut all = vec![format!("--gpu-architecture={target}")];
            all.extend(common.iter().chain(["--prec-sqrt=true"].iter()).map(|&o| o.into()));
            all.extend(rest.iter().map(|&o| o.into()));
            all
        };
        assert_eq!(
            options(Target::Cubin(90), &Variant::of(Scalar::Float)),
            expected("sm_90", &["-DSCALAR=float"])
        );
        assert_eq!(
            options(Target::Ptx(121), &Variant::of(Scalar::Double)),
            expected("compute_121", &["-DSCALAR=double", "-DSCALAR_IS_DOUBLE"])
        );
        let float = Variant::of(Scalar::Float);
        let constants = Constants::new(&[25, 28, 0]).unwrap();
        for (precision, name) in [(Precision::Tf32, "TF32"), (Precision::Bf16, "BF16")] {
            let precision_is = format!("-DPRECISION=PRECISION_{name}");
            assert_eq!(
                options(Target::Cubin(80), &Variant { precision, constants, ..float }),
                expected("sm_80", &["-DSCALAR=float", &precision_is, "-DGEOMETRY=25,28,0"])
            );
        }
        assert_eq!(Constants::new(&[1; MAX_CONSTANTS + 1]), None);
    }

    #[test]
    fn a_known_device_gets_its_own_code_and_a_newer_one_ptx() {
        let supported = [75, 80, 86, 90, 120];
        assert_eq!(Target::choose((8, 6), &supported), Some(Target::Cubin(86)));
        assert_eq!(Target::choose((13, 0), &supported), Some(Target::Ptx(120)));
        assert_eq!(Target::choose((8, 7), &supported), Some(Target::Ptx(86)));
        assert_eq!(Target::choose((7, 0), &supported), None);
        assert_eq!(Target::choose((9, 0), &[]), None);
    }

    #[test]
    fn scalars_are_named_as_in_cuda() {
        assert_eq!(Scalar::of::<f32>().to_string(), "float");
        assert_eq!(Scalar::of::<f64>().to_string(), "double");
    }
}
