use super::Measured;
use crate::data::DataLoader;
use crate::device::Device;
use crate::dtype::Float;
use crate::nn::{Module, Sequential};
use crate::ops::cross_entropy::{argmax, cross_entropy};
use crate::{Error, Result};

/// A model on a data set.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Loss and accuracy to the notebook's definition.
    pub measured: Measured,
    /// The class that each image was taken for.
    pub predicted: Vec<usize>,
    /// The cross-entropy of each image.
    pub losses: Vec<f64>,
}

/// Runs `model` in evaluation mode over the batches of `loader`, and puts it back into its mode.
///
/// # Errors
/// [`Error::Shape`] when the images do not fit the model or it has fewer outputs than there are
/// `classes`; [`Error::Device`] when the device fails.
pub fn evaluate<D: Device<T>, T: Float>(
    model: &Sequential<D, T>,
    loader: &DataLoader<D, T>,
    classes: usize,
) -> Result<Evaluation> {
    let training = model.context().training();
    model.eval();
    let result = in_evaluation_mode(model, loader, classes);
    model.context().train(training);
    result
}

fn in_evaluation_mode<D: Device<T>, T: Float>(
    model: &Sequential<D, T>,
    loader: &DataLoader<D, T>,
    classes: usize,
) -> Result<Evaluation> {
    let (mut predicted, mut losses) = (Vec::new(), Vec::new());
    let (mut loss, mut hits) = (0.0, 0);
    for batch in loader.epoch(0, 0)? {
        let (images, targets) = batch?;
        let logits = model.forward(&images)?;
        loss += cross_entropy(&logits, &targets, &Default::default())?.0.item()?.as_f64();
        let [_, outputs] = logits.shape().expect("evaluate", "[N, classes] from the model")?;
        if outputs < classes {
            let message =
                format!("the model tells {outputs} classes apart, the data has {classes}");
            return Err(Error::shape("evaluate", message));
        }
        for (logits, target) in logits.to_vec()?.chunks_exact(outputs).zip(targets.to_vec()?) {
            let guess = argmax(logits);
            hits += usize::from(guess == target as usize);
            predicted.push(guess);
            losses.push(row_loss(logits, target as usize));
        }
    }
    let accuracy = hits as f64 / loader.rows() as f64;
    Ok(Evaluation { measured: Measured { loss, accuracy }, predicted, losses })
}

/// The cross-entropy of one image: `log(sum(exp(logits))) - logits[target]`.
fn row_loss<T: Float>(logits: &[T], target: usize) -> f64 {
    let largest = logits.iter().fold(f64::NEG_INFINITY, |max, x| max.max(x.as_f64()));
    let sum: f64 = logits.iter().map(|x| (x.as_f64() - largest).exp()).sum();
    largest + sum.ln() - logits[target].as_f64()
}
