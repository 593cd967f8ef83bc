//! How a classifier errs: computed from each image's class, the class it was taken for, and its loss.
#![forbid(unsafe_code)]

/// The confusion matrix: how many images of each class were taken for each class.
///
/// ```
/// use signet::metrics::Confusion;
/// let confusion = Confusion::new(3, &[0, 0, 1, 1], &[0, 1, 1, 1]);
/// assert_eq!(confusion.count(0, 1), 1);
/// assert_eq!(confusion.recall(0), Some(0.5));
/// assert_eq!(confusion.precision(1), Some(2.0 / 3.0));
/// assert_eq!(confusion.recall(2), None, "no image is of this class");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confusion {
    classes: usize,
    /// `[classes, classes]` row-major: a row is a true class, a column a guess.
    counts: Vec<usize>,
}

impl Confusion {
    /// Counts the images: image `i` is of class `truth[i]` and was taken for `predicted[i]`.
    ///
    /// # Panics
    /// If a class is not below `classes`, or the two differ in length.
    pub fn new(classes: usize, truth: &[usize], predicted: &[usize]) -> Self {
        assert_eq!(truth.len(), predicted.len(), "a guess for each image");
        let mut counts = vec![0; classes * classes];
        for (&truth, &guess) in truth.iter().zip(predicted) {
            assert!(truth < classes && guess < classes, "{truth} or {guess} is no class");
            counts[truth * classes + guess] += 1;
        }
        Self { classes, counts }
    }

    /// How many images of class `truth` were taken for `guess`.
    pub fn count(&self, truth: usize, guess: usize) -> usize {
        self.counts[truth * self.classes + guess]
    }

    /// How many images are of class `truth`.
    pub fn images(&self, truth: usize) -> usize {
        self.row(truth).iter().sum()
    }

    /// How many images were taken for `guess`.
    pub fn guesses(&self, guess: usize) -> usize {
        (0..self.classes).map(|truth| self.count(truth, guess)).sum()
    }

    /// The counts of the images of class `truth`, by guess.
    pub fn row(&self, truth: usize) -> &[usize] {
        &self.counts[truth * self.classes..][..self.classes]
    }

    /// The share of the images taken for `class` that are of it; none if none was.
    pub fn precision(&self, class: usize) -> Option<f64> {
        share(self.count(class, class), self.guesses(class))
    }

    /// The share of the images of `class` that were recognised; none if there are none.
    pub fn recall(&self, class: usize) -> Option<f64> {
        share(self.count(class, class), self.images(class))
    }
}

fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// An image taken for another class than its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mistake {
    /// The image, counted from 0.
    pub index: usize,
    /// Its class.
    pub truth: usize,
    /// The class it was taken for.
    pub guess: usize,
    /// The probability that its own class was given: `exp(-loss)`.
    pub probability: f64,
}

/// The mistakes with the highest losses, the worst first, at most `count`.
///
/// `losses[i]` is the cross-entropy of image `i` alone, so `exp(-losses[i])` is the probability
/// that its true class got. Of equal losses, the first image comes first.
pub fn worst_mistakes(
    truth: &[usize],
    predicted: &[usize],
    losses: &[f64],
    count: usize,
) -> Vec<Mistake> {
    let wrong = (0..truth.len()).filter(|&i| truth[i] != predicted[i]);
    let mut wrong: Vec<usize> = wrong.collect();
    wrong.sort_by(|&a, &b| losses[b].total_cmp(&losses[a]));
    let mistake = |&index: &usize| Mistake {
        index,
        truth: truth[index],
        guess: predicted[index],
        probability: (-losses[index]).exp(),
    };
    wrong.iter().take(count).map(mistake).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_truths_and_columns_are_guesses() {
        let confusion = Confusion::new(3, &[0, 0, 0, 2, 2, 1], &[0, 2, 2, 2, 0, 1]);
        assert_eq!(confusion.row(0), [1, 0, 2]);
        assert_eq!(confusion.row(1), [0, 1, 0]);
        assert_eq!(confusion.row(2), [1, 0, 1]);
        assert_eq!((confusion.images(0), confusion.guesses(0)), (3, 2));
        assert_eq!((confusion.recall(0), confusion.precision(0)), (Some(1.0 / 3.0), Some(0.5)));
        assert_eq!((confusion.recall(2), confusion.precision(2)), (Some(0.5), Some(1.0 / 3.0)));
    }

    #[test]
    fn what_cannot_be_divided_is_none() {
        let confusion = Confusion::new(2, &[0], &[1]);
        assert_eq!((confusion.recall(0), confusion.precision(0)), (Some(0.0), None));
        assert_eq!((confusion.recall(1), confusion.precision(1)), (None, Some(0.0)));
    }

    #[test]
    fn the_worst_mistakes_are_those_of_the_highest_loss() {
        let (truth, predicted) = ([0, 1, 2, 0, 1], [1, 1, 0, 2, 0]);
        // The second is right, however high its loss is.
        let losses = [1.0, 9.0, 2.0, 1.0, 0.5];
        let worst = worst_mistakes(&truth, &predicted, &losses, 3);
        let rows: Vec<_> = worst.iter().map(|m| (m.index, m.truth, m.guess)).collect();
        assert_eq!(rows, [(2, 2, 0), (0, 0, 1), (3, 0, 2)]);
        assert!((worst[0].probability - 0.1353352832366127).abs() < 1e-15);
        assert_eq!(worst_mistakes(&truth, &predicted, &losses, 9).len(), 4);
    }
}
