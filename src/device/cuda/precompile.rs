//! Compiling every kernel for any target, which needs neither GPU nor driver.

use super::kernels::compile_error;
use super::nvrtc::{self, Compiled, Scalar, Target};
use super::probe::nvrtc_info;
use super::sources;
use crate::{Error, Result};

/// A kernel file that compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompiledFile {
    /// `kernels/conv2d.cu`.
    pub file: &'static str,
    /// What `SCALAR` was: `float` or `double`.
    pub scalar: &'static str,
    /// The CUBIN.
    pub code: Vec<u8>,
    /// The compiler's log: registers, spills and shared memory of each kernel, and warnings.
    pub log: String,
}

/// Compiles every kernel file, for both scalar types, to a CUBIN for `target` (ten times the
/// compute capability: 90 for an H100).
///
/// # Errors
/// [`Error::Device`] where there is no NVRTC, or with its log where a file does not compile.
pub fn compile_all(target: u32) -> Result<Vec<CompiledFile>> {
    let target = Target::Cubin(target);
    let failed = |message| Error::Device { device: target.to_string(), message };
    let nvrtc = nvrtc_info().map_err(|reason| failed(reason.to_string()))?;
    let mut compiled = Vec::new();
    for source in sources::sources() {
        for (scalar, name) in [(Scalar::Float, "float"), (Scalar::Double, "double")] {
            let mut options = nvrtc::options(target, scalar);
            options.push("--ptxas-options=-v".into());
            let result = nvrtc::compile(source, sources::headers(), target, &options)
                .map_err(|e| compile_error(source, target, scalar, nvrtc.version, &e));
            let result = result.map_err(failed)?;
            let Compiled { code, log } = result;
            compiled.push(CompiledFile { file: source.file, scalar: name, code, log });
        }
    }
    Ok(compiled)
}
