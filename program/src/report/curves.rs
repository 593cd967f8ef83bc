//! Loss, accuracy and learning rate by epoch: as charts, and as a table for whoever wants the numbers.

use maud::{Markup, html};

use super::Run;
use super::axis::Axis;
use super::chart::{Chart, Line, Part};
use super::table::scrolling;
use super::words::{duration, loss, rate, share};
use signet::Result;
use signet::train::EpochMetrics;

/// What stands for a loss where the number of batches is not known.
const SUMMED: &str = "Loss, summed over batches";

/// The charts, their legend and the table.
///
/// # Errors
/// When a chart cannot be drawn.
pub(super) fn curves(runs: &[Run]) -> Result<Markup> {
    if runs.iter().all(|run| run.history.is_empty()) {
        return Ok(html! { p { "No epoch has finished yet." } });
    }
    let per_batch = runs.iter().all(|run| run.batches().is_some());
    let both = &[Part::Train, Part::Valid];
    let images = runs.iter().filter_map(|run| run.record.images.map(|images| images[1])).max();
    let rates: Vec<f64> = runs.iter().flat_map(|run| &run.history).map(|epoch| epoch.lr).collect();
    let rate_changes = rates.windows(2).any(|pair| pair[0] != pair[1]);
    let losses = Figure {
        id: "loss",
        title: if per_batch { "Mean loss" } else { SUMMED },
        parts: both,
        axis: &Axis::log,
        value: &|run, part, epoch| losses(run, epoch, per_batch)[usize::from(part == Part::Valid)],
        words: loss,
    };
    let accuracies = Figure {
        id: "accuracy",
        title: "Accuracy",
        parts: both,
        axis: &|span| Axis::missing(span, images),
        value: &|_, part, epoch| match part {
            Part::Train => epoch.train_accuracy,
            _ => epoch.valid_accuracy,
        },
        words: |accuracy| share(Some(accuracy)),
    };
    let learning_rates = Figure {
        id: "rate",
        title: "Learning rate",
        parts: &[Part::Rate],
        axis: &|[_, most]| Axis::linear([0.0, most], 5.0, most / 1e3),
        value: &|_, _, epoch| epoch.lr,
        words: rate,
    };
    Ok(html! {
        (legend(runs, per_batch))
        div.charts {
            (losses.draw(runs)?)
            (accuracies.draw(runs)?)
            @if rate_changes { (learning_rates.draw(runs)?) }
        }
        p.soft {
            @if !per_batch {
                "The losses are the sums that the notebook prints. Training has more batches than "
                "validation, so only their slopes compare. "
            }
            "Accuracy is drawn by what is missing to 1, so that 0.99 and 0.999 are apart."
            @if let (false, Some(lr)) = (rate_changes, rates.first()) {
                " The learning rate is " (rate(*lr)) " in every epoch."
            }
        }
        (table(runs, per_batch))
    })
}

/// The losses of an epoch, of training and of validation: means, or sums where `per_batch` is false.
fn losses(run: &Run, epoch: &EpochMetrics, per_batch: bool) -> [f64; 2] {
    let [train, valid] = run.batches().filter(|_| per_batch).unwrap_or([1.0; 2]);
    [epoch.train_loss / train, epoch.valid_loss / valid]
}

/// Of the runs before `run`, one whose curves are the same in all epochs that both have: of two such
/// lines, only one can be seen.
fn hidden<'a>(before: &'a [Run], run: &Run, per_batch: bool) -> Option<&'a Run> {
    let drawn = |run: &Run, epoch: &EpochMetrics| {
        let [train, valid] = losses(run, epoch, per_batch);
        [train, valid, epoch.train_accuracy, epoch.valid_accuracy].map(f64::to_bits)
    };
    before.iter().find(|other| {
        let mut both = run.history.iter().zip(&other.history).peekable();
        both.peek().is_some() && both.all(|(a, b)| drawn(run, a) == drawn(other, b))
    })
}

fn legend(runs: &[Run], per_batch: bool) -> Markup {
    let sample = |class: &str| {
        html! {
            svg.sample viewBox="0 0 28 8" aria-hidden="true" { path class=(class) d="M0 4H28" {} }
        }
    };
    html! {
        ul.legend {
            @if let [_] = runs {
                li { (sample("train run-0")) "training" }
                li { (sample("valid run-0")) "validation" }
            } @else {
                @for (number, run) in runs.iter().enumerate() {
                    li { (sample(&format!("valid run-{number}")))
                        (run.name)
                        @if let Some(other) = hidden(&runs[..number], run, per_batch) {
                            " (its curves lie on those of " (other.name) ")"
                        }
                    }
                }
                li.soft { (sample("valid")) "validation" }
                li.soft { (sample("train")) "training" }
            }
            li.soft { svg.sample viewBox="0 0 8 8" aria-hidden="true" {
                circle.mark cx="4" cy="4" r="3" {}
            } "best epoch" }
        }
    }
}

/// A chart of one number by epoch, of the parts of each run.
struct Figure<'a> {
    id: &'a str,
    title: &'a str,
    parts: &'a [Part],
    /// The axis for the least and the most of the numbers.
    axis: &'a dyn Fn([f64; 2]) -> Axis,
    value: &'a dyn Fn(&Run, Part, &EpochMetrics) -> f64,
    words: fn(f64) -> String,
}

impl Figure<'_> {
    fn draw(&self, runs: &[Run]) -> Result<Markup> {
        let mut lines = Vec::new();
        let mut description = String::new();
        for (number, run) in runs.iter().enumerate() {
            for &part in self.parts {
                let point =
                    |epoch: &EpochMetrics| (epoch.epoch as f64, (self.value)(run, part, epoch));
                let points: Vec<_> = run.history.iter().map(point).collect();
                let marked = match part {
                    Part::Valid => run.best().map(|best| best.epoch as usize),
                    Part::Train | Part::Rate => None,
                };
                if let ([first, ..], [.., last]) = (&points[..], &points[..]) {
                    description += &format!(
                        "{}{}: {} in epoch {}, {} in epoch {}. ",
                        run.name,
                        name(part),
                        (self.words)(first.1),
                        first.0,
                        (self.words)(last.1),
                        last.0
                    );
                }
                lines.push(Line { part, run: number, points, marked });
            }
        }
        let points = || lines.iter().flat_map(|line| &line.points);
        let last_epoch = points().map(|point| point.0).fold(0.0, f64::max);
        let values =
            points().map(|point| point.1).filter(|value| value.is_finite() && *value > 0.0);
        let span =
            values.fold([f64::INFINITY, 0.0], |[least, most], x| [x.min(least), x.max(most)]);
        // Without any number, any axis will do.
        let span = if span[0].is_finite() { span } else { [0.1, 1.0] };
        let readings =
            (0..=last_epoch as u64).map(|epoch| (epoch as f64, self.reading(runs, epoch)));
        let chart = Chart {
            id: self.id,
            title: self.title,
            description: description.trim_end(),
            x: Axis::counting(last_epoch),
            y: (self.axis)(span),
            readings: readings.collect(),
            // The best epoch is that of the best accuracy; its loss may not be the least.
            marked_is_best: self.id == "accuracy",
            words: self.words,
            lines,
        };
        Ok(html! {
            figure {
                figcaption { (self.title) " " span.soft { "by epoch" } }
                (chart.svg()?)
            }
        })
    }

    /// The numbers of an epoch, a line for each run and part.
    fn reading(&self, runs: &[Run], epoch: u64) -> String {
        let mut text = format!("Epoch {epoch}");
        for run in runs {
            let Some(metrics) = run.history.iter().find(|metrics| metrics.epoch == epoch) else {
                continue;
            };
            for &part in self.parts {
                let value = (self.words)((self.value)(run, part, metrics));
                let name = name(part);
                text += &match runs {
                    [_] => format!(
                        "\n{}: {value}",
                        if part == Part::Rate {
                            "learning rate"
                        } else {
                            name.trim_start_matches(", ")
                        }
                    ),
                    _ => format!("\n{}{name}: {value}", run.name),
                };
            }
        }
        text
    }
}

/// What is said of a part behind the name of a run.
fn name(part: Part) -> &'static str {
    match part {
        Part::Train => ", training",
        Part::Valid => ", validation",
        Part::Rate => "",
    }
}

/// The numbers of each epoch.
fn table(runs: &[Run], per_batch: bool) -> Markup {
    let epochs = runs.iter().map(|run| run.history.len()).max().unwrap_or(0);
    let title = "The numbers of each epoch";
    let headings = match per_batch {
        true => [
            "Mean train loss",
            "Train accuracy",
            "Mean valid loss",
            "Valid accuracy",
            "Learning rate",
            "Time",
        ],
        false => [
            "Train loss, summed",
            "Train accuracy",
            "Valid loss, summed",
            "Valid accuracy",
            "Learning rate",
            "Time",
        ],
    };
    let table = html! {
        table.epochs {
            thead {
                @if runs.len() > 1 {
                    tr {
                        td {}
                        @for run in runs { th scope="colgroup" colspan="6" { (run.name) } }
                    }
                }
                tr {
                    th.number scope="col" { "Epoch" }
                    @for _ in runs {
                        @for name in headings {
                            th.number scope="col" { (name) }
                        }
                    }
                }
            }
            tbody {
                @for epoch in 0..epochs {
                    tr {
                        th.number scope="row" { (epoch) }
                        @for run in runs {
                            @if let Some(metrics) = run.history.get(epoch) {
                                (cells(metrics, losses(run, metrics, per_batch)))
                            } @else {
                                td colspan="6" {}
                            }
                        }
                    }
                }
            }
        }
    };
    html! {
        details {
            summary { (title) }
            (scrolling(title, table))
        }
    }
}

fn cells(metrics: &EpochMetrics, losses: [f64; 2]) -> Markup {
    html! {
        td.number { (loss(losses[0])) }
        td.number { (share(Some(metrics.train_accuracy))) }
        td.number { (loss(losses[1])) }
        td.number { (share(Some(metrics.valid_accuracy))) }
        td.number { (rate(metrics.lr)) }
        td.number { (duration(metrics.train_seconds + metrics.valid_seconds)) }
    }
}
