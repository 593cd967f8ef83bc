//! How near is near enough, and what a failure says.

use signet::dtype::Float;
use std::fmt;

/// What two tensors may differ by, per element:
/// `absolute + relative * |expected| + of_scale * (largest |expected| in the tensor)`.
///
/// The share of the tensor's scale is what rounding in sums needs: a sum of large terms may be
/// small and yet carry the terms' rounding.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Tolerance {
    /// Allowed whatever the values.
    pub absolute: f64,
    /// Allowed as a share of the element.
    pub relative: f64,
    /// Allowed as a share of the largest finite element.
    pub of_scale: f64,
}

impl Tolerance {
    /// What one op may be off by for rounding in `T`.
    pub fn of<T: Float>() -> Self {
        Self::scale(if T::NAME == "float64" { 1e-12 } else { 1e-5 })
    }

    /// A share of the tensor's scale.
    pub fn scale(of_scale: f64) -> Self {
        Self { of_scale, ..Self::default() }
    }

    /// A share of each element.
    pub fn relative(relative: f64) -> Self {
        Self { relative, ..Self::default() }
    }

    /// The same for all.
    pub fn absolute(absolute: f64) -> Self {
        Self { absolute, ..Self::default() }
    }

    /// With `absolute` allowed beside.
    pub fn plus(self, absolute: f64) -> Self {
        Self { absolute, ..self }
    }
}

/// The element that used most of its tolerance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Worst {
    /// Where, row-major.
    pub index: usize,
    /// What was computed.
    pub actual: f64,
    /// What it should be.
    pub expected: f64,
    /// The difference as a share of the tolerance; more than 1 fails.
    pub share: f64,
}

impl fmt::Display for Worst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, actual, expected, share } = self;
        write!(f, "element {index}: {actual:e}, expected {expected:e}, {share:.3} of the tolerance")
    }
}

/// Compares two tensors; NaN equals NaN and an infinity itself. Returns the worst element, as an
/// error when it exceeds the tolerance.
pub fn compare(actual: &[f64], expected: &[f64], tolerance: Tolerance) -> Result<Worst, String> {
    if actual.len() != expected.len() {
        return Err(format!("{} elements, expected {}", actual.len(), expected.len()));
    }
    let finite = expected.iter().filter(|x| x.is_finite());
    let scale = finite.fold(0.0, |scale: f64, x| scale.max(x.abs()));
    let mut worst = Worst { index: 0, actual: f64::NAN, expected: f64::NAN, share: 0.0 };
    for (index, (&actual, &expected)) in actual.iter().zip(expected).enumerate() {
        let share = if actual == expected || (actual.is_nan() && expected.is_nan()) {
            0.0
        } else if actual.is_finite() && expected.is_finite() {
            let Tolerance { absolute, relative, of_scale } = tolerance;
            let allowed = absolute + relative * expected.abs() + of_scale * scale;
            (actual - expected).abs() / allowed
        } else {
            f64::INFINITY
        };
        if index == 0 || share > worst.share {
            worst = Worst { index, actual, expected, share };
        }
    }
    if worst.share <= 1.0 { Ok(worst) } else { Err(worst.to_string()) }
}

/// [`compare`] that panics, naming `what`.
#[track_caller]
pub fn assert_close(
    what: impl fmt::Display,
    actual: &[f64],
    expected: &[f64],
    tolerance: Tolerance,
) {
    if let Err(message) = compare(actual, expected, tolerance) {
        panic!("{what}: {message}");
    }
}
