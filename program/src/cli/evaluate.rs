//! `signet evaluate`: a trained model on the validation images.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::columns::{Table, cell_of, length};
use super::numbers::whole;
use super::terminal::{stdout_is_terminal, table_width};
use super::{DataArgs, DeviceArgs, ModelArgs, note, print, say};
use crate::data::Request;
use crate::report::words::{count, counted, loss, noun, probability, share, title};
use crate::runs::RunFolder;
use crate::words;
use signet::data::{Source, Split, are_letters};
use signet::metrics::{Confusion, Mistake, worst_mistakes};
use signet::train::Evaluation;
use signet::{Error, Result};

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

    /// Images of a batch, whose losses the mean is of [default: the run's, 32 for a file]
    #[arg(long, value_name = "N", value_parser = whole::<usize>)]
    batch_size: Option<usize>,

    /// How many of the worst mistakes to name
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = whole::<usize>)]
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
        let of_run = run.as_ref().map(|record| record.config.batch_size);
        let batch_size = self.batch_size.or(of_run).unwrap_or(32);
        let mut split = data.load()?;
        match run.map(|record| record.check_data(&split, &words::path(folder))) {
            // Other data that was asked for by name is measured, and called by its name.
            Some(Err(error)) if is_named => note(format_args!("notice: {error}")),
            Some(Err(Error::Data(error))) => {
                let help = "bring back the data as it was; or name other data with --data, which is \
                            measured then";
                return Err(error.with_help(help).into());
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
        let evaluation = model.evaluate(&chosen.device, &split.valid, batch_size)?;
        let errors = Errors::of(&split, &evaluation, self.mistakes);
        if self.json {
            print(errors.json(&path, &source, &evaluation, batch_size)?)?;
        } else {
            // The notebook's line, whose loss is a sum, is for programs; people get the mean.
            let width = table_width();
            if stdout_is_terminal() {
                say(errors.outcome(&evaluation, batch_size))?;
            } else {
                print(format_args!("Valid - {}", evaluation.measured))?;
            }
            say(format_args!("\n{}", errors.classes(width)))?;
            say(format_args!("\n{}", errors.matrix(width)))?;
            say(format_args!("\n{}", errors.mistakes(width)))?;
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
    /// Where the images are files: their folder, and their paths below it.
    folder: Option<&'a Path>,
    files: &'a [PathBuf],
}

/// The widest column of the confusion matrix where there are few classes.
const ROOMY: usize = 7;

/// With so many classes at most, the matrix has room.
const FEW: usize = 6;

/// What `--json` prints.
#[derive(serde::Serialize)]
struct Report<'a> {
    model: &'a str,
    data: &'a str,
    /// As the notebook prints it: the sum of the batches' means.
    valid_loss: f64,
    valid_mean_loss: f64,
    valid_accuracy: f64,
    per_class: Vec<ClassReport<'a>>,
    /// The same, if the classes are letters.
    #[serde(skip_serializing_if = "Option::is_none")]
    letters: Option<Vec<ClassReport<'a>>>,
    /// A row per true class, a column per guess.
    confusion: Vec<&'a [usize]>,
    mistakes: Vec<MistakeReport<'a>>,
}

#[derive(Clone, serde::Serialize)]
struct ClassReport<'a> {
    class: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    letter: Option<&'a str>,
    images: usize,
    precision: Option<f64>,
    recall: Option<f64>,
}

#[derive(serde::Serialize)]
struct MistakeReport<'a> {
    index: usize,
    /// Where the images are files.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    truth: &'a str,
    guess: &'a str,
    /// What the true class got.
    probability: f64,
}

/// The mean of the losses of batches of `batch_size`, whose sum is the loss of `evaluation`.
fn mean_loss(evaluation: &Evaluation, batch_size: usize) -> f64 {
    evaluation.measured.loss / evaluation.losses.len().div_ceil(batch_size.max(1)) as f64
}

impl<'a> Errors<'a> {
    fn of(split: &'a Split, evaluation: &Evaluation, mistakes: usize) -> Self {
        let valid = &split.valid;
        let truth: Vec<usize> = valid.labels.iter().map(|&label| label.into()).collect();
        let predicted = &evaluation.predicted;
        Self {
            classes: &valid.classes,
            names: valid.classes.iter().map(|class| words::line(class)).collect(),
            confusion: Confusion::new(valid.classes.len(), &truth, predicted),
            worst: worst_mistakes(&truth, predicted, &evaluation.losses, mistakes),
            folder: match &split.source {
                Source::Images { path, .. } => Some(path),
                _ => None,
            },
            files: split.source.validation_files(),
        }
    }

    fn json(
        &self,
        model: &str,
        data: &str,
        evaluation: &Evaluation,
        batch_size: usize,
    ) -> Result<String> {
        let letters = are_letters(self.classes);
        let class = |(class, name): (usize, &'a String)| ClassReport {
            class: name,
            letter: letters.then_some(name),
            images: self.confusion.images(class),
            precision: self.confusion.precision(class),
            recall: self.confusion.recall(class),
        };
        let mistake = |mistake: &Mistake| MistakeReport {
            index: mistake.index,
            file: (self.folder.zip(self.files.get(mistake.index)))
                .map(|(folder, file)| folder.join(file).display().to_string()),
            truth: &self.classes[mistake.truth],
            guess: &self.classes[mistake.guess],
            probability: mistake.probability,
        };
        let per_class: Vec<_> = self.classes.iter().enumerate().map(class).collect();
        let report = Report {
            model,
            data,
            valid_loss: evaluation.measured.loss,
            valid_mean_loss: mean_loss(evaluation, batch_size),
            valid_accuracy: evaluation.measured.accuracy,
            letters: letters.then(|| per_class.clone()),
            per_class,
            confusion: (0..self.classes.len()).map(|truth| self.confusion.row(truth)).collect(),
            mistakes: self.worst.iter().map(mistake).collect(),
        };
        serde_json::to_string(&report)
            .map_err(|e| Error::argument("--json", format!("cannot be written: {e}")))
    }

    /// Accuracy and mean loss.
    fn outcome(&self, evaluation: &Evaluation, batch_size: usize) -> String {
        let classes = 0..self.classes.len();
        let right: usize = classes.map(|class| self.confusion.count(class, class)).sum();
        format!(
            "validation accuracy {:.4} ({} of {}), mean loss {}",
            evaluation.measured.accuracy,
            count(right as u64),
            counted(evaluation.losses.len() as u64, "image"),
            loss(mean_loss(evaluation, batch_size))
        )
    }

    /// A table of classes: images, how many were recognised, precision, recall, and recall as a bar.
    fn classes(&self, width: usize) -> String {
        let mut table = Table::default()
            .names(title(self.classes), 0)
            .numbers([("Images", 2), ("Correct", 3), ("Precision", 1), ("Recall", 0)])
            .names("", 4);
        for (class, name) in self.names.iter().enumerate() {
            let confusion = &self.confusion;
            table.row([
                name.clone(),
                count(confusion.images(class) as u64),
                count(confusion.count(class, class) as u64),
                share(confusion.precision(class)),
                share(confusion.recall(class)),
                "#".repeat((confusion.recall(class).unwrap_or(0.0) * 20.0).round() as usize),
            ]);
        }
        table.text(width)
    }

    /// The confusion matrix; a dot is no image. What is too wide for the terminal goes on below, with
    /// the next columns.
    fn matrix(&self, width: usize) -> String {
        let cell = |number: usize| if number == 0 { ".".to_owned() } else { count(number as u64) };
        let classes = 0..self.classes.len();
        let roomy = if self.classes.len() <= FEW { ROOMY } else { 1 };
        // A name may take a third of the line, and a column no more than what is left.
        let longest = self.names.iter().map(|name| length(name)).max().unwrap_or(0);
        let names = longest.min((width / 3).max(1));
        let most = width.saturating_sub(names + 1).max(1);
        let columns: Vec<usize> = (classes.clone())
            .map(|guess| {
                let cells = classes.clone().map(|truth| cell(self.confusion.count(truth, guess)));
                let widest = cells.map(|cell| length(&cell)).fold(roomy, usize::max);
                widest.max(length(&self.names[guess]).min(names)).min(most)
            })
            .collect();
        let mut text = format!("Confusion (row: the {}, column: the guess)", noun(self.classes));
        let mut first = 0;
        while first < columns.len() {
            let mut taken = names;
            let fits = columns[first..].iter().take_while(|&&column| {
                taken += 1 + column;
                taken <= width
            });
            let last = first + fits.count().max(1);
            // A block begins below the one before.
            text += if first == 0 { "\n" } else { "\n\n" };
            text += &" ".repeat(names);
            let block = || (first..last).zip(&columns[first..last]);
            for (guess, &column) in block() {
                text += &format!(" {}", cell_of(&self.names[guess], column, false));
            }
            for truth in classes.clone() {
                text += &format!("\n{}", cell_of(&self.names[truth], names, true));
                for (guess, column) in block() {
                    text += &format!(" {:>column$}", cell(self.confusion.count(truth, guess)));
                }
            }
            first = last;
        }
        text
    }

    /// The worst mistakes, one a line.
    fn mistakes(&self, width: usize) -> String {
        if self.worst.is_empty() {
            return "No mistakes to name".to_owned();
        }
        let table = Table::default();
        // An image that is a file has a name; of others people can be told the number.
        let table = match self.files.is_empty() {
            true => table.numbers([("Image", 1)]),
            false => table.paths("File", 0),
        };
        let mut table =
            table.names(title(self.classes), 0).names("Guess", 0).numbers([("Probability", 2)]);
        for mistake in &self.worst {
            table.row([
                match self.files.get(mistake.index) {
                    Some(file) => words::path(file),
                    None => count(mistake.index as u64),
                },
                self.names[mistake.truth].clone(),
                self.names[mistake.guess].clone(),
                probability(mistake.probability),
            ]);
        }
        let noun = noun(self.classes);
        format!("Worst mistakes (probability: of the {noun})\n{}", table.text(width))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn errors(classes: &[String]) -> Errors<'_> {
        let truth: Vec<usize> = (0..20 * classes.len()).map(|i| i % classes.len()).collect();
        let predicted: Vec<usize> =
            truth.iter().enumerate().map(|(i, &c)| if i == 1 { 0 } else { c }).collect();
        let losses: Vec<f64> = (0..truth.len()).map(|i| if i == 1 { 12.0 } else { 0.1 }).collect();
        Errors {
            classes,
            names: classes.to_vec(),
            confusion: Confusion::new(classes.len(), &truth, &predicted),
            worst: worst_mistakes(&truth, &predicted, &losses, 3),
            folder: None,
            files: &[],
        }
    }

    #[test]
    fn two_classes_are_no_letters_and_their_matrix_has_room() {
        let classes = names(&["cat", "long-haired dog"]);
        let errors = errors(&classes);
        assert_eq!(
            errors.matrix(usize::MAX),
            "Confusion (row: the class, column: the guess)\n\
             \x20                   cat long-haired dog\n\
             cat                  20               .\n\
             long-haired dog       1              19"
        );
        assert!(errors.classes(usize::MAX).starts_with("Class            Images"), "");
        assert!(errors.mistakes(usize::MAX).contains("Worst mistakes (probability: of the class)"));
        assert!(
            errors.mistakes(usize::MAX).ends_with("long-haired dog  cat           6e-6"),
            "{}",
            errors.mistakes(99)
        );
        let json = errors.json("m", "d", &evaluation(40), 32).unwrap();
        assert!(!json.contains("letter") && json.contains("\"class\":\"cat\""), "{json}");
        // Of 40 images there are two batches.
        assert!(json.contains("\"valid_loss\":1.0,\"valid_mean_loss\":0.5"), "{json}");
    }

    #[test]
    fn mistakes_among_files_are_called_by_their_names() {
        let classes = names(&["cat", "dog"]);
        let files: Vec<PathBuf> = (0..40).map(|i| format!("dog/photo {i}.png").into()).collect();
        let errors = Errors { folder: Some(Path::new("pets")), files: &files, ..errors(&classes) };
        assert_eq!(
            errors.mistakes(80),
            "Worst mistakes (probability: of the class)\n\
             File             Class  Guess  Probability\n\
             dog/photo 1.png  dog    cat           6e-6"
        );
        assert!(errors.mistakes(20).ends_with("…1.png  dog    cat"), "{}", errors.mistakes(20));
        let json = errors.json("m", "d", &evaluation(40), 32).unwrap();
        assert!(json.contains("\"index\":1,\"file\":\"pets/dog/photo 1.png\""), "{json}");
    }

    fn evaluation(images: usize) -> Evaluation {
        let measured = signet::train::Measured { loss: 1.0, accuracy: 0.975 };
        Evaluation { measured, predicted: vec![0; images], losses: vec![0.5; images] }
    }

    #[test]
    fn letters_stay_letters() {
        let classes = signet::data::letters();
        let errors = errors(&classes);
        assert!(errors.matrix(usize::MAX).starts_with("Confusion (row: the letter, column"));
        assert!(errors.classes(usize::MAX).starts_with("Letter  Images"));
        let json: serde_json::Value =
            serde_json::from_str(&errors.json("m", "d", &evaluation(480), 32).unwrap()).unwrap();
        assert_eq!(json["letters"], json["per_class"]);
        assert_eq!(json["letters"][9]["letter"], "K");
        assert_eq!(json["letters"][9]["class"], "K");
    }

    #[test]
    fn no_table_is_wider_than_the_terminal() {
        let animals = names(&["cat", "long-haired dog", "an animal whose name takes a whole line"]);
        for classes in [signet::data::letters(), animals] {
            let errors = errors(&classes);
            for width in [20, 39, 59, 79] {
                for text in [errors.classes(width), errors.matrix(width), errors.mistakes(width)] {
                    // The title is a sentence, which a terminal may wrap.
                    let lines = text.lines().filter(|line| !line.contains('('));
                    for line in lines {
                        assert!(line.chars().count() <= width, "{width}: {line}\n{text}");
                    }
                }
            }
            // Nothing is lost in the blocks.
            let counts = |width| {
                let text = errors.matrix(width);
                text.split_whitespace().filter(|word| word.parse::<usize>().is_ok()).count()
            };
            assert_eq!(counts(39), counts(usize::MAX));
        }
    }
}
