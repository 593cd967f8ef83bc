//! The kernels' source text.
//!
//! `build.rs` puts everything in `kernels/` into the binary: a `signet` that was copied to another
//! machine still has its kernels, and adding one means adding a file.
#![forbid(unsafe_code)]

use std::sync::OnceLock;

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
        name: "test_mma",
        file: "src/device/cuda/tests/mma.cu",
        text: include_str!("tests/mma.cu"),
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

/// The files of the folder that `SIGNET_KERNELS_DIR` names: in debug builds and with the feature
/// `tuning` alone, so that whoever works on a kernel tries it without building anything, as
/// `scripts/mutate-kernels` does.
///
/// # Panics
/// If one of the binary's files is not there: a wrong folder must not pass for the right one.
#[cfg(any(debug_assertions, feature = "tuning"))]
fn edited() -> Option<&'static Edited> {
    use std::path::Path;
    static EDITED: OnceLock<Option<Edited>> = OnceLock::new();
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
#[cfg(not(any(debug_assertions, feature = "tuning")))]
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

/// What kind of product a file computes, which decides what its operands are rounded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Product {
    /// In files whose names begin with `conv`.
    Convolution,
    /// In all others.
    Matmul,
}

/// The kind of product in the file called `name`; `None` where there is none, or no such file.
pub(super) fn product(name: &str) -> Option<Product> {
    static WITH_PRODUCTS: OnceLock<Vec<&str>> = OnceLock::new();
    let with_products = WITH_PRODUCTS.get_or_init(|| {
        sources().iter().filter(|source| includes_mma(source.text)).map(|s| s.name).collect()
    });
    let product = if name.starts_with("conv") { Product::Convolution } else { Product::Matmul };
    with_products.contains(&name).then_some(product)
}

/// Whether the file called `name` has something to gain from constants: it reads `GEOMETRY`.
pub(super) fn reads_geometry(name: &str) -> bool {
    static READING: OnceLock<Vec<&str>> = OnceLock::new();
    let reading = READING.get_or_init(|| {
        sources().iter().filter(|s| s.text.contains("GEOMETRY")).map(|s| s.name).collect()
    });
    reading.contains(&name)
}

/// Whether a text includes `mma.cuh`, itself or through other headers.
fn includes_mma(text: &str) -> bool {
    let names = text.lines().filter_map(|line| line.strip_prefix("#include \"")?.split('"').next());
    names.into_iter().any(|name| {
        let included = headers().iter().find(|header| header.name == name);
        name == "mma.cuh" || included.is_some_and(|header| includes_mma(header.text))
    })
}

/// The file called `name`.
pub(super) fn find(name: &str) -> Option<Source> {
    let found = sources().iter().copied().chain([PROBE]).find(|source| source.name == name);
    #[cfg(test)]
    let found = found.or_else(|| TEST_SOURCES.iter().copied().find(|source| source.name == name));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_in_the_files_that_include_them() {
        for (name, expected) in [
            ("conv2d", Some(Product::Convolution)),
            ("matmul", Some(Product::Matmul)),
            ("unary", None),
            ("probe", None),
            ("nothing", None),
        ] {
            assert_eq!(product(name), expected, "{name}");
        }
    }

    /// The kernels of a file by the text from their name on, that of helpers behind them included.
    fn kernels(text: &'static str) -> impl Iterator<Item = &'static str> {
        let starts = ["\nextern \"C\" __global__", "\nGEMM_KERNEL("];
        let mut at: Vec<_> = starts.iter().flat_map(|s| text.match_indices(s)).collect();
        at.sort_unstable();
        let ends: Vec<_> = at.iter().skip(1).map(|&(end, _)| end).chain([text.len()]).collect();
        at.into_iter().zip(ends).map(|((start, _), end)| &text[start..end])
    }

    #[test]
    fn every_kernel_of_a_file_that_is_specialised_reads_its_constants() {
        let files: Vec<_> = sources().iter().filter(|s| reads_geometry(s.name)).collect();
        let names: Vec<_> = files.iter().map(|source| source.name).collect();
        assert_eq!(names, ["conv2d", "conv_block"]);
        for source in files {
            let kernels: Vec<_> = kernels(source.text).collect();
            assert!(kernels.len() >= 3, "{}: {}", source.file, kernels.len());
            for kernel in kernels {
                // Its body alone: up to the first line that ends it.
                let body = kernel.split_inclusive("\n}").next().unwrap_or_default();
                assert!(body.contains("specialise("), "{}:{body}", source.file);
            }
        }
    }
}
