//! Images with the logits that a model gives for them, for other programs to compare with.

use std::path::Path;

use crate::predict::TrainedModel;
use signet::data::{SIDE, synthetic};
use signet::nn::{Forward, Value, Values};
use signet::{Device, Result, Tensor, checkpoint, no_grad};

/// How many images.
const IMAGES: usize = 256;

/// Writes `images` [256, 1, 28, 28], pixels from 0 to 1, and `logits` [256, classes] as a safetensors
/// file. The images are drawn hands, whatever the model is for: any will do to compare programs.
///
/// # Errors
/// For values of another model, and a file that cannot be written.
pub fn write_examples(model: &TrainedModel, path: &Path) -> Result<()> {
    let device = Device::cpu()?;
    let network = model.build(&device)?;
    network.eval();
    let drawn = synthetic(0, 0, IMAGES).valid;
    let pixels: Vec<f32> = drawn.pixels.iter().map(|&pixel| f32::from(pixel) / 255.0).collect();
    let images = Tensor::from_slice(&device, &pixels, [IMAGES, 1, SIDE, SIDE])?;
    let logits = no_grad(|| network.forward(&images))?;
    let value = |tensor: &Tensor| -> Result<Value> {
        Ok(Value { shape: tensor.shape().clone(), values: Values::F32(tensor.to_vec()?) })
    };
    let pairs = [("images".to_owned(), value(&images)?), ("logits".to_owned(), value(&logits)?)];
    checkpoint::save(path, &pairs.into_iter().collect(), None)
}
