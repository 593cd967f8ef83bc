//! The data set as a user of the library sees it: folders with files, and the synthetic set.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use signet::data::{
    Convention, DataError, DataLoader, FolderFiles, Source, parse_csv, read_folder, synthetic,
    text_sha256,
};

use crate::common::device::TestDevice;
use crate::on_every_device;

on_every_device! {
    rows_of_any_numbers_are_batches,
    rows_that_do_not_fit_are_errors,
}

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

/// Shuffled as images are, wide labels and all; the last batch is smaller.
fn rows_of_any_numbers_are_batches<D: TestDevice>() {
    let device = D::open();
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
    let images = DataLoader::<D, f64>::new(&device, &images.train, 7, Some(11)).unwrap();
    let classes = |batch: signet::Result<signet::data::Batch<D, f64>>| batch.unwrap().1;
    let shuffled = classes(images.epoch(1, 0).unwrap().next().unwrap()).to_vec().unwrap();
    let plain: Vec<i32> = synthetic(0, 7, 1).train.labels.iter().map(|&l| l.into()).collect();
    assert_eq!(shuffled, seen[1].iter().map(|&row| plain[row as usize]).collect::<Vec<_>>());
}

fn rows_that_do_not_fit_are_errors<D: TestDevice>() {
    let device = D::open();
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

/// A zip archive of these files.
fn zip(files: &[(&str, &[u8])], method: zip::CompressionMethod) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(method);
    for (name, bytes) in files {
        writer.start_file(name, options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn deflated(files: &[(&str, &[u8])]) -> Vec<u8> {
    zip(files, zip::CompressionMethod::Deflated)
}

const TRAIN: &str = "sign_mnist_train.csv";
const TEST: &str = "sign_mnist_test.csv";

/// The digest of the files as they are in a folder, and their texts.
fn published() -> (String, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let (train, test) = (csv(kaggle(), "\r\n"), csv([24, 10], "\r\n"));
    write(folder.path(), TRAIN, &train);
    write(folder.path(), TEST, &test);
    (read_folder(folder.path()).unwrap().digest(), train, test)
}

#[test]
fn kaggles_archive_is_read_without_unpacking() {
    let (digest, train, test) = published();
    let (train, test) = (train.as_bytes(), test.as_bytes());
    let nested = [
        ("american_sign_language.PNG", &b"\x89PNG"[..]),
        ("__MACOSX/._sign_mnist_test.csv", b"noise"),
        ("sign_mnist_test/sign_mnist_test.csv", b"another"),
        (TEST, test),
        ("sign_mnist_train/sign_mnist_train.csv", train),
    ];
    let archives = [
        deflated(&[(TRAIN, train), (TEST, test)]),
        zip(&[(TEST, test), (TRAIN, train)], zip::CompressionMethod::Stored),
        deflated(&nested),
        deflated(&[("SIGN_MNIST_TRAIN.CSV", train), ("data/sign_mnist_valid.csv", test)]),
    ];
    for bytes in archives {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("archive.zip");
        fs::write(&path, &bytes).unwrap();
        let split = read_folder(&path).unwrap();
        assert_eq!(split.digest(), digest);
        let name = format!("Sign Language MNIST ({})", path.display());
        assert_eq!(split.source.to_string(), name);
        // The folder it lies in, beside others.
        fs::write(folder.path().join("other.zip"), deflated(&[("x.csv", b"x")])).unwrap();
        assert_eq!(read_folder(folder.path()).unwrap().digest(), digest);
        // What is in it has the checksums of what would be unpacked.
        let files = FolderFiles::find(&path).unwrap();
        let unpacked = folder.path().join("unpacked.csv");
        fs::write(&unpacked, train).unwrap();
        assert_eq!(text_sha256(&files.train), text_sha256(&unpacked));
        fs::copy(&path, folder.path().join("second.zip")).unwrap();
        let error = read_folder(folder.path()).unwrap_err().to_string();
        assert!(error.contains("several archives hold the files: "), "{error}");
    }
}

#[test]
fn files_packed_one_by_one_are_read() {
    let (digest, train, test) = published();
    let folder = tempfile::tempdir().unwrap();
    let packed = deflated(&[(TRAIN, train.as_bytes())]);
    fs::write(folder.path().join("sign_mnist_train.csv.zip"), &packed).unwrap();
    // A zip archive that has lost its ending, with more in it than the file.
    let others = [("readme.csv", &b"x"[..]), (TEST, test.as_bytes())];
    fs::write(folder.path().join(TEST), deflated(&others)).unwrap();
    assert_eq!(read_folder(folder.path()).unwrap().digest(), digest);
    // In a stream as in a file; and gzip in zip.
    let table = parse_csv(&packed[..], "t.csv").unwrap();
    assert_eq!(table.labels.len(), 24);
    write(folder.path(), "t.csv.gz", &train);
    let gzip = fs::read(folder.path().join("t.csv.gz")).unwrap();
    assert_eq!(parse_csv(&deflated(&[("t.csv.gz", &gzip)])[..], "t.csv").unwrap(), table);
}

#[test]
fn names_of_files_may_differ_in_case_and_place() {
    let (digest, train, test) = published();
    let folder = |names: [&str; 2]| {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in names.iter().zip([&train, &test]) {
            fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
            write(folder.path(), name, text);
        }
        folder
    };
    for names in [
        ["SIGN_MNIST_TRAIN.CSV", "Sign_MNIST_Test.csv"],
        ["sign_mnist_train/sign_mnist_train.csv", "sign_mnist_test/sign_mnist_test.csv"],
    ] {
        assert_eq!(read_folder(folder(names).path()).unwrap().digest(), digest);
    }
    // Others are named, not guessed at.
    for names in [["train.csv", "test.csv"], ["sign_mnist_train (1).csv", "x.csv.gz"]] {
        let error = read_folder(folder(names).path()).unwrap_err();
        assert!(error.to_string().contains("there is no sign_mnist_train.csv in it, but \""));
        assert!(error.to_string().contains(names[0]), "{error}");
        assert!(error.help().unwrap().contains("give it the name sign_mnist_train.csv"));
    }
    // Of two files to measure on, the one that is not read is named.
    let both = folder([TRAIN, TEST]);
    fs::write(both.path().join("sign_mnist_valid.csv"), &train).unwrap();
    let split = read_folder(both.path()).unwrap();
    assert_eq!(split.valid.len(), 24);
    let notice = "sign_mnist_test.csv is not read: sign_mnist_valid.csv is there too";
    assert_eq!(split.notice.as_deref(), Some(notice));
}

#[test]
fn archives_that_cannot_be_used_are_named_for_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("archive.zip");
    let refused = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let error = read_folder(&path).unwrap_err().to_string();
        let place = format!("{}", path.display());
        error.strip_prefix(&place).unwrap_or_else(|| panic!("{error}")).to_owned()
    };
    let sheet = refused(&deflated(&[("xl/workbook.xml", b"")]));
    assert_eq!(sheet, ": it is an Excel workbook, not CSV text");
    let images = refused(&deflated(&[("A/1.jpg", b""), ("A/2.PNG", b"")]));
    assert_eq!(images, ": the archive holds 2 images, not CSV files");
    assert_eq!(
        refused(&deflated(&[("x.npy", b"")])),
        ": it is an archive of NumPy arrays, not of CSV files"
    );
    assert_eq!(refused(&deflated(&[])), ": the archive holds no file");
    assert!(
        refused(&deflated(&[("a.csv", b"")])).starts_with(": the archive holds \"a.csv\" and no")
    );

    let (_, train, test) = published();
    let whole = deflated(&[(TRAIN, train.as_bytes()), (TEST, test.as_bytes())]);
    let cut = refused(&whole[..whole.len() / 2]);
    assert!(cut.starts_with(": the zip archive is damaged, or not whole: "), "{cut}");
    let mut damaged = whole.clone();
    damaged[200..260].fill(0x55);
    let damage = refused(&damaged);
    assert!(damage.starts_with("/sign_mnist_train.csv:"), "{damage}");
    // A name in the list of files that no other file has.
    let locked = {
        let mut locked = whole.clone();
        for magic in [b"PK\x03\x04", b"PK\x01\x02"] {
            let flags = if magic[2] == 3 { 6 } else { 8 };
            let places: Vec<usize> =
                (0..locked.len() - 4).filter(|&at| locked[at..].starts_with(magic)).collect();
            places.iter().for_each(|at| locked[at + flags] |= 1);
        }
        locked
    };
    assert!(refused(&locked).ends_with("it is locked with a password"), "{}", refused(&locked));
    // Kept for a method that is not read: LZMA.
    let mut other = whole.clone();
    for at in 0..other.len() - 4 {
        let method = match &other[at..at + 4] {
            b"PK\x03\x04" => 8,
            b"PK\x01\x02" => 10,
            _ => continue,
        };
        other[at + method] = 14;
    }
    let other = refused(&other);
    assert!(other.ends_with("it is packed in a way that is not read (only Deflate is)"), "{other}");
}

#[test]
fn names_that_lead_out_of_an_archive_are_refused_by_name() {
    let (_, train, test) = published();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("archive.zip");
    for name in
        ["../../etc/cron.d/x", "/etc/passwd", "a/../../b.csv", "..\\x.csv", "a\u{1b}[31m.csv"]
    {
        let files = [(TRAIN, train.as_bytes()), (TEST, test.as_bytes()), (name, &b"x"[..])];
        fs::write(&path, deflated(&files)).unwrap();
        let error = read_folder(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("the archive has a file called {name:?}")), "{error}");
        assert!(!error.contains('\u{1b}'), "{error}");
    }
}

#[test]
fn what_unpacks_beyond_proportion_is_not_read_to_its_end() {
    let row = [&b"3"[..], &b",0".repeat(784), b"\n"].concat();
    let header = csv([], "\n");
    let rows = (80 << 20) / row.len();
    let text = [header.as_bytes(), &row.repeat(rows)].concat();
    let folder = tempfile::tempdir().unwrap();
    let message = "it unpacks to more than 200 times its size, which no data of photographs does";
    let packed = deflated(&[(TRAIN, &text)]);
    assert!(packed.len() < 1 << 20);
    let error = parse_csv(&packed[..], "t.csv").unwrap_err();
    assert!(error.to_string().ends_with(message), "{error}");
    assert!(error.line().unwrap() > 1000, "{error}");
    // The same as gzip; and text without a line end, whatever it is.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&text).unwrap();
    let error = parse_csv(&encoder.finish().unwrap()[..], "t.csv").unwrap_err();
    assert!(error.to_string().ends_with(message), "{error}");
    let path = folder.path().join("archive.zip");
    fs::write(&path, deflated(&[(TRAIN, &vec![b'\n'; 80 << 20]), (TEST, b"")])).unwrap();
    let error = text_sha256(path.join(TRAIN)).unwrap_err();
    assert!(error.to_string().ends_with(message), "{error}");
}
