//! Files that are no CSV text, named for what their first bytes say they are.

use crate::data::DataError;

/// What a file is, and what makes CSV files of it.
struct Kind {
    name: &'static str,
    help: &'static str,
}

/// How pandas writes a file as CSV that it reads with this function.
macro_rules! pandas {
    ($read:literal) => {
        concat!(
            "write it as CSV with Python: import pandas; pandas.",
            $read,
            "(FILE).to_csv(\"sign_mnist_train.csv\", index=False)"
        )
    };
}

/// Bytes at a place, and the kind of a file that has them.
const MAGIC: [(usize, &[u8], Kind); 18] = [
    (0, b"BZh", Kind { name: "a bzip2 file", help: "unpack it: `bunzip2 FILE`" }),
    (0, b"\xfd7zXZ\0", Kind { name: "an xz file", help: "unpack it: `unxz < FILE > NAME.csv`" }),
    (0, b"\x28\xb5\x2f\xfd", Kind { name: "a Zstandard file", help: "unpack it: `unzstd FILE`" }),
    (0, b"7z\xbc\xaf\x27\x1c", Kind { name: "a 7z archive", help: "unpack it: `7z x FILE`" }),
    (0, b"Rar!\x1a\x07", Kind { name: "a RAR archive", help: "unpack it: `unrar x FILE`" }),
    (257, b"ustar", Kind { name: "a tar archive", help: "unpack it: `tar xf FILE`" }),
    (
        0,
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        Kind { name: "an old Excel workbook", help: "save it as CSV in Excel or LibreOffice" },
    ),
    (0, b"PAR1", Kind { name: "a Parquet file", help: pandas!("read_parquet") }),
    (0, b"ARROW1", Kind { name: "an Arrow (Feather) file", help: pandas!("read_feather") }),
    (0, b"\x89HDF\r\n", Kind { name: "an HDF5 file", help: pandas!("read_hdf") }),
    (
        0,
        b"\x93NUMPY",
        Kind {
            name: "a NumPy array",
            help: "write it as CSV with Python: numpy.savetxt(..., fmt=\"%d\", delimiter=\",\", \
                   header=\"label,\" + \",\".join(f\"pixel{i}\" for i in range(1, 785)), \
                   comments=\"\")",
        },
    ),
    (
        0,
        b"\0\0\x08",
        Kind {
            name: "an IDX file as of the digits of MNIST",
            help: "Sign Language MNIST is published as CSV: download that",
        },
    ),
    (0, b"\x80\x04\x95", Kind { name: "a Python pickle", help: pandas!("read_pickle") }),
    (0, b"\x80\x05\x95", Kind { name: "a Python pickle", help: pandas!("read_pickle") }),
    (
        0,
        b"version https://git-lfs",
        Kind {
            name: "a pointer of Git LFS, not the file itself",
            help: "fetch the file: `git lfs pull`",
        },
    ),
    (0, b"%PDF", Kind { name: "a PDF document", help: DOWNLOAD }),
    (0, b"\x89PNG", Kind { name: "a PNG image", help: IMAGES }),
    (0, b"\xff\xd8\xff", Kind { name: "a JPEG image", help: IMAGES }),
];

const DOWNLOAD: &str = "download the CSV file again";
const IMAGES: &str = "what is read is the CSV files of the images";

/// The error for a file that begins with `head` and is no text in rows; none where it may be.
pub(super) fn refuse(head: &[u8]) -> Option<DataError> {
    let has = |at: usize, bytes: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(bytes));
    let found = MAGIC.iter().find(|(at, bytes, _)| has(*at, bytes)).map(|(_, _, kind)| kind);
    let Kind { name, help } = match found {
        Some(kind) => kind,
        None if is_markup(head) => &Kind { name: "a web page", help: DOWNLOAD },
        None if is_json(head) => &Kind { name: "JSON", help: pandas!("read_json") },
        None => return None,
    };
    Some(DataError::new(format!("it is {name}, not CSV text")).with_help(*help))
}

/// Whether it is HTML or XML: what a download gives that needed a login.
fn is_markup(head: &[u8]) -> bool {
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let begins = |tag: &[u8]| {
        text.get(..tag.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(tag))
    };
    [&b"<!doctype"[..], b"<html", b"<head", b"<?xml"].iter().any(|tag| begins(tag))
}

fn is_json(head: &[u8]) -> bool {
    let text = head.trim_ascii_start();
    let after = text.get(1..).unwrap_or_default().trim_ascii_start();
    match text.first() {
        Some(b'{') => after.first().is_some_and(|byte| matches!(byte, b'"' | b'}')),
        Some(b'[') => after.first().is_some_and(|byte| matches!(byte, b'[' | b'{' | b']')),
        _ => false,
    }
}
