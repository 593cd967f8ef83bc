//! Compiling every kernel for any target, which needs neither GPU nor driver.
#![forbid(unsafe_code)]

use super::kernels::compile_error;
use super::nvrtc::{self, Compiled, Scalar, Target, Variant};
use super::probe::nvrtc_info;
use super::sources;
use crate::device::Precision;
use crate::{Error, Result};

/// A kernel file that compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompiledFile {
    /// `kernels/conv2d.cu`.
    pub file: &'static str,
    /// What `SCALAR` was: `float` or `double`.
    pub scalar: &'static str,
    /// What operands of products are rounded to.
    pub precision: Precision,
    /// The CUBIN.
    pub code: Vec<u8>,
    /// The compiler's log: registers, spills and shared memory of each kernel, and warnings.
    pub log: String,
}

/// Compiles every kernel file, for both scalar types, and those with products for every precision
/// that the target has, to a CUBIN for target `arch` (ten times the
/// compute capability: 90 for an H100).
///
/// # Errors
/// [`Error::Device`] where there is no NVRTC, or with its log where a file does not compile.
pub fn compile_all(arch: u32) -> Result<Vec<CompiledFile>> {
    let target = Target::Cubin(arch);
    let failed = |message| Error::Device { device: target.to_string(), message };
    let nvrtc = nvrtc_info().map_err(|reason| failed(reason.to_string()))?;
    let mut compiled = Vec::new();
    let float = Variant::of(Scalar::Float);
    for source in sources::sources() {
        let precisions = match sources::product(source.name) {
            Some(_) => Precision::of_capability((arch / 10, arch % 10)),
            None => &[Precision::F32],
        };
        let floats = precisions.iter().map(|&precision| Variant { precision, ..float });
        for variant in floats.chain([Variant::of(Scalar::Double)]) {
            let mut options = nvrtc::options(target, &variant);
            options.push("--ptxas-options=-v".into());
            let result = nvrtc::compile(source, sources::headers(), target, &options)
                .map_err(|e| compile_error(source, target, &variant, nvrtc.version, &e));
            let result = result.map_err(failed)?;
            let scalar = if variant.scalar == Scalar::Double { "double" } else { "float" };
            let precision = variant.precision;
            let Compiled { code, log } = result;
            compiled.push(CompiledFile { file: source.file, scalar, precision, code, log });
        }
    }
    Ok(compiled)
}
