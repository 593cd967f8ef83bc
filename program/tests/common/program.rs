//! Driving the program `signet` as a user does: as a process of its own, on files.

use signet::data::{Dataset, synthetic};
use signet::nn::{Module, Sequential, asl};
use signet::{Device, checkpoint};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a run may take before it counts as one that hangs.
pub const HANGS_AFTER: Duration = Duration::from_secs(120);

/// The program with arguments.
pub fn signet(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_signet"));
    command.args(args);
    command
}

/// Runs the program to its end.
pub fn run(args: &[&str]) -> Output {
    finish(start(&mut signet(args)))
}

/// Starts a program whose output is caught.
pub fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it can be started")
}

/// Waits for a child of [`start`] that says little enough to fit a pipe.
///
/// # Panics
/// If it hangs.
#[track_caller]
pub fn finish(mut child: Child) -> Output {
    let start = Instant::now();
    while child.try_wait().expect("it is our child").is_none() {
        if start.elapsed() > HANGS_AFTER {
            _ = child.kill();
            panic!("it hangs; so far it said: {:?}", child.wait_with_output());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    child.wait_with_output().expect("it has ended")
}

/// Runs a command that takes minutes.
pub fn finish_late(mut command: Command) -> Output {
    command.output().expect("it can be started")
}

/// What it wrote as results.
pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What it wrote beside.
pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A folder with a model of so many classes, as PyTorch would write it: without class names.
pub fn with_model(classes: usize) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let model: Sequential = Sequential::new(&Device::cpu().unwrap(), 3, asl(classes)).unwrap();
    checkpoint::save(&path, &model.state_dict().unwrap(), None).unwrap();
    (folder, path)
}

/// A folder of data and one for runs.
pub struct Place {
    /// A small data set in the published format.
    pub data: TempDir,
    /// Where runs go.
    pub out: TempDir,
}

impl Place {
    /// With so many images to train on and to validate with.
    pub fn new(train: usize, valid: usize) -> Self {
        let (data, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let split = synthetic(3, train, valid);
        write_csv(&data.path().join("sign_mnist_train.csv"), &split.train);
        write_csv(&data.path().join("sign_mnist_valid.csv"), &split.valid);
        Self { data, out }
    }

    /// The arguments of `train` on this data into a run called `name`.
    pub fn train<'a>(&'a self, name: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let (data, out) = (self.data.path(), self.out.path());
        let mut args = vec!["train", "--data", data.to_str().unwrap(), "--name", name];
        args.extend(["--out", out.to_str().unwrap()]);
        args.extend(more);
        args
    }

    /// The folder of the run `name`.
    pub fn run_folder(&self, name: &str) -> PathBuf {
        self.out.path().join(name)
    }

    /// The bytes of a file of the run `name`.
    #[track_caller]
    pub fn file(&self, name: &str, file: &str) -> Vec<u8> {
        let path = self.run_folder(name).join(file);
        fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// The metrics of the run `name` without what a clock measured.
    #[track_caller]
    pub fn metrics(&self, name: &str) -> Vec<serde_json::Value> {
        let text = String::from_utf8(self.file(name, "metrics.jsonl")).unwrap();
        let line = |line| {
            let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
            for clock in ["train_seconds", "valid_seconds", "images_per_second"] {
                assert!(value.as_object_mut().unwrap().remove(clock).unwrap().is_number());
            }
            value
        };
        text.lines().map(line).collect()
    }

    /// That `output` is of a run `name` that went well from start to end.
    #[track_caller]
    pub fn check_run(&self, name: &str, epochs: usize, output: &Output) {
        check_printed(output, epochs);
        self.check_folder(name, epochs);
    }

    /// That the folder of the run `name` holds all there should be after so many epochs.
    #[track_caller]
    pub fn check_folder(&self, name: &str, epochs: usize) {
        for file in FILES_OF_A_RUN {
            assert!(!self.file(name, file).is_empty(), "{file}");
        }
        let metrics = self.metrics(name);
        assert_eq!(metrics.len(), epochs);
        for (epoch, line) in metrics.iter().enumerate() {
            assert_eq!(line["epoch"], epoch);
            for key in ["train_loss", "train_accuracy", "valid_loss", "valid_accuracy"] {
                assert!(line[key].is_number(), "{key} in {line}");
            }
        }
    }
}

/// That a run of so many epochs went well and printed the notebook's lines for each.
#[track_caller]
pub fn check_printed(output: &Output, epochs: usize) {
    assert!(output.status.success(), "{}", stderr(output));
    let text = stdout(output);
    assert!(text.contains("Total parameters: 404,099"), "{text}");
    let lines: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.starts_with("Epoch"))
        .take_while(|line| !line.starts_with("best: "))
        .map(|line| line.split(char::is_numeric).next().unwrap())
        .collect();
    assert_eq!(lines, ["Epoch: ", "Train - Loss: ", "Valid - Loss: "].repeat(epochs));
}

/// What the folder of a run holds once an epoch is done.
pub const FILES_OF_A_RUN: [&str; 6] = [
    "config.json",
    "metrics.jsonl",
    "model.safetensors",
    "best.safetensors",
    "state.safetensors",
    "README.md",
];

fn write_csv(path: &Path, dataset: &Dataset) {
    let pixels: Vec<String> = (1..=784).map(|i| format!("pixel{i}")).collect();
    let mut text = format!("label,{}\r\n", pixels.join(","));
    for (row, &label) in dataset.labels.iter().enumerate() {
        // Kaggle's numbering leaves out 9.
        text += &(label + u8::from(label >= 9)).to_string();
        dataset.image(row).iter().for_each(|pixel| text += &format!(",{pixel}"));
        text += "\r\n";
    }
    fs::write(path, text).unwrap();
}

#[cfg(unix)]
pub use nix::sys::signal::Signal;

/// Sends a signal to a process.
///
/// # Panics
/// If it is gone.
#[cfg(unix)]
pub fn signal(process: u32, signal: Signal) {
    let process = nix::unistd::Pid::from_raw(process.cast_signed());
    nix::sys::signal::kill(process, signal).expect("a child is there until it was waited for");
}
