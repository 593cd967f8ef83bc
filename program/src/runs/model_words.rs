use super::Record;
use serde::Deserialize;
use signet::checkpoint::Metadata;

/// The key in a file's metadata.
const KEY: &str = "signet.model";

/// What a model's file says beside its values, as JSON.
#[derive(Debug, Default, Deserialize)]
pub struct ModelWords {
    /// The names of its classes.
    pub classes: Vec<String>,
    /// Whether it learned from photographs as they are.
    #[serde(default)]
    pub whole_images: bool,
    /// Whether it learned from hands that were drawn.
    #[serde(default)]
    pub synthetic: bool,
}

impl ModelWords {
    /// Those in a file's metadata; `None` where there are none, as in files of other programs.
    pub fn of(metadata: &Metadata) -> Option<serde_json::Result<Self>> {
        metadata.get(KEY).map(|json| serde_json::from_str(json))
    }

    /// Those to write beside the values of a run's models.
    pub fn to_write(record: &Record) -> Metadata {
        let Record { classes, whole_images, synthetic, .. } = record;
        let words = serde_json::json!({
            "classes": classes, "whole_images": whole_images, "synthetic": synthetic,
        });
        Metadata::from([(KEY.to_owned(), words.to_string())])
    }
}
