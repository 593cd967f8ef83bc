//! Reads one CSV file of labelled images: `label,pixel1,...,pixel784`.
//!
//! The file is read in blocks of whole lines. While one block is parsed, in parallel pieces, the
//! next one is read and unpacked; so neither the text nor the packed file is ever held whole, and
//! memory beyond the pixels themselves stays at a few blocks.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use csv::{ByteRecord, Reader, ReaderBuilder};
use rayon::prelude::*;

use super::text::plain;
use super::{DataError, PIXELS};

/// Bytes of text read at a time; a row takes about 3 kB.
const BLOCK: usize = 4 << 20;

/// Bytes of text that one task parses: small enough to spread a block over many threads.
const PIECE: usize = 256 << 10;

/// Bytes of the longest line that is looked at; a row takes about 3 kB. Each comma of a line takes
/// many times its own memory.
const LONGEST_LINE: usize = PIECE;

/// The most images of a file: kernels count pixels in 32 bits. A small gzip file can hold more than
/// any memory.
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

/// Reads the CSV file at `path`, plain or gzip.
///
/// # Errors
/// If the file cannot be read or is not what [`parse_csv`] expects.
pub fn read_csv(path: impl AsRef<Path>) -> Result<Table, DataError> {
    let path = path.as_ref();
    let file = File::open(path)
        .map_err(|error| DataError::new(format!("cannot open it: {error}")).in_file(path))?;
    parse_csv(file, path)
}

/// Reads CSV text, plain or gzip (told by its first bytes, not by a name); `path` is for messages.
///
/// Lines end in LF or CRLF, a UTF-8 byte order mark is skipped, and so are empty lines.
///
/// # Errors
/// With line and column, if the header is not `label,pixel1,...,pixel784`, a row has another number
/// of columns, a label is not 0 to 24 or a pixel not 0 to 255, there is no row, there are more than
/// 2.7 million, or reading fails.
pub fn parse_csv(reader: impl Read + Send, path: impl AsRef<Path>) -> Result<Table, DataError> {
    let path = path.as_ref();
    parse(reader, path).map_err(|error| error.in_file(path))
}

fn parse(reader: impl Read + Send, path: &Path) -> Result<Table, DataError> {
    let mut table = Table {
        path: path.to_path_buf(),
        labels: Vec::new(),
        pixels: Vec::new(),
        first_nine: None,
        first_twenty_four: None,
    };
    let mut lines = Lines::new(reader)?;
    let mut block = lines.next_block()?;
    let header = split_header(&mut block)?;
    check_header(&header)?;
    let mut line = 2;
    while !block.is_empty() {
        let (rows, next) =
            rayon::join(|| parse_block(&block, &mut table, line), || lines.next_block());
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

/// Text in blocks of whole lines, unpacked if need be.
struct Lines<'a> {
    text: Box<dyn Read + Send + 'a>,
    is_gzip: bool,
    /// The beginning of a line whose end has not been read yet.
    rest: Vec<u8>,
    /// Whole lines given out so far.
    line: u64,
}

impl<'a> Lines<'a> {
    fn new(reader: impl Read + Send + 'a) -> Result<Self, DataError> {
        let (text, is_gzip) = plain(reader).map_err(|error| read_error(&error, 1, false))?;
        Ok(Self { text, is_gzip, rest: Vec::new(), line: 1 })
    }

    /// The next whole lines, about [`BLOCK`] bytes; empty at the end of the file.
    fn next_block(&mut self) -> Result<Vec<u8>, DataError> {
        let mut block = std::mem::take(&mut self.rest);
        block.reserve(BLOCK.saturating_sub(block.len()));
        let wanted = BLOCK.saturating_sub(block.len()) as u64;
        let read = (&mut self.text)
            .take(wanted)
            .read_to_end(&mut block)
            .map_err(|error| read_error(&error, self.line + newlines(&block), self.is_gzip))?;
        if (read as u64) < wanted {
            // The end: the last line needs no line end.
            return Ok(block);
        }
        let Some(last) = memchr::memrchr(b'\n', &block) else {
            return Err(too_long().at_line(self.line));
        };
        self.rest = block.split_off(last + 1);
        self.line += newlines(&block);
        Ok(block)
    }
}

fn too_long() -> DataError {
    DataError::new(format!(
        "the line is longer than {} kB: this is not a CSV file of images",
        LONGEST_LINE >> 10
    ))
}

fn newlines(text: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', text).count() as u64
}

fn read_error(error: &io::Error, line: u64, is_gzip: bool) -> DataError {
    let message = match error.kind() {
        io::ErrorKind::UnexpectedEof if is_gzip => {
            "the gzip data ends too early: the file is truncated".to_owned()
        }
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData if is_gzip => {
            format!("the gzip data is damaged: {error}")
        }
        _ => return DataError::new(format!("cannot read it: {error}")),
    };
    DataError::new(message).at_line(line).with_help("copy or download the file again")
}

/// Takes the first line off the first block.
fn split_header(block: &mut Vec<u8>) -> Result<Vec<u8>, DataError> {
    if block.is_empty() {
        return Err(DataError::new("the file is empty"));
    }
    let end = memchr::memchr(b'\n', block).map_or(block.len(), |end| end + 1);
    if end > LONGEST_LINE {
        return Err(too_long().at_line(1));
    }
    let rows = block.split_off(end);
    Ok(std::mem::replace(block, rows))
}

/// The name of a column, counted from 0.
fn column_name(column: usize) -> String {
    if column == 0 { "label".to_owned() } else { format!("pixel{column}") }
}

fn csv_reader(text: &[u8]) -> Reader<&[u8]> {
    // `flexible`: the number of columns is checked here, with a message that says which row.
    // The reader itself skips a byte order mark.
    ReaderBuilder::new().has_headers(false).flexible(true).quoting(false).from_reader(text)
}

fn check_header(line: &[u8]) -> Result<(), DataError> {
    const HELP: &str = "the first line must be label,pixel1,...,pixel784, as in Kaggle's \
                        sign_mnist_train.csv";
    let mut record = ByteRecord::new();
    let in_memory = |error: csv::Error| DataError::new(error.to_string()).at_line(1);
    csv_reader(line).read_byte_record(&mut record).map_err(in_memory)?;
    let wrong = |message: String| DataError::new(message).at_line(1).with_help(HELP);
    if record.is_empty() {
        return Err(wrong("the header is missing: the first line is empty".to_owned()));
    }
    if record.get(0).and_then(decimal).is_some() {
        return Err(wrong("the header is missing: the first line is numbers".to_owned()));
    }
    for (column, field) in record.iter().enumerate().take(PIXELS + 1) {
        let name = column_name(column);
        if field != name.as_bytes() {
            let message = format!("the header has {} where {name} must be", quoted(field));
            return Err(wrong(message).at_column(column + 1));
        }
    }
    if record.len() != PIXELS + 1 {
        return Err(wrong(format!("the header has {} columns, not {}", record.len(), PIXELS + 1)));
    }
    Ok(())
}

/// Parses a block that begins at `line` of the file; returns the line after it.
fn parse_block(block: &[u8], table: &mut Table, mut line: u64) -> Result<u64, DataError> {
    let pieces: Vec<_> =
        pieces(block).into_par_iter().map(|text| (newlines(text), Piece::parse(text))).collect();
    for (lines, piece) in pieces {
        let piece = piece.map_err(|error| error.lines_further(line - 1))?;
        table.labels.extend_from_slice(&piece.labels);
        table.pixels.extend_from_slice(&piece.pixels);
        let in_file = |in_piece: Option<u64>| in_piece.map(|number| number + line - 1);
        table.first_nine = table.first_nine.or(in_file(piece.first_nine));
        table.first_twenty_four = table.first_twenty_four.or(in_file(piece.first_twenty_four));
        line += lines;
    }
    Ok(line)
}

/// Cuts text into pieces of whole lines.
fn pieces(mut text: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::with_capacity(text.len() / PIECE + 1);
    while text.len() > PIECE {
        let cut = memchr::memchr(b'\n', &text[PIECE..]).map_or(text.len(), |end| PIECE + end + 1);
        let (piece, rest) = text.split_at(cut);
        pieces.push(piece);
        text = rest;
    }
    pieces.push(text);
    pieces
}

/// The rows of one piece; line numbers count from 1 at its beginning.
#[derive(Default)]
struct Piece {
    labels: Vec<u8>,
    pixels: Vec<u8>,
    first_nine: Option<u64>,
    first_twenty_four: Option<u64>,
}

impl Piece {
    fn parse(text: &[u8]) -> Result<Self, DataError> {
        let mut piece = Self::default();
        if text.len() > PIECE + LONGEST_LINE {
            // It ends with the line in which it grew too long.
            return Err(too_long().at_line(newlines(text).max(1)));
        }
        piece.pixels.reserve(text.len() / 4);
        let mut reader = csv_reader(text);
        let mut record = ByteRecord::new();
        loop {
            let start = reader.position().byte() as usize;
            let more = reader
                .read_byte_record(&mut record)
                .map_err(|error| DataError::new(error.to_string()).at_line(line_at(text, start)))?;
            if !more {
                return Ok(piece);
            }
            if !piece.push(&record) {
                return Err(explain(&record).at_line(line_at(text, start)));
            }
            match piece.labels.last() {
                Some(9) if piece.first_nine.is_none() => {
                    piece.first_nine = Some(line_at(text, start));
                }
                Some(24) if piece.first_twenty_four.is_none() => {
                    piece.first_twenty_four = Some(line_at(text, start));
                }
                _ => {}
            }
        }
    }

    /// Adds a row, or says `false` if anything about it is wrong, its length included: the reason
    /// is worked out apart, so that the rows that are right pay nothing for it.
    fn push(&mut self, record: &ByteRecord) -> bool {
        let mut fields = record.iter();
        let Some(label @ 0..=24) = fields.next().and_then(byte) else { return false };
        let first = self.pixels.len();
        self.pixels.extend(fields.map_while(byte));
        self.labels.push(label);
        self.pixels.len() == first + PIXELS
    }
}

/// The line, counted from 1, of the record that is read from `start` on.
///
/// A reader's position lies before the line end and the empty lines that it will skip.
fn line_at(text: &[u8], start: usize) -> u64 {
    let blank = text[start..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    1 + newlines(&text[..start + blank])
}

/// A decimal number 0 to 255 of at most three digits.
#[inline]
fn byte(field: &[u8]) -> Option<u8> {
    let digit = |byte: u8| {
        let value = byte.wrapping_sub(b'0');
        (value < 10).then_some(u16::from(value))
    };
    let value = match *field {
        [a] => digit(a)?,
        [a, b] => digit(a)? * 10 + digit(b)?,
        [a, b, c] => digit(a)? * 100 + digit(b)? * 10 + digit(c)?,
        _ => return None,
    };
    u8::try_from(value).ok()
}

/// Any number, for messages.
fn decimal(field: &[u8]) -> Option<f64> {
    std::str::from_utf8(field).ok()?.trim().parse().ok()
}

/// Why [`Piece::push`] refused a row.
fn explain(record: &ByteRecord) -> DataError {
    if record.len() != PIXELS + 1 {
        return DataError::new(format!(
            "the row has {} column{}, not {} (label and {PIXELS} pixels)",
            record.len(),
            if record.len() == 1 { "" } else { "s" },
            PIXELS + 1
        ));
    }
    let is_wrong = |&(column, field): &(usize, &[u8])| match byte(field) {
        Some(value) => column == 0 && value > 24,
        None => true,
    };
    let Some((column, field)) = record.iter().enumerate().find(is_wrong) else {
        return DataError::new("the row is not understood");
    };
    let range = if column == 0 {
        "labels are 0 to 24 (A to Y; J and Z are drawn in the air and not in the set)"
    } else {
        "pixel values are 0 to 255"
    };
    let reason = if std::str::from_utf8(field).is_err() {
        "that is not UTF-8 text"
    } else if decimal(field).is_some_and(|value| value.fract() == 0.0) {
        range
    } else if field.is_empty() {
        "there must be a number"
    } else {
        "that is not a whole number"
    };
    let name = column_name(column);
    DataError::new(format!("{name} is {}: {reason}", quoted(field))).at_column(column + 1)
}

/// A field for a message: quoted, without control characters, and not too long.
fn quoted(field: &[u8]) -> String {
    const LONGEST: usize = 24;
    let text = String::from_utf8_lossy(field);
    let mut short: String = text.chars().take(LONGEST).collect();
    if text.chars().count() > LONGEST {
        short.push('…');
    }
    format!("{short:?}")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    /// A file with these labels; pixel p of row r is (r + p) % 256.
    fn text(labels: &[&str], end: &str) -> String {
        let mut text: String =
            (1..=PIXELS).fold("label".to_owned(), |s, p| s + &format!(",pixel{p}"));
        text += end;
        for (row, label) in labels.iter().enumerate() {
            text += label;
            (0..PIXELS).for_each(|pixel| text += &format!(",{}", (row + pixel) % 256));
            text += end;
        }
        text
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn read(bytes: impl AsRef<[u8]>) -> Result<Table, DataError> {
        parse_csv(bytes.as_ref(), "t.csv")
    }

    fn message(bytes: impl AsRef<[u8]>) -> String {
        read(bytes).unwrap_err().to_string()
    }

    #[test]
    fn line_ends_gzip_and_byte_order_mark_do_not_matter() {
        let plain = read(text(&["3", "24", "0"], "\n")).unwrap();
        assert_eq!(plain.labels, [3, 24, 0]);
        assert_eq!(plain.pixels.len(), 3 * PIXELS);
        assert_eq!(plain.pixels[PIXELS..PIXELS + 3], [1, 2, 3]);
        assert_eq!((plain.first_nine, plain.first_twenty_four), (None, Some(3)));

        let crlf = text(&["3", "24", "0"], "\r\n");
        let marked = format!("\u{feff}{crlf}");
        let no_last_end = crlf.trim_end().to_owned();
        let blank_end = format!("{crlf}\r\n\r\n");
        for same in [&crlf, &marked, &no_last_end, &blank_end] {
            assert_eq!(read(same).unwrap(), plain);
            assert_eq!(read(gzip(same.as_bytes())).unwrap(), plain);
        }
        // Two members, as `cat a.gz b.gz` makes them.
        let (first, second) = crlf.split_at(5000);
        let joined = [gzip(first.as_bytes()), gzip(second.as_bytes())].concat();
        assert_eq!(read(joined).unwrap(), plain);
    }

    /// Blocks and pieces end in the middle of lines, and line numbers go on through them.
    #[test]
    fn large_files_are_whole_and_their_lines_are_counted() {
        let rows = 2 * BLOCK / 2500;
        let mut labels = vec!["1"; rows];
        labels[rows - 2] = "9";
        let whole = text(&labels, "\r\n");
        assert!(whole.len() > 2 * BLOCK);
        let table = read(&whole).unwrap();
        assert_eq!(table.labels.len(), rows);
        assert_eq!(table.first_nine, Some(rows as u64));
        for (row, pixels) in table.pixels.chunks(PIXELS).enumerate() {
            assert!((0..PIXELS).all(|pixel| usize::from(pixels[pixel]) == (row + pixel) % 256));
        }
        labels[rows - 1] = "x";
        let error = read(text(&labels, "\r\n")).unwrap_err();
        assert_eq!((error.line(), error.column()), (Some(rows as u64 + 1), Some(1)));
        assert_eq!(read(gzip(whole.as_bytes())).unwrap(), table);
    }

    #[test]
    fn wrong_values_are_named_with_line_and_column() {
        let good = text(&["1", "2"], "\r\n");
        let with = |old: &str, new: &str| message(good.replacen(old, new, 1));
        assert_eq!(with("\r\n2,1,2,", "\r\n2,1,256,"), range("256"));
        assert_eq!(with("\r\n2,1,2,", "\r\n2,1,-1,"), range("-1"));
        assert_eq!(with("\r\n2,1,2,", "\r\n2,1,1000,"), range("1000"));
        let whole = "that is not a whole number";
        assert_eq!(
            with("\r\n2,1,2,", "\r\n2,1,x,"),
            format!("t.csv:3:3: pixel2 is \"x\": {whole}")
        );
        assert_eq!(
            with("\r\n2,1,2,", "\r\n2,1,.5,"),
            format!("t.csv:3:3: pixel2 is \".5\": {whole}")
        );
        assert_eq!(
            with("\r\n2,1,2,", "\r\n2,1,,"),
            "t.csv:3:3: pixel2 is \"\": there must be a number"
        );
        assert!(
            with("\r\n2,1,", "\r\n25,1,")
                .starts_with("t.csv:3:1: label is \"25\": labels are 0 to 24")
        );
        // Empty lines count.
        assert_eq!(with("\r\n2,1,2,", "\r\n\r\n2,1,256,"), range("256").replace(":3:3", ":4:3"));

        let mut bytes = good.clone().into_bytes();
        let at = good.find("\r\n2,1,2,").unwrap() + 6;
        bytes[at] = 0xff;
        assert_eq!(message(bytes), "t.csv:3:3: pixel2 is \"\u{fffd}\": that is not UTF-8 text");

        fn range(value: &str) -> String {
            format!("t.csv:3:3: pixel2 is \"{value}\": pixel values are 0 to 255")
        }
    }

    #[test]
    fn rows_of_the_wrong_length_are_named() {
        let good = text(&["1", "2"], "\n");
        let longer = good.replacen("\n2,", "\n2,0,", 1);
        assert_eq!(
            message(longer),
            "t.csv:3: the row has 786 columns, not 785 (label and 784 pixels)"
        );
        let cut = &good[..good.len() - 10];
        assert!(message(cut).starts_with("t.csv:3: the row has 78"), "{}", message(cut));
        assert!(
            message(format!("{good}1\n")).starts_with("t.csv:4: the row has 1 column, not 785")
        );
    }

    #[test]
    fn a_wrong_header_is_named() {
        let good = text(&["1"], "\n");
        assert_eq!(message(""), "t.csv: the file is empty");
        assert_eq!(message("\u{feff}"), "t.csv:1: the header is missing: the first line is empty");
        assert_eq!(message(text(&[], "\n")), "t.csv:1: there is a header but no row of data");
        let row = good.split_once('\n').unwrap().1;
        assert_eq!(message(row), "t.csv:1: the header is missing: the first line is numbers");
        assert_eq!(
            message(good.replacen("pixel7,", "pixel8,", 1)),
            "t.csv:1:8: the header has \"pixel8\" where pixel7 must be"
        );
        assert_eq!(
            message(good.replacen(",pixel784", "", 1)),
            "t.csv:1: the header has 784 columns, not 785"
        );
        assert_eq!(
            message(good.replacen(",pixel784", ",pixel784,more", 1)),
            "t.csv:1: the header has 786 columns, not 785"
        );
        let html = message("<!DOCTYPE html>\n<html>");
        assert_eq!(html, "t.csv:1:1: the header has \"<!DOCTYPE html>\" where label must be");
    }

    #[test]
    fn broken_gzip_and_endless_lines_are_errors() {
        let packed = gzip(text(&["1"; 50], "\n").as_bytes());
        let cut = message(&packed[..packed.len() / 2]);
        assert!(cut.contains("the gzip data ends too early"), "{cut}");
        let mut damaged = packed.clone();
        let middle = damaged.len() / 2;
        damaged[middle..middle + 20].fill(0xff);
        let damage = message(&damaged);
        assert!(damage.contains("gzip data"), "{damage}");
        assert!(message(vec![b'x'; 2 * BLOCK]).contains("the line is longer than 256 kB"));
        // Also where a line does end, before it is taken apart.
        let long = ",".repeat(BLOCK / 2) + "\n";
        assert!(message(&long).starts_with("t.csv:1: the line is longer"), "{}", message(&long));
        let good = text(&["1", "2"], "\n");
        let error = message(format!("{good}{long}"));
        assert!(error.starts_with("t.csv:4: the line is longer"), "{error}");
    }
}
