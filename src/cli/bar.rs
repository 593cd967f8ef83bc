//! What `signet train` shows on a terminal: a live bar for the epoch under way, and a line for each
//! epoch that is done. No line is wider than the terminal: what finds no room is left out.

use console::{Term, style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::terminal::{bar_target, bar_width, stdout_width};
use crate::report::words::{count, duration};
use crate::train::{EpochMetrics, Progress};

/// A bar on stderr, gone when the epoch is done. Where [`bar_target`] says so, it draws nothing.
pub struct EpochBar {
    bar: ProgressBar,
    epochs: u64,
}

impl EpochBar {
    /// A bar for one of so many epochs.
    pub fn new(quiet: bool, epochs: u64) -> Self {
        let target = if quiet { ProgressDrawTarget::hidden() } else { bar_target() };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        // The template is a constant: if it were wrong, the plain bar would do.
        let plain = |_| ProgressStyle::default_bar();
        bar.set_style(ProgressStyle::with_template("{msg}").unwrap_or_else(plain));
        Self { bar, epochs }
    }

    /// Shows how far the epoch is.
    pub fn show(&self, progress: &Progress) {
        if self.bar.is_hidden() {
            return;
        }
        if self.bar.length() == Some(0) {
            self.bar.set_length(progress.images_in_all as u64);
        }
        self.bar.set_position(progress.images as u64);
        let speed = self.bar.per_sec();
        let line = live_line(progress, self.epochs, speed, bar_width());
        self.bar.set_message(line);
    }

    /// Takes the bar away.
    pub fn clear(self) {
        self.bar.finish_and_clear();
    }
}

/// Leaves a bar where it is for good, and the cursor below it.
pub fn leave() {
    let stderr = Term::stderr();
    if stderr.is_term() {
        // A terminal that has gone needs no new line.
        let _ = stderr.write_line("");
    }
}

/// The line above those of [`epoch_line`].
pub fn heading() -> String {
    row(&COLUMNS.map(|column| column.title.to_owned()), stdout_width())
}

/// What an epoch achieved; `best` is whether no epoch before was as good.
pub fn epoch_line(metrics: &EpochMetrics, best: bool) -> String {
    row(&values(metrics, best), stdout_width())
}

/// A column of the lines of epochs.
struct Column {
    title: &'static str,
    width: usize,
    /// Where there is no room for all, columns of a higher rank are left out first.
    rank: u8,
}

const COLUMNS: [Column; 8] = [
    Column { title: "Epoch", width: 5, rank: 0 },
    Column { title: "Train loss", width: 12, rank: 4 },
    Column { title: "Train acc", width: 11, rank: 2 },
    Column { title: "Valid loss", width: 12, rank: 3 },
    Column { title: "Valid acc", width: 11, rank: 1 },
    Column { title: "Images/s", width: 10, rank: 7 },
    Column { title: "Time", width: 12, rank: 5 },
    Column { title: "", width: 6, rank: 6 },
];

fn values(metrics: &EpochMetrics, best: bool) -> [String; 8] {
    [
        metrics.epoch.to_string(),
        format!("{:.4}", metrics.train_loss),
        format!("{:.4}", metrics.train_accuracy),
        format!("{:.4}", metrics.valid_loss),
        format!("{:.4}", metrics.valid_accuracy),
        count(metrics.images_per_second as u64),
        duration(metrics.train_seconds + metrics.valid_seconds),
        (if best { "best" } else { "" }).to_owned(),
    ]
}

fn row(values: &[String; 8], width: usize) -> String {
    let cell =
        |(column, value): (&Column, &String)| (column.rank, format!("{value:>0$}", column.width));
    let cells: Vec<_> = COLUMNS.iter().zip(values).map(cell).collect();
    fit(&cells, "", width).trim_end().to_owned()
}

/// The line of an epoch under way, at so many images a second.
fn live_line(progress: &Progress, epochs: u64, speed: f64, width: usize) -> String {
    let Progress { epoch, step, steps, images, images_in_all, loss } = *progress;
    let places = if width < 56 { 8 } else { 16 };
    let full = places * images / images_in_all.max(1);
    let start = format!("{epoch:>5}  ");
    let bar = style("━".repeat(full)).for_stderr().cyan();
    let rest = style("─".repeat(places - full)).for_stderr().dim();
    let mut cells = vec![(0, format!("{step:>0$}/{steps}", steps.to_string().len()))];
    if loss.is_finite() {
        cells.push((1, format!("loss {loss:.4}")));
    }
    if step == steps {
        cells.push((2, "validating".to_owned()));
    } else if speed > 0.0 {
        let epoch_left = (images_in_all - images) as f64 / speed;
        let epochs_left = epochs.saturating_sub(epoch + 1) as f64;
        let left = epoch_left + epochs_left * images_in_all as f64 / speed;
        cells.push((3, format!("{} images/s", count(speed as u64))));
        cells.push((2, format!("{} left", duration(epoch_left))));
        if epochs_left > 0.0 {
            cells.push((4, format!("{} for all", duration(left))));
        }
    }
    let taken = start.len() + places + 2;
    format!("{start}{bar}{rest}  {}", fit(&cells, "  ", width.saturating_sub(taken)))
}

/// As many cells as fit into `width` columns, in their order; those of the highest rank are left out
/// first.
fn fit(cells: &[(u8, String)], between: &str, width: usize) -> String {
    let mut kept: Vec<&(u8, String)> = cells.iter().collect();
    loop {
        let texts: Vec<&str> = kept.iter().map(|(_, text)| text.as_str()).collect();
        let line = texts.join(between);
        if line.chars().count() <= width || kept.is_empty() {
            return line;
        }
        let last = kept.iter().map(|(rank, _)| *rank).max();
        kept.retain(|(rank, _)| Some(*rank) != last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: EpochMetrics = EpochMetrics {
        epoch: 12,
        train_loss: 269.8371,
        train_accuracy: 0.9083,
        valid_loss: 23.0561,
        valid_accuracy: 0.964,
        train_seconds: 4.2,
        valid_seconds: 0.3,
        images_per_second: 6597.3,
        lr: 1e-3,
    };

    const PROGRESS: Progress = Progress {
        epoch: 3,
        step: 429,
        steps: 858,
        images: 13728,
        images_in_all: 27456,
        loss: 0.0532,
    };

    #[test]
    fn columns_stand_below_their_titles() {
        let heading = row(&COLUMNS.map(|column| column.title.to_owned()), 79);
        assert_eq!(
            heading,
            "Epoch  Train loss  Train acc  Valid loss  Valid acc  Images/s        Time"
        );
        assert_eq!(
            row(&values(&METRICS, true), 79),
            "   12    269.8371     0.9083     23.0561     0.9640     6,597       4.5 s  best"
        );
    }

    #[test]
    fn a_narrow_terminal_gets_the_figures_that_matter_most() {
        assert_eq!(row(&values(&METRICS, true), 39), "   12     0.9083     23.0561     0.9640");
        assert_eq!(row(&values(&METRICS, true), 20), "   12     0.9640");
        let line = |width| {
            console::strip_ansi_codes(&live_line(&PROGRESS, 20, 6400.0, width)).into_owned()
        };
        assert_eq!(line(37), "    3  ━━━━────  429/858  loss 0.0532");
        assert_eq!(
            line(77),
            "    3  ━━━━━━━━────────  429/858  loss 0.0532  6,400 images/s  2.1 s left"
        );
        assert_eq!(
            line(197),
            "    3  ━━━━━━━━────────  429/858  loss 0.0532  6,400 images/s  2.1 s left  \
             1 min 11 s for all"
        );
        for width in 20..200 {
            assert!(line(width).chars().count() <= width, "{width}: {}", line(width));
            let row = row(&values(&METRICS, true), width);
            assert!(row.chars().count() <= width, "{width}: {row}");
        }
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let line = |progress: &Progress, speed| {
            console::strip_ansi_codes(&live_line(progress, 4, speed, 200)).into_owned()
        };
        let first = Progress { step: 1, images: 32, loss: f64::NAN, ..PROGRESS };
        assert_eq!(line(&first, 0.0), "    3  ────────────────    1/858");
        let last = Progress { step: 858, images: 27456, ..PROGRESS };
        assert_eq!(line(&last, 9.0), "    3  ━━━━━━━━━━━━━━━━  858/858  loss 0.0532  validating");
    }
}
