//! What `signet train` shows on a terminal: a live bar for the epoch under way, and a line for each
//! epoch that is done. No line is wider than the terminal: what finds no room is left out.

use console::{Term, style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use parking_lot::Mutex;

use super::pace::{Left, Pace};
use super::terminal::{bar_target, bar_width, stdout_width};
use crate::report::words::{self, count, duration};
use signet::train::{EpochMetrics, Progress};

/// Columns below which a bar and its words are short.
const NARROW: usize = 56;

/// Columns from which on a bar is long.
const WIDE: usize = 100;

/// A bar on stderr, gone when the epoch is done. Where [`bar_target`] says so, it draws nothing.
pub struct EpochBar {
    quiet: bool,
    bar: Mutex<ProgressBar>,
    pace: Mutex<Pace>,
    /// The epoch under way and its mean loss so far.
    at: Mutex<(u64, f64)>,
}

impl EpochBar {
    /// A bar for a run of so many epochs, validated on so many images.
    pub fn new(quiet: bool, epochs: u64, valid_images: usize) -> Self {
        Self {
            quiet,
            bar: Mutex::new(ProgressBar::hidden()),
            pace: Mutex::new(Pace::new(epochs, valid_images)),
            at: Mutex::new((0, f64::NAN)),
        }
    }

    /// Begins with the next epoch.
    pub fn start(&self) {
        let target = if self.quiet { ProgressDrawTarget::hidden() } else { bar_target() };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        // The template is a constant: if it were wrong, the plain bar would do.
        let plain = |_| ProgressStyle::default_bar();
        bar.set_style(ProgressStyle::with_template("{msg}").unwrap_or_else(plain));
        *self.bar.lock() = bar;
        self.pace.lock().start();
    }

    /// Shows how far the training of the epoch is.
    pub fn show(&self, progress: &Progress) {
        *self.at.lock() = (progress.epoch, progress.loss);
        let bar = self.bar.lock();
        if bar.is_hidden() {
            return;
        }
        if bar.length() == Some(0) {
            bar.set_length(progress.images_in_all as u64);
        }
        let left = self.pace.lock().left(progress);
        bar.set_position(progress.images as u64);
        bar.set_message(live_line(progress, left, bar_width()));
    }

    /// Shows how far its validation is: so many images are done.
    pub fn show_validation(&self, images: usize, images_in_all: usize) {
        let bar = self.bar.lock();
        if bar.is_hidden() {
            return;
        }
        let (epoch, loss) = *self.at.lock();
        bar.set_message(validation_line(epoch, loss, images, images_in_all, bar_width()));
        // Drawn at once: there may be no later moment before the validation is done.
        bar.tick();
    }

    /// Takes the bar away; with what the epoch took, the next estimates are better.
    pub fn clear(&self, done: Option<&EpochMetrics>) {
        self.bar.lock().finish_and_clear();
        if let Some(metrics) = done {
            self.pace.lock().learn(metrics);
        }
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

/// The lines above those of [`epoch_line`]: what a column and its neighbour have in common, and what
/// each of them is.
pub fn heading() -> String {
    headings(stdout_width())
}

/// What an epoch achieved, whose mean losses are those of `losses`: of training and of validation.
/// `best` is whether no epoch before was as good.
pub fn epoch_line(metrics: &EpochMetrics, losses: [f64; 2], best: bool) -> String {
    row(&values(metrics, losses, best), stdout_width())
}

/// A column of the lines of epochs.
struct Column {
    /// What it has in common with the column beside it.
    group: &'static str,
    title: &'static str,
    width: usize,
    /// Where there is no room for all, columns of a higher rank are left out first.
    rank: u8,
}

const fn column(group: &'static str, title: &'static str, width: usize, rank: u8) -> Column {
    Column { group, title, width, rank }
}

const COLUMNS: [Column; 8] = [
    column("", "Epoch", 5, 0),
    column("Mean loss", "train", 10, 4),
    column("Mean loss", "valid", 9, 3),
    column("Accuracy", "train", 11, 2),
    column("Accuracy", "valid", 9, 1),
    column("", "Images/s", 12, 7),
    column("", "Time", 12, 5),
    column("", "", 6, 6),
];

fn values(metrics: &EpochMetrics, losses: [f64; 2], best: bool) -> [String; 8] {
    [
        metrics.epoch.to_string(),
        words::loss(losses[0]),
        words::loss(losses[1]),
        format!("{:.4}", metrics.train_accuracy),
        format!("{:.4}", metrics.valid_accuracy),
        count(metrics.images_per_second as u64),
        duration(metrics.train_seconds + metrics.valid_seconds),
        (if best { "best" } else { "" }).to_owned(),
    ]
}

/// The columns that find room in `width`.
fn kept(width: usize) -> Vec<usize> {
    let mut kept: Vec<usize> = (0..COLUMNS.len()).collect();
    while kept.len() > 1 && kept.iter().map(|&i| COLUMNS[i].width).sum::<usize>() > width {
        let last = kept.iter().map(|&i| COLUMNS[i].rank).max();
        kept.retain(|&i| Some(COLUMNS[i].rank) != last);
    }
    kept
}

fn headings(width: usize) -> String {
    let kept = kept(width);
    let groups = kept.chunk_by(|&a, &b| COLUMNS[a].group == COLUMNS[b].group);
    let groups: String = groups
        .map(|columns| {
            let width: usize = columns.iter().map(|&i| COLUMNS[i].width).sum();
            format!("{:>width$}", COLUMNS[columns[0]].group)
        })
        .collect();
    let titles = COLUMNS.map(|column| column.title.to_owned());
    format!("{}\n{}", groups.trim_end(), row(&titles, width))
}

fn row(values: &[String; 8], width: usize) -> String {
    let cell = |i: usize| format!("{:>1$}", values[i], COLUMNS[i].width);
    kept(width).into_iter().map(cell).collect::<String>().trim_end().to_owned()
}

/// The line of an epoch under way.
fn live_line(progress: &Progress, left: Option<Left>, width: usize) -> String {
    let Progress { epoch, step, steps, images, images_in_all, loss, .. } = *progress;
    let mut cells = vec![(0, format!("{step:>0$}/{steps}", steps.to_string().len()))];
    if loss.is_finite() {
        // All losses on the screen are means; the heading of the lines says so too.
        let mean = if width < NARROW { "" } else { "mean " };
        cells.push((3, format!("{mean}loss {}", words::loss(loss))));
    }
    if step == steps {
        cells.push((2, "validating".to_owned()));
    } else if let Some(Left { images_per_second, epoch, run }) = left {
        if let Some(speed) = images_per_second {
            cells.push((4, format!("{} images/s", count(speed as u64))));
        }
        cells.push((1, format!("{} left", roughly(epoch))));
        if let Some(run) = run {
            cells.push((2, format!(", {} of the run", roughly(run))));
        }
    }
    bar_line(epoch, images, images_in_all, &cells, width)
}

/// How long an estimate is: of minutes, no seconds.
fn roughly(seconds: f64) -> String {
    let minutes = (seconds / 60.0).round();
    // Rounded up to an hour, it is said as hours are.
    if seconds >= 59.5 && minutes < 60.0 {
        format!("{} min", minutes as u64)
    } else {
        duration(seconds.max(if minutes >= 60.0 { 3600.0 } else { 0.0 }))
    }
}

/// The line of a validation under way, after a training with this mean loss.
fn validation_line(epoch: u64, loss: f64, images: usize, all: usize, width: usize) -> String {
    let mut cells = vec![(0, "validating".to_owned())];
    cells.push((1, format!("{}/{} images", count(images as u64), count(all as u64))));
    if loss.is_finite() {
        cells.push((2, format!("mean loss {}", words::loss(loss))));
    }
    bar_line(epoch, images, all, &cells, width)
}

/// A bar, and behind it as many of the cells as find room.
fn bar_line(epoch: u64, done: usize, all: usize, cells: &[(u8, String)], width: usize) -> String {
    let places = match width {
        ..NARROW => 8,
        NARROW..WIDE => 12,
        _ => 16,
    };
    let full = places * done / all.max(1);
    let start = format!("{epoch:>5}  ");
    let bar = style("━".repeat(full)).for_stderr().cyan();
    let rest = style("─".repeat(places - full)).for_stderr().dim();
    let taken = start.len() + places + 2;
    format!("{start}{bar}{rest}  {}", fit(cells, width.saturating_sub(taken)))
}

/// As many cells as fit into `width` columns, in their order; those of the highest rank are left out
/// first.
fn fit(cells: &[(u8, String)], width: usize) -> String {
    let mut kept: Vec<&(u8, String)> = cells.iter().collect();
    loop {
        let mut line = String::new();
        for (_, text) in &kept {
            // One that begins with a comma goes on with the one before.
            let between = if line.is_empty() || text.starts_with(',') { "" } else { "  " };
            line += between;
            line += text;
        }
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

    const LOSSES: [f64; 2] = [0.31452, 0.10247];

    const PROGRESS: Progress = Progress {
        epoch: 3,
        step: 429,
        steps: 858,
        images: 13728,
        known: 13696,
        images_in_all: 27456,
        loss: 0.0532,
    };

    const LEFT: Left = Left { images_per_second: Some(6400.0), epoch: 2.1, run: Some(71.4) };

    #[test]
    fn columns_stand_below_their_titles() {
        assert_eq!(
            headings(79),
            "               Mean loss            Accuracy\n\
             Epoch     train    valid      train    valid    Images/s        Time"
        );
        assert_eq!(
            row(&values(&METRICS, LOSSES, true), 79),
            "   12    0.3145   0.1025     0.9083   0.9640       6,597       4.5 s  best"
        );
        // A run that diverges keeps to the columns.
        assert_eq!(
            row(&values(&METRICS, [7.0225e21, 999.99996], false), 44),
            "   12   7.02e21   1.00e3     0.9083   0.9640"
        );
    }

    #[test]
    fn a_narrow_terminal_gets_the_figures_that_matter_most() {
        let epoch = |width| row(&values(&METRICS, LOSSES, true), width);
        assert_eq!(
            headings(39),
            "     Mean loss            Accuracy\nEpoch    valid      train    valid"
        );
        assert_eq!(epoch(39), "   12   0.1025     0.9083   0.9640");
        assert_eq!(headings(20), "      Accuracy\nEpoch    valid");
        assert_eq!(epoch(20), "   12   0.9640");
        let line = |width| {
            console::strip_ansi_codes(&live_line(&PROGRESS, Some(LEFT), width)).into_owned()
        };
        assert_eq!(line(37), "    3  ━━━━────  429/858  2.1 s left");
        assert_eq!(line(54), "    3  ━━━━────  429/858  2.1 s left, 1 min of the run");
        assert_eq!(
            line(79),
            "    3  ━━━━━━──────  429/858  mean loss 0.0532  2.1 s left, 1 min of the run"
        );
        assert_eq!(
            line(197),
            "    3  ━━━━━━━━────────  429/858  mean loss 0.0532  6,400 images/s  2.1 s left, \
             1 min of the run"
        );
        for width in 20..200 {
            assert!(line(width).chars().count() <= width, "{width}: {}", line(width));
            let lines = headings(width) + "\n" + &epoch(width);
            assert!(lines.lines().all(|line| line.chars().count() <= width), "{width}: {lines}");
            let line = validation_line(3, 0.0532, 3584, 7172, width);
            let line = console::strip_ansi_codes(&line);
            assert!(line.chars().count() <= width, "{width}: {line}");
        }
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let line = |progress: &Progress, left| {
            console::strip_ansi_codes(&live_line(progress, left, 200)).into_owned()
        };
        let first = Progress { step: 1, images: 32, known: 0, loss: f64::NAN, ..PROGRESS };
        assert_eq!(line(&first, None), "    3  ────────────────    1/858");
        let last = Progress { step: 858, images: 27456, ..PROGRESS };
        assert_eq!(
            line(&last, Some(LEFT)),
            "    3  ━━━━━━━━━━━━━━━━  858/858  mean loss 0.0532  validating"
        );
    }

    #[test]
    fn an_estimate_of_minutes_has_no_seconds() {
        assert_eq!(
            [2.14, 59.4, 59.6, 89.0, 723.0, 3569.0, 3590.0, 11_220.0].map(roughly),
            ["2.1 s", "59 s", "1 min", "1 min", "12 min", "59 min", "1 h 00 min", "3 h 07 min"]
        );
    }

    #[test]
    fn a_validation_has_a_bar_of_its_own() {
        assert_eq!(
            console::strip_ansi_codes(&validation_line(3, 0.0532, 3584, 7172, 100)),
            "    3  ━━━━━━━─────────  validating  3,584/7,172 images  mean loss 0.0532"
        );
    }
}
