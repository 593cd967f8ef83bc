//! The constants that say how finely the work of a kernel is cut.
//!
//! They hold for any GPU: they decide in which order numbers are added, and bits must not depend on
//! the card. A build with the feature `tuning` takes them from the environment, so that variants can
//! be timed on a GPU without a build for each; like every edit of a kernel, that may change bits:
//!
//! | variable | in place of |
//! |---|---|
//! | `SIGNET_TUNE_WARPS` | [`Tuning::warps`] |
//! | `SIGNET_TUNE_MIN_SLICE` | [`Tuning::min_slice`] |
//! | `SIGNET_TUNE_GROUP` | [`Tuning::group`] |
//! | `SIGNET_TUNE_CHUNK` | [`Tuning::chunk`] |
//!
//! Each is a whole number, at least 1 (a group: 2 to 32), read once per process. What else a variant
//! changes is in its kernels, which such a build takes from `SIGNET_KERNELS_DIR` too (`sources.rs`).
#![forbid(unsafe_code)]

#[cfg(feature = "tuning")]
use std::sync::OnceLock;

/// How finely work is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tuning {
    /// Warps that fill a GPU, about: a product with fewer has its sums cut into slices.
    pub(crate) warps: u32,
    /// The least elements of a sum that are worth a slice of their own.
    pub(crate) min_slice: u32,
    /// Slices that one block adds up, `GEMM_GROUP` of `gemm.cuh`.
    pub(crate) group: u32,
    /// Pooled elements of a channel that are worth a block, in `conv_block`.
    pub(crate) chunk: u32,
}

impl Tuning {
    /// What all builds without the feature have.
    pub(super) const DEFAULT: Self = Self { warps: 2048, min_slice: 64, group: 8, chunk: 512 };

    /// The constants in use.
    #[cfg(not(feature = "tuning"))]
    pub(crate) const fn get() -> Self {
        Self::DEFAULT
    }

    /// The constants in use. Where a variable is wrong no device opens, so nothing is cut by what
    /// stands here then.
    #[cfg(feature = "tuning")]
    pub(crate) fn get() -> Self {
        Self::of_environment().as_ref().copied().unwrap_or(Self::DEFAULT)
    }

    /// Whether the environment can be used.
    ///
    /// # Errors
    /// What is wrong with which variable.
    #[cfg(not(feature = "tuning"))]
    pub(super) fn check() -> Result<(), String> {
        Ok(())
    }

    /// Whether the environment can be used.
    ///
    /// # Errors
    /// What is wrong with which variable.
    #[cfg(feature = "tuning")]
    pub(super) fn check() -> Result<(), String> {
        Self::of_environment().clone().map(|_| ())
    }

    #[cfg(feature = "tuning")]
    fn of_environment() -> &'static Result<Self, String> {
        static READ: OnceLock<Result<Tuning, String>> = OnceLock::new();
        READ.get_or_init(|| {
            Self::read(|name| {
                std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
            })
        })
    }

    /// The defaults with what `variable` knows in their place; an empty one counts as not set.
    #[cfg(any(test, feature = "tuning"))]
    fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let number = |name: &str, default, least, most| match variable(name) {
            Some(text) if !text.is_empty() => match text.parse() {
                Ok(number) if (least..=most).contains(&number) => Ok(number),
                _ => Err(format!(
                    "{name} is {text:?}, and must be a whole number from {least} to {most}"
                )),
            },
            _ => Ok(default),
        };
        let Self { warps, min_slice, group, chunk } = Self::DEFAULT;
        Ok(Self {
            warps: number("SIGNET_TUNE_WARPS", warps, 1, 1 << 16)?,
            min_slice: number("SIGNET_TUNE_MIN_SLICE", min_slice, 1, 1 << 24)?,
            group: number("SIGNET_TUNE_GROUP", group, 2, 32)?,
            chunk: number("SIGNET_TUNE_CHUNK", chunk, 1, 1 << 24)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_take_the_place_of_the_defaults() {
        assert_eq!(Tuning::read(|_| None), Ok(Tuning::DEFAULT));
        assert_eq!(Tuning::read(|_| Some(String::new())), Ok(Tuning::DEFAULT));
        let read = Tuning::read(|name| {
            let value = match name {
                "SIGNET_TUNE_WARPS" => "1024",
                "SIGNET_TUNE_MIN_SLICE" => "96",
                "SIGNET_TUNE_GROUP" => "16",
                "SIGNET_TUNE_CHUNK" => "256",
                other => panic!("no one documented {other}"),
            };
            Some(value.to_owned())
        });
        assert_eq!(read, Ok(Tuning { warps: 1024, min_slice: 96, group: 16, chunk: 256 }));
    }

    #[test]
    fn a_wrong_variable_is_an_error_that_names_it() {
        for (name, wrong) in [
            ("SIGNET_TUNE_WARPS", "0"),
            ("SIGNET_TUNE_WARPS", "many"),
            ("SIGNET_TUNE_MIN_SLICE", "-64"),
            ("SIGNET_TUNE_GROUP", "1"),
            ("SIGNET_TUNE_GROUP", "33"),
            ("SIGNET_TUNE_CHUNK", "1.5"),
        ] {
            let read = Tuning::read(|asked| (asked == name).then(|| wrong.to_owned()));
            let error = read.expect_err(wrong);
            assert!(error.contains(name) && error.contains(wrong), "{error}");
        }
    }
}
