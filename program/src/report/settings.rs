//! The settings of the runs, side by side.

use std::collections::BTreeMap;

use maud::{Markup, html};
use serde_json::Value;

use super::Run;
use super::table::scrolling;
use super::words::count;
use signet::train::{OptimizerKind, ScheduleKind};

/// A table with a row for each setting and a column for each run. Of several runs, the settings that
/// differ are compared, and what is the same is said once.
pub(super) fn settings(runs: &[Run]) -> Markup {
    let columns: Vec<_> = runs.iter().map(by_name).collect();
    let mut names: Vec<_> = columns.iter().flat_map(BTreeMap::keys).collect();
    names.sort();
    names.dedup();
    let values = |name: &String| -> Vec<Option<&String>> {
        columns.iter().map(|column| column.get(name)).collect()
    };
    let differs = |name: &&String| values(name).windows(2).any(|pair| pair[0] != pair[1]);
    let (different, same): (Vec<&String>, Vec<&String>) = names.into_iter().partition(differs);
    let rows = |names: &[&String], of: usize| {
        html! {
            @for name in names {
                tr.differs[of > 1] {
                    th scope="row" { (label(name)) }
                    @for value in values(name).into_iter().take(of) {
                        td { @match value { Some(value) => (value), None => "–" } }
                    }
                }
            }
        }
    };
    if let [_] = runs {
        let table = html! { table.settings { tbody { (rows(&same, 1)) } } };
        return scrolling("Settings", table);
    }
    let compared = html! {
        table.settings {
            thead {
                tr {
                    td {}
                    @for run in runs { th scope="col" { (run.name) } }
                }
            }
            tbody { (rows(&different, runs.len())) }
        }
    };
    let title = "The same in all runs";
    let shared = html! { table.settings { tbody { (rows(&same, 1)) } } };
    html! {
        @if different.is_empty() {
            p { "The runs differ in no setting." }
        } @else {
            (scrolling("Settings that differ", compared))
        }
        @if !same.is_empty() {
            details {
                summary { (title) }
                (scrolling(title, shared))
            }
        }
    }
}

/// The settings by their names in `config.json`; what lies within another has both names.
fn by_name(run: &Run) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    // Plain structs of numbers and strings: turning them into a value cannot fail.
    if let Ok(Value::Object(record)) = serde_json::to_value(&run.record) {
        let used = record.iter().filter(|(name, _)| has_effect(name, run));
        used.for_each(|(name, value)| flatten(name, value, &mut settings));
    }
    settings
}

/// Whether a setting does anything beside the others of the run.
fn has_effect(name: &str, run: &Run) -> bool {
    let config = &run.record.config;
    match name {
        "momentum" => config.optimizer == OptimizerKind::Sgd,
        "step_size" | "gamma" => config.schedule == ScheduleKind::Step,
        "warmup" => config.schedule == ScheduleKind::Cosine,
        _ => true,
    }
}

/// What people call a setting: the flag that sets it, or what it is.
fn label(name: &str) -> Markup {
    let words = match name {
        "data_source" => "data, as found",
        "data_sha256" => "SHA-256 of the data",
        "synthetic" => "drawn images",
        "whole_images" => "whole images",
        "images" => "images",
        "classes" => "classes",
        "device" => "device",
        "precisions.convolution" => "precision of convolutions",
        "precisions.matmul" => "precision of matrix products",
        "version" => "version of Signet",
        _ => {
            let flag = name.rsplit_once('.').map_or(name, |(_, inner)| inner).replace('_', "-");
            return html! { code { "--" (flag) } };
        }
    };
    html! { (words) }
}

fn flatten(name: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    let text = match value {
        Value::Object(inner) => {
            inner.iter().for_each(|(key, value)| flatten(&format!("{name}.{key}"), value, into));
            return;
        }
        // A seed is a name, and no number of anything.
        Value::Number(seed) if name == "seed" => seed.to_string(),
        Value::Array(values) if name == "images" && values.len() == 2 => {
            format!("{} to train on, {} to validate with", plain(&values[0]), plain(&values[1]))
        }
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => plain(other),
    };
    into.insert(name.to_owned(), text);
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => text.clone(),
        other => other.as_u64().map_or_else(|| other.to_string(), count),
    }
}
