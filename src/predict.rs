//! A trained model as its file holds it, and what it says about images.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::checkpoint::{self, Metadata, invalid};
use crate::data::{CLASSES, DataLoader, Dataset, PIXELS, SIDE, letters};
use crate::device::{AnyDevice, Device, OnDevice};
use crate::nn::{Module, Sequential, StateDict, asl};
use crate::train::{BEST, Evaluation, Record, RunFolder, evaluate};
use crate::{Error, Result};

/// One grey image of the network's size, 28x28 row-major; 0 is black.
pub type Image = [u8; PIXELS];

/// The key of [`Words`] in a file's metadata.
const WORDS: &str = "signet.model";

/// What a model's file says beside its values, as JSON.
#[derive(Debug, Default, Deserialize)]
struct Words {
    classes: Vec<String>,
    #[serde(default)]
    whole_images: bool,
    #[serde(default)]
    synthetic: bool,
}

/// A trained ASL network, not yet on a device.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainedModel {
    /// The file it was read from.
    pub path: PathBuf,
    /// Its values.
    pub dict: StateDict,
    /// The names of its classes.
    pub classes: Vec<String>,
    /// Whether it learned from photographs as they are, squeezed to 28x28, and not from images of
    /// a hand that fills the frame: then nobody should look for a hand in what it is shown.
    pub whole_images: bool,
    /// Whether it learned from hands that were drawn: then it never saw a photograph.
    pub synthetic: bool,
}

impl TrainedModel {
    /// Reads a run's best model, if `path` is a run's folder, else the safetensors file `path`.
    ///
    /// A file without class names, such as PyTorch writes, has the letters A to Y without J if it
    /// tells 24 classes apart, else the numbers from 0.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read, [`Error::Checkpoint`] when it is no model.
    pub fn open(path: &Path) -> Result<Self> {
        let path =
            if path.is_dir() { RunFolder::open(path)?.file(BEST) } else { path.to_path_buf() };
        let (dict, metadata) = checkpoint::load(&path)?;
        // The bias of the last layer; a file without one is refused when the model is built.
        let last = format!("{}.bias", asl(CLASSES).len() - 1);
        let outputs = dict.get(&last).map_or(CLASSES, |bias| bias.values.len());
        let Words { classes, whole_images, synthetic } = match metadata.get(WORDS) {
            Some(json) => words(&path, json, outputs)?,
            None if outputs == CLASSES => Words { classes: letters(), ..Words::default() },
            None => {
                let classes = (0..outputs).map(|class| class.to_string()).collect();
                Words { classes, ..Words::default() }
            }
        };
        Ok(Self { path, dict, classes, whole_images, synthetic })
    }

    /// The words to write beside the values into a model's file.
    pub(crate) fn metadata(record: &Record) -> Metadata {
        let Record { classes, whole_images, synthetic, .. } = record;
        let words = serde_json::json!({
            "classes": classes, "whole_images": whole_images, "synthetic": synthetic,
        });
        Metadata::from([(WORDS.to_owned(), words.to_string())])
    }

    /// The model on `device`.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when the values are of another model.
    pub fn build<D: Device<f32>>(&self, device: &D) -> Result<Sequential<D, f32>> {
        let model = Sequential::new(device, 0, asl(self.classes.len()))?;
        model.load_state_dict(&self.dict).map_err(|error| match error {
            Error::Shape { op: "load_state_dict", message } => invalid(&self.path, message),
            other => other,
        })?;
        Ok(model)
    }

    /// Renumbers the classes of `data` as the model numbers them, by their names.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when the model does not know one of them.
    pub fn align(&self, data: &mut Dataset) -> Result<()> {
        if data.classes == self.classes {
            return Ok(());
        }
        let number = |name: &String| {
            let known = self.classes.iter().position(|class| class == name);
            // More than 256 classes do not fit a data set's labels.
            known.and_then(|class| u8::try_from(class).ok()).ok_or_else(|| {
                let message = format!(
                    "the model knows no class {name:?}, which the data has; it tells {} apart: {}",
                    self.classes.len(),
                    self.classes.join(", ")
                );
                invalid(&self.path, message)
            })
        };
        let numbers: Vec<u8> = data.classes.iter().map(number).collect::<Result<_>>()?;
        data.labels.iter_mut().for_each(|label| *label = numbers[usize::from(*label)]);
        data.classes.clone_from(&self.classes);
        Ok(())
    }

    /// The model on the images of `data`, whose classes it must know (see [`TrainedModel::align`]); the
    /// loss is the sum over batches of `batch_size`.
    ///
    /// # Errors
    /// As [`TrainedModel::build`] and [`evaluate`].
    pub fn evaluate(
        &self,
        device: &AnyDevice,
        data: &Dataset,
        batch_size: usize,
    ) -> Result<Evaluation> {
        device.run(Measurement { model: self, data, batch_size })
    }
}

/// A model to be measured on whatever device it is.
struct Measurement<'a> {
    model: &'a TrainedModel,
    data: &'a Dataset,
    batch_size: usize,
}

impl OnDevice for Measurement<'_> {
    type Result = Evaluation;

    fn run<D: Device<f32>>(self, device: &D) -> Result<Evaluation> {
        let model = self.model.build(device)?;
        let loader = DataLoader::new(device, self.data, self.batch_size, None)?;
        evaluate(&model, &loader, self.data.classes.len())
    }
}

fn words(path: &Path, json: &str, outputs: usize) -> Result<Words> {
    let words: Words = serde_json::from_str(json)
        .map_err(|e| invalid(path, format!("its class names are damaged: {e}")))?;
    if words.classes.len() != outputs {
        let message = format!("it has {} class names for {outputs} outputs", words.classes.len());
        return Err(invalid(path, message));
    }
    Ok(words)
}

/// A trained model on a device, in evaluation mode.
pub struct Predictor<D: Device<f32>> {
    device: D,
    model: Sequential<D, f32>,
    classes: usize,
}

impl<D: Device<f32>> Predictor<D> {
    /// Brings `model` to `device`.
    ///
    /// # Errors
    /// As [`TrainedModel::build`].
    pub fn new(device: &D, model: &TrainedModel) -> Result<Self> {
        let (device, classes) = (device.clone(), model.classes.len());
        let model = model.build(&device)?;
        model.eval();
        Ok(Self { device, model, classes })
    }

    /// The probabilities of the classes for each of `images`, the softmax of the logits.
    ///
    /// # Errors
    /// When the device fails.
    pub fn probabilities(&self, images: &[Image]) -> Result<Vec<Vec<f64>>> {
        if images.is_empty() {
            return Ok(Vec::new());
        }
        let dataset = Dataset {
            pixels: images.concat(),
            labels: vec![0; images.len()],
            channels: 1,
            height: SIDE,
            width: SIDE,
            classes: Vec::new(),
            name: "images".to_owned(),
        };
        let mut probabilities = Vec::with_capacity(images.len());
        let loader = DataLoader::new(&self.device, &dataset, images.len(), None)?;
        for batch in loader.epoch(0, 0)? {
            let logits = self.model.forward(&batch?.0)?.to_vec()?;
            probabilities.extend(logits.chunks_exact(self.classes).map(softmax));
        }
        Ok(probabilities)
    }
}

fn softmax(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exp: Vec<f64> = logits.iter().map(|logit| f64::from(logit - largest).exp()).collect();
    let sum: f64 = exp.iter().sum();
    exp.iter().map(|x| x / sum).collect()
}

/// The `count` most probable classes and their probabilities, the best first; of equal ones the
/// first.
pub fn top(probabilities: &[f64], count: usize) -> Vec<(usize, f64)> {
    let mut ranked: Vec<(usize, f64)> = probabilities.iter().copied().enumerate().collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    ranked.truncate(count);
    ranked
}

/// How many classes a [`Prediction`] names: the best and the next four.
const NAMED: usize = 5;

/// What a model says about one image. As JSON it is what `signet predict --json` prints and
/// `signet serve` answers: `{"letter", "probability", "top": [{"letter", "probability"}, …]}`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prediction {
    /// The most probable class.
    #[serde(flatten)]
    pub best: Guess,
    /// The five most probable ones, the best first; fewer where there are fewer.
    pub top: Vec<Guess>,
}

/// A class and its probability.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Guess {
    /// The name of the class.
    pub letter: String,
    /// Between 0 and 1.
    pub probability: f64,
}

impl Prediction {
    /// Of the `probabilities` of `classes`, which are as many.
    pub fn new(classes: &[String], probabilities: &[f64]) -> Self {
        let guess = |(class, probability): (usize, f64)| Guess {
            letter: classes.get(class).cloned().unwrap_or_default(),
            probability,
        };
        let top: Vec<Guess> = top(probabilities, NAMED).into_iter().map(guess).collect();
        // A network has at least one class.
        Self { best: top.first().cloned().unwrap_or_default(), top }
    }
}
