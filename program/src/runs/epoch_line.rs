use super::Record;
use serde::Serialize;
use signet::train::EpochMetrics;

/// An epoch as a line of `metrics.jsonl` and of `train --json`: what the engine knows of it, whose
/// losses are the notebook's sums over batches, and beside them the means.
#[derive(Debug, Serialize)]
pub struct EpochLine<'a> {
    #[serde(flatten)]
    metrics: &'a EpochMetrics,
    #[serde(skip_serializing_if = "Option::is_none")]
    train_mean_loss: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_mean_loss: Option<f64>,
}

impl<'a> EpochLine<'a> {
    /// An epoch of the run with this `record`. It has no means where the record, of an older version,
    /// does not say how many batches there are.
    pub fn new(metrics: &'a EpochMetrics, record: &Record) -> Self {
        let batches = record.batches().map(|batches| batches.map(|n| n.max(1) as f64));
        Self {
            metrics,
            train_mean_loss: batches.map(|[train, _]| metrics.train_loss / train),
            valid_mean_loss: batches.map(|[_, valid]| metrics.valid_loss / valid),
        }
    }
}
