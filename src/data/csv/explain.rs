//! Why a row is refused.

use csv::ByteRecord;

use super::layout::Layout;
use super::number::{bare, decimal, quoted, whole};
use crate::data::{DataError, PIXELS};

/// Why a row is refused that has this record.
pub(super) fn explain(record: &ByteRecord, layout: &Layout) -> DataError {
    if record.len() != layout.columns() {
        return wrong_length(record, layout);
    }
    let is_label = |column| column == layout.label();
    let is_wrong = |&(column, field): &(usize, &[u8])| {
        if layout.empty().contains(&column) {
            return !bare(field).is_empty();
        }
        let is_number = column >= layout.before;
        is_number
            && whole(field, layout.separator).is_none_or(|value| is_label(column) && value > 24)
    };
    let Some((column, field)) = record.iter().enumerate().find(is_wrong) else {
        return DataError::new("the row is not understood");
    };
    if layout.empty().contains(&column) {
        let message = format!("there is {} in a column without a name", quoted(field));
        return DataError::new(message).at_column(column + 1);
    }
    let (reason, help) = reason(field, is_label(column), layout.separator);
    let message = format!("{} is {}: {reason}", layout.name(column), quoted(field));
    let error = DataError::new(message).at_column(column + 1);
    match help {
        Some(help) => error.with_help(help),
        None => error,
    }
}

/// Why a field is no label or no pixel, and what mends it where that is known.
fn reason(field: &[u8], is_label: bool, separator: u8) -> (&'static str, Option<&'static str>) {
    let text = String::from_utf8_lossy(bare(field));
    let value = decimal(field, separator);
    let is_whole = value.is_some_and(|value| value.fract() == 0.0);
    if std::str::from_utf8(field).is_err() {
        ("that is not UTF-8 text", None)
    } else if is_label && text.eq_ignore_ascii_case("label") {
        (
            "the line of names is here again, as if two files had been joined",
            Some("remove the line: `sed -i '2,${/label/d}' FILE`"),
        )
    } else if is_label && text.len() == 1 && text.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        (
            "labels are numbers, A = 0 to Y = 24",
            Some(
                "with Python: import pandas; data = pandas.read_csv(FILE); data[\"label\"] = \
                 data[\"label\"].str.upper().map(ord) - 65; data.to_csv(FILE, index=False)",
            ),
        )
    } else if is_whole && is_label {
        ("labels are 0 to 24 (A to Y; J and Z are drawn in the air and not in the set)", None)
    } else if is_whole {
        ("pixel values are 0 to 255", None)
    } else if value.is_some_and(|value| 0.0 < value && value < 1.0) && !is_label {
        (
            "that is not a whole number; were the pixels, 0 to 255, divided by 255?",
            Some(
                "with Python: import pandas; data = pandas.read_csv(FILE); data.iloc[:, 1:] = \
                 (data.iloc[:, 1:] * 255).round(); data.astype(int).to_csv(FILE, index=False)",
            ),
        )
    } else if text.is_empty() {
        ("there must be a number", None)
    } else if ["nan", "na", "n/a", "null", "none"].contains(&&*text.to_ascii_lowercase()) {
        ("the value is missing, there must be a number", None)
    } else {
        ("that is not a whole number", None)
    }
}

fn wrong_length(record: &ByteRecord, layout: &Layout) -> DataError {
    let (found, right) = (record.len(), layout.columns());
    let plural = if found == 1 { "" } else { "s" };
    let mut message = format!("the row has {found} column{plural}, not {right}");
    message += &match layout.before + layout.after {
        0 => format!(" (label and {PIXELS} pixels)"),
        _ => ", as the header has".to_owned(),
    };
    let is_empty = |column: usize| record.get(column).is_some_and(|field| bare(field).is_empty());
    let first = record.get(0).unwrap_or_default();
    let others = |of: u8| memchr::memchr_iter(of, first).count();
    let help = if found > right && (right..found).all(is_empty) {
        Some(
            "the surplus is empty: remove the separators at the ends: `sed -i 's/[,;]*\\r*$//' FILE`",
        )
    } else if found + 1 >= 2 * right {
        Some("two rows stand in one line, or more: a line end is missing where the second begins")
    } else if found == 1 && b",;\t|".iter().any(|&of| of != layout.separator && others(of) > 9) {
        Some("the rows are separated by another character than the header")
    } else if found == 1 && first == b"\x1a" {
        Some("an old end of file: remove it: `sed -i '$d' FILE`")
    } else {
        None
    };
    let error = DataError::new(message);
    match help {
        Some(help) => error.with_help(help),
        None => error,
    }
}
