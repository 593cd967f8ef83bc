//! The text of a file: unpacked, as UTF-8, with lines that end in LF.
//!
//! | file | what it does |
//! |---|---|
//! | `kind.rs` | names what is no text |
//! | `archive.rs` | files in a zip archive |
//! | `bounded.rs` | stops at what unpacks beyond proportion |
//! | `utf16.rs` | UTF-16 to UTF-8 |
//! | `line_ends.rs` | lines that end in CR alone |
//!
//! What a file is, its first bytes tell, not its name. A file in a zip archive is named as if the
//! archive were a folder: `archive.zip/sign_mnist_train.csv`.

mod archive;
mod bounded;
mod kind;
mod line_ends;
mod utf16;

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};

use super::DataError;
use crate::support::FileKind;
use crate::support::words::hex;
use archive::Archive;
pub(super) use archive::{base, is_zip_file, names_in, without_csv};
use bounded::{Bounded, Counted};

/// Bytes that are looked at to tell what a file is: more than the line of names has.
const HEAD: usize = 64 << 10;

/// The largest zip archive that is read from a stream, which cannot be sought in: it is held in
/// memory.
const LARGEST_STREAM: u64 = 256 << 20;

/// How a file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    None,
    Gzip,
    Zip,
}

/// What a file holds once it is unpacked.
pub(super) struct Bytes<'a> {
    pub from: Box<dyn Read + Send + 'a>,
    pub packing: Packing,
}

impl<'a> Bytes<'a> {
    /// The first bytes, which stay to be read; and so does the error that ends them.
    fn head(self) -> (Vec<u8>, Self) {
        let mut from = self.from;
        let mut head = Vec::new();
        let read = (&mut from).take(HEAD as u64).read_to_end(&mut head);
        let again = Cursor::new(head.clone());
        let from: Box<dyn Read + Send + 'a> = match read {
            Ok(_) => Box::new(again.chain(from)),
            Err(error) => Box::new(again.chain(Failed(Some(error)))),
        };
        (head, Self { from, packing: self.packing })
    }

    /// Unpacked, if it is gzip.
    fn gunzipped(self) -> Self {
        let (head, bytes) = self.head();
        if FileKind::of(&head) != Some(FileKind::Gzip) {
            return bytes;
        }
        let (packed, count) = Counted::new(bytes.from);
        let unpacked = MultiGzDecoder::new(BufReader::with_capacity(HEAD, packed));
        Self { from: Box::new(Bounded::new(unpacked, count)), packing: Packing::Gzip }
    }

    /// As UTF-8 without a byte order mark, lines ending in LF or CRLF.
    ///
    /// # Errors
    /// If it is no text.
    pub fn text(self) -> Result<Self, DataError> {
        let (head, mut bytes) = self.head();
        if let Some(error) = kind::refuse(&head) {
            return Err(error);
        }
        if archive::is_zip(&head) {
            let error = DataError::new("it is a zip archive inside of a packed file");
            return Err(error.with_help("unpack the outer one"));
        }
        if utf16::is_utf32(&head) {
            let help = "write it as UTF-8: `iconv -f UTF-32 -t UTF-8 FILE > NAME.csv`";
            return Err(DataError::new("it is UTF-32 text").with_help(help));
        }
        if let Some(order) = utf16::Utf16::of(&head) {
            bytes.from = Box::new(utf16::Decoder::new(bytes.from, order));
        }
        let (head, mut bytes) = bytes.head();
        const MARK: &[u8] = b"\xef\xbb\xbf";
        if head.starts_with(MARK) {
            // They were read a moment ago.
            _ = bytes.from.read_exact(&mut [0; MARK.len()]);
        }
        if line_ends::are_cr(&head) {
            bytes.from = Box::new(line_ends::CrToLf::new(bytes.from));
        }
        Ok(bytes)
    }
}

/// Ends with an error that was met before.
struct Failed(Option<io::Error>);

impl Read for Failed {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

/// Opens the file at `path`, also one in an archive, and lets `read` have what it holds unpacked.
///
/// # Errors
/// If it cannot be opened or unpacked; those of `read`. The file is not named.
pub(super) fn with_file<T>(
    path: &Path,
    read: impl FnOnce(Bytes<'_>) -> Result<T, DataError>,
) -> Result<T, DataError> {
    match File::open(path) {
        Ok(file) if is_zip_file(path) => {
            let mut archive = Archive::new(file)?;
            let name = archive.only_csv(path)?;
            with_member(&mut archive, &name, read)
        }
        Ok(file) => with_stream(file, path, read),
        Err(error) => match archive::split(path) {
            Some((path, name)) => with_member(&mut archive::open(&path)?, &name, read),
            None => Err(DataError::new(format!("cannot open it: {error}"))),
        },
    }
}

/// As [`with_file`], for what `from` gives; `path` is what it is called.
pub(super) fn with_stream<T>(
    from: impl Read + Send,
    path: &Path,
    read: impl FnOnce(Bytes<'_>) -> Result<T, DataError>,
) -> Result<T, DataError> {
    let bytes = Bytes { from: Box::new(from), packing: Packing::None };
    let (head, bytes) = bytes.head();
    if !archive::is_zip(&head) {
        return read(bytes.gunzipped());
    }
    let mut whole = Vec::new();
    bytes
        .from
        .take(LARGEST_STREAM + 1)
        .read_to_end(&mut whole)
        .map_err(|error| read_error(&error, Packing::None))?;
    if whole.len() as u64 > LARGEST_STREAM {
        let message = format!("a zip archive of more than {} MB in a stream", LARGEST_STREAM >> 20);
        return Err(DataError::new(message).with_help("unpack it, or name its file"));
    }
    let mut archive = Archive::new(Cursor::new(whole))?;
    let name = archive.only_csv(path)?;
    with_member(&mut archive, &name, read)
}

fn with_member<T, R: Read + io::Seek + Send>(
    archive: &mut Archive<R>,
    name: &str,
    read: impl FnOnce(Bytes<'_>) -> Result<T, DataError>,
) -> Result<T, DataError> {
    let member = archive.member(name)?;
    read(Bytes { from: Box::new(member), packing: Packing::Zip }.gunzipped())
}

/// What kept unpacked bytes from being read.
pub(super) fn read_error(error: &io::Error, packing: Packing) -> DataError {
    // Readers here put the whole error into those of the system.
    if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<DataError>()) {
        return error.clone();
    }
    let packed = match packing {
        Packing::Gzip => "gzip",
        Packing::Zip => "zip",
        Packing::None => return DataError::new(format!("cannot read it: {error}")),
    };
    let message = match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            format!("the {packed} data ends too early: the file is truncated")
        }
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            format!("the {packed} data is damaged: {error}")
        }
        _ => return DataError::new(format!("cannot read it: {error}")),
    };
    DataError::new(message).with_help("copy or download the file again")
}

/// sha256, in hexadecimal, of what a file holds; the same whether it is packed or not.
///
/// A file in a zip archive is named as if the archive were a folder.
///
/// # Errors
/// If the file cannot be read.
pub fn text_sha256(path: impl AsRef<Path>) -> Result<String, DataError> {
    let path = path.as_ref();
    let hash = |mut bytes: Bytes<'_>| {
        let mut hash = Sha256::new();
        io::copy(&mut bytes.from, &mut hash).map_err(|error| read_error(&error, bytes.packing))?;
        Ok(hex(&hash.finalize()))
    };
    with_file(path, hash).map_err(|error| error.in_file(path))
}
