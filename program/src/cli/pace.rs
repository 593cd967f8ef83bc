//! How long a training still takes, from what is done and not from what was begun.

use std::time::Instant;

use signet::train::{EpochMetrics, Progress};

/// A step without its gradients and the optimizer: an image of a validation takes about a third.
const VALIDATION: f64 = 1.0 / 3.0;

/// From here on, steps that were begun count as done where nothing is known: a batch so large that
/// an epoch ends before the first losses are fetched.
const PATIENCE: f64 = 3.0;

/// What is left of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Left {
    /// Of this epoch; missing where only earlier epochs say how long it takes.
    pub images_per_second: Option<f64>,
    /// Seconds to the end of the epoch's training.
    pub epoch: f64,
    /// Seconds to the end of the run, where that is more.
    pub run: Option<f64>,
}

/// The speed of this process: what an earlier one did, perhaps elsewhere, says nothing about it.
#[derive(Debug)]
pub struct Pace {
    epochs: u64,
    valid_images: usize,
    /// The first step of the epoch that was seen: when, and how many images were done then.
    first: Option<(Instant, usize)>,
    /// Images known when the speed was measured, and the speed.
    measured: Option<(usize, f64)>,
    /// Whether the epoch under way was begun by this process.
    whole: bool,
    /// Seconds of training and of validation of the last epoch that was.
    last: Option<(Option<f64>, f64)>,
}

impl Pace {
    /// Of a run of so many epochs, validated on so many images.
    pub fn new(epochs: u64, valid_images: usize) -> Self {
        Self { epochs, valid_images, first: None, measured: None, whole: false, last: None }
    }

    /// Begins with an epoch.
    pub fn start(&mut self) {
        (self.first, self.measured) = (None, None);
    }

    /// Takes in what an epoch took.
    pub fn learn(&mut self, metrics: &EpochMetrics) {
        // The seconds of an epoch that was interrupted are partly those of another process.
        self.last = Some((self.whole.then_some(metrics.train_seconds), metrics.valid_seconds));
    }

    /// What is left after `progress`; `None` as long as nobody can know.
    pub fn left(&mut self, progress: &Progress) -> Option<Left> {
        let now = Instant::now();
        let Some((since, _)) = self.first else {
            // A first step takes longer than others do: it makes room for all of them.
            self.first = Some((now, progress.images));
            self.whole = progress.step == 1;
            return self.estimate(progress, 0.0);
        };
        self.estimate(progress, (now - since).as_secs_f64())
    }

    /// The same, `seconds` after the first step was seen.
    fn estimate(&mut self, progress: &Progress, seconds: f64) -> Option<Left> {
        let Progress { epoch, images, images_in_all, known, .. } = *progress;
        let first = self.first.map_or(0, |(_, images)| images);
        let done = match self.measured {
            None if known <= first && seconds > PATIENCE => images,
            _ => known,
        };
        // Between two looks at the device nothing new is known.
        if seconds > 0.0 && done > self.measured.map_or(first, |(images, _)| images) {
            self.measured = Some((done, (done - first) as f64 / seconds));
        }
        let trained = self.last.and_then(|(train, _)| train);
        let speed = self.measured.map(|(_, speed)| speed);
        let whole = trained.or_else(|| speed.map(|speed| images_in_all as f64 / speed))?;
        let rest = (images_in_all - images) as f64;
        let epoch_left = match speed {
            Some(speed) => rest / speed,
            None => whole * rest / images_in_all.max(1) as f64,
        };
        let validation = self.last.map_or_else(
            || VALIDATION * whole * self.valid_images as f64 / images_in_all.max(1) as f64,
            |(_, valid)| valid,
        );
        let epochs_left = self.epochs.saturating_sub(epoch + 1);
        let run = epoch_left + validation + epochs_left as f64 * (whole + validation);
        Some(Left {
            images_per_second: speed,
            epoch: epoch_left,
            run: (epochs_left > 0).then_some(run),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(epoch: u64, images: usize, known: usize) -> Progress {
        let step = images / 10;
        Progress { epoch, step, steps: 100, images, known, images_in_all: 1000, loss: 1.0 }
    }

    /// A pace whose first step of the epoch is seen now.
    fn begun(pace: &mut Pace, epoch: u64, images: usize) -> Option<Left> {
        pace.start();
        pace.left(&progress(epoch, images, images - 10))
    }

    #[test]
    fn what_was_begun_is_not_done() {
        let mut pace = Pace::new(3, 300);
        assert_eq!(begun(&mut pace, 0, 10), None, "nobody can know");
        assert_eq!(pace.estimate(&progress(0, 900, 10), 0.5), None, "a device has a long queue");
        let left = pace.estimate(&progress(0, 910, 110), 1.0).unwrap();
        assert_eq!(left.images_per_second, Some(100.0));
        assert_eq!(left.epoch, 0.9);
        // 10 s an epoch, and a validation of 300 images 1 s: a third of what training takes.
        assert!((left.run.unwrap() - (0.9 + 1.0 + 2.0 * 11.0)).abs() < 1e-9, "{left:?}");
        // Nothing new is known: the speed is not made smaller by waiting.
        let later = pace.estimate(&progress(0, 920, 110), 5.0).unwrap();
        assert_eq!(later.images_per_second, Some(100.0));
    }

    /// Of epoch 0, whose validation took 2 seconds.
    fn metrics(train_seconds: f64, images_per_second: f64) -> EpochMetrics {
        EpochMetrics {
            epoch: 0,
            train_loss: 1.0,
            train_accuracy: 0.0,
            valid_loss: 1.0,
            valid_accuracy: 0.0,
            train_seconds,
            valid_seconds: 2.0,
            images_per_second,
            lr: 0.1,
        }
    }

    #[test]
    fn what_an_earlier_process_did_does_not_count_as_speed() {
        let mut pace = Pace::new(1, 0);
        // Resumed after 800 of 1,000 images.
        assert_eq!(begun(&mut pace, 0, 810), None);
        let left = pace.estimate(&progress(0, 860, 860), 0.5).unwrap();
        assert_eq!((left.images_per_second, left.epoch, left.run), (Some(100.0), 1.4, None));
        // Nor do the seconds of the epoch's first part.
        pace.learn(&metrics(500.0, 2.0));
        assert_eq!(pace.last, Some((None, 2.0)));
    }

    #[test]
    fn epochs_that_are_done_say_how_long_the_next_takes() {
        let mut pace = Pace::new(3, 300);
        begun(&mut pace, 0, 10);
        pace.learn(&metrics(20.0, 50.0));
        let left = begun(&mut pace, 1, 10).unwrap();
        assert_eq!((left.images_per_second, left.epoch), (None, 20.0 * 0.99));
        assert!((left.run.unwrap() - (19.8 + 2.0 + 22.0)).abs() < 1e-9, "{left:?}");
    }

    #[test]
    fn large_batches_are_estimated_after_a_while() {
        let mut pace = Pace::new(1, 0);
        begun(&mut pace, 0, 10);
        assert_eq!(pace.estimate(&progress(0, 210, 0), 2.0), None);
        let left = pace.estimate(&progress(0, 410, 0), 4.0).unwrap();
        assert_eq!(left.images_per_second, Some(100.0));
    }
}
