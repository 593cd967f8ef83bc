use serde::Serialize;

/// The median of some times and how far they spread: the 10th and the 90th percentile.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// How many there were.
    pub samples: usize,
    /// Half of them took longer.
    pub median_seconds: f64,
    /// One in ten was shorter.
    pub p10_seconds: f64,
    /// One in ten was longer.
    pub p90_seconds: f64,
}

impl Spread {
    /// Of at least one time in seconds. A percentile between two of them is where a straight line
    /// between them has it, as NumPy's.
    pub fn of(mut seconds: Vec<f64>) -> Self {
        seconds.sort_by(f64::total_cmp);
        let percentile = |share: f64| {
            let place = share * (seconds.len() - 1) as f64;
            let (low, high) = (seconds[place.floor() as usize], seconds[place.ceil() as usize]);
            low + (high - low) * place.fract()
        };
        Self {
            samples: seconds.len(),
            median_seconds: percentile(0.5),
            p10_seconds: percentile(0.1),
            p90_seconds: percentile(0.9),
        }
    }

    /// Of one part where a time is that of so many.
    pub(super) fn divided_by(self, parts: f64) -> Self {
        Self {
            samples: self.samples,
            median_seconds: self.median_seconds / parts,
            p10_seconds: self.p10_seconds / parts,
            p90_seconds: self.p90_seconds / parts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_lie_between_the_sorted_times() {
        let spread = Spread::of(vec![5.0, 1.0, 4.0, 2.0, 3.0, 6.0]);
        assert_eq!((spread.samples, spread.median_seconds), (6, 3.5));
        assert_eq!((spread.p10_seconds, spread.p90_seconds), (1.5, 5.5));
    }

    #[test]
    fn one_time_is_its_own_median() {
        let spread = Spread::of(vec![2.0]);
        assert_eq!([spread.p10_seconds, spread.median_seconds, spread.p90_seconds], [2.0; 3]);
    }
}
