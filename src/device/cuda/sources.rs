//! The kernels' source text.
//!
//! `build.rs` puts everything in `kernels/` into the binary: a `signet` that was copied to another
//! machine still has its kernels, and adding one means adding a file.

/// One translation unit: a `.cu` file and the headers it may include.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source {
    /// `conv2d` for `kernels/conv2d.cu`.
    pub(super) name: &'static str,
    /// The path in the repository, as the compiler's messages show it.
    pub(super) file: &'static str,
    /// The text of the file.
    pub(super) text: &'static str,
}

/// A header that kernels include by its name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    /// `common.cuh`.
    pub(super) name: &'static str,
    /// The text of the file.
    pub(super) text: &'static str,
}

// `static SOURCES: &[Source]` and `static HEADERS: &[Header]`, sorted by name.
include!(concat!(env!("OUT_DIR"), "/kernels.rs"));

/// A kernel that does nothing: compiling, loading and running it shows that a device works.
pub(super) const PROBE: Source = Source {
    name: "probe",
    file: "probe.cu",
    text: "extern \"C\" __global__ void probe(unsigned int* out) { *out = 1u; }\n",
};

#[cfg(test)]
const TEST_SOURCES: &[Source] = &[
    Source {
        name: "test_launch",
        file: "src/device/cuda/tests/launch.cu",
        text: include_str!("tests/launch.cu"),
    },
    Source {
        name: "test_broken",
        file: "src/device/cuda/tests/broken.cu",
        text: include_str!("tests/broken.cu"),
    },
];

/// All headers.
pub(super) fn headers() -> &'static [Header] {
    HEADERS
}

/// All kernel files.
pub(super) fn sources() -> &'static [Source] {
    SOURCES
}

/// The file called `name`.
pub(super) fn find(name: &str) -> Option<Source> {
    let found = SOURCES.iter().copied().chain([PROBE]).find(|source| source.name == name);
    #[cfg(test)]
    let found = found.or_else(|| TEST_SOURCES.iter().copied().find(|source| source.name == name));
    found
}
