//! Which class was taken for which.

use maud::{Markup, html};

use super::collect::Judged;
use super::table::scrolling;
use super::words;

/// Of so many classes at most, a cell has room for its share too.
const FEW: usize = 6;

/// The confusion matrix as a table: a row is a class, a column what its images were taken for.
pub(super) fn confusion(judged: &Judged, classes: &[String], caption: &str) -> Markup {
    let few = classes.len() <= FEW;
    let long = !few && classes.iter().any(|name| name.chars().count() > 2);
    let table = html! {
        table.confusion.long[long].few[few] {
            caption.unseen { (caption) }
            thead {
                tr {
                    td {}
                    @for name in classes { th scope="col" { span { (name) } } }
                }
            }
            tbody {
                @for (truth, name) in classes.iter().enumerate() {
                    tr {
                        th scope="row" { (name) }
                        @for (guess, &count) in judged.confusion.row(truth).iter().enumerate() {
                            (cell(truth == guess, count, judged.confusion.images(truth), few))
                        }
                    }
                }
            }
        }
    };
    scrolling(caption, table)
}

/// A count, coloured by its share of the row. Of mistakes even a few are to be seen, so their share
/// counts with its root.
fn cell(right: bool, count: usize, images: usize, with_share: bool) -> Markup {
    if count == 0 {
        return html! { td {} };
    }
    let share = count as f64 / images as f64;
    let (class, depth) = if right { ("right", share) } else { ("wrong", share.sqrt()) };
    html! {
        td class=(class) style={ "--depth:" (format!("{depth:.2}")) } {
            (words::count(count as u64))
            @if with_share { small { (format!("{:.1} %", 100.0 * share)) } }
        }
    }
}
