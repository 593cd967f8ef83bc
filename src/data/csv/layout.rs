//! Which column is what: read from the line of names, so that each row can be held against it.

use std::ops::Range;

use super::lines::too_long;
use super::number::{bare, decimal, quoted};
use super::{LONGEST_LINE, csv_reader};
use crate::data::{DataError, PIXELS, SIDE};

const HELP: &str = "the first line must be label,pixel1,...,pixel784, as in Kaggle's \
                    sign_mnist_train.csv";

/// What may stand between columns; of equally frequent ones, the first separates. Where none of
/// them is, spaces do.
const SEPARATORS: [u8; 4] = *b",;\t|";

/// Which column is what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    pub separator: u8,
    /// Columns at the beginning that only number the rows, as pandas and R write them.
    pub before: usize,
    /// Columns at the end without a name; they must be empty.
    pub after: usize,
    /// Whether the label follows the pixels.
    pub label_last: bool,
}

impl Layout {
    /// All columns of a row.
    pub fn columns(&self) -> usize {
        self.before + PIXELS + 1 + self.after
    }

    /// The column of the label, counted from 0.
    pub fn label(&self) -> usize {
        if self.label_last { self.before + PIXELS } else { self.before }
    }

    /// The columns of the pixels.
    pub fn pixels(&self) -> Range<usize> {
        let first = self.before + usize::from(!self.label_last);
        first..first + PIXELS
    }

    /// The columns that must be empty.
    pub fn empty(&self) -> Range<usize> {
        self.before + PIXELS + 1..self.columns()
    }

    /// The name of a column that has a label or a pixel.
    pub fn name(&self, column: usize) -> String {
        if column == self.label() {
            return "label".to_owned();
        }
        format!("pixel{}", (column + 1).saturating_sub(self.pixels().start))
    }

    /// Takes the line of names off the first block, with the empty lines before it; also says on
    /// which line, counted from 1, what is left begins.
    ///
    /// # Errors
    /// If the names are not those of a label and 784 pixels.
    pub fn split_off(block: &mut Vec<u8>) -> Result<(Self, u64), DataError> {
        if block.is_empty() {
            return Err(DataError::new("the file is empty"));
        }
        let mut line = 1;
        let mut start = 0;
        loop {
            let end = memchr::memchr(b'\n', &block[start..]);
            let end = end.map_or(block.len(), |end| start + end + 1);
            if end - start > LONGEST_LINE {
                return Err(too_long().at_line(line));
            }
            let is_blank = block[start..end].trim_ascii().is_empty();
            if !is_blank || end == block.len() {
                let layout = Self::of(&block[start..end]).map_err(|error| error.at_line(line))?;
                block.drain(..end);
                return Ok((layout, line + 1));
            }
            start = end;
            line += 1;
        }
    }

    /// The layout that a line of names says.
    fn of(line: &[u8]) -> Result<Self, DataError> {
        let count = |of: u8| memchr::memchr_iter(of, line).count();
        let separators = SEPARATORS.into_iter().rev().filter(|&of| count(of) > 0);
        let separator = separators.max_by_key(|&of| count(of)).unwrap_or(b' ');
        let wrong = |message: String| DataError::new(message).with_help(HELP);
        let mut record = csv::ByteRecord::new();
        csv_reader(line, separator)
            .read_byte_record(&mut record)
            .map_err(|error| DataError::new(error.to_string()))?;
        let names: Vec<String> = (record.iter())
            .map(|field| String::from_utf8_lossy(bare(field)).to_ascii_lowercase())
            .collect();
        if names.iter().all(String::is_empty) {
            return Err(wrong("the header is missing: the first line is empty".to_owned()));
        }
        let before = names.iter().take_while(|name| is_row_number(name)).count();
        let after = names[before..].iter().rev().take_while(|name| name.is_empty()).count();
        let named = &names[before..names.len() - after];
        let label_last = named.len() > 1
            && named.first().is_some_and(|name| name == "pixel1")
            && named.last().is_some_and(|name| name == "label");
        let layout = Self { separator, before, after, label_last };
        if let Some(error) = known(&record, named, separator) {
            return Err(error);
        }
        for (place, (name, field)) in named.iter().zip(record.iter().skip(before)).enumerate() {
            let column = before + place;
            let expected = layout.name(column);
            if place <= PIXELS && *name != expected {
                let message = format!("the header has {} where {expected} must be", quoted(field));
                return Err(wrong(message).at_column(column + 1));
            }
        }
        if named.len() != PIXELS + 1 {
            return Err(wrong(format!(
                "the header has {} columns, not {}",
                record.len(),
                PIXELS + 1
            )));
        }
        Ok(layout)
    }
}

/// Whether a column called so, before the label, only numbers the rows.
fn is_row_number(name: &str) -> bool {
    name.is_empty() || name == "index" || name.starts_with("unnamed: ")
}

/// First lines that are wrong in a way that is known, with the line that mends it.
fn known(record: &csv::ByteRecord, named: &[String], separator: u8) -> Option<DataError> {
    let first = named.first().map_or("", String::as_str);
    let second = named.get(1).map_or("", String::as_str);
    let (message, help) = if record.get(0).and_then(|field| decimal(field, separator)).is_some() {
        (
            "the header is missing: the first line is numbers".to_owned(),
            "put the line of names before it: `(echo label,$(seq -s, -f pixel%.0f 784); cat FILE) > \
             NEW.csv`",
        )
    } else if first.starts_with('#') {
        ("the first line is a remark, not the header".to_owned(), "remove it: `sed -i 1d FILE`")
    } else if first == "label" && second == "pixel0" {
        (
            "the header counts the pixels from 0, as Kaggle's Digit Recognizer does: these may be \
             digits, not hands"
                .to_owned(),
            "if they are hands, correct it: `sed -i \"1s/.*/label,$(seq -s, -f pixel%.0f 784)/\" \
             FILE`",
        )
    } else if first == "label" && second == "1x1" {
        (
            format!("the header is that of MNIST's digits (1x1 to {SIDE}x{SIDE}), not of hands"),
            "if they are hands, correct it: `sed -i \"1s/.*/label,$(seq -s, -f pixel%.0f 784)/\" \
             FILE`",
        )
    } else {
        return None;
    };
    Some(DataError::new(message).with_help(help))
}
