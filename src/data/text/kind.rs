//! Files that are no CSV text, named for what their first bytes say they are.

use crate::data::DataError;
use crate::support::FileKind;

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

const DOWNLOAD: &str = "download the CSV file again";
const IMAGES: &str = "what is read is the CSV files of the images";

/// What makes CSV files of a file of this kind; none where it may be text in rows all the same, or is
/// unpacked.
fn help(kind: FileKind) -> Option<&'static str> {
    Some(match kind {
        FileKind::Bzip2 => "unpack it: `bunzip2 FILE`",
        FileKind::Xz => "unpack it: `unxz < FILE > NAME.csv`",
        FileKind::Zstandard => "unpack it: `unzstd FILE`",
        FileKind::SevenZip => "unpack it: `7z x FILE`",
        FileKind::Rar => "unpack it: `unrar x FILE`",
        FileKind::Tar => "unpack it: `tar xf FILE`",
        FileKind::OldExcel => "save it as CSV in Excel or LibreOffice",
        FileKind::Parquet => pandas!("read_parquet"),
        FileKind::Arrow => pandas!("read_feather"),
        FileKind::Hdf5 => pandas!("read_hdf"),
        FileKind::NumPy => {
            "write it as CSV with Python: numpy.savetxt(..., fmt=\"%d\", delimiter=\",\", \
             header=\"label,\" + \",\".join(f\"pixel{i}\" for i in range(1, 785)), comments=\"\")"
        }
        FileKind::Idx => "Sign Language MNIST is published as CSV: download that",
        FileKind::Pickle => pandas!("read_pickle"),
        FileKind::LfsPointer => "fetch the file: `git lfs pull`",
        FileKind::Pdf => DOWNLOAD,
        FileKind::Png | FileKind::Jpeg => IMAGES,
        _ => return None,
    })
}

/// The error for a file that begins with `head` and is no text in rows; none where it may be.
pub(super) fn refuse(head: &[u8]) -> Option<DataError> {
    let known = || {
        let kind = FileKind::of(head)?;
        Some((kind.name(), help(kind)?))
    };
    let (name, help) = match known() {
        Some(known) => known,
        None if is_markup(head) => ("a web page", DOWNLOAD),
        None if is_json(head) => ("JSON", pandas!("read_json")),
        None => return None,
    };
    Some(DataError::new(format!("it is {name}, not CSV text")).with_help(help))
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
