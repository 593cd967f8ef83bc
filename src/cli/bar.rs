//! The progress bar of an epoch.

use crate::train::Progress;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use std::fmt;

/// A bar on stderr; where that is no terminal, or the user wants quiet, it draws nothing.
pub struct EpochBar {
    bar: ProgressBar,
}

impl EpochBar {
    /// A bar for one epoch.
    pub fn new(quiet: bool) -> Self {
        let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::new(0) };
        let template = "{prefix} {bar:30} {pos}/{len} {rate} images/s {eta} left {msg}";
        // The template is a constant: if it were wrong, the plain bar would do.
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let rate = |state: &ProgressState, text: &mut dyn fmt::Write| {
            // A display that cannot be written to is nobody's loss.
            let _ = write!(text, "{:.0}", state.per_sec());
        };
        bar.set_style(style.with_key("rate", rate));
        Self { bar }
    }

    /// Shows how far the epoch is.
    pub fn show(&mut self, progress: &Progress) {
        if self.bar.length() == Some(0) {
            self.bar.set_length(progress.images_in_all as u64);
            self.bar.set_prefix(format!("Epoch {}", progress.epoch));
        }
        self.bar.set_position(progress.images as u64);
        if progress.loss.is_finite() {
            self.bar.set_message(format!("loss {:.4}", progress.loss));
        }
    }

    /// Takes the bar away.
    pub fn clear(self) {
        self.bar.finish_and_clear();
    }
}
