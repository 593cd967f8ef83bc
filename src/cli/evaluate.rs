//! `signet evaluate`: a trained model on the validation images.

use std::path::PathBuf;
use std::process::ExitCode;

use super::{DataArgs, DeviceArgs, note, print};
use crate::data::{DataLoader, Dataset};
use crate::device::{Device, OnDevice};
use crate::nn::{Module, Sequential, StateDict, asl};
use crate::train::{BEST, Evaluation, RunFolder, evaluate};
use crate::{Error, Result, checkpoint};

/// Measure a model on the validation images
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run's folder (its best model), or a safetensors file, also one that PyTorch wrote
    model: PathBuf,

    #[command(flatten)]
    data: DataArgs,

    #[command(flatten)]
    device: DeviceArgs,

    /// Images of a batch; the loss is the sum over batches
    #[arg(long, value_name = "N", default_value_t = 32)]
    batch_size: usize,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(serde::Serialize)]
struct Report<'a> {
    model: &'a str,
    data: &'a str,
    valid_loss: f64,
    valid_accuracy: f64,
    letters: Vec<LetterReport<'a>>,
}

#[derive(serde::Serialize)]
struct LetterReport<'a> {
    letter: &'a str,
    images: usize,
    accuracy: Option<f64>,
}

impl Args {
    /// Measures.
    ///
    /// # Errors
    /// For a model or data that cannot be used.
    pub fn run(self) -> Result<ExitCode> {
        let path = if self.model.is_dir() {
            RunFolder::open(&self.model)?.file(BEST)
        } else {
            self.model.clone()
        };
        let (dict, _) = checkpoint::load(&path)?;
        let chosen = self.device.choose()?;
        let split = self.data.load()?;
        let source = split.source.to_string();
        note(format_args!(
            "model: {}\ndata: {source}\ndevice: {chosen}\nprecision: {}",
            path.display(),
            chosen.device.precisions()
        ));
        let work = Job { dict: &dict, data: &split.valid, batch_size: self.batch_size };
        let evaluation = chosen.device.run(work).map_err(|error| match error {
            Error::Shape { op: "load_state_dict", message } => checkpoint::invalid(&path, message),
            other => other,
        })?;
        if self.json {
            let json = report(&path.display().to_string(), &source, &split.valid, &evaluation);
            print(json?)?;
        } else {
            print(format_args!("Valid - {}", evaluation.measured))?;
            print(per_letter(&split.valid, &evaluation))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

struct Job<'a> {
    dict: &'a StateDict,
    data: &'a Dataset,
    batch_size: usize,
}

impl OnDevice for Job<'_> {
    type Result = Evaluation;

    fn run<D: Device<f32>>(self, device: &D) -> Result<Evaluation> {
        let classes = self.data.classes.len();
        let model = Sequential::new(device, 0, asl(classes))?;
        model.load_state_dict(self.dict)?;
        let loader = DataLoader::new(device, self.data, self.batch_size, None)?;
        evaluate(&model, &loader, classes)
    }
}

fn report(model: &str, data: &str, valid: &Dataset, evaluation: &Evaluation) -> Result<String> {
    let letters = valid.classes.iter().zip(&evaluation.classes);
    let report = Report {
        model,
        data,
        valid_loss: evaluation.measured.loss,
        valid_accuracy: evaluation.measured.accuracy,
        letters: letters
            .map(|(letter, &(images, hits))| LetterReport {
                letter,
                images,
                accuracy: (images > 0).then(|| hits as f64 / images as f64),
            })
            .collect(),
    };
    serde_json::to_string(&report)
        .map_err(|e| Error::argument("--json", format!("cannot be written: {e}")))
}

/// A table of letters: images, how many were recognised, and the share as number and bar.
fn per_letter(valid: &Dataset, evaluation: &Evaluation) -> String {
    let mut table = format!("\n{:<8}{:>7}{:>9}{:>11}", "Letter", "Images", "Correct", "Accuracy");
    for (letter, &(images, hits)) in valid.classes.iter().zip(&evaluation.classes) {
        let line = if images == 0 {
            format!("\n{letter:<8}{images:>7}{hits:>9}{:>11}", "-")
        } else {
            let accuracy = hits as f64 / images as f64;
            let bar = "#".repeat((accuracy * 20.0).round() as usize);
            format!("\n{letter:<8}{images:>7}{hits:>9}{accuracy:>11.4}  {bar}")
        };
        table += &line;
    }
    table
}
