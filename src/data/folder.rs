//! Finds and reads the two files of a folder or a zip archive, or the folder's images.

use std::fs;
use std::path::{Path, PathBuf};

use super::text::{base, is_zip_file, names_in, without_csv};
use super::{DataError, Split, read_csv, split_from_tables};
use crate::support::words;

const TRAIN_NAMES: [&str; 1] = ["sign_mnist_train.csv"];

/// Kaggle calls the second part test, the course valid.
const VALID_NAMES: [&str; 2] = ["sign_mnist_valid.csv", "sign_mnist_test.csv"];

/// What may follow the names: packed one by one.
const ENDINGS: [&str; 3] = ["", ".gz", ".zip"];

/// The two files of a folder or a zip archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderFiles {
    /// The file of the images to learn from; one in an archive is named as if the archive were a
    /// folder.
    pub train: PathBuf,
    /// The file of the images to measure on.
    pub valid: PathBuf,
}

impl FolderFiles {
    /// Finds both files in `folder`, without reading them: by the names of Kaggle and of the course,
    /// in large or small letters, plain or with `.gz` or `.zip` at the end, each also in a folder of
    /// its own as Kaggle packs them; else in the one zip archive there that has both. `folder` may
    /// also be that archive.
    ///
    /// # Errors
    /// If the folder or one of the files is missing, with the names looked for; for archives that
    /// cannot be read, or if several have both.
    pub fn find(folder: impl AsRef<Path>) -> Result<Self, DataError> {
        let folder = folder.as_ref();
        if is_zip_file(folder) {
            return Self::in_archive(folder)?.ok_or_else(|| without_csv(folder));
        }
        if !folder.is_dir() {
            return Err(no_folder(folder));
        }
        let looked = Looked::at(folder);
        match (looked.train, looked.valid) {
            (Some(train), Some(valid)) => Ok(Self { train, valid }),
            (None, None) => match Self::in_archives_of(folder)? {
                Some(files) => Ok(files),
                None => Err(missing(folder, &TRAIN_NAMES)),
            },
            (train, _) => {
                let missing_names = if train.is_none() { &TRAIN_NAMES[..] } else { &VALID_NAMES };
                Err(missing(folder, missing_names))
            }
        }
    }

    /// Whether one of the files lies in `folder`, outside of archives.
    pub fn has_one(folder: impl AsRef<Path>) -> bool {
        let Looked { train, valid, .. } = Looked::at(folder.as_ref());
        train.is_some() || valid.is_some()
    }

    /// Both files in the archive at `path`; none if it lacks one.
    fn in_archive(path: &Path) -> Result<Option<Self>, DataError> {
        let names = names_in(path)?;
        let find = |wanted: &[&str]| {
            // Where Kaggle packs a file twice, the one outside of a folder counts.
            let depth = |name: &&String| name.matches('/').count();
            let candidates =
                wanted.iter().flat_map(|wanted| ENDINGS.map(|end| format!("{wanted}{end}")));
            candidates
                .filter(|wanted| !wanted.ends_with(".zip"))
                .find_map(|wanted| {
                    let is_it = |name: &&String| base(name).eq_ignore_ascii_case(&wanted);
                    names.iter().filter(is_it).min_by_key(depth)
                })
                .map(|name| path.join(name))
        };
        let found = find(&TRAIN_NAMES).zip(find(&VALID_NAMES));
        Ok(found.map(|(train, valid)| Self { train, valid }))
    }

    /// Both files in one of the archives in `folder`.
    fn in_archives_of(folder: &Path) -> Result<Option<Self>, DataError> {
        let mut found = Vec::new();
        let mut damaged = None;
        for path in plain_files(folder).filter(|path| ends_with(path, "zip") && is_zip_file(path)) {
            match Self::in_archive(&path) {
                Ok(Some(files)) => found.push((path, files)),
                Ok(None) => {}
                Err(error) => damaged = Some(error),
            }
        }
        match (found.len(), damaged) {
            (0, Some(error)) => Err(error),
            (0 | 1, _) => Ok(found.pop().map(|(_, files)| files)),
            _ => {
                let names: Vec<String> = found.iter().map(|(path, _)| words::path(path)).collect();
                let message = format!("several archives hold the files: {}", names.join(", "));
                Err(DataError::new(message).in_file(folder).with_help("name one of them"))
            }
        }
    }

    /// What the user should know about what else lies there.
    fn notice(&self, folder: &Path) -> Option<String> {
        let looked = Looked::at(folder);
        let is_other = |path: &PathBuf| *path != self.valid && self.valid.parent() == Some(folder);
        let other = looked.other_valid.filter(is_other)?;
        Some(format!(
            "{} is not read: {} is there too",
            words::path(other.file_name().unwrap_or_default().as_ref()),
            words::path(self.valid.file_name().unwrap_or_default().as_ref())
        ))
    }
}

/// What lies in a folder under one of the names.
struct Looked {
    train: Option<PathBuf>,
    valid: Option<PathBuf>,
    /// A second file to measure on.
    other_valid: Option<PathBuf>,
}

impl Looked {
    fn at(folder: &Path) -> Self {
        let files: Vec<PathBuf> = plain_files(folder).collect();
        let find = |name: &str| {
            let names = ENDINGS.map(|ending| format!("{name}{ending}"));
            let exact = names.iter().map(|name| folder.join(name));
            let any_case = names.iter().flat_map(|name| {
                files.iter().filter(move |file| {
                    let own = file.file_name().unwrap_or_default();
                    own.eq_ignore_ascii_case(name.as_str())
                })
            });
            // Kaggle's archive has each file a second time, in a folder called like it.
            let nested = folder.join(name.trim_end_matches(".csv")).join(name);
            exact.chain(any_case.cloned()).chain([nested]).find(|path| path.is_file())
        };
        let train = TRAIN_NAMES.iter().find_map(|name| find(name));
        let mut valid = VALID_NAMES.iter().filter_map(|name| find(name));
        Self { train, valid: valid.next(), other_valid: valid.next() }
    }
}

/// The plain files in a folder, sorted by name; none if it cannot be read.
fn plain_files(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    files.into_iter()
}

fn ends_with(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|own| own.eq_ignore_ascii_case(ending))
}

fn no_folder(folder: &Path) -> DataError {
    let what = if folder.as_os_str().is_empty() {
        "the name of the folder is empty"
    } else if ends_with(folder, "csv") && folder.is_file() {
        "it is one file; the folder with both is what is asked for"
    } else if folder.exists() {
        "it is not a folder, and no zip archive"
    } else {
        "there is no such folder"
    };
    DataError::new(what).in_file(folder).with_help(
        "give the folder or the zip archive that holds sign_mnist_train.csv and \
         sign_mnist_valid.csv (or sign_mnist_test.csv)",
    )
}

/// The error for a folder without a file of these names.
fn missing(folder: &Path, names: &[&str]) -> DataError {
    let others: Vec<String> = plain_files(folder)
        .filter(|path| ["csv", "gz", "zip"].iter().any(|ending| ends_with(path, ending)))
        .map(|path| format!("{:?}", path.file_name().unwrap_or_default().to_string_lossy()))
        .filter(|name| !TRAIN_NAMES.iter().chain(&VALID_NAMES).any(|known| name.contains(known)))
        .collect();
    let mut message = format!("there is no {} in it", names.join(" or "));
    let mut help =
        "the names are Kaggle's or the course's, plain or with .gz or .zip at the end".to_owned();
    if !others.is_empty() {
        let more = if others.len() > 4 { ", …" } else { "" };
        message += &format!(", but {}{more}", others[..others.len().min(4)].join(", "));
        help = format!("if that is it, give it the name {}; {help}", names[0]);
    }
    DataError::new(message).in_file(folder).with_help(help)
}

/// Reads both files of `folder`, or of the zip archive at `folder`, at the same time.
///
/// # Errors
/// If a file is missing or is not what [`parse_csv`](super::parse_csv) expects, or the labels of
/// the two contradict each other.
pub fn read_folder(folder: impl AsRef<Path>) -> Result<Split, DataError> {
    let folder = folder.as_ref();
    let files = FolderFiles::find(folder)?;
    let (train, valid) = rayon::join(|| read_csv(&files.train), || read_csv(&files.valid));
    let mut split = split_from_tables(train?, valid?, folder)?;
    split.add_notice(files.notice(folder));
    Ok(split)
}
