//! The settings of the runs, side by side.

use std::collections::BTreeMap;

use maud::{Markup, html};
use serde_json::Value;

use super::Run;
use super::table::scrolling;

/// A table with a row for each setting and a column for each run; where the runs differ, the row
/// says so.
pub(super) fn settings(runs: &[Run]) -> Markup {
    let columns: Vec<_> = runs.iter().map(by_name).collect();
    let mut names: Vec<_> = columns.iter().flat_map(BTreeMap::keys).collect();
    names.sort();
    names.dedup();
    let table = html! {
        table.settings {
            @if runs.len() > 1 {
                thead {
                    tr {
                        td {}
                        @for run in runs { th scope="col" { (run.name) } }
                    }
                }
            }
            tbody {
                @for name in names {
                    @let values: Vec<_> = columns.iter().map(|column| column.get(name)).collect();
                    @let differs = values.windows(2).any(|pair| pair[0] != pair[1]);
                    tr.differs[differs] {
                        th scope="row" { code { (name) } }
                        @for value in values {
                            td { @match value { Some(value) => (value), None => "–" } }
                        }
                    }
                }
            }
        }
    };
    scrolling("Settings", table)
}

/// The settings by their names in `config.json`; what lies within another has both names.
fn by_name(run: &Run) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    // Plain structs of numbers and strings: turning them into a value cannot fail.
    if let Ok(Value::Object(record)) = serde_json::to_value(&run.record) {
        record.iter().for_each(|(name, value)| flatten(name, value, &mut settings));
    }
    settings
}

fn flatten(name: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    let text = match value {
        Value::Object(inner) => {
            inner.iter().for_each(|(key, value)| flatten(&format!("{name}.{key}"), value, into));
            return;
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
        other => other.to_string(),
    }
}
