//! Vector instructions, chosen at run time.
//!
//! A program is compiled for any CPU of its architecture and finds out where it runs: crate `pulp`
//! compiles the body of a kernel once per instruction set, and [`Simd::run`] calls the one that was
//! chosen. No kernel has more than one body, and none is `unsafe`.
//!
//! | file | subject |
//! |---|---|
//! | `philox.rs` | random words in vectors |
//! | `tiles.rs` | the two inner loops of convolution |
//! | `winograd.rs` | the steps of a 3x3 convolution with fewer products |
#![forbid(unsafe_code)]

mod philox;
mod tiles;
pub(crate) mod winograd;

pub(crate) use crate::dtype::{Lanes, lanes};
pub(crate) use philox::PhiloxFactors;
pub(crate) use tiles::{BLOCK_COLUMNS, Correlate, ImplicitGemm, PackedRows, Patches};

use crate::{Error, Result};
use pulp::{Arch, WithSimd};
use std::fmt;
use std::str::FromStr;

/// An instruction set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SimdLevel {
    /// x86-64 with AVX-512 (F, BW, CD, DQ, VL): 16 lanes of `f32`, 32 registers.
    Avx512,
    /// x86-64 with AVX2 and FMA: 8 lanes, 16 registers.
    Avx2,
    /// AArch64: 4 lanes, 32 registers.
    Neon,
    /// Any CPU: what the compiler makes of it.
    Scalar,
}

impl SimdLevel {
    /// Every instruction set, the fastest first.
    pub const ALL: [Self; 4] = [Self::Avx512, Self::Avx2, Self::Neon, Self::Scalar];

    /// Those that this machine has, the fastest first.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|level| level.arch().is_some())
    }

    /// Its name: `avx512`, `avx2`, `neon`, `scalar`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Neon => "neon",
            Self::Scalar => "scalar",
        }
    }

    /// The proof that this machine has it.
    fn arch(self) -> Option<Arch> {
        match self {
            #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
            Self::Avx512 => pulp::x86::V4::try_new().map(Arch::V4),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => pulp::x86::V3::try_new().map(Arch::V3),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => pulp::aarch64::Neon::try_new().map(Arch::Neon),
            Self::Scalar => Some(Arch::Scalar),
            _ => None,
        }
    }
}

impl fmt::Display for SimdLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for SimdLevel {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|level| level.name() == text).ok_or_else(|| {
            Error::argument(
                "SIGNET_SIMD",
                format!("no {text:?}; take avx512, avx2, neon or scalar"),
            )
        })
    }
}

/// An instruction set that this machine has.
#[derive(Clone, Copy)]
pub(crate) struct Simd {
    level: SimdLevel,
    arch: Arch,
}

impl Simd {
    /// `level`, if the machine has it.
    pub(crate) fn new(level: SimdLevel) -> Result<Self> {
        level.arch().map(|arch| Self { level, arch }).ok_or_else(|| {
            let available = SimdLevel::available().map(SimdLevel::name).collect::<Vec<_>>();
            let available = available.join(", ");
            let message = format!("this machine or build has no {level}; it has {available}");
            Error::argument("SIGNET_SIMD", message)
        })
    }

    /// What the variable `SIGNET_SIMD` names, else the fastest there is.
    pub(crate) fn of_environment() -> Result<Self> {
        match std::env::var("SIGNET_SIMD") {
            Ok(name) => Self::new(name.parse()?),
            Err(_) => Self::new(SimdLevel::available().next().unwrap_or(SimdLevel::Scalar)),
        }
    }

    pub(crate) fn level(self) -> SimdLevel {
        self.level
    }

    /// Runs a kernel that asks for its vectors.
    pub(crate) fn run<Op: WithSimd>(self, kernel: Op) -> Op::Output {
        self.arch.dispatch(kernel)
    }

    /// Runs plain loops, compiled for the instruction set. The closure, and all it calls but small
    /// functions, must be `#[inline(always)]`: what is not part of its body is compiled for any CPU.
    pub(crate) fn vectorize<R>(self, loops: impl FnOnce() -> R) -> R {
        self.arch.dispatch(loops)
    }
}
