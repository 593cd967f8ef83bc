//! The folder of a run: `config.json`, `metrics.jsonl`, the models, and the state to go on from.

use super::{Config, EpochMetrics, State};
use crate::data::Split;
use crate::device::Precisions;
use crate::files::write_atomic;
use crate::predict::TrainedModel;
use crate::{Error, Result, checkpoint};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The model after the last epoch, inside a run's folder.
pub const MODEL: &str = "model.safetensors";
/// The model of the best epoch, inside a run's folder.
pub const BEST: &str = "best.safetensors";
const STATE: &str = "state.safetensors";
const CONFIG: &str = "config.json";
const METRICS: &str = "metrics.jsonl";

/// A run's folder.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
}

/// What `config.json` holds: the settings, and what they were used on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The settings.
    #[serde(flatten)]
    pub config: Config,
    /// What `--data` asked for.
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
    /// The device, in words.
    pub device: String,
    /// What the device rounds operands of products to.
    #[serde(default)]
    pub precisions: Precisions,
    /// The program's version.
    pub version: String,
}

impl Record {
    /// That `split` is what the run called `name` was trained on.
    ///
    /// # Errors
    /// [`Error::Argument`] when it is not.
    pub fn check_data(&self, split: &Split, name: &str) -> Result<()> {
        if split.digest() == self.data_sha256 {
            return Ok(());
        }
        let (source, own) = (&split.source, &self.data_source);
        let message = format!("{source} is not the data that {name} was trained on ({own})");
        Err(Error::argument("--data", message))
    }
}

impl RunFolder {
    /// Makes a new folder for a run called `name` under `out`; without a name it is the first free
    /// one of `asl-1`, `asl-2`, …
    ///
    /// # Errors
    /// [`Error::Argument`] when the name is taken or no plain folder name, [`Error::Io`] when the
    /// folder cannot be made.
    pub fn create(out: &Path, name: Option<&str>) -> Result<Self> {
        let make = |path: &Path| std::fs::create_dir(path);
        std::fs::create_dir_all(out).map_err(Error::io("create", out))?;
        let Some(name) = name else {
            for number in 1.. {
                let path = out.join(format!("asl-{number}"));
                match make(&path) {
                    Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                    made => {
                        return made.map_err(Error::io("create", &path)).map(|()| Self { path });
                    }
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
        match make(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                let path = path.display();
                let message = format!(
                    "{path} is there already; go on with --resume {path}, or take another name"
                );
                Err(Error::argument("name", message))
            }
            made => made.map_err(Error::io("create", &path)).map(|()| Self { path }),
        }
    }

    /// An existing folder.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when it is no run's folder.
    pub fn open(path: &Path) -> Result<Self> {
        let run = Self { path: path.to_path_buf() };
        if !run.file(CONFIG).is_file() {
            let message = format!("is no folder of a run: it has no {CONFIG}");
            return Err(checkpoint::invalid(path, message));
        }
        Ok(run)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
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

    /// Writes the state, then what is derived from it: the metrics and the two models. A run that
    /// dies in between writes them again when it goes on. The models' files hold the names of the
    /// classes too, which the run's `record` knows.
    ///
    /// # Errors
    /// [`Error::Io`] when a file cannot be written.
    pub fn save(&self, state: &State, record: &Record) -> Result<()> {
        state.save(&self.file(STATE))?;
        self.write_metrics(state)?;
        let words = || Some(TrainedModel::metadata(&record.classes, record.whole_images));
        checkpoint::save(&self.file(MODEL), &state.model, words())?;
        match &state.best_model {
            Some(best) => checkpoint::save(&self.file(BEST), best, words()),
            None => Ok(()),
        }
    }

    fn write_metrics(&self, state: &State) -> Result<()> {
        let path = self.file(METRICS);
        let mut lines = String::new();
        for metrics in &state.history {
            let line = serde_json::to_string(metrics).map_err(|e| {
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
    pub fn state(&self) -> Result<State> {
        State::load(&self.file(STATE))
    }
}
