use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

/// Loss and accuracy of a model on a data set, as the course notebook defines them.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Measured {
    /// The sum of the batches' mean losses.
    pub loss: f64,
    /// The share of images whose largest logit is the label's.
    pub accuracy: f64,
}

/// What an epoch achieved: one line of `metrics.jsonl`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EpochMetrics {
    /// The epoch, counted from 0.
    pub epoch: u64,
    /// Over the training images, while they were learned.
    #[serde(deserialize_with = "number_or_nan")]
    pub train_loss: f64,
    /// Over the training images, while they were learned.
    pub train_accuracy: f64,
    /// Over the validation images, after the epoch; no number when a logit is none.
    #[serde(deserialize_with = "number_or_nan")]
    pub valid_loss: f64,
    /// Over the validation images, after the epoch.
    pub valid_accuracy: f64,
    /// Seconds of training, an interrupted epoch's parts together.
    pub train_seconds: f64,
    /// Seconds of validation.
    pub valid_seconds: f64,
    /// Training images a second.
    pub images_per_second: f64,
    /// The learning rate.
    pub lr: f64,
}

impl EpochMetrics {
    /// Whether it is as good as an `earlier` epoch, or better: then its model is the one to keep. With
    /// augmentation all validation images are soon right; what is trained longer reads photographs
    /// of other hands better.
    pub fn beats(&self, earlier: &Self) -> bool {
        self.valid_accuracy >= earlier.valid_accuracy
    }

    /// The best epoch of `history`: the highest validation accuracy, of equal ones the last.
    pub fn best(history: &[Self]) -> Option<&Self> {
        history.iter().reduce(|best, next| if next.beats(best) { next } else { best })
    }
}

/// JSON has no word for what is no number but `null`.
fn number_or_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Loss: {:.4} Accuracy: {:.4}", self.loss, self.accuracy)
    }
}

impl fmt::Display for EpochMetrics {
    /// The notebook's three lines.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let train = Measured { loss: self.train_loss, accuracy: self.train_accuracy };
        let valid = Measured { loss: self.valid_loss, accuracy: self.valid_accuracy };
        write!(f, "Epoch: {}\nTrain - {train}\nValid - {valid}", self.epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: EpochMetrics = EpochMetrics {
        epoch: 0,
        train_loss: 265.90259,
        train_accuracy: 0.90714,
        valid_loss: 33.60621,
        valid_accuracy: 0.95061,
        train_seconds: 1.0,
        valid_seconds: 1.0,
        images_per_second: 1.0,
        lr: 1e-3,
    };

    #[test]
    fn a_loss_that_is_no_number_comes_back_as_such() {
        let metrics = EpochMetrics { valid_loss: f64::NAN, ..METRICS };
        let json = serde_json::to_string(&metrics).unwrap();
        let back: EpochMetrics = serde_json::from_str(&json).unwrap();
        assert!(back.valid_loss.is_nan());
        assert_eq!(EpochMetrics { valid_loss: METRICS.valid_loss, ..back }, METRICS);
        let missing = json.replace("valid_loss", "other");
        assert!(serde_json::from_str::<EpochMetrics>(&missing).is_err());
    }

    #[test]
    fn an_epoch_prints_as_in_the_notebook() {
        assert_eq!(
            METRICS.to_string(),
            "Epoch: 0\nTrain - Loss: 265.9026 Accuracy: 0.9071\nValid - Loss: 33.6062 Accuracy: 0.9506"
        );
    }

    #[test]
    fn the_best_epoch_is_the_last_of_the_most_accurate_ones() {
        let best = |accuracies: &[f64]| {
            let epoch =
                |(epoch, &valid_accuracy)| EpochMetrics { epoch, valid_accuracy, ..METRICS };
            let history: Vec<_> = (0..).zip(accuracies).map(epoch).collect();
            EpochMetrics::best(&history).map(|best| best.epoch)
        };
        assert_eq!(best(&[]), None);
        assert_eq!(best(&[0.9, 1.0, 0.95]), Some(1));
        assert_eq!(best(&[0.9, 1.0, 1.0, 0.95]), Some(2));
    }

    /// A run that goes on has read what it had achieved from a file.
    #[test]
    fn numbers_in_files_come_back_to_the_last_bit() {
        let mut random = crate::rng::Philox::new(9).sequence(0, 0);
        let mut number = || {
            let bits = u64::from(random.next_u32()) << 32 | u64::from(random.next_u32());
            // From 2^-63 to 2^64.
            f64::from_bits(bits >> 12 | (960 + (bits & 127)) << 52)
        };
        for _ in 0..2000 {
            let mut metrics = EpochMetrics {
                epoch: 3,
                train_loss: number(),
                train_accuracy: number(),
                valid_loss: number(),
                valid_accuracy: number(),
                train_seconds: number(),
                valid_seconds: number(),
                images_per_second: number(),
                lr: number(),
            };
            metrics.lr = 1.0 / metrics.lr;
            let text = serde_json::to_string(&metrics).unwrap();
            assert_eq!(serde_json::from_str::<EpochMetrics>(&text).unwrap(), metrics);
        }
    }
}
