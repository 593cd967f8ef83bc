//! A trained model as its file holds it, and what it says about images.
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::runs::{BEST, ModelWords, RunFolder};
use signet::checkpoint::keys::{self, Wanted};
use signet::checkpoint::{self, invalid, usable};
use signet::data::{CLASSES, DataLoader, Dataset, Image, SIDE, are_letters, letters};
use signet::nn::{Forward, Module, Sequential, State, StateDict, asl};
use signet::train::{self, Evaluation, evaluate};
use signet::{Cpu, Device, Error, Result, no_grad};

/// A trained ASL network, not yet on a device. All its values are finite.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainedModel {
    /// The file it was read from.
    pub path: PathBuf,
    /// Its values, by the network's keys.
    pub dict: StateDict,
    /// Which of its keys the file has under another name: the network's, then the file's.
    pub renamed: Vec<(String, String)>,
    /// The names of its classes.
    pub classes: Vec<String>,
    /// Whether it learned from photographs as they are, squeezed to 28x28, and not from images of
    /// a hand that fills the frame: then nobody should look for a hand in what it is shown.
    pub whole_images: bool,
    /// Whether it learned from hands that were drawn: then it never saw a photograph.
    pub synthetic: bool,
}

impl TrainedModel {
    /// As [`TrainedModel::open_named`], with the names that the file has or that go without saying.
    ///
    /// # Errors
    /// As [`TrainedModel::open_named`].
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_named(path, None)
    }

    /// Reads a run's best model, if `path` is a run's folder, else the file `path`: what `signet
    /// train` wrote, or what PyTorch left behind (see [`checkpoint::load`]). There the layers may have
    /// other keys, as long as their order, shapes and the last part of each key are the network's.
    ///
    /// The classes are called as `classes` says, or as the file does. A file without names, such as
    /// PyTorch writes, has the letters A to Y without J if it tells 24 classes apart, A to Y if 25 and
    /// A to Z if 26 (Kaggle's labels leave out 9, which is J), else the numbers from 0.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read, [`Error::Checkpoint`] when it is no model of this network,
    /// [`Error::NonFinite`] when a value is not finite or a variance negative, [`Error::Argument`] when
    /// the names do not fit.
    pub fn open_named(path: &Path, classes: Option<&[String]>) -> Result<Self> {
        let path = if path.is_dir() { best_of(path)? } else { path.to_path_buf() };
        let (dict, metadata) = checkpoint::load(&path)?;
        if train::TrainState::is_in(&metadata) {
            let message = "is the state of a run to go on with; name the run's folder, or the file \
                           best.safetensors in it";
            return Err(invalid(&path, message));
        }
        usable::check_sizes(&path, &dict)?;
        let usual = wanted(CLASSES)?;
        let outputs = keys::outputs(&dict, &usual).unwrap_or(CLASSES);
        // A network that is only asked for its keys draws its parameters too.
        let wanted = if outputs == CLASSES { usual } else { wanted(outputs)? };
        let keys::Fitted { dict, matched } =
            keys::fit(&dict, &wanted).map_err(|message| invalid(&path, message))?;
        usable::check_values(&path, &dict)?;
        let mut words = match ModelWords::of(&metadata).map(|words| checked(&path, words, outputs))
        {
            Some(words) => words?,
            None => ModelWords { classes: usual_names(outputs), ..ModelWords::default() },
        };
        if let Some(classes) = classes {
            check_names(classes, outputs).map_err(|why| Error::argument("--classes", why))?;
            words.classes = classes.to_vec();
        }
        let ModelWords { classes, whole_images, synthetic } = words;
        Ok(Self { path, dict, renamed: matched, classes, whole_images, synthetic })
    }

    /// The model on `device`.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when the values are of another model.
    pub fn build(&self, device: &Device) -> Result<Sequential> {
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
                let own: Vec<_> = self.classes.iter().map(|own| crate::words::line(own)).collect();
                let message = format!(
                    "the model knows no class {name:?}, which the data has; it tells {} apart: {}",
                    own.len(),
                    own.join(", ")
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
        device: &Device,
        data: &Dataset,
        batch_size: usize,
    ) -> Result<Evaluation> {
        device.install(|| {
            let model = self.build(device)?;
            let loader = DataLoader::new(device, data, batch_size, None)?;
            let evaluation = evaluate(&model, model.context(), &loader, data.classes.len())?;
            let Some(image) = evaluation.losses.iter().position(|loss| !loss.is_finite()) else {
                return Ok(evaluation);
            };
            let mut one = data.clone();
            one.pixels = data.image(image).to_vec();
            one.labels = vec![0];
            let loader = DataLoader::new(device, &one, 1, None)?;
            let what = format!("the loss of image {image} is {}", evaluation.losses[image]);
            Err(overflow(&self.path, &model, &loader, &what))
        })
    }
}

/// What the network has under which key, if it tells so many classes apart.
fn wanted(classes: usize) -> Result<Vec<Wanted>> {
    let model = Sequential::new(&Cpu::new(Some(1))?.into(), 0, asl(classes))?;
    let wanted = |(name, state): (String, State)| Wanted {
        name,
        shape: state.shape(),
        counts: matches!(state, State::Count(_)),
    };
    Ok(model.state().into_iter().map(wanted).collect())
}

/// The best model in a run's folder.
fn best_of(folder: &Path) -> Result<PathBuf> {
    let run = RunFolder::open(folder).map_err(|error| match error {
        Error::Checkpoint { path, mut message } => {
            let is_model = |path: &PathBuf| {
                let ending = path.extension().unwrap_or_default();
                path.is_file()
                    && ["safetensors", "pth", "pt", "ckpt"].iter().any(|known| ending == *known)
            };
            let entries = std::fs::read_dir(&path).into_iter().flatten().flatten();
            let mut models: Vec<_> = entries.map(|entry| entry.path()).filter(is_model).collect();
            models.sort();
            if let Some(model) = models.first() {
                message +=
                    &format!("; name the model in it, such as {}", crate::words::path(model));
            }
            Error::Checkpoint { path, message }
        }
        other => other,
    })?;
    if run.is_before_its_first_epoch() {
        return Err(invalid(folder, "no epoch of this run has finished yet, so it has no model"));
    }
    Ok(run.file(BEST))
}

/// The names of so many classes that go without saying.
fn usual_names(outputs: usize) -> Vec<String> {
    let to = |last| ('A'..=last).map(String::from).collect();
    match outputs {
        CLASSES => letters(),
        25 => to('Y'),
        26 => to('Z'),
        _ => (0..outputs).map(|class| class.to_string()).collect(),
    }
}

/// That there are as many names as outputs, and no two are the same.
fn check_names(names: &[String], outputs: usize) -> Result<(), String> {
    if names.len() != outputs {
        return Err(format!("the model has {outputs} outputs, and {} names", names.len()));
    }
    let mut seen = HashSet::new();
    match names.iter().find(|name| name.is_empty() || !seen.insert(*name)) {
        Some(name) if name.is_empty() => Err("a class has an empty name".into()),
        Some(name) => Err(format!("two classes are called {name:?}")),
        None => Ok(()),
    }
}

/// Where the numbers of `model` cease to be finite for the images of `loader`, of which `what` is
/// known.
fn overflow(path: &Path, model: &Sequential, loader: &DataLoader, what: &str) -> Error {
    model.eval();
    model.detect_anomaly(true);
    let look = || -> Result<()> {
        for batch in loader.epoch(0, 0)? {
            let images = batch?.0;
            no_grad(|| model.forward(&images))?;
        }
        Ok(())
    };
    let found = look();
    model.detect_anomaly(false);
    let what = match found {
        Err(Error::NonFinite(layer)) => layer,
        _ => what.to_owned(),
    };
    let path = crate::words::path(path);
    Error::NonFinite(format!(
        "{path}: {what}: its values are too large, and no answer can come of it"
    ))
}

fn checked(
    path: &Path,
    words: Result<ModelWords, serde_json::Error>,
    outputs: usize,
) -> Result<ModelWords> {
    let damaged = |why: String| invalid(path, format!("its class names are damaged: {why}"));
    let words = words.map_err(|e| damaged(e.to_string()))?;
    check_names(&words.classes, outputs).map_err(damaged)?;
    Ok(words)
}

/// A trained model on a device, in evaluation mode.
pub struct Predictor {
    device: Device,
    model: Sequential,
    classes: usize,
    path: PathBuf,
}

impl Predictor {
    /// Brings `model` to `device`.
    ///
    /// # Errors
    /// As [`TrainedModel::build`].
    pub fn new(device: &Device, model: &TrainedModel) -> Result<Self> {
        let (device, classes, path) = (device.clone(), model.classes.len(), model.path.clone());
        let model = model.build(&device)?;
        model.eval();
        Ok(Self { device, model, classes, path })
    }

    /// The probabilities of the classes for each of `images`, the softmax of the logits.
    ///
    /// # Errors
    /// [`Error::NonFinite`] when a logit is not finite, which values too large make of finite ones;
    /// when the device fails.
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
            let images = batch?.0;
            let logits = no_grad(|| self.model.forward(&images))?.to_vec()?;
            if let Some(logit) = logits.iter().find(|logit| !logit.is_finite()) {
                let what = format!("a logit is {logit}");
                return Err(overflow(&self.path, &self.model, &loader, &what));
            }
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
/// `signet serve` answers: `{"class", "probability", "top": [{"class", "probability"}, …]}`, and
/// `"letter"` beside each `"class"` where the classes are letters of the alphabet.
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
    pub class: String,
    /// The same, if all classes of the model are letters of the alphabet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub letter: Option<String>,
    /// Between 0 and 1.
    pub probability: f64,
}

impl Prediction {
    /// Of the `probabilities` of `classes`, which are as many.
    pub fn new(classes: &[String], probabilities: &[f64]) -> Self {
        let letters = are_letters(classes);
        let guess = |(class, probability): (usize, f64)| {
            let class = classes.get(class).cloned().unwrap_or_default();
            Guess { letter: letters.then(|| class.clone()), class, probability }
        };
        let top: Vec<Guess> = top(probabilities, NAMED).into_iter().map(guess).collect();
        // A network has at least one class.
        Self { best: top.first().cloned().unwrap_or_default(), top }
    }
}
