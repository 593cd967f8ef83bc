//! The published files of Sign Language MNIST: names, sizes, checksums, and where copies lie.

use std::path::Path;

use signet::data::text_sha256;

/// One published file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishedFile<'a> {
    /// The file's name at a mirror and in the cache.
    pub name: &'a str,
    /// Its size in bytes.
    pub size: u64,
    /// Its sha256, in lower-case hexadecimal.
    pub sha256: &'a str,
}

impl PublishedFile<'_> {
    /// Whether the file at `path` is this one, byte for byte.
    pub fn is_at(&self, path: &Path) -> bool {
        // The size first: it is for free, and nearly always tells.
        path.metadata().is_ok_and(|found| found.is_file() && found.len() == self.size)
            && text_sha256(path).is_ok_and(|sha256| sha256 == self.sha256)
    }
}

/// Both files as Kaggle publishes them: CRLF line ends, labels 0 to 24.
pub const PUBLISHED: [PublishedFile<'static>; 2] = [
    PublishedFile {
        name: "sign_mnist_train.csv",
        size: 83_281_065,
        sha256: "4c2897f19fab2b0ae2a7e4fa82e969043315d9f3a1a9cc0948b576bf1189a7e5",
    },
    PublishedFile {
        name: "sign_mnist_test.csv",
        size: 21_777_485,
        sha256: "0e9d67bae23e67f40728e0b63bf15ad4bd5175947b8a9fac5dd9f17ce133c47b",
    },
];

/// Folders with exactly these files, in the order they are tried.
pub const MIRRORS: [&str; 3] = [
    "https://raw.githubusercontent.com/gchilingaryan/Sign-Language/4fbfd8030dc9c7ddca02d0b04cfd6dd91b5478be/",
    "https://raw.githubusercontent.com/lindseyeggleston/sign_mnist/d5ec7ce6313c671a968e2fd5854281ddd2abd34f/data/",
    "https://raw.githubusercontent.com/Vosloo/MNIST-sign-language/1b10f1b20c9e9687a644b5114b76a4a169441d9c/data/",
];
