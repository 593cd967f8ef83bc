//! The data set as a user of the library sees it: folders with files, and the synthetic set.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use signet::data::{Convention, DataError, Source, read_folder, synthetic};

/// A CSV file with these labels; pixel p of row r is (7 r + p) % 256.
fn csv(labels: impl IntoIterator<Item = u8>, end: &str) -> String {
    let mut text: String = (1..=784).fold("label".to_owned(), |s, p| s + &format!(",pixel{p}"));
    text += end;
    for (row, label) in labels.into_iter().enumerate() {
        text += &label.to_string();
        (0..784).for_each(|pixel| text += &format!(",{}", (7 * row + pixel) % 256));
        text += end;
    }
    text
}

fn kaggle() -> impl Iterator<Item = u8> {
    (0..25).filter(|&label| label != 9)
}

fn write(folder: &Path, name: &str, text: &str) {
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
