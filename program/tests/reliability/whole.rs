//! An undisturbed run, and comparing others with it.

use crate::common::program::{Place, finish, run, signet, start, stderr};
use signet::checkpoint;
use signet::nn::StateDict;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

pub const MODEL: &str = "model.safetensors";
pub const BEST: &str = "best.safetensors";
pub const STATE: &str = "state.safetensors";
pub const PREVIOUS: &str = "state.previous.safetensors";

const WHOLE: &str = "whole";

/// A run that nobody disturbed.
pub struct Whole {
    pub place: Place,
    epochs: String,
    /// `model.safetensors` after 1, 2, … epochs.
    moments: Vec<Vec<u8>>,
    /// How long it took.
    pub time: Duration,
}

impl Whole {
    /// Of so many epochs on so many images.
    pub fn new(epochs: usize, images: usize) -> Self {
        let place = Place::new(images, 24);
        let mut whole =
            Self { place, epochs: epochs.to_string(), moments: Vec::new(), time: Duration::ZERO };
        for epochs in 1..epochs {
            let name = format!("{WHOLE}-{epochs}");
            let epochs = epochs.to_string();
            let args = ["--epochs", &epochs, "--batch-size", "16", "-q"];
            assert!(run(&whole.place.train(&name, &args)).status.success());
            whole.moments.push(whole.place.file(&name, MODEL));
        }
        let begin = Instant::now();
        let output = finish(whole.start(WHOLE));
        assert!(output.status.success(), "{}", stderr(&output));
        whole.time = begin.elapsed();
        whole.moments.push(whole.place.file(WHOLE, MODEL));
        whole
    }

    /// The arguments of the same run under another name.
    pub fn args<'a>(&'a self, name: &'a str) -> Vec<&'a str> {
        self.place.train(name, &["--epochs", &self.epochs, "--batch-size", "16", "-q"])
    }

    /// Begins the same run under another name.
    pub fn start(&self, name: &str) -> Child {
        start(&mut signet(&self.args(name)))
    }

    /// Goes on with a run, or begins it if there is nothing to go on with.
    pub fn start_or_resume(&self, name: &str) -> Child {
        let folder = self.place.run_folder(name);
        if folder.join("config.json").exists() {
            start(&mut resume(&folder))
        } else {
            self.start(name)
        }
    }

    /// Goes on with a run to its end, and compares it with the undisturbed one.
    #[track_caller]
    pub fn finish(&self, name: &str) {
        let output = finish(self.start_or_resume(name));
        assert!(output.status.success(), "{name}: {}", stderr(&output));
        self.compare(name);
    }

    /// That a run has the bits of the undisturbed one, and left nothing else behind.
    #[track_caller]
    pub fn compare(&self, name: &str) {
        for file in [MODEL, BEST] {
            let same = self.place.file(name, file) == self.place.file(WHOLE, file);
            assert!(same, "{name}: {file} has other bits");
        }
        assert_eq!(self.place.metrics(name), self.place.metrics(WHOLE), "{name}");
        let [state, expected] = [name, WHOLE].map(|name| self.tensors(name, STATE));
        assert!(state == expected, "{name}: {STATE} has other values");
        assert_eq!(parts(&self.place.run_folder(name)), 0, "{name}: parts of files are left");
    }

    fn tensors(&self, name: &str, file: &str) -> StateDict {
        let loaded = checkpoint::load(&self.place.run_folder(name).join(file));
        loaded.unwrap_or_else(|error| panic!("{name}: {error}")).0
    }

    /// That every file of a stopped run can be read, that there is always a state once there was
    /// one, and that no model is newer than it. `before` is whether there was one.
    #[track_caller]
    pub fn check_stopped(&self, name: &str, before: bool) -> bool {
        let folder = self.place.run_folder(name);
        let load = |file: &str| {
            let path = folder.join(file);
            path.exists().then(|| self.tensors(name, file))
        };
        let [state, previous, model] = [STATE, PREVIOUS, MODEL].map(load);
        load(BEST);
        if folder.join("metrics.jsonl").exists() {
            self.place.metrics(name);
        }
        if let Ok(config) = fs::read(folder.join("config.json")) {
            serde_json::from_slice::<serde_json::Value>(&config).expect("config.json is whole");
        }
        let Some(last) = state.or(previous) else {
            assert!(!before, "{name}: there is no state any more");
            assert!(model.is_none(), "{name}: a model without a state");
            return false;
        };
        if let Some(model) = model {
            let [model, state] = [steps(&model, ""), steps(&last, "model.")];
            assert!(model <= state, "{name}: the model is of step {model}, the state of {state}");
        }
        true
    }

    /// As [`check_stopped`](Self::check_stopped), for a run that was only stopped between epochs:
    /// its model is that of one of them.
    #[track_caller]
    pub fn check_killed(&self, name: &str, before: bool) -> bool {
        if let Ok(model) = fs::read(self.place.run_folder(name).join(MODEL)) {
            assert!(self.moments.contains(&model), "{name}: a model of no epoch");
        }
        self.check_stopped(name, before)
    }
}

/// The command that goes on with the run in `folder`.
pub fn resume(folder: &Path) -> Command {
    signet(&["train", "--resume", folder.to_str().unwrap(), "-q"])
}

/// Goes on with the run in `folder`.
pub fn run_resume(folder: &Path) -> Output {
    finish(start(&mut resume(folder)))
}

/// How many batches a model has seen, as its first batch normalisation counted.
#[track_caller]
fn steps(dict: &StateDict, prefix: &str) -> u64 {
    let count = dict.get(&format!("{prefix}1.num_batches_tracked")).expect("a counter");
    count.values.to_float::<f64>()[0] as u64
}

/// How many beginnings of files lie in a folder.
pub fn parts(folder: &Path) -> usize {
    let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.filter(|name| name.to_string_lossy().ends_with(".part")).count()
}
