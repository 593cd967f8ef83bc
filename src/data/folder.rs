//! Finds and reads the two files of a folder, or its images.

use std::path::{Path, PathBuf};

use super::{DataError, Split, read_csv, split_from_tables};

const TRAIN_NAMES: [&str; 2] = ["sign_mnist_train.csv", "sign_mnist_train.csv.gz"];

/// Kaggle calls the second part test, the course valid.
const VALID_NAMES: [&str; 4] = [
    "sign_mnist_valid.csv",
    "sign_mnist_valid.csv.gz",
    "sign_mnist_test.csv",
    "sign_mnist_test.csv.gz",
];

/// The two files of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderFiles {
    /// The file of the images to learn from.
    pub train: PathBuf,
    /// The file of the images to measure on.
    pub valid: PathBuf,
}

impl FolderFiles {
    /// Finds both files in `folder`, without reading them.
    ///
    /// # Errors
    /// If the folder or one of the files is missing, with the names looked for.
    pub fn find(folder: impl AsRef<Path>) -> Result<Self, DataError> {
        let folder = folder.as_ref();
        if !folder.is_dir() {
            let what = if folder.as_os_str().is_empty() {
                "the name of the folder is empty"
            } else if folder.exists() {
                "it is not a folder"
            } else {
                "there is no such folder"
            };
            return Err(DataError::new(what).in_file(folder).with_help(
                "give the folder that holds sign_mnist_train.csv and sign_mnist_valid.csv \
                 (or sign_mnist_test.csv) or a sub-folder of images per class, or use --data \
                 synthetic",
            ));
        }
        Ok(Self { train: find(folder, &TRAIN_NAMES)?, valid: find(folder, &VALID_NAMES)? })
    }
}

fn find(folder: &Path, names: &[&str]) -> Result<PathBuf, DataError> {
    names.iter().map(|name| folder.join(name)).find(|path| path.is_file()).ok_or_else(|| {
        let plain: Vec<_> = names.iter().copied().filter(|name| name.ends_with(".csv")).collect();
        DataError::new(format!("there is no {} in it", plain.join(" or ")))
            .in_file(folder)
            .with_help(
                "the names are Kaggle's or the course's, plain or with .gz at the end; images lie \
                 in a sub-folder per class",
            )
    })
}

/// Reads both files of `folder`, at the same time; with the feature `cli`, a folder that has none
/// of them but sub-folders is read as images, one sub-folder per class.
///
/// # Errors
/// If a file is missing or is not what [`parse_csv`](super::parse_csv) expects, or the labels of
/// the two contradict each other; for images, as `read_image_folder`.
pub fn read_folder(folder: impl AsRef<Path>) -> Result<Split, DataError> {
    let folder = folder.as_ref();
    #[cfg(feature = "cli")]
    {
        let mut names = TRAIN_NAMES.iter().chain(&VALID_NAMES);
        let has_file = names.any(|name| folder.join(name).exists());
        if !has_file && super::image_folder::has_sub_folders(folder) {
            return super::read_image_folder(folder);
        }
    }
    let files = FolderFiles::find(folder)?;
    let (train, valid) = rayon::join(|| read_csv(&files.train), || read_csv(&files.valid));
    split_from_tables(train?, valid?, folder)
}
