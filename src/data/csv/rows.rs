//! Blocks of rows to labels and pixels, in parallel pieces.

use csv::ByteRecord;
use rayon::prelude::*;

use super::explain::explain;
use super::layout::Layout;
use super::lines::{newlines, too_long};
use super::number::{bare, byte, whole};
use super::{LONGEST_LINE, PIECE, Table, csv_reader};
use crate::data::{DataError, PIXELS};

/// Parses a block that begins at `line` of the file; returns the line after it.
pub(super) fn parse_block(
    block: &[u8],
    layout: &Layout,
    table: &mut Table,
    mut line: u64,
) -> Result<u64, DataError> {
    let parsed: Vec<_> = pieces(block)
        .into_par_iter()
        .map(|text| (newlines(text), Piece::parse(text, layout)))
        .collect();
    for (lines, piece) in parsed {
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
    fn parse(text: &[u8], layout: &Layout) -> Result<Self, DataError> {
        let mut piece = Self::default();
        if text.len() > PIECE + LONGEST_LINE {
            // It ends with the line in which it grew too long.
            return Err(too_long().at_line(newlines(text).max(1)));
        }
        piece.pixels.reserve(text.len() / 4);
        let mut reader = csv_reader(text, layout.separator);
        let mut record = ByteRecord::new();
        loop {
            let start = reader.position().byte() as usize;
            let more = reader
                .read_byte_record(&mut record)
                .map_err(|error| DataError::new(error.to_string()).at_line(line_at(text, start)))?;
            if !more {
                return Ok(piece);
            }
            if !piece.push(&record, layout) {
                if record.iter().all(|field| bare(field).is_empty()) && record.len() == 1 {
                    // A line of spaces is an empty one.
                    continue;
                }
                return Err(explain(&record, layout).at_line(line_at(text, start)));
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

    /// Adds a row, or says `false` if anything about it is wrong: the reason is worked out apart, so
    /// that the rows that are right pay nothing for it.
    fn push(&mut self, record: &ByteRecord, layout: &Layout) -> bool {
        // Each row has all columns and none besides: two rows in one line must not become one image.
        if record.len() != layout.columns() {
            return false;
        }
        self.push_with(record, layout, byte)
            || self.push_with(record, layout, |field| whole(field, layout.separator))
    }

    /// Adds a row whose fields `number` reads, or nothing.
    fn push_with(
        &mut self,
        record: &ByteRecord,
        layout: &Layout,
        number: impl Fn(&[u8]) -> Option<u8>,
    ) -> bool {
        let Some(label @ 0..=24) = record.get(layout.label()).and_then(&number) else {
            return false;
        };
        let first = self.pixels.len();
        let pixels = record.iter().skip(layout.pixels().start).take(PIXELS);
        self.pixels.extend(pixels.map_while(number));
        let is_right = self.pixels.len() == first + PIXELS
            && layout.empty().all(|column| bare(&record[column]).is_empty());
        if is_right {
            self.labels.push(label);
        } else {
            self.pixels.truncate(first);
        }
        is_right
    }
}

/// The line, counted from 1, of the record that is read from `start` on.
///
/// A reader's position lies before the line end and the empty lines that it will skip.
fn line_at(text: &[u8], start: usize) -> u64 {
    let blank = text[start..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    1 + newlines(&text[..start + blank])
}
