//! Text in blocks of whole lines.

use std::io::Read;

use super::{BLOCK, LONGEST_LINE};
use crate::data::DataError;
use crate::data::text::{Bytes, read_error};

/// A text in blocks of whole lines.
pub(super) struct Lines<'a> {
    text: Bytes<'a>,
    /// The beginning of a line whose end has not been read yet.
    rest: Vec<u8>,
    /// Whole lines given out so far.
    line: u64,
}

impl<'a> Lines<'a> {
    pub fn new(text: Bytes<'a>) -> Self {
        Self { text, rest: Vec::new(), line: 1 }
    }

    /// The next whole lines, about [`BLOCK`] bytes; empty at the end of the file.
    pub fn next_block(&mut self) -> Result<Vec<u8>, DataError> {
        let mut block = std::mem::take(&mut self.rest);
        block.reserve(BLOCK.saturating_sub(block.len()));
        let wanted = BLOCK.saturating_sub(block.len()) as u64;
        let packing = self.text.packing;
        let read = (&mut self.text.from)
            .take(wanted)
            .read_to_end(&mut block)
            .map_err(|error| read_error(&error, packing).at_line(self.line + newlines(&block)))?;
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

pub(super) fn too_long() -> DataError {
    DataError::new(format!(
        "the line is longer than {} kB: this is not a CSV file of images",
        LONGEST_LINE >> 10
    ))
}

pub(super) fn newlines(text: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', text).count() as u64
}
