//! What can be wrong with a data set, said the way compilers say it: `file:line:column: message`.

use crate::support::words;
use std::fmt;
use std::path::{Path, PathBuf};

/// What is wrong with a data set, where, and what to do about it.
///
/// ```
/// use signet::data::DataError;
/// let error = DataError::new("pixel2 is \"256\": pixel values are 0 to 255")
///     .in_file("train.csv")
///     .at_line(17)
///     .at_column(3);
/// assert_eq!(error.to_string(), "train.csv:17:3: pixel2 is \"256\": pixel values are 0 to 255");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct DataError {
    path: Option<PathBuf>,
    line: Option<u64>,
    column: Option<usize>,
    message: String,
    help: Option<String>,
}

impl DataError {
    /// An error with a message only; the other methods add to it.
    pub fn new(message: impl Into<String>) -> Self {
        Self { path: None, line: None, column: None, message: message.into(), help: None }
    }

    /// Names the file or folder.
    #[must_use]
    pub fn in_file(mut self, path: impl AsRef<Path>) -> Self {
        self.path = Some(path.as_ref().to_path_buf());
        self
    }

    /// Names the line, counted from 1.
    #[must_use]
    pub fn at_line(mut self, line: u64) -> Self {
        self.line = Some(line);
        self
    }

    /// Names the column: the number of the field in its line, counted from 1.
    #[must_use]
    pub fn at_column(mut self, column: usize) -> Self {
        self.column = Some(column);
        self
    }

    /// Says what to do about it.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Moves an error found in a piece of a file to its place in the file.
    pub(crate) fn lines_further(mut self, lines: u64) -> Self {
        self.line = self.line.map(|line| line + lines);
        self
    }

    /// The file or folder it is about.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The line in the file, counted from 1.
    pub fn line(&self) -> Option<u64> {
        self.line
    }

    /// The number of the field in its line, counted from 1.
    pub fn column(&self) -> Option<usize> {
        self.column
    }

    /// What to do about it.
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }
}

impl fmt::Display for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            write!(f, "{}:", words::path(path))?;
            if let Some(line) = self.line {
                write!(f, "{line}:")?;
            }
            if let Some(column) = self.column {
                write!(f, "{column}:")?;
            }
            f.write_str(" ")?;
        }
        f.write_str(&self.message)
    }
}
