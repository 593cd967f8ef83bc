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

/// Kernels that take the place of those in the binary.
struct Edited {
    sources: Vec<Source>,
    headers: Vec<Header>,
}

/// The files of the folder that `SIGNET_KERNELS_DIR` names: in debug builds alone, so that whoever
/// works on a kernel tries it without building anything, as `scripts/mutate-kernels` does.
///
/// # Panics
/// If one of the binary's files is not there: a wrong folder must not pass for the right one.
#[cfg(debug_assertions)]
fn edited() -> Option<&'static Edited> {
    use std::path::Path;
    static EDITED: std::sync::OnceLock<Option<Edited>> = std::sync::OnceLock::new();
    let read = |folder: &Path, name: &str| -> &'static str {
        let path = folder.join(name);
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("SIGNET_KERNELS_DIR: {}: {error}", path.display()));
        // Once per process, and used until its end.
        Box::leak(text.into_boxed_str())
    };
    let edited = EDITED.get_or_init(|| {
        let folder = std::env::var_os("SIGNET_KERNELS_DIR").filter(|folder| !folder.is_empty())?;
        let folder = Path::new(&folder);
        let source = |old: &Source| {
            let text = read(folder, &format!("{}.cu", old.name));
            Source { text, ..*old }
        };
        let header = |old: &Header| Header { text: read(folder, old.name), ..*old };
        Some(Edited {
            sources: SOURCES.iter().map(source).collect(),
            headers: HEADERS.iter().map(header).collect(),
        })
    });
    edited.as_ref()
}

/// None: a release build has the kernels that it was built with.
#[cfg(not(debug_assertions))]
fn edited() -> Option<&'static Edited> {
    None
}

/// All headers.
pub(super) fn headers() -> &'static [Header] {
    edited().map_or(HEADERS, |edited| &edited.headers)
}

/// All kernel files.
pub(super) fn sources() -> &'static [Source] {
    edited().map_or(SOURCES, |edited| &edited.sources)
}

/// The file called `name`.
pub(super) fn find(name: &str) -> Option<Source> {
    let found = sources().iter().copied().chain([PROBE]).find(|source| source.name == name);
    #[cfg(test)]
    let found = found.or_else(|| TEST_SOURCES.iter().copied().find(|source| source.name == name));
    found
}
