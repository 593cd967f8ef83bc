//! The images of a run: what `--data` says, where they are found or fetched, and how they are read.
//!
//! | file | subject |
//! |---|---|
//! | `locate.rs` | what `--data` says, and where the files may lie |
//! | `published.rs` | the published files: sizes, checksums, addresses |
//! | `download.rs` | fetches them into the cache |
//! | `image_folder/` | a folder with one sub-folder of images per class to a [`Split`] |
#![forbid(unsafe_code)]

mod download;
mod image_folder;
mod locate;
mod published;

pub use download::{Progress, download, mirrors};
pub use image_folder::{ImageFiles, Skipped, has_sub_folders, image_files, read_image_folder};
pub use locate::{Request, cache_folder, find_local};
pub use published::{MIRRORS, PUBLISHED, PublishedFile};

use signet::data::{DataError, FolderFiles, Split};
use std::path::Path;

/// Reads what lies in `folder`, or in the zip archive at `folder`: the two CSV files as
/// [`signet::data::read_folder`] does; where neither is there, the images of its sub-folders, one per
/// class.
///
/// # Errors
/// As [`signet::data::read_folder`] and [`read_image_folder`].
pub fn read_folder(folder: impl AsRef<Path>) -> Result<Split, DataError> {
    let folder = folder.as_ref();
    let is_images = FolderFiles::find(folder).is_err()
        && folder.is_dir()
        && !FolderFiles::has_one(folder)
        && has_sub_folders(folder);
    if is_images {
        return read_image_folder(folder);
    }
    signet::data::read_folder(folder).map_err(|error| with_other_ways(error, folder))
}

/// Where both files were looked for in vain: what else may be there, and what needs no files.
fn with_other_ways(error: DataError, folder: &Path) -> DataError {
    match error.help() {
        Some(help) if error.path() == Some(folder) && !folder.is_file() => {
            let help = format!(
                "{help}; images lie in a sub-folder per class, and `--data synthetic` needs no files"
            );
            error.with_help(help)
        }
        _ => error,
    }
}
