//! What the `README.md` of a run's folder says of the models beside it, in the form of the Hugging
//! Face hub's model cards: facts as YAML between two lines of dashes, then the same for people.

use super::Record;
use serde_json::json;
use signet::data::are_letters;
use signet::train::EpochMetrics;

/// The line by which a card is known that may be written anew.
const MARK: &str =
    "# Written by `signet train`, and anew after each epoch; without this line it stays.";

/// Whether a `README.md` is a card that may be written anew.
pub(super) fn is_ours(text: &str) -> bool {
    text.contains(MARK)
}

/// What the models are trained on, and the licence of that.
struct Data {
    name: String,
    license: &'static str,
    words: &'static str,
}

fn data(record: &Record) -> Data {
    let (name, license, words) = if record.synthetic {
        let words = "Signet drew the hands; as Signet itself, they are under MIT or Apache-2.0. \
                     Figures on them say little about photographs.";
        (record.data_source.clone(), "MIT OR Apache-2.0", words)
    } else if record.whole_images {
        let words = "The images are of a folder; which licence they are under is for who has them \
                     to say.";
        ("images of a folder".to_owned(), "unknown", words)
    } else {
        let words = "Sign Language MNIST is in the public domain (CC0 1.0).";
        ("Sign Language MNIST".to_owned(), "CC0-1.0", words)
    };
    Data { name, license, words }
}

/// The card of the run called `name`, after the epochs of `history`.
pub(super) fn card(name: &str, record: &Record, history: &[EpochMetrics]) -> String {
    let Data { name: data_name, license, words } = data(record);
    let best = EpochMetrics::best(history);
    // How many batches there were is not in the records of older runs.
    let batches = record.images.map(|[_, valid]| record.config.batches(valid).max(1) as f64);
    let of_loss = match batches {
        Some(_) => "mean validation loss",
        None => "validation loss, summed over batches",
    };
    let loss = |best: &EpochMetrics| best.valid_loss / batches.unwrap_or(1.0);
    // What is JSON is YAML.
    let metrics = best.map(|best| {
        json!([
            {"type": "accuracy", "name": "validation accuracy", "value": best.valid_accuracy},
            {"type": "loss", "name": of_loss, "value": loss(best)},
        ])
    });
    let results = json!([{
        "name": name,
        "results": [{
            "task": {"type": "image-classification"},
            "dataset": {"type": "image", "name": data_name, "split": "validation"},
            "metrics": metrics.unwrap_or_else(|| json!([])),
        }],
    }]);
    let figures = best.map_or_else(
        || "No epoch has finished yet.".to_owned(),
        |best| {
            let (epoch, epochs) = (best.epoch, history.len());
            format!(
                "| | |\n|---|---|\n| validation accuracy | {:.4} |\n| {of_loss} | {:.4} |\n| epoch, \
                 counted from 0 | {epoch} |\n| epochs done | {epochs} |",
                best.valid_accuracy,
                loss(best)
            )
        },
    );
    let (classes, sha256, version) = (json!(record.classes), &record.data_sha256, &record.version);
    let (title, data_name, count) = (json!(name), json!(data_name), record.classes.len());
    let (tags, others) = if are_letters(&record.classes) {
        (
            json!(["image-classification", "sign-language"]),
            "hands, walls and cameras that were not among them",
        )
    } else {
        (json!(["image-classification"]), "others")
    };
    format!(
        "---
{MARK}
library_name: signet
pipeline_tag: image-classification
tags: {tags}
metrics: [\"accuracy\"]
data_license: {license}
data: {data_name}
data_sha256: {sha256}
classes: {classes}
model-index: {results}
---

# {heading}

A network that tells {count} classes apart in grey images of 28x28 pixels. `best.safetensors` is the model of the
best epoch, `model.safetensors` that of the last; both load in PyTorch (`safetensors.torch.load_file`), in
Signet (`signet predict`, `serve`, `evaluate`, `export`), and in whatever reads safetensors.

## How good

{figures}

An accuracy is one on images that look like those of the training; {others} are read
worse.

## Data

{words} Classes, in the order of the outputs: {classes}.

Trained with Signet {version}; the settings are in `config.json`, the metrics of each epoch in `metrics.jsonl`.
",
        heading = title.as_str().unwrap_or_default().replace(['<', '`'], "")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::samples;

    #[test]
    fn the_licence_is_that_of_the_data() {
        let classes = ["a\nb".to_owned(), "c".to_owned()];
        let record = |synthetic, whole_images| Record {
            synthetic,
            whole_images,
            ..samples::record(&classes)
        };
        for (record, license, data) in [
            (record(false, false), "CC0-1.0", "Sign Language MNIST"),
            (record(true, false), "MIT OR Apache-2.0", "synthetic hands (seed 0)"),
            (record(false, true), "unknown", "images of a folder"),
        ] {
            let card = card("a: b", &record, &[]);
            assert!(is_ours(&card));
            let has = |line: &str| card.lines().any(|known| known == line);
            assert!(has(&format!("data_license: {license}")), "{card}");
            assert!(has(&format!("data: \"{data}\"")), "{card}");
            assert!(has("classes: [\"a\\nb\",\"c\"]"), "{card}");
            assert!(card.contains("No epoch has finished yet."), "{card}");
        }
        let of = |classes| card("a", &Record { classes, ..record(false, true) }, &[]);
        assert!(
            of(signet::data::letters())
                .contains("tags: [\"image-classification\",\"sign-language\"]")
        );
        let pets = of(vec!["cat".into(), "dog".into()]);
        assert!(!pets.contains("sign-language") && !pets.contains("hands"), "{pets}");
    }
}
