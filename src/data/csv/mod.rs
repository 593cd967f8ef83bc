//! Reads one CSV file of labelled images: `label,pixel1,...,pixel784`.
//!
//! | file | what it does |
//! |---|---|
//! | `lines.rs` | text in blocks of whole lines |
//! | `layout.rs` | the line of names: separator, and which column is what |
//! | `rows.rs` | blocks of rows to labels and pixels |
//! | `number.rs` | fields as numbers |
//! | `explain.rs` | why a row is refused |
//!
//! The file is read in blocks of whole lines. While one block is parsed, in parallel pieces, the
//! next one is read and unpacked; so neither the text nor the packed file is ever held whole, and
//! memory beyond the pixels themselves stays at a few blocks.

mod explain;
mod layout;
mod lines;
mod number;
mod rows;
#[cfg(test)]
mod shapes;
#[cfg(test)]
mod tests;

use std::io::Read;
use std::path::{Path, PathBuf};

use csv::{Reader, ReaderBuilder};

use super::text::{Bytes, with_file, with_stream};
use super::{DataError, PIXELS};
use layout::Layout;
use lines::Lines;
use rows::parse_block;

/// Bytes of text read at a time; a row takes about 3 kB.
const BLOCK: usize = 4 << 20;

/// Bytes of text that one task parses: small enough to spread a block over many threads.
const PIECE: usize = 256 << 10;

/// Bytes of the longest line that is looked at; a row takes about 3 kB, 20 kB with the numbers of
/// `numpy.savetxt`. Each comma of a line takes many times its own memory.
const LONGEST_LINE: usize = PIECE;

/// The most images of a file: kernels count pixels in 32 bits. A small packed file can hold more
/// than any memory.
const MAX_ROWS: usize = i32::MAX as usize / PIXELS;

/// The rows of one CSV file, with the labels as they stand there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The file, for messages.
    pub path: PathBuf,
    /// One label per row, 0 to 24.
    pub labels: Vec<u8>,
    /// 784 bytes per row, `[28, 28]` row-major.
    pub pixels: Vec<u8>,
    /// The first line with label 9, which only the course's convention has.
    pub first_nine: Option<u64>,
    /// The first line with label 24, which only Kaggle's convention has.
    pub first_twenty_four: Option<u64>,
}

/// Reads the CSV file at `path`, plain, gzip or in a zip archive.
///
/// A file in an archive of several is named as if the archive were a folder:
/// `archive.zip/sign_mnist_train.csv`.
///
/// # Errors
/// If the file cannot be read or is not what [`parse_csv`] expects.
pub fn read_csv(path: impl AsRef<Path>) -> Result<Table, DataError> {
    let path = path.as_ref();
    with_file(path, |bytes| parse(bytes, path)).map_err(|error| error.in_file(path))
}

/// Reads CSV text, plain, gzip or the only CSV file of a zip archive (told by its first bytes, not
/// by a name); `path` is for messages.
///
/// What programs make of such files is read as well: UTF-8 or UTF-16, with or without a byte order
/// mark; lines that end in LF, CRLF or CR; empty lines; columns separated by commas, semicolons,
/// tabs, bars or spaces; quotes and spaces around values; whole numbers like `107.0`; the label as
/// the last column; columns before the label that number the rows (without a name, `index`,
/// `Unnamed: 0`); columns at the end that have neither a name nor a value.
///
/// # Errors
/// With line and column, if the header is not `label,pixel1,...,pixel784`, a row has another number
/// of columns, a label is not 0 to 24 or a pixel not 0 to 255, there is no row, there are more than
/// 2.7 million, or reading fails; if it is a file of another kind, which is named, or a packed one
/// that unpacks to more than 64 MB and 200 times its size.
pub fn parse_csv(reader: impl Read + Send, path: impl AsRef<Path>) -> Result<Table, DataError> {
    let path = path.as_ref();
    with_stream(reader, path, |bytes| parse(bytes, path)).map_err(|error| error.in_file(path))
}

fn parse(bytes: Bytes<'_>, path: &Path) -> Result<Table, DataError> {
    let mut table = Table {
        path: path.to_path_buf(),
        labels: Vec::new(),
        pixels: Vec::new(),
        first_nine: None,
        first_twenty_four: None,
    };
    let mut lines = Lines::new(bytes.text()?);
    let mut block = lines.next_block()?;
    let (layout, mut line) = Layout::split_off(&mut block)?;
    while !block.is_empty() {
        let (rows, next) =
            rayon::join(|| parse_block(&block, &layout, &mut table, line), || lines.next_block());
        line = rows?;
        if table.labels.len() > MAX_ROWS {
            let message = format!("there are more than {MAX_ROWS} images: no device takes them");
            return Err(DataError::new(message).at_line(line - 1));
        }
        block = next?;
    }
    if table.labels.is_empty() {
        return Err(DataError::new("there is a header but no row of data").at_line(1));
    }
    Ok(table)
}

fn csv_reader(text: &[u8], separator: u8) -> Reader<&[u8]> {
    // `flexible`: the number of columns is checked here, with a message that says which row.
    // Quotes are taken off here too: a stray one must not join lines.
    let mut builder = ReaderBuilder::new();
    builder.has_headers(false).flexible(true).quoting(false).delimiter(separator);
    builder.from_reader(text)
}
