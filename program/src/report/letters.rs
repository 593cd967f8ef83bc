//! Precision and recall of each class.

use maud::{Markup, html};

use super::collect::Judged;
use super::table::{bar, with_bars};
use super::words;

/// A table with a row for each class.
pub(super) fn letters(judged: &Judged, classes: &[String], caption: &str) -> Markup {
    let confusion = &judged.confusion;
    let rows = html! {
        @for (class, name) in classes.iter().enumerate() {
            tr {
                th scope="row" { (name) }
                td.number { (words::count(confusion.images(class) as u64)) }
                td.number { (words::share(confusion.precision(class))) }
                td.number { (words::share(confusion.recall(class))) }
                (bar(confusion.recall(class).unwrap_or(0.0)))
            }
        }
    };
    with_bars("letters", caption, (words::title(classes), &["Images", "Precision", "Recall"]), rows)
}
