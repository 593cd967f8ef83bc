//! What a training run achieved, as one page of HTML that needs nothing beside it: no script, no
//! font, no picture from elsewhere.
//!
//! | file | subject |
//! |---|---|
//! | `collect.rs` | [`Run`]: everything that a page says about a run, read from its folder and measured |
//! | `page.rs` | [`page()`]: the sections of the page, in their order |
//! | `style.css` | how it looks: light, dark, on a phone, printed |
//! | `summary.rs` | the best epoch, the last and the worst |
//! | `curves.rs` | loss and accuracy by epoch, as charts and as a table |
//! | `axis.rs`, `chart.rs`, `values.rs` | a line chart as SVG, with values on it |
//! | `confusion.rs`, `letters.rs` | which class is taken for which; precision and recall |
//! | `gallery.rs` | the worst mistakes |
//! | `filters.rs` | what the first convolution learned |
//! | `kernels.rs` | the time of each kernel |
//! | `settings.rs` | the settings, and where the runs differ |
//! | `remark.rs` | what losses that do not fall say about the learning rate |
//! | `table.rs`, `words.rs` | tables; numbers as people write them |
#![forbid(unsafe_code)]

mod axis;
mod chart;
mod collect;
mod confusion;
mod curves;
mod filters;
mod gallery;
pub(crate) mod kernels;
mod letters;
mod page;
pub(crate) mod remark;
mod settings;
mod summary;
mod table;
mod values;
pub(crate) mod words;

#[cfg(test)]
mod tests;

pub use collect::{MOST_RUNS, Run};
pub use page::page;

/// The page's name in a run's folder.
pub const REPORT: &str = "report.html";
