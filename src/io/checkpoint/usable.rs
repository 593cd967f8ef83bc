//! Values that a network can compute with.

use crate::nn::{StateDict, Value, Values, first_not_finite};
use crate::support::words;
use crate::{Error, Result};
use std::path::Path;

use super::invalid;

/// The last part of the key of a batch normalisation's variance.
const VARIANCE: &str = "running_var";

const WHY: &str =
    "no answer can come of it. Take an earlier model, or train with a smaller learning rate";

/// That no size of a tensor is 0.
///
/// # Errors
/// [`Error::Checkpoint`] that names the first tensor with one.
pub fn check_sizes(path: &Path, dict: &StateDict) -> Result<()> {
    match dict.iter().find(|(_, value)| value.shape.dims().contains(&0)) {
        Some((name, value)) => {
            let shape = &value.shape;
            Err(invalid(path, format!("{name} is {shape}: a size of 0 holds no values")))
        }
        None => Ok(()),
    }
}

/// That all values are finite, also as float32, and no variance is negative.
///
/// # Errors
/// [`Error::NonFinite`] that names the first tensor of which that is not so, and where.
pub fn check_values(path: &Path, dict: &StateDict) -> Result<()> {
    for (name, value) in dict.iter() {
        if let Some(found) = wrong_value(name, value) {
            let path = words::path(path);
            return Err(Error::NonFinite(format!("{path}: {name} is {found}: {WHY}")));
        }
    }
    Ok(())
}

fn wrong_value(name: &str, value: &Value) -> Option<String> {
    if let Values::I64(_) = value.values {
        return None;
    }
    let narrow: Vec<f32> = value.values.to_float();
    if let Some(found) = first_not_finite(&narrow, &value.shape) {
        let wide: Vec<f64> = value.values.to_float();
        let is_large = first_not_finite(&wide, &value.shape).is_none();
        return Some(if is_large { format!("{found}, as float32") } else { found });
    }
    let is_variance = name.rsplit('.').next() == Some(VARIANCE);
    let negative = narrow.iter().position(|&variance| variance < 0.0).filter(|_| is_variance)?;
    Some(format!("{} at [{negative}], and a variance is never negative", narrow[negative]))
}
