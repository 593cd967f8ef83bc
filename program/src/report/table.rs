//! Tables that may be wider than the page.

use maud::{Markup, html};

/// What is wider than the page scrolls in a box of its own, by keyboard too.
pub(super) fn scrolling(label: &str, table: Markup) -> Markup {
    html! { div.scroll tabindex="0" role="region" aria-label=(label) { (table) } }
}

/// A table of rows of a name, numbers and a [`bar`]; `headings` are those of the names and of the
/// numbers.
pub(super) fn with_bars(
    class: &str,
    caption: &str,
    headings: (&str, &[&str]),
    rows: Markup,
) -> Markup {
    let table = html! {
        table class=(class) {
            caption.unseen { (caption) }
            thead {
                tr {
                    th scope="col" { (headings.0) }
                    @for heading in headings.1 { th.number scope="col" { (heading) } }
                    td {}
                }
            }
            tbody { (rows) }
        }
    };
    scrolling(caption, table)
}

/// A share as a length; whoever does not see it has read the number.
pub(super) fn bar(share: f64) -> Markup {
    html! { td.bar { span aria-hidden="true" style={ "--share:" (format!("{share:.4}")) } {} } }
}
