//! Sign Language MNIST in archives, as Kaggle serves it, and under other names.

use std::fs;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use signet::data::{FolderFiles, parse_csv, read_folder, text_sha256};

use crate::data::{csv, kaggle, write};

/// A zip archive of these files.
fn zip(files: &[(&str, &[u8])], method: zip::CompressionMethod) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    // As small as it can be: how far the files that unpack beyond proportion do so depends on it.
    let level = (method == zip::CompressionMethod::Deflated).then_some(9);
    let options = zip::write::SimpleFileOptions::default()
        .compression_method(method)
        .compression_level(level);
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
    // A whole table would be megabytes of a failing test's words.
    let read = |packed: &[u8]| parse_csv(packed, "t.csv").map(|table| table.labels.len());
    let error = read(&packed).unwrap_err();
    assert!(error.to_string().ends_with(message), "{error}");
    assert!(error.line().unwrap() > 1000, "{error}");
    // The same as gzip; and text without a line end, whatever it is.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&text).unwrap();
    let error = read(&encoder.finish().unwrap()).unwrap_err();
    assert!(error.to_string().ends_with(message), "{error}");
    let path = folder.path().join("archive.zip");
    fs::write(&path, deflated(&[(TRAIN, &vec![b'\n'; 80 << 20]), (TEST, b"")])).unwrap();
    let error = text_sha256(path.join(TRAIN)).unwrap_err();
    assert!(error.to_string().ends_with(message), "{error}");
}
