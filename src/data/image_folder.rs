//! A folder with one sub-folder of images per class, to a [`Split`].
//!
//! The images lie in `CLASS/`, and then a fifth of each class is kept for validation; or in
//! `train/CLASS/` and `valid/CLASS/`. Each is squeezed to 28x28 and made grey.

use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::{DataError, Dataset, SIDE, Source, Split};
use crate::photo::{Crop, MAX_BYTES, decode};
use crate::predict::Image;
use crate::words;

/// What the names of image files end with, in any case.
const ENDINGS: [&str; 4] = ["png", "jpg", "jpeg", "webp"];

/// The folders that bring a split of their own.
const PARTS: [&str; 2] = ["train", "valid"];

/// Labels are bytes.
const MAX_CLASSES: usize = 256;

const HELP: &str = "the images of each class lie in a sub-folder of its name, either right in the \
                    folder or in train/ and valid/ in it";

/// The image files in `folder`, sorted by name: those that end with .png, .jpg, .jpeg or .webp.
///
/// # Errors
/// If the folder cannot be read.
pub fn image_files(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let is_image = |path: &PathBuf| {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known)) && !path.is_dir()
    };
    Ok(entries(folder)?.into_iter().filter(is_image).collect())
}

/// Whether `folder` has sub-folders, which is where the images of the classes are.
pub(super) fn has_sub_folders(folder: &Path) -> bool {
    entries(folder).is_ok_and(|entries| entries.iter().any(|path| path.is_dir()))
}

/// What lies in a folder, sorted by name, without what is hidden.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let read = || -> std::io::Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if !entry.file_name().as_encoded_bytes().starts_with(b".") {
                paths.push(entry.path());
            }
        }
        paths.sort();
        Ok(paths)
    };
    read().map_err(|e| DataError::new(format!("cannot be read: {e}")).in_file(folder))
}

/// The images of one class.
struct Class {
    name: String,
    files: Vec<PathBuf>,
}

/// Reads a folder of image folders.
///
/// # Errors
/// If there are fewer than two classes or more than 256, a class without images or, where a part
/// must be kept for validation, with only one; if a class is in one of `train/` and `valid/` only;
/// and if images cannot be read: all are tried, the first are named.
pub fn read_image_folder(folder: &Path) -> Result<Split, DataError> {
    let parts = PARTS.map(|part| folder.join(part));
    let [train, valid] = if parts.iter().all(|part| part.is_dir()) {
        let [train, valid] = [classes(&parts[0])?, classes(&parts[1])?];
        same_classes(&parts, &train, &valid)?;
        [train, valid]
    } else {
        divided(folder, classes(folder)?)?
    };
    let name = folder.display();
    Ok(Split {
        train: dataset(folder, &train, format!("{name}, train"))?,
        valid: dataset(folder, &valid, format!("{name}, valid"))?,
        source: Source::Images { path: folder.to_path_buf() },
        notice: None,
    })
}

/// The sub-folders of `folder`, each a class.
fn classes(folder: &Path) -> Result<Vec<Class>, DataError> {
    let mut classes = Vec::new();
    for path in entries(folder)?.into_iter().filter(|path| path.is_dir()) {
        let files = image_files(&path)?;
        if files.is_empty() {
            let message = "there is no PNG, JPEG or WebP image in the folder of this class";
            return Err(DataError::new(message).in_file(path).with_help(HELP));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        classes.push(Class { name, files });
    }
    let message = match classes.len() {
        0 | 1 => "at least two classes are needed",
        2..=MAX_CLASSES => return Ok(classes),
        _ => "at most 256 classes can be told apart",
    };
    let message = format!("{message}, it has {}", classes.len());
    Err(DataError::new(message).in_file(folder).with_help(HELP))
}

fn same_classes(folders: &[PathBuf; 2], train: &[Class], valid: &[Class]) -> Result<(), DataError> {
    for (folder, here, there) in [(&folders[1], valid, train), (&folders[0], train, valid)] {
        let is_here = |name: &str| here.iter().any(|class| class.name == name);
        if let Some(Class { name, .. }) = there.iter().find(|class| !is_here(&class.name)) {
            let message =
                format!("there is no class {name} in it; train/ and valid/ must have the same");
            return Err(DataError::new(message).in_file(folder));
        }
    }
    Ok(())
}

/// Keeps a fifth of each class for validation, at least one image.
///
/// Which ones follows from the sha256 of the paths below `folder` alone: the files of a class are
/// sorted by it and the first fifth is kept, so the split is the same on every machine.
fn divided(folder: &Path, classes: Vec<Class>) -> Result<[Vec<Class>; 2], DataError> {
    let (mut train, mut valid) = (Vec::new(), Vec::new());
    for Class { name, mut files } in classes {
        if files.len() == 1 {
            let message = "the class has one image; at least two are needed, one to learn from and \
                           one to measure on";
            return Err(DataError::new(message).in_file(folder.join(name)));
        }
        files.sort_by_cached_key(|file| {
            let file = file.file_name().unwrap_or_default().to_string_lossy();
            Sha256::digest(format!("{name}/{file}"))
        });
        let kept = ((files.len() + 2) / 5).max(1);
        let mut rest = files.split_off(kept);
        files.sort();
        rest.sort();
        valid.push(Class { name: name.clone(), files });
        train.push(Class { name, files: rest });
    }
    Ok([train, valid])
}

/// Decodes the images of one part, on all cores.
fn dataset(folder: &Path, classes: &[Class], name: String) -> Result<Dataset, DataError> {
    let files: Vec<(u8, &PathBuf)> = (0..=u8::MAX)
        .zip(classes)
        .flat_map(|(label, class)| class.files.iter().map(move |file| (label, file)))
        .collect();
    let images: Vec<_> = files.par_iter().map(|(_, file)| read(file)).collect();
    let mut pixels = Vec::with_capacity(files.len() * SIDE * SIDE);
    let mut unreadable = Vec::new();
    for (image, (_, file)) in images.iter().zip(&files) {
        match image {
            Ok(image) => pixels.extend(image),
            Err(reason) => {
                let file = file.strip_prefix(folder).unwrap_or(file);
                unreadable.push(format!("{} ({reason})", words::path(file)));
            }
        }
    }
    if !unreadable.is_empty() {
        let (wrong, named) = (unreadable.len(), unreadable.len().min(3));
        let more =
            if wrong > named { format!("; and {} more", wrong - named) } else { String::new() };
        let message = format!(
            "{wrong} of {} images cannot be read: {}{more}",
            files.len(),
            unreadable[..named].join("; ")
        );
        return Err(DataError::new(message).in_file(folder).with_help("repair or remove them"));
    }
    Ok(Dataset {
        pixels,
        labels: files.iter().map(|&(label, _)| label).collect(),
        channels: 1,
        height: SIDE,
        width: SIDE,
        classes: classes.iter().map(|class| class.name.clone()).collect(),
        name,
    })
}

/// The image of a file as the network sees it, as predict does with `--crop none`.
fn read(file: &Path) -> Result<Image, String> {
    let size = fs::metadata(file).map_err(|e| e.to_string())?.len();
    if size > MAX_BYTES {
        return Err(format!("it is larger than {} MB", MAX_BYTES / 1_000_000));
    }
    let bytes = fs::read(file).map_err(|e| e.to_string())?;
    Ok(Crop::None.image(&decode(&bytes).map_err(|e| e.to_string())?))
}
