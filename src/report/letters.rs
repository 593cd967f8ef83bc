//! Precision and recall of each class.

use maud::{Markup, html};

use super::collect::Judged;
use super::words;

/// A table with a row for each class.
pub(super) fn letters(judged: &Judged, classes: &[String], caption: &str) -> Markup {
    let confusion = &judged.confusion;
    html! {
        div.scroll tabindex="0" role="region" aria-label=(caption) {
            table.letters {
                caption.unseen { (caption) }
                thead {
                    tr {
                        th scope="col" { "Letter" }
                        th.number scope="col" { "Images" }
                        th.number scope="col" { "Precision" }
                        th.number scope="col" { "Recall" }
                        td {}
                    }
                }
                tbody {
                    @for (class, name) in classes.iter().enumerate() {
                        tr {
                            th scope="row" { (name) }
                            td.number { (words::count(confusion.images(class) as u64)) }
                            td.number { (words::share(confusion.precision(class))) }
                            td.number { (words::share(confusion.recall(class))) }
                            td.bar { (bar(confusion.recall(class).unwrap_or(0.0))) }
                        }
                    }
                }
            }
        }
    }
}

/// A share as a length; whoever does not see it has read the number.
pub(super) fn bar(share: f64) -> Markup {
    html! { span aria-hidden="true" style={ "--share:" (format!("{share:.4}")) } {} }
}
