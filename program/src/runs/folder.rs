//! The folder of a run: `config.json`, `metrics.jsonl`, the models with a card that says what they are,
//! and the state to go on from.
//!
//! The state is the truth: it holds all that the other files say, and is written first, with the one
//! before it kept until it is whole. A process that is killed at any moment leaves one whole state,
//! and whoever goes on with the run makes the other files from it.

use super::{EpochLine, ModelWords, card};
use crate::data::Request;
use crate::words::{self, count, counted};
use serde::{Deserialize, Serialize};
use signet::data::{DataError, Source, Split};
use signet::device::Precisions;
use signet::files::{FolderLock, is_part, remove_abandoned, write_atomic};
use signet::train::{Config, EpochMetrics, TrainState};
use signet::{Error, Result, checkpoint};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The model after the last epoch, inside a run's folder.
pub const MODEL: &str = "model.safetensors";
/// The model of the best epoch, inside a run's folder.
pub const BEST: &str = "best.safetensors";
const STATE: &str = "state.safetensors";
/// The state before the last.
const PREVIOUS: &str = "state.previous.safetensors";
/// A last state that could not be read.
const DAMAGED: &str = "state.damaged.safetensors";
const CONFIG: &str = "config.json";
const METRICS: &str = "metrics.jsonl";
/// What people, and the hub of models, are to know of the two.
const CARD: &str = "README.md";

/// A run's folder.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// Of a folder that is written into: nobody else does meanwhile.
    _lock: Option<FolderLock>,
}

/// What a run goes on with.
#[derive(Debug)]
pub struct Resumed {
    /// The run's record.
    pub record: Record,
    /// How far it was; `None` where it was stopped before there was anything to keep.
    pub state: Option<TrainState>,
    /// What the user should know about it.
    pub notice: Option<String>,
}

/// What `config.json` holds: the settings, and what they were used on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The settings.
    #[serde(flatten)]
    pub config: Config,
    /// The recipe that the settings began with, by its name; `None` in records of older versions.
    #[serde(default)]
    pub recipe: Option<String>,
    /// What `--data` asked for, as [`Request::kept`] says it.
    pub data: String,
    /// Where the data came from, in words.
    pub data_source: String,
    /// Whether the images are drawn: their accuracy is not the real one.
    pub synthetic: bool,
    /// sha256 of the data.
    pub data_sha256: String,
    /// The names of the classes.
    pub classes: Vec<String>,
    /// Whether the images are whole photographs, squeezed to the network's size.
    #[serde(default)]
    pub whole_images: bool,
    /// How many images there are to train on and to validate with; `None` in records of older
    /// versions.
    #[serde(default)]
    pub images: Option<[usize; 2]>,
    /// The device, in words.
    pub device: String,
    /// What the device rounds operands of products to.
    #[serde(default)]
    pub precisions: Precisions,
    /// The program's version.
    pub version: String,
}

impl Record {
    /// Its data, as `--data` names it. Hands that were drawn because there was no network are drawn
    /// again, also where the photographs can be had by now.
    pub fn request(&self) -> Request {
        if self.synthetic { Request::Synthetic } else { Request::of_record(&self.data) }
    }

    /// Batches of an epoch, of training and of validation: a loss of [`EpochMetrics`] divided by
    /// them is the mean.
    pub fn batches(&self) -> Option<[usize; 2]> {
        Some(self.images?.map(|images| self.config.batches(images)))
    }

    /// That `split` is what the run called `name` was trained on.
    ///
    /// # Errors
    /// [`Error::Data`] when it is not, with what is different.
    pub fn check_data(&self, split: &Split, name: &str) -> Result<()> {
        if split.digest() == self.data_sha256 {
            return Ok(());
        }
        let (source, own, differences) =
            (&split.source, &self.data_source, self.differences(split));
        let message = if self.lies_where(source) {
            format!("the data, {source}, has changed since {name} was trained on it: {differences}")
        } else {
            format!("{source} is not the data that {name} was trained on, {own}: {differences}")
        };
        let help = "bring back the data as it was; what is trained on other data is a new run";
        Err(DataError::new(message).with_help(help).into())
    }

    /// Whether its data lay where `source` lies, however the two are written.
    fn lies_where(&self, source: &Source) -> bool {
        let real = |path: &Path| std::fs::canonicalize(path).ok();
        let own = match self.request() {
            Request::Folder(folder) => real(&folder),
            Request::Auto | Request::Synthetic => None,
        };
        let here = match source {
            Source::Folder { path, .. } | Source::Images { path, .. } => real(path),
            _ => None,
        };
        (own.is_some() && own == here) || source.to_string() == self.data_source
    }

    /// What is different in `split`, as far as the record tells.
    fn differences(&self, split: &Split) -> String {
        let own = &self.classes;
        let found = &split.train.classes;
        let without = |these: &[String], those: &[String]| -> Vec<String> {
            let missing = these.iter().filter(|class| !those.contains(class));
            missing.map(|class| words::line(class)).collect()
        };
        let mut differences = Vec::new();
        for (classes, what) in [(without(found, own), "new"), (without(own, found), "missing")] {
            let (count, named) = (classes.len(), classes.len().min(NAMED));
            let names = classes[..named].join(", ");
            differences.extend(match count {
                0 => None,
                1 => Some(format!("the class {names} is {what}")),
                2..=NAMED => Some(format!("the classes {names} are {what}")),
                _ => Some(format!("{count} classes are {what}, {names} among them")),
            });
        }
        if let Some(images) = self.images {
            let here = [&split.train, &split.valid].map(|part| part.len());
            if here != images {
                let [train, valid, own_train, own_valid] =
                    [here[0], here[1], images[0], images[1]].map(|n| count(n as u64));
                differences.push(format!(
                    "{train} images to train on and {valid} to validate with, instead of {own_train} \
                     and {own_valid}"
                ));
            }
        }
        if differences.is_empty() {
            let as_many = if self.images.is_some() { "as many images of " } else { "" };
            return format!("{as_many}the same classes, but other pixels or labels");
        }
        differences.join("; ")
    }
}

/// How many classes a message names.
const NAMED: usize = 5;

impl RunFolder {
    /// Makes a new folder for a run called `name` under `out`, which no other process can use until
    /// this value is dropped; without a name it is the first free one of `asl-1`, `asl-2`, …
    ///
    /// # Errors
    /// [`Error::Argument`] when the name is taken or no plain folder name, [`Error::Io`] when the
    /// folder cannot be made.
    pub fn create(out: &Path, name: Option<&str>) -> Result<Self> {
        std::fs::create_dir_all(out).map_err(Error::io("create", out))?;
        let Some(name) = name else {
            for number in 1.. {
                if let Some(run) = Self::claim(out.join(format!("asl-{number}")))? {
                    return Ok(run);
                }
            }
            unreachable!("there is a free number");
        };
        if Path::new(name).components().count() != 1
            || name.starts_with('.')
            || name.contains(['/', '\\'])
        {
            return Err(Error::argument(
                "name",
                format!("must be a plain folder name, got {name:?}"),
            ));
        }
        let path = out.join(name);
        Self::claim(path.clone())?.ok_or_else(|| {
            let path = words::path(&path);
            let message = format!(
                "{path} is there already; go on with --resume {path}, or take another name"
            );
            Error::argument("name", message)
        })
    }

    /// The folder `path`, if it is new, or if whoever made it ended before it wrote anything.
    fn claim(path: PathBuf) -> Result<Option<Self>> {
        match std::fs::create_dir(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists && !is_unused(&path) => {
                return Ok(None);
            }
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => made.map_err(Error::io("create", &path))?,
        }
        let lock = FolderLock::take(&path).map_err(Error::io("write", &path))?;
        // Between the two looks, somebody else may have been here from start to end.
        let is_ours = lock.is_some() && is_unused(&path);
        Ok(is_ours.then_some(Self { path, _lock: lock }))
    }

    /// An existing folder.
    ///
    /// # Errors
    /// [`Error::Io`] when there is nothing, [`Error::Checkpoint`] when it is no run's folder.
    pub fn open(path: &Path) -> Result<Self> {
        let run = Self { path: path.to_path_buf(), _lock: None };
        std::fs::metadata(path).map_err(Error::io("read", path))?;
        if ![CONFIG, STATE, PREVIOUS].iter().any(|name| run.file(name).is_file()) {
            let message = format!("is no folder of a run: it has no {CONFIG}");
            return Err(checkpoint::invalid(path, message));
        }
        Ok(run)
    }

    /// An existing folder, to go on with its run: no other process can do so until this value is
    /// dropped. Where the last state is damaged, it is set aside and the one before it is taken.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when it is no run's folder, when another process works in it, and when
    /// both states are damaged; [`Error::Io`] when it is not writable.
    pub fn resume(path: &Path) -> Result<(Self, Resumed)> {
        let mut run = Self::open(path)?;
        run._lock = FolderLock::take(path).map_err(Error::io("write", path))?;
        if run._lock.is_none() {
            let message = "another process is training in it; wait for its end, or stop it";
            return Err(checkpoint::invalid(path, message));
        }
        remove_abandoned(path, Duration::ZERO);
        let resumed = run.resumed()?;
        Ok((run, resumed))
    }

    fn resumed(&self) -> Result<Resumed> {
        let [last, previous] = [STATE, PREVIOUS].map(|name| self.file(name));
        let some = |(state, record): (TrainState, Record), notice: Option<String>| {
            let notices = notice.into_iter().chain(self.edited(&record.config));
            let notice = notices.reduce(|all, next| format!("{all}\n{next}"));
            Resumed { record, state: Some(state), notice }
        };
        let why = match TrainState::load(&last) {
            Ok(found) => return Ok(some(found, None)),
            Err(error) => error,
        };
        let is_missing = !last.exists();
        if is_missing && !previous.exists() {
            let notice = "nothing was saved yet: the run starts from its beginning".into();
            return Ok(Resumed { record: self.record()?, state: None, notice: Some(notice) });
        }
        let found = TrainState::load(&previous).map_err(|error| {
            let message = format!(
                "{why}; and the state before it cannot be used either: {error}. Copy one of them \
                 again from where it is whole, or start a run anew"
            );
            checkpoint::invalid(&self.path, message)
        })?;
        let epochs = found.0.epochs();
        if is_missing {
            // It was becoming the previous one when the run was stopped.
            return Ok(some(found, None));
        }
        let aside = self.file(DAMAGED);
        std::fs::rename(&last, &aside).map_err(Error::io("rename", &last))?;
        let notice = format!(
            "{why}\nit was renamed to {DAMAGED}; the run goes on from the state before it, \
             {PREVIOUS}, after {}",
            counted(epochs, "epoch")
        );
        Ok(some(found, Some(notice)))
    }

    /// What `config.json` says of settings otherwise than the run's state, whose they are: for the
    /// user, who may think that a run goes on with what was written there.
    fn edited(&self, own: &Config) -> Option<String> {
        let found = std::fs::read_to_string(self.file(CONFIG)).ok()?;
        let found: serde_json::Value = serde_json::from_str(&found).ok()?;
        let own = serde_json::to_value(own).ok()?;
        let differs = |(key, own): (&String, &serde_json::Value)| {
            let found = found.get(key).filter(|found| *found != own)?;
            Some(format!("{key} {found} instead of {own}"))
        };
        let differences: Vec<_> = own.as_object()?.iter().filter_map(differs).collect();
        (!differences.is_empty()).then(|| {
            format!(
                "{CONFIG} was changed, which has no effect: it says {}; a run goes on with the \
                 settings that it began with, other ones are another run",
                differences.join(", ")
            )
        })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is a state to go on from.
    pub fn has_state(&self) -> bool {
        [STATE, PREVIOUS].iter().any(|name| self.file(name).exists())
    }

    /// Whether it is a run whose first epoch is not done: then it has no model to use.
    pub fn is_before_its_first_epoch(&self) -> bool {
        !self.file(BEST).exists() && self.metrics().is_ok_and(|metrics| metrics.is_empty())
    }

    /// How many epochs of it are done, as far as can be read.
    pub fn epochs_done(&self) -> u64 {
        self.metrics().map_or(0, |metrics| metrics.len() as u64)
    }

    /// Removes the folder of a run that never began.
    pub fn discard(self) {
        // Not worth an error beside the one that made the run fail.
        let _ = std::fs::remove_dir_all(self.path);
    }

    /// The path of one of its files.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes `config.json`.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be written.
    pub fn write_record(&self, record: &Record) -> Result<()> {
        let path = self.file(CONFIG);
        let json = serde_json::to_string_pretty(record)
            .map_err(|e| checkpoint::invalid(&path, format!("cannot be written as JSON: {e}")))?;
        write_atomic(&path, format!("{json}\n").as_bytes())
    }

    /// Reads `config.json`.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read, [`Error::Checkpoint`] when it is damaged.
    pub fn record(&self) -> Result<Record> {
        let path = self.file(CONFIG);
        let json = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        serde_json::from_str(&json)
            .map_err(|e| checkpoint::invalid(&path, format!("is no record of a run: {e}")))
    }

    /// Writes the state, with the one before it kept, then what is derived from it: the metrics and
    /// the two models. A run that dies in between writes them again when it goes on: a model is never
    /// newer than the state. The models' files hold the names of the classes too, which the run's
    /// `record` knows.
    ///
    /// # Errors
    /// [`Error::Io`] when a file cannot be written.
    pub fn save(&self, state: &TrainState, record: &Record) -> Result<()> {
        state.save(&self.file(STATE), &self.file(PREVIOUS), record)?;
        self.write_metrics(state, record)?;
        let words = || Some(ModelWords::to_write(record));
        checkpoint::save(&self.file(MODEL), &state.model, words())?;
        if let Some(best) = &state.best_model {
            checkpoint::save(&self.file(BEST), best, words())?;
        }
        self.write_card(state, record)
    }

    /// Writes what the models are, unless somebody else wrote that.
    fn write_card(&self, state: &TrainState, record: &Record) -> Result<()> {
        let path = self.file(CARD);
        let is_others = |text: &[u8]| !card::is_ours(&String::from_utf8_lossy(text));
        if path.is_dir() || std::fs::read(&path).is_ok_and(|text| is_others(&text)) {
            return Ok(());
        }
        let name = std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let name = name.file_name().unwrap_or_default().to_string_lossy();
        write_atomic(&path, card::card(&name, record, &state.history).as_bytes())
    }

    fn write_metrics(&self, state: &TrainState, record: &Record) -> Result<()> {
        let path = self.file(METRICS);
        let mut lines = String::new();
        for metrics in &state.history {
            let line = serde_json::to_string(&EpochLine::new(metrics, record)).map_err(|e| {
                checkpoint::invalid(&path, format!("cannot be written as JSON: {e}"))
            })?;
            lines.push_str(&line);
            lines.push('\n');
        }
        write_atomic(&path, lines.as_bytes())
    }

    /// The path of the file that holds the metrics of each epoch.
    pub fn metrics_file(&self) -> PathBuf {
        self.file(METRICS)
    }

    /// Reads the metrics of the epochs that are done.
    ///
    /// # Errors
    /// [`Error::Io`] when they cannot be read, [`Error::Checkpoint`] when a line is damaged.
    pub fn metrics(&self) -> Result<Vec<EpochMetrics>> {
        let path = self.metrics_file();
        let lines = match std::fs::read_to_string(&path) {
            // The first epoch is not done.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            read => read.map_err(Error::io("read", &path))?,
        };
        let metrics = |(number, line): (usize, &str)| {
            serde_json::from_str(line).map_err(|e| {
                let message = format!("line {} is no record of an epoch: {e}", number + 1);
                checkpoint::invalid(&path, message)
            })
        };
        lines.lines().enumerate().map(metrics).collect()
    }

    /// Reads the state.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read, [`Error::Checkpoint`] when it is damaged.
    pub fn state(&self) -> Result<TrainState> {
        Ok(TrainState::load::<Record>(&self.file(STATE))?.0)
    }
}

/// Whether nothing was ever written into a folder, but the beginning of something.
fn is_unused(folder: &Path) -> bool {
    let is_beginning = |name: &std::ffi::OsStr| FolderLock::is_lock(name) || is_part(name);
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.into_iter().all(|entry| entry.is_ok_and(|entry| is_beginning(&entry.file_name())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::samples;
    use signet::data::synthetic;

    /// What a run on `before` says of `after`, which lies at the same place.
    fn said(before: &Split, after: &Split) -> String {
        let record = Record {
            data_sha256: before.digest(),
            images: Some([before.train.len(), before.valid.len()]),
            data_source: before.source.to_string(),
            ..samples::record(&before.train.classes)
        };
        let error = record.check_data(after, "runs/a").unwrap_err().to_string();
        let start =
            "the data, synthetic hands (seed 0), has changed since runs/a was trained on it: ";
        error.strip_prefix(start).unwrap_or_else(|| panic!("{error}")).to_owned()
    }

    #[test]
    fn what_has_changed_is_told() {
        let before = synthetic(0, 48, 24);
        assert!(
            samples::record(&[]).check_data(&before, "a").is_err(),
            "a record of no data fits none"
        );
        assert_eq!(
            said(&before, &synthetic(0, 47, 24)),
            "47 images to train on and 24 to validate with, instead of 48 and 24"
        );
        let mut other = before.clone();
        other.valid.pixels[7] ^= 1;
        assert_eq!(
            said(&before, &other),
            "as many images of the same classes, but other pixels or labels"
        );
        other.train.classes[0] = "dog".to_owned();
        assert_eq!(said(&before, &other), "the class dog is new; the class A is missing");
        other.train.classes.truncate(20);
        assert_eq!(
            said(&before, &other),
            "the class dog is new; the classes A, V, W, X, Y are missing"
        );
        other.train.classes.truncate(10);
        assert_eq!(
            said(&before, &other),
            "the class dog is new; 15 classes are missing, A, L, M, N, O among them"
        );
    }

    #[test]
    fn one_folder_is_one_place_however_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let written = |path: PathBuf| Source::Images { path, valid: Vec::new() };
        let own = folder.path().to_path_buf();
        let record = Record {
            data: own.display().to_string(),
            data_source: "images (some/where)".to_owned(),
            synthetic: false,
            ..samples::record(&[])
        };
        assert!(record.lies_where(&written(own.join("../").join(own.file_name().unwrap()))));
        assert!(!record.lies_where(&written(own.join(".."))));
        assert!(record.lies_where(&written("some/where".into())), "as it was written then");
    }
}
