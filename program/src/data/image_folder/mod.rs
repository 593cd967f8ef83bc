//! A folder with one sub-folder of images per class, to a [`Split`].
//!
//! | file | what it does |
//! |---|---|
//! | `scan.rs` | the image files in folders, and what else lies there |
//! | `parts.rs` | `train/` with `val/` or `test/` |
//!
//! The images lie in `CLASS/`, and then a fifth of each class is kept for validation; or in
//! `train/CLASS/` and `valid/CLASS/`. Folders in a class's folder belong to the class. Each image is
//! squeezed to 28x28 and made grey.

mod parts;
mod scan;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::photo::{Crop, MAX_BYTES, decode, is_animation};
use crate::words;
use parts::{Parts, parts};
use scan::{Entry, KINDS, Kind, all_image_files, class_name, entries, real, sub_folders};
pub use scan::{ImageFiles, Skipped, has_sub_folders, image_files};
use signet::data::Image;
use signet::data::{DataError, Dataset, SIDE, Source, Split};

/// Labels are bytes.
const MAX_CLASSES: usize = 256;

const HELP: &str = "the images of each class lie in a sub-folder of its name, either right in the \
                    folder or in train/ and valid/ (or val/, or test/) in it";

/// The images of one class.
struct Class {
    name: String,
    /// Its folders: more than one where their names differ in how letters are composed alone.
    folders: Vec<PathBuf>,
    files: Vec<PathBuf>,
}

/// Reads a folder of image folders.
///
/// Names of classes are composed (NFC). What is passed over is counted in the split's notice.
///
/// # Errors
/// If there are fewer than two classes or more than 256, a class without images or, where a part
/// must be kept for validation, with only one; if a class is in one of `train/` and `valid/` only;
/// and if images cannot be read: all are tried, the first are named.
pub fn read_image_folder(folder: &Path) -> Result<Split, DataError> {
    let mut skipped = Skipped::default();
    let Parts { train, valid, ignored } = parts(folder)?;
    if train != folder {
        count_files(folder, &mut skipped)?;
    }
    let [train, valid] = match valid {
        Some(valid) => {
            let folders = [train, valid];
            let [train, valid] =
                [classes(&folders[0], &mut skipped)?, classes(&folders[1], &mut skipped)?];
            same_classes(&folders, &train, &valid)?;
            [train, valid]
        }
        None => {
            let classes = classes(&train, &mut skipped)?;
            divided(classes)?
        }
    };
    let name = words::path(folder);
    let (train, train_animations) = dataset(folder, &train, format!("{name}, train"))?;
    let below = |file: &PathBuf| file.strip_prefix(folder).unwrap_or(file).to_path_buf();
    let valid_files = valid.iter().flat_map(|class| &class.files).map(below).collect();
    let (valid, valid_animations) = dataset(folder, &valid, format!("{name}, valid"))?;
    let source = Source::Images { path: folder.to_path_buf(), valid: valid_files };
    let mut split = Split { train, valid, source, notice: None };
    if !ignored.is_empty() {
        split.add_notice(Some(format!("not read in {name}: {}", ignored.join(", "))));
    }
    if !skipped.is_empty() {
        split.add_notice(Some(format!("not read in {name}: {skipped}; images are {KINDS}")));
    }
    split.add_notice(match train_animations + valid_animations {
        0 => None,
        1 => Some("of 1 animation the first frame is read".to_owned()),
        n => Some(format!("of {n} animations the first frame is read")),
    });
    Ok(split)
}

/// Counts the files right in a folder of parts or of classes, where no image belongs.
fn count_files(folder: &Path, skipped: &mut Skipped) -> Result<(), DataError> {
    for path in entries(folder)? {
        match Entry::of(&path) {
            Entry::Image => skipped.add(Kind::Stray),
            Entry::Folder => {}
            Entry::Other(kind) => skipped.add(kind),
        }
    }
    Ok(())
}

/// The sub-folders of `folder`, each a class, sorted by name.
fn classes(folder: &Path, skipped: &mut Skipped) -> Result<Vec<Class>, DataError> {
    count_files(folder, skipped)?;
    let mut classes: Vec<Class> = Vec::new();
    let mut above = vec![real(folder)?];
    let folders = sub_folders(folder)?;
    if let [only] = &folders[..]
        && sub_folders(only)?.len() > 1
    {
        let message =
            format!("it has one sub-folder, {:?}, which has some itself", class_name(only));
        let help = format!("if these are the classes: --data {:?}", only.display().to_string());
        return Err(DataError::new(message).in_file(folder).with_help(help));
    }
    for path in folders {
        if above.contains(&real(&path)?) {
            skipped.add(Kind::Loop);
            continue;
        }
        let found = all_image_files(&path, &mut above)?;
        if found.files.is_empty() {
            let but = match found.skipped.is_empty() {
                true => String::new(),
                false => format!(", but {}", found.skipped),
            };
            let message = format!("there is no {KINDS} image in the folder of this class{but}");
            return Err(DataError::new(message).in_file(path).with_help(HELP));
        }
        skipped.extend(&found.skipped);
        let name = class_name(&path);
        match classes.iter_mut().find(|class| class.name == name) {
            Some(class) => {
                class.folders.push(path);
                class.files.extend(found.files);
            }
            None => classes.push(Class { name, folders: vec![path], files: found.files }),
        }
    }
    classes.sort_by(|a, b| a.name.cmp(&b.name));
    let message = match classes.len() {
        0 | 1 => "at least two classes are needed",
        2..=MAX_CLASSES => return Ok(classes),
        _ => "at most 256 classes can be told apart",
    };
    let message = format!("{message}, it has {}", classes.len());
    Err(DataError::new(message).in_file(folder).with_help(HELP))
}

fn same_classes(folders: &[PathBuf; 2], train: &[Class], valid: &[Class]) -> Result<(), DataError> {
    let [first, second] = [0, 1].map(|part: usize| words::line(&class_name(&folders[part])));
    for (folder, here, there) in [(&folders[1], valid, train), (&folders[0], train, valid)] {
        let is_here = |name: &str| here.iter().any(|class| class.name == name);
        if let Some(Class { name, .. }) = there.iter().find(|class| !is_here(&class.name)) {
            let alike = here.iter().find(|class| class.name.to_lowercase() == name.to_lowercase());
            let but =
                alike.map_or(String::new(), |class| format!(", but {}", words::line(&class.name)));
            let name = words::line(name);
            let message = format!(
                "there is no class {name} in it{but}; {first}/ and {second}/ must have the same"
            );
            return Err(DataError::new(message).in_file(folder).with_help(HELP));
        }
    }
    Ok(())
}

/// Keeps a fifth of each class for validation, at least one image.
///
/// Which ones follows from the sha256 of the names alone, of the class and of the path below its
/// folder: the files of a class are sorted by it and the first fifth is kept, so the split is the
/// same on every machine.
fn divided(classes: Vec<Class>) -> Result<[Vec<Class>; 2], DataError> {
    let (mut train, mut valid) = (Vec::new(), Vec::new());
    for Class { name, folders, mut files } in classes {
        if files.len() == 1 {
            let message = "the class has one image; at least two are needed, one to learn from and \
                           one to measure on";
            let help = "add images of it; or divide all images yourself, into train/CLASS/ and \
                        valid/CLASS/, where one in each is enough";
            return Err(DataError::new(message).in_file(&folders[0]).with_help(help));
        }
        files.sort_by_cached_key(|file| {
            let below = folders.iter().find_map(|folder| file.strip_prefix(folder).ok());
            let parts = below.unwrap_or(file).iter().map(|part| part.to_string_lossy());
            Sha256::digest(format!("{name}/{}", parts.collect::<Vec<_>>().join("/")))
        });
        let kept = ((files.len() + 2) / 5).max(1);
        let mut rest = files.split_off(kept);
        files.sort();
        rest.sort();
        valid.push(Class { name: name.clone(), folders: folders.clone(), files });
        train.push(Class { name, folders, files: rest });
    }
    Ok([train, valid])
}

/// Decodes the images of one part, on all cores; also says how many of them are animations.
fn dataset(folder: &Path, classes: &[Class], name: String) -> Result<(Dataset, usize), DataError> {
    let files: Vec<(u8, &PathBuf)> = (0..=u8::MAX)
        .zip(classes)
        .flat_map(|(label, class)| class.files.iter().map(move |file| (label, file)))
        .collect();
    let images: Vec<_> = files.par_iter().map(|(_, file)| read(file)).collect();
    let mut pixels = Vec::with_capacity(files.len() * SIDE * SIDE);
    let (mut animations, mut unreadable) = (0, Vec::new());
    for (image, (_, file)) in images.iter().zip(&files) {
        match image {
            Ok((image, is_animation)) => {
                pixels.extend(image);
                animations += usize::from(*is_animation);
            }
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
    let dataset = Dataset {
        pixels,
        labels: files.iter().map(|&(label, _)| label).collect(),
        channels: 1,
        height: SIDE,
        width: SIDE,
        classes: classes.iter().map(|class| class.name.clone()).collect(),
        name,
    };
    Ok((dataset, animations))
}

/// The image of a file as the network sees it, as predict does with `--crop none`; and whether it
/// is the first of an animation.
fn read(file: &Path) -> Result<(Image, bool), String> {
    let size = fs::metadata(file).map_err(|e| e.to_string())?.len();
    if size > MAX_BYTES {
        return Err(format!("it is larger than {} MB", MAX_BYTES / 1_000_000));
    }
    let bytes = fs::read(file).map_err(|e| e.to_string())?;
    let image = Crop::None.image(&decode(&bytes).map_err(|e| e.to_string())?);
    Ok((image, is_animation(&bytes)))
}
