//! Runs for tests, here and above.

use super::Record;
use signet::device::Precision;
use signet::train::{Config, EpochMetrics};

/// An epoch of a run that learns.
pub(crate) fn epoch(epoch: u64) -> EpochMetrics {
    EpochMetrics {
        epoch,
        train_loss: 20.0 / (epoch + 1) as f64,
        train_accuracy: 1.0 - 0.4 / (epoch + 1) as f64,
        valid_loss: 4.0 / (epoch + 1) as f64,
        valid_accuracy: 1.0 - 0.5 / (epoch + 1) as f64,
        train_seconds: 2.0,
        valid_seconds: 0.5,
        images_per_second: 1500.0,
        lr: 1e-3,
    }
}

/// The first epochs of that run.
pub(crate) fn epochs(count: u64) -> Vec<EpochMetrics> {
    (0..count).map(epoch).collect()
}

/// What is kept of a run on drawn images of these classes.
pub(crate) fn record(classes: &[String]) -> Record {
    Record {
        config: Config::default(),
        recipe: Some("notebook".to_owned()),
        data: "synthetic".to_owned(),
        data_source: "synthetic hands (seed 0)".to_owned(),
        synthetic: true,
        data_sha256: "0".to_owned(),
        classes: classes.to_vec(),
        whole_images: false,
        images: None,
        device: "cpu (2 threads)".to_owned(),
        precisions: Precision::F32.into(),
        version: "0.1.0".to_owned(),
    }
}
