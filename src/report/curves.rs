//! Loss and accuracy by epoch: as charts, and as a table for whoever wants the numbers.

use maud::{Markup, html};

use super::Run;
use super::axis::Axis;
use super::chart::{Chart, Line, Part};
use super::table::scrolling;
use super::words::{duration, loss, share};
use crate::Result;
use crate::train::EpochMetrics;

/// Both charts, their legend and the table.
///
/// # Errors
/// When a chart cannot be drawn.
pub(super) fn curves(runs: &[Run]) -> Result<Markup> {
    if runs.iter().all(|run| run.history.is_empty()) {
        return Ok(html! { p { "No epoch is done yet." } });
    }
    let per_batch = runs.iter().all(|run| run.judged.is_ok());
    let loss_title = if per_batch { "Loss" } else { "Loss, summed over batches" };
    Ok(html! {
        (legend(runs))
        div.charts {
            (figure("loss", loss_title, runs, Axis::log, |run, part, epoch| {
                let [train, valid] = match &run.judged {
                    Ok(judged) if per_batch => judged.batches.map(|batches| batches as f64),
                    _ => [1.0; 2],
                };
                match part {
                    Part::Train => epoch.train_loss / train,
                    Part::Valid => epoch.valid_loss / valid,
                }
            })?)
            (figure("accuracy", "Accuracy", runs, accuracies, |_, part, epoch| match part {
                Part::Train => epoch.train_accuracy,
                Part::Valid => epoch.valid_accuracy,
            })?)
        }
        @if !per_batch {
            p.soft {
                "The losses are the sums that the notebook prints. Training has more batches than "
                "validation, so only their slopes compare."
            }
        }
        (table(runs))
    })
}

/// From the lowest accuracy to 1.
fn accuracies([least, _]: [f64; 2]) -> Axis {
    Axis::linear([least.min(0.999), 1.0], 6.0, 0.0005)
}

fn legend(runs: &[Run]) -> Markup {
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
                    li { (sample(&format!("valid run-{number}"))) (run.name) }
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

/// A chart of one number by epoch, of training and validation of each run.
fn figure(
    id: &str,
    title: &str,
    runs: &[Run],
    axis: impl Fn([f64; 2]) -> Axis,
    value: impl Fn(&Run, Part, &EpochMetrics) -> f64,
) -> Result<Markup> {
    let mut lines = Vec::new();
    let mut description = String::new();
    for (number, run) in runs.iter().enumerate() {
        for part in [Part::Train, Part::Valid] {
            let point = |epoch: &EpochMetrics| (epoch.epoch as f64, value(run, part, epoch));
            let points: Vec<_> = run.history.iter().map(point).collect();
            let marked = match part {
                Part::Train => None,
                Part::Valid => run.best().map(|best| best.epoch as usize),
            };
            if let ([first, ..], [.., last]) = (&points[..], &points[..]) {
                let what = if part == Part::Train { "training" } else { "validation" };
                description += &format!(
                    "{}, {what}: {} in epoch {}, {} in epoch {}. ",
                    run.name,
                    loss(first.1),
                    first.0,
                    loss(last.1),
                    last.0
                );
            }
            lines.push(Line { part, run: number, points, marked });
        }
    }
    let points = || lines.iter().flat_map(|line| &line.points);
    let last_epoch = points().map(|point| point.0).fold(0.0, f64::max);
    let values = points().map(|point| point.1).filter(|value| value.is_finite() && *value > 0.0);
    let span = values.fold([f64::INFINITY, 0.0], |[least, most], x| [x.min(least), x.max(most)]);
    // Without any number, any axis will do.
    let span = if span[0].is_finite() { span } else { [0.1, 1.0] };
    let chart = Chart {
        id,
        title,
        description: description.trim_end(),
        x: Axis::linear([0.0, last_epoch], 10.0, 1.0),
        y: axis(span),
        lines,
    };
    Ok(html! {
        figure {
            figcaption { (title) " " span.soft { "by epoch" } }
            (chart.svg()?)
        }
    })
}

/// The numbers of each epoch.
fn table(runs: &[Run]) -> Markup {
    let epochs = runs.iter().map(|run| run.history.len()).max().unwrap_or(0);
    let title = "The numbers of each epoch";
    let table = html! {
        table.epochs {
            thead {
                @if runs.len() > 1 {
                    tr {
                        td {}
                        @for run in runs { th scope="colgroup" colspan="5" { (run.name) } }
                    }
                }
                tr {
                    th.number scope="col" { "Epoch" }
                    @for _ in runs {
                        @for name in
                            ["Train loss", "Train accuracy", "Valid loss", "Valid accuracy", "Time"]
                        {
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
                                (cells(metrics))
                            } @else {
                                td colspan="5" {}
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

fn cells(metrics: &EpochMetrics) -> Markup {
    html! {
        td.number { (loss(metrics.train_loss)) }
        td.number { (share(Some(metrics.train_accuracy))) }
        td.number { (loss(metrics.valid_loss)) }
        td.number { (share(Some(metrics.valid_accuracy))) }
        td.number { (duration(metrics.train_seconds + metrics.valid_seconds)) }
    }
}
