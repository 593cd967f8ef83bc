//! How an error is told on the command line: a line `error: …`, and a line `help: …` with what to do.

use std::io::ErrorKind;
use std::path::Path;

use clap::CommandFactory;

use super::{Cli, note};
use crate::runs::RunFolder;
use crate::words;
use signet::Error;

/// Says on stderr what went wrong in `signet COMMAND`, and what to do about it.
pub fn say(error: &Error, command: &str) {
    say_with(&told(error), help(error, command).as_deref());
}

/// Says on stderr what went wrong, and what to do about it.
pub fn say_with(error: &str, help: Option<&str>) {
    note(format_args!("error: {error}"));
    if let Some(help) = help {
        note(format_args!("help: {help}"));
    }
}

/// The error in words, with a setting by its flag: the library knows it by PyTorch's name.
fn told(error: &Error) -> String {
    match error {
        Error::Argument { name, message } => match flag(name) {
            Some(flag) => format!("{flag}: {message}"),
            None => error.to_string(),
        },
        _ => error.to_string(),
    }
}

/// `--batch-size` for `batch_size`, if a subcommand has such a flag.
fn flag(name: &str) -> Option<String> {
    let long = name.strip_prefix("--").unwrap_or(name).replace('_', "-");
    // This is about what a state holds; what the flag may be, clap checks.
    let is_setting = long != "optimizer";
    let cli = Cli::command();
    let has = |command: &clap::Command| {
        command.get_arguments().any(|arg| arg.get_long() == Some(long.as_str()))
    };
    let known =
        cli.get_subcommands().any(|command| has(command) || command.get_subcommands().any(has));
    (known && is_setting).then(|| format!("--{long}"))
}

/// What to do about `error` in `signet COMMAND`, where it does not say so itself.
pub fn help(error: &Error, command: &str) -> Option<String> {
    const MODEL: &str =
        "a model is the folder of a run, runs/asl-1 say, or a file, .safetensors or .pth";
    const RUN: &str = "a run is a folder that `signet train` made, runs/asl-1 say";
    let kind = match command {
        "evaluate" | "export" | "predict" | "serve" => Some(MODEL),
        "train" | "report" => Some(RUN),
        _ => None,
    };
    match error {
        Error::Data(error) => error.help().map(str::to_owned),
        // Of a model that is there already, the message says more.
        Error::NonFinite(_) if command == "train" => Some("try a smaller --lr".to_owned()),
        Error::Argument { name, .. } => {
            let flag = flag(name)?;
            Some(format!("`signet {command} --help` says what {flag} may be"))
        }
        Error::Checkpoint { path, .. } => going_on(path).or_else(|| kind.map(str::to_owned)),
        Error::Io { action, source, .. } => match source.kind() {
            ErrorKind::NotFound if *action == "read" => kind.map(str::to_owned),
            ErrorKind::NotFound => Some("the folder that it goes to is not there".to_owned()),
            ErrorKind::PermissionDenied => {
                Some("this user has no right to it; take another place, or another user".to_owned())
            }
            ErrorKind::StorageFull => Some("make room on the disk, and try again".to_owned()),
            _ => None,
        },
        Error::Device { device, .. } if device.starts_with("cuda") => {
            Some("`signet devices` says what there is; --device cpu needs no GPU".to_owned())
        }
        _ => None,
    }
}

/// How to go on with a run that has nothing to show yet, if `path` is one.
pub fn going_on(path: &Path) -> Option<String> {
    let run = RunFolder::open(path).ok().filter(RunFolder::is_before_its_first_epoch)?;
    Some(format!("go on with it: signet train --resume {}", words::argument(run.path())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use signet::checkpoint::invalid;

    #[test]
    fn settings_are_called_by_their_flags() {
        let told = |name| told(&Error::argument(name, "must be at least 1, got 0"));
        assert_eq!(told("batch_size"), "--batch-size: must be at least 1, got 0");
        assert_eq!(told("lr"), "--lr: must be at least 1, got 0");
        assert_eq!(told("--device"), "--device: must be at least 1, got 0");
        // No flag, and what has one but is about a file.
        assert_eq!(told("label_smoothing"), "label_smoothing: must be at least 1, got 0");
        assert_eq!(told("optimizer"), "optimizer: must be at least 1, got 0");
    }

    #[test]
    fn there_is_help_for_what_one_can_do_something_about() {
        let help = |error: Error, command| help(&error, command).unwrap_or_default();
        let zero = Error::argument("batch_size", "");
        assert_eq!(help(zero, "train"), "`signet train --help` says what --batch-size may be");
        let not_finite = || Error::NonFinite("the loss is NaN".into());
        assert_eq!(help(not_finite(), "train"), "try a smaller --lr");
        assert_eq!(help(not_finite(), "predict"), "", "which trains nothing");
        let path = Path::new("runs/x");
        assert!(help(invalid(path, "is none"), "evaluate").starts_with("a model is "));
        assert!(help(invalid(path, "is none"), "report").starts_with("a run is "));
        let io = |action, kind: ErrorKind| Error::io(action, path)(kind.into());
        assert!(help(io("read", ErrorKind::NotFound), "predict").starts_with("a model is "));
        assert!(help(io("write", ErrorKind::NotFound), "report").contains("is not there"));
        assert!(help(io("write", ErrorKind::StorageFull), "train").contains("make room"));
        assert_eq!(help(io("read", ErrorKind::InvalidData), "train"), "");
        let gpu = Error::Device { device: "cuda:0".into(), message: String::new() };
        assert!(help(gpu, "train").contains("--device cpu"));
    }
}
