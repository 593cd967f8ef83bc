//! Everything that a page says about a run.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::filters::Filters;
use super::gallery::Shown;
use super::kernels::{self, Kernel};
use crate::predict::TrainedModel;
use crate::runs::{BEST, Record, RunFolder};
use crate::words;
use signet::data::{Dataset, Split};
use signet::metrics::{Confusion, Mistake, worst_mistakes};
use signet::train::{EpochMetrics, Evaluation, Measured};
use signet::{Device, Error, Result};

/// How many runs fit one page: as many as there are colours that everyone can tell apart.
pub const MOST_RUNS: usize = 8;

/// How many mistakes the gallery shows.
const MISTAKES: usize = 24;

/// A run, as far as it got: what is in its folder and, once it is measured, how its best model errs.
#[derive(Debug, Clone)]
pub struct Run {
    pub(super) name: String,
    pub(super) record: Record,
    pub(super) history: Vec<EpochMetrics>,
    /// When its last epoch was written.
    pub(super) written: Option<Timestamp>,
    pub(super) kernels: Vec<Kernel>,
    pub(super) filters: Option<Filters>,
    /// How its best model does on the run's validation images, or why nobody knows.
    pub(super) judged: std::result::Result<Judged, String>,
    /// Its best model, or why there is none.
    model: std::result::Result<TrainedModel, String>,
}

/// How a model does on the validation images.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Judged {
    pub measured: Measured,
    pub confusion: Confusion,
    pub images: usize,
    /// How many images were taken for another class than their own.
    pub wrong: usize,
    /// The image with the highest loss and that loss, right or wrong.
    pub worst: Option<(Mistake, f64)>,
    /// The file of that image, where it is one.
    pub worst_file: Option<String>,
    pub gallery: Vec<Shown>,
    /// Batches of an epoch: of training, and of validation.
    pub batches: [usize; 2],
}

impl Run {
    /// Reads the run in the folder `path`, which may be under way or stopped before its end.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when it is no run's folder or a record in it is damaged;
    /// [`Error::NonFinite`] when its best model has values that no answer can come of.
    pub fn read(path: &Path) -> Result<Self> {
        let folder = RunFolder::open(path)?;
        let record = folder.record()?;
        let history = folder.metrics()?;
        let model = match TrainedModel::open(&folder.file(BEST)) {
            _ if history.is_empty() => Err("no epoch of it has finished yet".to_owned()),
            Err(error @ Error::NonFinite(_)) => return Err(error),
            opened => opened.map_err(|e| e.to_string()),
        };
        let name = std::fs::canonicalize(path).ok();
        let name = name.as_deref().and_then(Path::file_name);
        let name = name.map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into());
        let written = std::fs::metadata(folder.metrics_file()).and_then(|file| file.modified());
        Ok(Self {
            name,
            record,
            history,
            written: written.ok().and_then(|time| Timestamp::try_from(time).ok()),
            kernels: kernels::read(&folder)?,
            filters: model.as_ref().ok().and_then(|model| Filters::of(&model.dict)),
            judged: Err("it was not measured".to_owned()),
            model,
        })
    }

    /// What is known of the run beside its results: the data it learned from, for one.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Its name, that of its folder.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives it another name on the page.
    pub fn rename(&mut self, name: impl Into<String>) {
        self.name = name.into();
    }

    /// Measures its best model on the validation images of `data`, which the run was trained on (see
    /// [`Record::check_data`]), on `device`. Where it has no model that can be used, or the device
    /// fails, the page does without; [`Run::missing`] then says why.
    ///
    /// # Errors
    /// [`Error::NonFinite`] when its outputs are no numbers: nothing that a page says of such a model
    /// would be true.
    pub fn measure(&mut self, device: &Device, data: &Split) -> Result<()> {
        self.judged = match &self.model {
            Err(why) => Err(why.clone()),
            Ok(model) => match self.judge(model, device, data) {
                Err(error @ Error::NonFinite(_)) => return Err(error),
                judged => judged.map_err(|e| e.to_string()),
            },
        };
        Ok(())
    }

    fn judge(&self, model: &TrainedModel, device: &Device, data: &Split) -> Result<Judged> {
        let mut valid = data.valid.clone();
        model.align(&mut valid)?;
        let config = &self.record.config;
        let evaluation = model.evaluate(device, &valid, config.batch_size)?;
        let batches = [&data.train, &data.valid].map(|part| config.batches(part.len()));
        Judged::new(&valid, data.source.validation_files(), &evaluation, batches)
    }

    /// Why its model is not measured, if it is not.
    pub fn missing(&self) -> Option<&str> {
        self.judged.as_ref().err().map(String::as_str)
    }

    /// Says on the page why its model was not measured.
    pub fn without(&mut self, why: impl Into<String>) {
        self.judged = Err(why.into());
    }

    /// Batches of an epoch, of training and of validation, where they are known.
    pub(super) fn batches(&self) -> Option<[f64; 2]> {
        let measured = || self.judged.as_ref().ok().map(|judged| judged.batches);
        let batches = self.record.batches().or_else(measured)?;
        Some(batches.map(|batches| batches.max(1) as f64))
    }

    /// The best epoch, see [`EpochMetrics::best`].
    pub(super) fn best(&self) -> Option<&EpochMetrics> {
        EpochMetrics::best(&self.history)
    }
}

impl Judged {
    /// Of the images of `valid`, which are `files` where each is a file of its own.
    pub fn new(
        valid: &Dataset,
        files: &[PathBuf],
        evaluation: &Evaluation,
        batches: [usize; 2],
    ) -> Result<Self> {
        let file = |index: usize| files.get(index).map(|file| words::path(file));
        let Evaluation { measured, predicted, losses } = evaluation;
        let truth: Vec<usize> = valid.labels.iter().map(|&label| label.into()).collect();
        let highest = (0..losses.len()).reduce(|a, b| if losses[b] > losses[a] { b } else { a });
        let worst = highest.map(|index| {
            let (truth, guess) = (truth[index], predicted[index]);
            let probability = (-losses[index]).exp();
            (Mistake { index, truth, guess, probability }, losses[index])
        });
        let mistakes = worst_mistakes(&truth, predicted, losses, MISTAKES);
        Ok(Self {
            measured: *measured,
            confusion: Confusion::new(valid.classes.len(), &truth, predicted),
            images: valid.len(),
            wrong: truth.iter().zip(predicted).filter(|(truth, guess)| truth != guess).count(),
            worst,
            worst_file: highest.and_then(file),
            gallery: mistakes
                .iter()
                .map(|mistake| Shown::new(mistake, file(mistake.index), valid))
                .collect::<Result<_>>()?,
            batches,
        })
    }
}
