//! Everything a run needs to go on with the same bits, as one safetensors file: so it is whole or
//! absent.

use super::EpochMetrics;
use super::trainer::Partial;
use crate::io::checkpoint::{self, Metadata, invalid};
use crate::nn::{StateDict, Value, Values};
use crate::optim::{OptimizerState, ParamGroup};
use crate::{Result, Shape};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// How far a training is. What is random follows from the seed and the step, and the step from
/// this.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainState {
    /// The model.
    pub model: StateDict,
    /// The model of the best epoch so far.
    pub best_model: Option<StateDict>,
    /// The optimizer.
    pub optimizer: OptimizerState<f32>,
    /// What the epochs so far achieved.
    pub history: Vec<EpochMetrics>,
    pub(super) partial: Partial,
}

/// What is no tensor, as JSON in the file's metadata.
#[derive(Serialize, Deserialize)]
struct InFile<R> {
    record: R,
    /// By parameter.
    #[serde(default)]
    optimizer_steps: Vec<u64>,
    /// Of all parameters, where older versions wrote the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    optimizer_step: Option<u64>,
    moments: Vec<String>,
    #[serde(default)]
    param_groups: Vec<ParamGroup>,
    history: Vec<EpochMetrics>,
    correct: u64,
    seconds: f64,
}

/// The key of [`InFile`] in a file's metadata; no model has it.
const WORDS: &str = "signet.state";
const LOSSES: &str = "epoch.losses";

impl TrainState {
    /// Writes the state, and with it the `record` of its run, whatever is to be known of it, whole or
    /// not at all. What was in the file before becomes `previous`: at every moment one of both is there
    /// and whole.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) when the file cannot be written, and
    /// [`Error::Checkpoint`](crate::Error::Checkpoint) when the record cannot be written as JSON.
    pub fn save<R: Serialize>(&self, path: &Path, previous: &Path, record: &R) -> Result<()> {
        let words = InFile {
            record,
            optimizer_steps: self.optimizer.steps.clone(),
            optimizer_step: None,
            moments: self.optimizer.moments.iter().map(|(name, _)| name.clone()).collect(),
            param_groups: self.optimizer.param_groups.clone(),
            history: self.history.clone(),
            correct: self.partial.correct,
            seconds: self.partial.seconds,
        };
        let flat = |values: &[f32]| Value {
            shape: Shape::from([values.len()]),
            values: Values::F32(values.to_vec()),
        };
        let mut tensors = prefixed("model.", &self.model);
        tensors.extend(self.best_model.iter().flat_map(|best| prefixed("best.", best)));
        let moments = self.optimizer.moments.iter();
        tensors.extend(moments.map(|(name, values)| (format!("optimizer.{name}"), flat(values))));
        tensors.push((LOSSES.into(), flat(&self.partial.losses)));
        let words = serde_json::to_string(&words)
            .map_err(|e| invalid(path, format!("cannot be written as JSON: {e}")))?;
        let metadata = Metadata::from([(WORDS.into(), words)]);
        checkpoint::save_keeping(path, previous, &tensors.into_iter().collect(), metadata)
    }

    /// Whether a file with such words is one of [`TrainState::save`], and no model.
    pub fn is_in(metadata: &Metadata) -> bool {
        metadata.contains_key(WORDS)
    }

    /// How many epochs are done.
    pub fn epochs(&self) -> u64 {
        self.history.len() as u64
    }

    /// Reads a state and the record of its run.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) when the file cannot be read, and
    /// [`Error::Checkpoint`](crate::Error::Checkpoint) when it is damaged or no state.
    pub fn load<R: DeserializeOwned>(path: &Path) -> Result<(Self, R)> {
        let (tensors, metadata) = checkpoint::load(path)?;
        let words =
            metadata.get(WORDS).ok_or_else(|| invalid(path, "is no state of a training run"))?;
        let words: InFile<R> = serde_json::from_str(words)
            .map_err(|e| invalid(path, format!("its words are damaged: {e}")))?;
        let tensor = |name: &str| {
            let value = tensors.get(name).map(|value| value.values.to_float());
            value.ok_or_else(|| invalid(path, format!("{name} is missing")))
        };
        let moments = words.moments.iter();
        let moments = moments
            .map(|name| Ok((name.clone(), tensor(&format!("optimizer.{name}"))?)))
            .collect::<Result<_>>()?;
        let best_model = without_prefix("best.", &tensors);
        let state = Self {
            model: without_prefix("model.", &tensors),
            best_model: (!best_model.is_empty()).then_some(best_model),
            optimizer: OptimizerState {
                steps: words.optimizer_step.map_or(words.optimizer_steps, |step| vec![step]),
                moments,
                param_groups: words.param_groups,
            },
            history: words.history,
            partial: Partial {
                losses: tensor(LOSSES)?,
                correct: words.correct,
                seconds: words.seconds,
            },
        };
        Ok((state, words.record))
    }
}

fn prefixed(prefix: &str, dict: &StateDict) -> Vec<(String, Value)> {
    dict.iter().map(|(name, value)| (format!("{prefix}{name}"), value.clone())).collect()
}

fn without_prefix(prefix: &str, dict: &StateDict) -> StateDict {
    let names = dict.iter().filter_map(|(name, value)| Some((name.strip_prefix(prefix)?, value)));
    names.map(|(name, value)| (name.to_string(), value.clone())).collect()
}
