//! `signet evaluate`: a trained model on the validation images.

use std::process::ExitCode;

use super::{DataArgs, DeviceArgs, ModelArgs, note, print};
use crate::data::{Dataset, Request};
use crate::metrics::{Confusion, Mistake, worst_mistakes};
use crate::train::{Evaluation, RunFolder};
use crate::{Error, Result, words};

/// Measure a model on the validation images
///
/// Prints loss and accuracy, precision and recall of each class, the confusion matrix, and the
/// mistakes with the highest losses. Where no data is named, a run's folder is measured on what it
/// was trained on, and refused where that has changed.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    data: DataArgs,

    #[command(flatten)]
    device: DeviceArgs,

    /// Images of a batch; the loss is the sum over batches
    #[arg(long, value_name = "N", default_value_t = 32)]
    batch_size: usize,

    /// How many of the worst mistakes to name
    #[arg(long, value_name = "N", default_value_t = 10)]
    mistakes: usize,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Args {
    /// Measures.
    ///
    /// # Errors
    /// For a model or data that cannot be used.
    pub fn run(self) -> Result<ExitCode> {
        let model = self.model.open()?;
        let chosen = self.device.choose()?;
        let folder = self.model.path();
        // A file says nothing of its data.
        let run = if folder.is_dir() { Some(RunFolder::open(folder)?.record()?) } else { None };
        let is_named = !matches!(self.data.data, Request::Auto);
        let data = match &run {
            Some(record) => self.data.or_of(record),
            None => self.data,
        };
        let mut split = data.load()?;
        match run.map(|record| record.check_data(&split, &folder.display().to_string())) {
            // Other data that was asked for by name is measured, and called by its name.
            Some(Err(error)) if is_named => note(format_args!("notice: {error}")),
            Some(Err(Error::Argument { name, message })) => {
                let message = format!("{message}; other data is measured if --data names it");
                return Err(Error::Argument { name, message });
            }
            Some(Err(error)) => return Err(error),
            _ => {}
        }
        model.align(&mut split.valid)?;
        let (path, source) = (model.path.display().to_string(), split.source.to_string());
        let precisions = chosen.device.precisions();
        let shown = words::path(&model.path);
        note(format_args!(
            "model: {shown}\ndata: {source}\ndevice: {chosen}\nprecision: {precisions}"
        ));
        let evaluation = model.evaluate(&chosen.device, &split.valid, self.batch_size)?;
        let errors = Errors::of(&split.valid, &evaluation, self.mistakes);
        if self.json {
            print(errors.json(&path, &source, &evaluation)?)?;
        } else {
            print(format_args!("Valid - {}", evaluation.measured))?;
            print(errors.letters())?;
            print(errors.matrix())?;
            print(errors.mistakes())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// How a model errs on a data set.
struct Errors<'a> {
    classes: &'a [String],
    /// The same as lines show them.
    names: Vec<String>,
    confusion: Confusion,
    worst: Vec<Mistake>,
}

/// What `--json` prints.
#[derive(serde::Serialize)]
struct Report<'a> {
    model: &'a str,
    data: &'a str,
    valid_loss: f64,
    valid_accuracy: f64,
    letters: Vec<LetterReport<'a>>,
    /// A row per true class, a column per guess.
    confusion: Vec<&'a [usize]>,
    mistakes: Vec<MistakeReport<'a>>,
}

#[derive(serde::Serialize)]
struct LetterReport<'a> {
    letter: &'a str,
    images: usize,
    precision: Option<f64>,
    recall: Option<f64>,
}

#[derive(serde::Serialize)]
struct MistakeReport<'a> {
    index: usize,
    truth: &'a str,
    guess: &'a str,
    /// What the true class got.
    probability: f64,
}

impl<'a> Errors<'a> {
    fn of(valid: &'a Dataset, evaluation: &Evaluation, mistakes: usize) -> Self {
        let truth: Vec<usize> = valid.labels.iter().map(|&label| label.into()).collect();
        let predicted = &evaluation.predicted;
        Self {
            classes: &valid.classes,
            names: valid.classes.iter().map(|class| words::line(class)).collect(),
            confusion: Confusion::new(valid.classes.len(), &truth, predicted),
            worst: worst_mistakes(&truth, predicted, &evaluation.losses, mistakes),
        }
    }

    fn json(&self, model: &str, data: &str, evaluation: &Evaluation) -> Result<String> {
        let letter = |(class, letter): (usize, &'a String)| LetterReport {
            letter,
            images: self.confusion.images(class),
            precision: self.confusion.precision(class),
            recall: self.confusion.recall(class),
        };
        let mistake = |mistake: &Mistake| MistakeReport {
            index: mistake.index,
            truth: &self.classes[mistake.truth],
            guess: &self.classes[mistake.guess],
            probability: mistake.probability,
        };
        let report = Report {
            model,
            data,
            valid_loss: evaluation.measured.loss,
            valid_accuracy: evaluation.measured.accuracy,
            letters: self.classes.iter().enumerate().map(letter).collect(),
            confusion: (0..self.classes.len()).map(|truth| self.confusion.row(truth)).collect(),
            mistakes: self.worst.iter().map(mistake).collect(),
        };
        serde_json::to_string(&report)
            .map_err(|e| Error::argument("--json", format!("cannot be written: {e}")))
    }

    /// The longest class name, and at least `least`.
    fn name_width(&self, least: usize) -> usize {
        self.names.iter().map(|name| name.chars().count()).fold(least, usize::max)
    }

    /// A table of classes: images, how many were recognised, precision, recall, and recall as a bar.
    fn letters(&self) -> String {
        let width = self.name_width(6);
        let mut table = format!(
            "\n{:<width$}{:>8}{:>9}{:>11}{:>9}",
            "Letter", "Images", "Correct", "Precision", "Recall"
        );
        let share = |share: Option<f64>| share.map_or("-".to_owned(), |x| format!("{x:.4}"));
        for (class, letter) in self.names.iter().enumerate() {
            let (images, hits) = (self.confusion.images(class), self.confusion.count(class, class));
            let (precision, recall) =
                (self.confusion.precision(class), self.confusion.recall(class));
            let bar = "#".repeat((recall.unwrap_or(0.0) * 20.0).round() as usize);
            let line = format!(
                "\n{letter:<width$}{images:>8}{hits:>9}{:>11}{:>9}  {bar}",
                share(precision),
                share(recall)
            );
            table += line.trim_end();
        }
        table
    }

    /// The confusion matrix; a dot is no image.
    fn matrix(&self) -> String {
        let width = self.name_width(1);
        let cell = |count: usize| if count == 0 { ".".to_owned() } else { count.to_string() };
        let classes = 0..self.classes.len();
        let columns: Vec<usize> = (classes.clone())
            .map(|guess| {
                let cells = classes.clone().map(|truth| cell(self.confusion.count(truth, guess)));
                cells.map(|cell| cell.len()).fold(self.names[guess].chars().count(), usize::max)
            })
            .collect();
        let mut table = format!("\nConfusion (row: the letter, column: the guess)\n{:width$}", "");
        for (name, column) in self.names.iter().zip(&columns) {
            table += &format!(" {name:>column$}");
        }
        for truth in classes {
            table += &format!("\n{:<width$}", self.names[truth]);
            for (&count, column) in self.confusion.row(truth).iter().zip(&columns) {
                table += &format!(" {:>column$}", cell(count));
            }
        }
        table
    }

    /// The worst mistakes, one a line.
    fn mistakes(&self) -> String {
        if self.worst.is_empty() {
            return "\nNo mistakes to name".to_owned();
        }
        let width = self.name_width(6);
        let mut table = format!(
            "\nWorst mistakes (probability: of the letter)\n{:>6}  {:<width$} {:<width$} {:>11}",
            "Image", "Letter", "Guess", "Probability"
        );
        for mistake in &self.worst {
            let (truth, guess) = (&self.names[mistake.truth], &self.names[mistake.guess]);
            let (index, p) = (mistake.index, mistake.probability);
            table += &format!("\n{index:>6}  {truth:<width$} {guess:<width$} {p:>11.2e}");
        }
        table
    }
}
