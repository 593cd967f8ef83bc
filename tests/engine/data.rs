//! The data set as a user of the library sees it: folders with files, and the synthetic set.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use signet::data::{Convention, DataError, DataLoader, Source, read_folder, synthetic};

use crate::common::device::TestDevice;
use crate::on_every_device;

on_every_device! {
    rows_of_any_numbers_are_batches,
    rows_that_do_not_fit_are_errors,
}

/// A CSV file with these labels; pixel p of row r is (7 r + p) % 256.
pub fn csv(labels: impl IntoIterator<Item = u8>, end: &str) -> String {
    let mut text: String = (1..=784).fold("label".to_owned(), |s, p| s + &format!(",pixel{p}"));
    text += end;
    for (row, label) in labels.into_iter().enumerate() {
        text += &label.to_string();
        (0..784).for_each(|pixel| text += &format!(",{}", (7 * row + pixel) % 256));
        text += end;
    }
    text
}

pub fn kaggle() -> impl Iterator<Item = u8> {
    (0..25).filter(|&label| label != 9)
}

pub fn write(folder: &Path, name: &str, text: &str) {
    if name.ends_with(".gz") {
        let file = fs::File::create(folder.join(name)).unwrap();
        let mut encoder = GzEncoder::new(file, Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap();
    } else {
        fs::write(folder.join(name), text).unwrap();
    }
}

#[test]
fn names_packing_line_ends_and_conventions_give_the_same_data() {
    let variants = [
        ("sign_mnist_train.csv", "sign_mnist_test.csv", csv(kaggle(), "\r\n"), csv([24, 10], "\n")),
        ("sign_mnist_train.csv", "sign_mnist_valid.csv", csv(0..24, "\n"), csv([23, 9], "\r\n")),
        ("sign_mnist_train.csv.gz", "sign_mnist_test.csv.gz", csv(0..24, "\n"), csv([23, 9], "\n")),
        (
            "sign_mnist_train.csv.gz",
            "sign_mnist_valid.csv",
            csv(kaggle(), "\n"),
            csv([24, 10], "\n"),
        ),
    ];
    let mut digests = Vec::new();
    for (train_name, valid_name, train, valid) in variants {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), train_name, &train);
        write(folder.path(), valid_name, &valid);
        let split = read_folder(folder.path()).unwrap();
        assert_eq!((split.train.len(), split.valid.len()), (24, 2));
        assert_eq!(split.train.labels, (0..24).collect::<Vec<u8>>());
        assert_eq!((split.valid.class_name(0), split.valid.class_name(1)), ("Y", "K"));
        assert_eq!(split.train.image(2)[..3], [14, 15, 16]);
        assert!(!split.source.is_synthetic());
        let name = format!("Sign Language MNIST ({})", folder.path().display());
        assert_eq!(split.source.to_string(), name);
        digests.push(split.digest());
    }
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]), "{digests:?}");
}

#[test]
fn a_packed_file_is_told_by_its_bytes_not_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "packed.gz", &csv(kaggle(), "\n"));
    fs::rename(folder.path().join("packed.gz"), folder.path().join("sign_mnist_train.csv"))
        .unwrap();
    fs::write(folder.path().join("sign_mnist_valid.csv.gz"), csv([24], "\n")).unwrap();
    let split = read_folder(folder.path()).unwrap();
    let Source::Folder { convention, .. } = split.source else { panic!("{}", split.source) };
    assert_eq!((split.train.len(), convention), (24, Convention::Kaggle));
}

#[test]
fn an_error_says_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "sign_mnist_train.csv", &csv(kaggle(), "\n"));
    let valid = csv([24, 1], "\n").replacen("\n1,7,8,", "\n1,7,300,", 1);
    write(folder.path(), "sign_mnist_valid.csv", &valid);
    let error: DataError = read_folder(folder.path()).unwrap_err();
    assert_eq!(error.path(), Some(&*folder.path().join("sign_mnist_valid.csv")));
    assert_eq!((error.line(), error.column()), (Some(3), Some(3)));
    assert!(error.to_string().ends_with(":3:3: pixel2 is \"300\": pixel values are 0 to 255"));
}

#[test]
fn the_synthetic_set_says_what_it_is() {
    let split = synthetic(7, 24, 24);
    assert!(split.source.is_synthetic());
    assert_eq!(split.source.to_string(), "synthetic hands (seed 7)");
    assert_eq!(split.digest(), synthetic(7, 24, 24).digest());
    assert_ne!(split.digest(), synthetic(8, 24, 24).digest());
    assert_eq!((split.train.channels, split.train.height, split.train.width), (1, 28, 28));
    assert_eq!(split.train.classes.concat(), "ABCDEFGHIKLMNOPQRSTUVWXY");
}

/// Shuffled as images are, wide labels and all; the last batch is smaller.
fn rows_of_any_numbers_are_batches(on: TestDevice) {
    let device = on.open();
    let values: Vec<f64> = (0..42).map(|i| f64::from(i) - 0.5).collect();
    let labels: Vec<i32> = (0..7).map(|row| 1000 * row - 1).collect();
    let loader = DataLoader::from_values(&device, values, [7, 3, 2], labels, 3, Some(11)).unwrap();
    assert_eq!((loader.rows(), loader.batches(), loader.rows_of(2)), (7, 3, 1));
    let mut seen = Vec::new();
    for epoch in [0, 1] {
        let mut order = Vec::new();
        for (batch, rows) in loader.epoch(epoch, 0).unwrap().zip([3, 3, 1]) {
            let (x, y) = batch.unwrap();
            assert_eq!((x.dims(), y.dims()), (&[rows, 3, 2][..], &[rows][..]));
            for (x, y) in x.to_vec().unwrap().chunks(6).zip(y.to_vec().unwrap()) {
                let row = (y + 1) / 1000;
                let expected: Vec<f64> = (0..6).map(|i| f64::from(6 * row + i) - 0.5).collect();
                assert_eq!(x, expected);
                order.push(row);
            }
        }
        let mut sorted = order.clone();
        sorted.sort();
        assert_eq!(sorted, (0..7).collect::<Vec<_>>());
        seen.push(order);
    }
    assert_ne!(seen[0], seen[1]);
    // As images of the same number are.
    let images = synthetic(0, 7, 1);
    let images = DataLoader::<f64>::new(&device, &images.train, 7, Some(11)).unwrap();
    let classes = |batch: signet::Result<signet::data::Batch<f64>>| batch.unwrap().1;
    let shuffled = classes(images.epoch(1, 0).unwrap().next().unwrap()).to_vec().unwrap();
    let plain: Vec<i32> = synthetic(0, 7, 1).train.labels.iter().map(|&l| l.into()).collect();
    assert_eq!(shuffled, seen[1].iter().map(|&row| plain[row as usize]).collect::<Vec<_>>());
}

fn rows_that_do_not_fit_are_errors(on: TestDevice) {
    let device = on.open();
    let make = |values: usize, shape: &[usize], labels: usize, batch_size: usize| {
        let (values, labels) = (vec![0.0_f32; values], vec![0; labels]);
        DataLoader::from_values(&device, values, shape, labels, batch_size, None)
            .map(|loader| loader.batches())
            .map_err(|error| error.to_string())
    };
    assert_eq!(make(6, &[3, 2], 3, 2), Ok(2));
    assert_eq!(make(0, &[0, 2], 0, 2), Ok(0));
    for (values, shape, labels, batch_size, says) in [
        (5, &[3, 2][..], 3, 2, "[3, 2] needs 6 values, got 5"),
        (6, &[3, 2], 2, 2, "2 labels for 3 rows"),
        (6, &[3, 2], 3, 0, "batch_size"),
        (1, &[], 1, 1, "expected [N, ..]"),
    ] {
        let error = make(values, shape, labels, batch_size).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
}
