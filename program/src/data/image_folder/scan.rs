//! The image files in a folder, and what else lies there.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use unicode_normalization::UnicodeNormalization;

use signet::data::DataError;

/// What the names of image files end with, in any case.
const ENDINGS: [&str; 10] =
    ["png", "jpg", "jpeg", "jpe", "jfif", "webp", "gif", "bmp", "tif", "tiff"];

/// The kinds of images that are read, in words.
pub(super) const KINDS: &str = "PNG, JPEG, WebP, GIF, BMP or TIFF";

/// Folders in folders that are looked into.
const DEEPEST: usize = 32;

/// The image files of a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageFiles {
    /// The images, sorted by name.
    pub files: Vec<PathBuf>,
    /// What else is there.
    pub skipped: Skipped,
}

/// What a look into folders passed over, by kind: displayed as `2 .heic, 1 broken link`.
///
/// Hidden files, and what systems leave behind by themselves (`__MACOSX`, `Thumbs.db`,
/// `desktop.ini`), do not count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Skipped(BTreeMap<Kind, usize>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// A file with another ending.
    Ending(String),
    WithoutEnding,
    /// An image that lies in no class's folder.
    Stray,
    Folder,
    BrokenLink,
    /// A link to a folder above it.
    Loop,
    /// A pipe, a socket or a device.
    Special,
}

impl Skipped {
    /// Whether nothing was passed over.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, kind: Kind) {
        *self.0.entry(kind).or_default() += 1;
    }

    pub(super) fn extend(&mut self, other: &Self) {
        for (kind, count) in &other.0 {
            *self.0.entry(kind.clone()).or_default() += count;
        }
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (kind, count)) in self.0.iter().enumerate() {
            let comma = if place > 0 { ", " } else { "" };
            let s = if *count == 1 { "" } else { "s" };
            write!(f, "{comma}{count} ")?;
            match kind {
                Kind::Ending(ending) => write!(f, ".{ending}")?,
                Kind::WithoutEnding => write!(f, "file{s} without an ending")?,
                Kind::Stray => write!(f, "image{s} outside of a class's folder")?,
                Kind::Folder => write!(f, "folder{s}")?,
                Kind::BrokenLink => write!(f, "broken link{s}")?,
                Kind::Loop => write!(f, "link{s} to a folder above")?,
                Kind::Special => write!(f, "special file{s} (pipe, socket or device)")?,
            }
        }
        Ok(())
    }
}

/// What a path leads to, links followed.
pub(super) enum Entry {
    Image,
    Folder,
    Other(Kind),
}

impl Entry {
    pub fn of(path: &Path) -> Self {
        let Ok(found) = fs::metadata(path) else { return Self::Other(Kind::BrokenLink) };
        if found.is_dir() {
            return Self::Folder;
        }
        if !found.is_file() {
            return Self::Other(Kind::Special);
        }
        let Some(ending) = path.extension() else { return Self::Other(Kind::WithoutEnding) };
        if ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known)) {
            return Self::Image;
        }
        let ending = ending.to_string_lossy().to_lowercase();
        let is_short = ending.chars().count() <= 10 && ending.chars().all(char::is_alphanumeric);
        Self::Other(if is_short { Kind::Ending(ending) } else { Kind::WithoutEnding })
    }
}

/// The image files right in `folder`: those that end with .png, .jpg, .jpeg, .jpe, .jfif, .webp,
/// .gif, .bmp, .tif or .tiff.
///
/// # Errors
/// If the folder cannot be read.
pub fn image_files(folder: &Path) -> Result<ImageFiles, DataError> {
    let mut found = ImageFiles::default();
    for path in entries(folder)? {
        match Entry::of(&path) {
            Entry::Image => found.files.push(path),
            Entry::Folder => found.skipped.add(Kind::Folder),
            Entry::Other(kind) => found.skipped.add(kind),
        }
    }
    Ok(found)
}

/// The image files in `folder` and in the folders in it; none that a link leads back to, which
/// `above`, the folders on the way as they are without links, tells.
///
/// # Errors
/// If a folder cannot be read.
pub(super) fn all_image_files(
    folder: &Path,
    above: &mut Vec<PathBuf>,
) -> Result<ImageFiles, DataError> {
    let mut found = ImageFiles::default();
    let real = real(folder)?;
    if above.contains(&real) || above.len() > DEEPEST {
        found.skipped.add(Kind::Loop);
        return Ok(found);
    }
    above.push(real);
    for path in entries(folder)? {
        match Entry::of(&path) {
            Entry::Image => found.files.push(path),
            Entry::Folder => {
                let inner = all_image_files(&path, above)?;
                found.files.extend(inner.files);
                found.skipped.extend(&inner.skipped);
            }
            Entry::Other(kind) => found.skipped.add(kind),
        }
    }
    above.pop();
    found.files.sort();
    Ok(found)
}

/// A folder's path without links.
pub(super) fn real(folder: &Path) -> Result<PathBuf, DataError> {
    fs::canonicalize(folder).map_err(|e| cannot_read(folder, &e))
}

/// Whether `folder` has sub-folders, which is where the images of the classes are.
pub fn has_sub_folders(folder: &Path) -> bool {
    sub_folders(folder).is_ok_and(|folders| !folders.is_empty())
}

/// The folders in a folder, sorted by name.
pub(super) fn sub_folders(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    Ok(entries(folder)?.into_iter().filter(|path| path.is_dir()).collect())
}

/// What lies in a folder, sorted by name, without what is hidden and what systems leave behind.
pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let read = || -> std::io::Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if !is_noise(&entry.file_name()) {
                paths.push(entry.path());
            }
        }
        paths.sort();
        Ok(paths)
    };
    read().map_err(|e| cannot_read(folder, &e))
}

fn is_noise(name: &OsStr) -> bool {
    let of_systems = ["__MACOSX", "Thumbs.db", "desktop.ini"];
    name.as_encoded_bytes().starts_with(b".") || of_systems.iter().any(|noise| name == *noise)
}

fn cannot_read(folder: &Path, error: &std::io::Error) -> DataError {
    DataError::new(format!("cannot be read: {error}")).in_file(folder)
}

/// The name of a class whose folder is at `path`: composed (NFC), since some systems write `é` as
/// two letters and others as one; bytes that are no UTF-8 as `\xFE`, so that two of them stay two.
pub(super) fn class_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    let mut text = String::new();
    for chunk in name.as_encoded_bytes().utf8_chunks() {
        text.extend(chunk.valid().nfc());
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02X}")));
    }
    text
}
