//! Another program's times for the same rows.

use crate::{Error, Result};
use serde::Deserialize;
use std::collections::HashMap;
use std::path::Path;

/// Times to compare with, as JSON. A [`Document`](super::Document) has these fields too, so two versions, or
/// two devices, can be compared.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Reference {
    /// Whose times these are, in words; the `device` of a document of Signet's own.
    #[serde(default)]
    reference: Option<String>,
    #[serde(default)]
    device: Option<String>,
    rows: Vec<ReferenceRow>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct ReferenceRow {
    name: String,
    median_seconds: f64,
}

impl Reference {
    /// Reads `{"reference": "...", "rows": [{"name": "step/32", "median_seconds": 0.01}, ...]}`.
    ///
    /// # Errors
    /// [`Error::Argument`] when it is not that, a time is not positive, or a row is there twice.
    pub fn from_json(text: &str) -> Result<Self> {
        let wrong = |what: String| Error::argument("vs", what);
        let reference: Self = serde_json::from_str(text).map_err(|error| {
            wrong(format!("expected {{\"reference\": …, \"rows\": [{{\"name\": …, \"median_seconds\": …}}]}}: {error}"))
        })?;
        let mut names = HashMap::new();
        for row in &reference.rows {
            if !(row.median_seconds.is_finite() && row.median_seconds > 0.0) {
                let message = format!("{} takes {} seconds", row.name, row.median_seconds);
                return Err(wrong(message));
            }
            if names.insert(&row.name, ()).is_some() {
                return Err(wrong(format!("the row {} is there twice", row.name)));
            }
        }
        Ok(reference)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// As [`Reference::from_json`], and [`Error::Io`] when it cannot be read.
    pub fn load(path: &Path) -> Result<Self> {
        Self::from_json(&std::fs::read_to_string(path).map_err(Error::io("read", path))?)
    }

    pub(super) fn name(&self) -> String {
        let name = self.reference.as_ref().or(self.device.as_ref());
        name.cloned().unwrap_or_else(|| "unnamed".into())
    }

    pub(super) fn seconds(&self, row: &str) -> Option<f64> {
        self.rows.iter().find(|one| one.name == row).map(|one| one.median_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_reference_is_refused() {
        for (text, part) in [
            ("", "expected"),
            ("{}", "rows"),
            (r#"{"rows": [{"name": "a"}]}"#, "median_seconds"),
            (r#"{"rows": [{"name": "a", "median_seconds": 0}]}"#, "a takes 0 seconds"),
            (
                r#"{"rows": [{"name": "a", "median_seconds": 1}, {"name": "a", "median_seconds": 2}]}"#,
                "twice",
            ),
        ] {
            let message = Reference::from_json(text).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn a_document_of_our_own_is_one() {
        let text = r#"{"device": "cpu (1 thread)", "reference": null, "quick": true,
            "rows": [{"name": "step/4", "median_seconds": 2.5, "kernels": 3}]}"#;
        let reference = Reference::from_json(text).unwrap();
        assert_eq!(reference.name(), "cpu (1 thread)");
        assert_eq!((reference.seconds("step/4"), reference.seconds("step/5")), (Some(2.5), None));
    }
}
