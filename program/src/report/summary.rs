//! The best of a run, its last epoch, and the worst that it may come to.

use maud::{Markup, html};

use super::words::{self, count, counted, duration, loss, share};
use super::{Run, remark};
use signet::train::EpochMetrics;

/// How many epochs at the end of a run say how steady it has become.
const LAST: usize = 5;

/// What its last losses say about the learning rate, if it has not learned.
fn remark(run: &Run) -> Option<String> {
    let (last, [train, _]) = (run.history.last()?, run.batches()?);
    let mean = last.train_loss / train;
    remark::remark(&run.record.config, run.record.classes.len(), last.epoch, mean)
}

/// The figures of a run.
pub(super) fn summary(run: &Run) -> Markup {
    let (Some(best), Some(last)) = (run.best(), run.history.last()) else {
        return html! { p { "No epoch of this run has finished yet; " code { "signet train --resume" } " goes on with it." } };
    };
    // A mean where the number of batches is known, else the notebook's sum.
    let batches = run.batches().map(|[_, valid]| valid);
    let name = if batches.is_some() { "mean loss" } else { "summed loss" };
    let loss = |sum: f64| loss(sum / batches.unwrap_or(1.0));
    let measured = |epoch: &EpochMetrics| {
        format!("{}, {name} {}", share(Some(epoch.valid_accuracy)), loss(epoch.valid_loss))
    };
    let lowest = |epochs: &[EpochMetrics]| {
        let accuracies = epochs.iter().map(|epoch| epoch.valid_accuracy);
        share(Some(accuracies.fold(f64::INFINITY, f64::min)))
    };
    let highest = run.history.iter().reduce(|worst, epoch| {
        // In the total order, a loss that is no number is worse than any.
        if epoch.valid_loss.total_cmp(&worst.valid_loss).is_gt() { epoch } else { worst }
    });
    let steady = &run.history[run.history.len().saturating_sub(LAST)..];
    let seconds = run.history.iter().map(|epoch| epoch.train_seconds + epoch.valid_seconds).sum();
    let rates = run.history.iter().map(|epoch| epoch.images_per_second);
    let rate = rates.sum::<f64>() / run.history.len() as f64;
    let done = run.history.len() as u64;
    html! {
        div {
            p.figure {
                strong { (share(Some(best.valid_accuracy))) }
                " best validation accuracy, epoch " (best.epoch)
            }
            @if let Some(remark) = remark(run) { p.remark { "Remark: " (remark) "." } }
        }
        div.facts {
            p { "Validation after each epoch" }
            dl {
                dt { "Best epoch, " (best.epoch) } dd { (measured(best)) }
                dt { "Last epoch, " (last.epoch) } dd { (measured(last)) }
                dt { "Lowest accuracy, last " (steady.len()) } dd { (lowest(steady)) }
                @if let Some(worst) = highest {
                    dt { "Highest " (name) } dd { (loss(worst.valid_loss)) " in epoch " (worst.epoch) }
                }
            }
            @if let Ok(judged) = &run.judged {
                p { "The best model on the validation images" }
                dl {
                    dt { "Mistakes" }
                    dd { (count(judged.wrong as u64)) " of " (counted(judged.images as u64, "image")) }
                    @if let Some((worst, its_loss)) = &judged.worst {
                        @let (truth, guess) =
                            (&run.record.classes[worst.truth], &run.record.classes[worst.guess]);
                        dt { "Worst image" }
                        dd {
                            "loss " (words::loss(*its_loss)) ", " (truth)
                            @if truth == guess { " (recognised)" } @else { " → " (guess) }
                            @if let Some(file) = &judged.worst_file { small { (file) } }
                        }
                    }
                }
            }
            p { "Training" }
            dl {
                dt { "Epochs" }
                dd {
                    (done)
                    @if done < run.record.config.epochs { " of " (run.record.config.epochs) }
                    " in " (duration(seconds))
                }
                dt { "Speed" } dd { (count(rate as u64)) " images/s" }
            }
        }
    }
}
