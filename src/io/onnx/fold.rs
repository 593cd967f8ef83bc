//! Folding batch normalisation into the convolution before it.

use super::unsupported;
use crate::Result;
use crate::nn::{Layer, StateDict, Value, Values};

/// The same model in evaluation mode without the batch normalisations that follow a convolution.
/// Layers keep their places, with which the keys of their values begin.
///
/// A normalisation is `(y - mean) * s + shift` with `s = scale / sqrt(var + eps)` per channel, so a
/// convolution with the weights `w * s` and the bias `(bias - mean) * s + shift` computes both.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) when a value is missing or of another length.
pub fn fold_batch_norms(
    layers: &[(String, Layer)],
    dict: &StateDict,
) -> Result<(Vec<(String, Layer)>, StateDict)> {
    let mut kept: Vec<(String, Layer)> = Vec::new();
    let mut values: Vec<(String, Value)> =
        dict.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
    for (place, layer) in layers {
        let before = kept.last_mut();
        let (Layer::BatchNorm2d(norm), Some((conv_place, Layer::Conv2d(conv)))) = (layer, before)
        else {
            kept.push((place.clone(), layer.clone()));
            continue;
        };
        if !norm.track_running_stats {
            return Err(unsupported(format!("layer {place} keeps no running statistics to fold")));
        }
        let read = |place: &str, name: &str, otherwise: f64| -> Result<Vec<f64>> {
            let key = format!("{place}.{name}");
            let found = dict.get(&key).map(|value| value.values.to_float::<f64>());
            let channels = found.unwrap_or_else(|| vec![otherwise; norm.num_features]);
            if channels.len() == norm.num_features {
                return Ok(channels);
            }
            let message = format!("{key} has {} values for {}", channels.len(), norm.num_features);
            Err(unsupported(message))
        };
        let (scale, shift) = (read(place, "weight", 1.0)?, read(place, "bias", 0.0)?);
        let (mean, var) = (read(place, "running_mean", 0.0)?, read(place, "running_var", 1.0)?);
        let bias = read(conv_place, "bias", 0.0)?;
        let factor: Vec<f64> =
            scale.iter().zip(&var).map(|(scale, var)| scale / (var + norm.eps).sqrt()).collect();
        let (weight_key, bias_key) = (format!("{conv_place}.weight"), format!("{conv_place}.bias"));
        let Some(weight) = dict.get(&weight_key) else {
            return Err(unsupported(format!("{weight_key} is missing")));
        };
        let mut filters: Vec<f64> = weight.values.to_float();
        let per_filter = (filters.len() / factor.len().max(1)).max(1);
        for (filter, factor) in filters.chunks_mut(per_filter).zip(&factor) {
            filter.iter_mut().for_each(|weight| *weight *= factor);
        }
        let folded_bias: Vec<f32> = (0..factor.len())
            .map(|c| ((bias[c] - mean[c]) * factor[c] + shift[c]) as f32)
            .collect();
        let own = format!("{place}.");
        values.retain(|(name, _)| {
            *name != weight_key && *name != bias_key && !name.starts_with(&own)
        });
        let filters = filters.into_iter().map(|weight| weight as f32).collect();
        let shape = weight.shape.clone();
        values.push((weight_key, Value { shape, values: Values::F32(filters) }));
        let shape = [folded_bias.len()].into();
        values.push((bias_key, Value { shape, values: Values::F32(folded_bias) }));
        conv.bias = true;
    }
    Ok((kept, values.into_iter().collect()))
}
