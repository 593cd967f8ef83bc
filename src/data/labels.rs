//! The two numberings of the letters that are in use, and how to tell which one a file has.
//!
//! Kaggle's original counts the alphabet, A = 0 to Y = 24, so 9 (J) never occurs. The course's
//! variant closes that gap, A = 0 to Y = 23, so 24 never occurs. A file does not say which it is,
//! but the two values that only one of them has do.

use std::fmt;
use std::path::Path;

use super::csv::Table;
use super::{DataError, Dataset, Source, Split};

/// How a file numbers the letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Convention {
    /// Kaggle's original: 0 to 24 with a gap at 9 (J).
    Kaggle,
    /// The course's: 0 to 23 without a gap.
    Course,
}

impl Convention {
    /// The class index, 0 to 23, of a label that this convention allows.
    fn class(self, label: u8) -> u8 {
        match self {
            Self::Kaggle if label > 9 => label - 1,
            _ => label,
        }
    }
}

impl fmt::Display for Convention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kaggle => "Kaggle (A = 0 to Y = 24, no 9)",
            Self::Course => "course (A = 0 to Y = 23, no gap)",
        })
    }
}

/// Turns the tables of both files into a [`Split`] with class indices 0 to 23.
///
/// `folder` is where the tables came from, for the record.
///
/// # Errors
/// If the labels of the two contradict each other: a 9 and a 24 cannot both be right.
pub fn split_from_tables(train: Table, valid: Table, folder: &Path) -> Result<Split, DataError> {
    let (convention, notice) = decide(&train, &valid)?;
    let dataset = |table: Table, part: &str| {
        let labels = table.labels.iter().map(|&label| convention.class(label)).collect();
        Dataset::of_letters(&format!("Sign Language MNIST, {part}"), labels, table.pixels)
    };
    Ok(Split {
        train: dataset(train, "train"),
        valid: dataset(valid, "valid"),
        source: Source::Folder { path: folder.to_path_buf(), convention },
        notice,
    })
}

/// The convention of both files, and what the user should know about how it was decided.
fn decide(train: &Table, valid: &Table) -> Result<(Convention, Option<String>), DataError> {
    const HELP: &str = "Kaggle's labels are 0 to 24 without 9 (J), the course's are 0 to 23; \
                        all rows of both files must use the same";
    for table in [train, valid] {
        if let (Some(nine), Some(last)) = (table.first_nine, table.first_twenty_four) {
            return Err(DataError::new(format!(
                "labels of two conventions in one file: 9 in line {nine}, 24 in line {last}"
            ))
            .in_file(&table.path)
            .at_line(nine.max(last))
            .at_column(1)
            .with_help(HELP));
        }
    }
    for (kaggle, course) in [(train, valid), (valid, train)] {
        if let (Some(last), Some(nine)) = (kaggle.first_twenty_four, course.first_nine) {
            return Err(DataError::new(format!(
                "label 9 means course labels, but {} has 24 in line {last}, which means Kaggle's",
                kaggle.path.display()
            ))
            .in_file(&course.path)
            .at_line(nine)
            .at_column(1)
            .with_help(HELP));
        }
    }
    let both = [train, valid];
    if both.iter().any(|table| table.first_twenty_four.is_some()) {
        return Ok((Convention::Kaggle, None));
    }
    if both.iter().any(|table| table.first_nine.is_some()) {
        return Ok((Convention::Course, None));
    }
    // Up to 8 (I) both say the same, so only higher labels rest on the assumption.
    let ambiguous = both.iter().any(|table| table.labels.iter().any(|&label| label > 9));
    let notice = ambiguous.then(|| {
        "no label is 9 or 24, so the files do not show how they number the letters: \
         assuming Kaggle's (A = 0 to Y = 24, no 9), the one that is published"
            .to_owned()
    });
    Ok((Convention::Kaggle, notice))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::PIXELS;

    fn table(name: &str, labels: &[u8]) -> Table {
        let line = |of: u8| labels.iter().position(|&label| label == of).map(|row| row as u64 + 2);
        Table {
            path: name.into(),
            labels: labels.to_vec(),
            pixels: vec![0; labels.len() * PIXELS],
            first_nine: line(9),
            first_twenty_four: line(24),
        }
    }

    fn split(train: &[u8], valid: &[u8]) -> Result<Split, DataError> {
        split_from_tables(table("train.csv", train), table("valid.csv", valid), Path::new("here"))
    }

    #[test]
    fn both_conventions_give_the_same_classes() {
        let kaggle: Vec<u8> = (0..=24).filter(|&label| label != 9).collect();
        let course: Vec<u8> = (0..24).collect();
        let from_kaggle = split(&kaggle, &kaggle[..10]).unwrap();
        let from_course = split(&course, &course[..10]).unwrap();
        assert_eq!(from_kaggle.train.labels, course);
        assert_eq!(from_kaggle.train, from_course.train);
        assert_eq!(from_kaggle.digest(), from_course.digest());
        assert_eq!(from_kaggle.train.class_name(9), "K");
        assert_eq!((from_kaggle.notice, from_course.notice), (None, None));
        let Source::Folder { convention, .. } = from_course.source else { panic!() };
        assert_eq!(convention, Convention::Course);
    }

    #[test]
    fn one_file_decides_for_both() {
        assert_eq!(split(&[10], &[24]).unwrap().train.labels, [9]);
        assert_eq!(split(&[10], &[9]).unwrap().train.labels, [10]);
    }

    #[test]
    fn undecidable_labels_are_taken_for_kaggles_and_it_says_so() {
        let undecided = split(&[0, 10, 23], &[1]).unwrap();
        assert_eq!(undecided.train.labels, [0, 9, 22]);
        assert!(undecided.notice.unwrap().contains("assuming Kaggle's"));
        assert_eq!(split(&[0, 8], &[1]).unwrap().notice, None, "both say the same up to I");
    }

    #[test]
    fn contradictions_name_both_lines() {
        let one_file = split(&[0, 9, 24], &[1]).unwrap_err();
        assert_eq!(
            one_file.to_string(),
            "train.csv:4:1: labels of two conventions in one file: 9 in line 3, 24 in line 4"
        );
        let two_files = split(&[0, 9], &[24]).unwrap_err();
        assert_eq!(
            two_files.to_string(),
            "train.csv:3:1: label 9 means course labels, but valid.csv has 24 in line 2, which \
             means Kaggle's"
        );
        assert!(split(&[24], &[9]).unwrap_err().to_string().starts_with("valid.csv:2:1: label 9"));
    }
}
