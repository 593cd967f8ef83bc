//! CIFAR-10's binary files.

use super::{DataError, Dataset, Source, Split};
use std::fs;
use std::path::Path;

/// As in `batches.meta.txt`, which lies beside the files.
const CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

const SIDE: usize = 32;

/// Bytes of a record: the class, and the red, the green and the blue plane.
const RECORD: usize = 1 + 3 * SIDE * SIDE;

const TRAIN_FILES: [&str; 5] = [
    "data_batch_1.bin",
    "data_batch_2.bin",
    "data_batch_3.bin",
    "data_batch_4.bin",
    "data_batch_5.bin",
];

const VALID_FILES: [&str; 1] = ["test_batch.bin"];

/// CIFAR-10's images of 3 x 32 x 32 in 10 classes, from the folder `cifar-10-batches-bin` of its binary version
/// for C programs (<https://www.cs.toronto.edu/~kriz/cifar.html>): five files to learn from and one to measure on.
///
/// ```no_run
/// let data = signet::data::read_cifar10("cifar-10-batches-bin")?;
/// assert_eq!((data.train.len(), data.valid.len()), (50_000, 10_000));
/// # Ok::<(), signet::data::DataError>(())
/// ```
///
/// # Errors
/// When a file is missing, is empty, ends within an image, or has a class above 9.
pub fn read_cifar10(folder: impl AsRef<Path>) -> Result<Split, DataError> {
    let folder = folder.as_ref();
    Ok(Split {
        train: read(folder, &TRAIN_FILES, "CIFAR-10, train")?,
        valid: read(folder, &VALID_FILES, "CIFAR-10, valid")?,
        source: Source::Cifar10 { path: folder.to_path_buf() },
        notice: None,
    })
}

fn read(folder: &Path, files: &[&str], name: &str) -> Result<Dataset, DataError> {
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for file in files {
        let path = folder.join(file);
        let wrong = |message: String| DataError::new(message).in_file(&path);
        let bytes = fs::read(&path).map_err(|error| {
            wrong(error.to_string()).with_help(
                "name the folder cifar-10-batches-bin, which the archive of CIFAR-10's binary version holds",
            )
        })?;
        let (records, rest) = bytes.as_chunks::<RECORD>();
        if records.is_empty() || !rest.is_empty() {
            let message = format!("{} bytes are no images of {RECORD} bytes each", bytes.len());
            return Err(wrong(message).with_help("fetch the archive anew, and its binary version"));
        }
        for (index, [class, image @ ..]) in records.iter().enumerate() {
            if usize::from(*class) >= CLASSES.len() {
                let message = format!("image {index} is of class {class}: classes are 0 to 9");
                return Err(wrong(message).with_help("CIFAR-100's files are others"));
            }
            labels.push(*class);
            pixels.extend(image);
        }
    }
    let classes = CLASSES.map(str::to_owned).to_vec();
    let name = name.to_owned();
    Ok(Dataset { pixels, labels, channels: 3, height: SIDE, width: SIDE, classes, name })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record of this class, whose bytes count on from `first`.
    fn record(class: u8, first: u8) -> Vec<u8> {
        let pixels = (0..RECORD - 1).map(|i| first.wrapping_add(i as u8));
        [class].into_iter().chain(pixels).collect()
    }

    /// A folder where each file holds two records, the first of the file's own class.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (class, file) in (0u8..).zip(TRAIN_FILES.iter().chain(&VALID_FILES)) {
            let records = [record(class, class), record(9, 100)].concat();
            fs::write(folder.path().join(file), records).unwrap();
        }
        folder
    }

    #[test]
    fn all_files_are_read_in_their_order() {
        let folder = folder();
        let data = read_cifar10(folder.path()).unwrap();
        assert_eq!(data.train.labels, [0, 9, 1, 9, 2, 9, 3, 9, 4, 9]);
        assert_eq!(data.valid.labels, [5, 9]);
        assert_eq!(data.train.class_name(4), "bird");
        assert_eq!(data.train.image(4), &record(2, 2)[1..]);
        assert_eq!(data.train.image_len(), 3 * 32 * 32);
        assert_eq!(data.source.to_string(), format!("CIFAR-10 ({})", folder.path().display()));
    }

    #[test]
    fn what_is_wrong_with_a_file_is_named() {
        let check = |file: &str, bytes: Option<Vec<u8>>, says: &str| {
            let folder = folder();
            let path = folder.path().join(file);
            match bytes {
                Some(bytes) => fs::write(&path, bytes).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            let error = read_cifar10(folder.path()).unwrap_err();
            assert_eq!(error.path(), Some(&path).map(|path| path.as_path()));
            assert!(error.to_string().contains(says), "{error}");
        };
        let valid = "test_batch.bin";
        check("data_batch_3.bin", None, "No such file");
        check(valid, Some(Vec::new()), "0 bytes are no images of 3073 bytes each");
        check(valid, Some(record(1, 0)[1..].to_vec()), "3072 bytes are no images");
        let records = [record(0, 0), record(10, 0)].concat();
        check(valid, Some(records), "image 1 is of class 10: classes are 0 to 9");
    }
}
