//! The program `signet`: one file per subcommand.
//!
//! - Results go to stdout; progress, notices and errors to stderr.
//! - Exit codes: 0 done, 1 it ran but failed its check, 2 wrong use or an error.
//! - An error is a line `error: …`, with a line `help: …` where there is something to do about it.
//! - A closed pipe (`signet … | head`) is no error.
#![forbid(unsafe_code)]

mod augment_args;
mod bar;
mod bench;
mod choices;
mod columns;
mod contact_sheet;
mod data;
mod data_args;
mod device;
mod devices;
mod evaluate;
mod examples;
mod explain;
mod export;
mod failure;
mod model_args;
mod numbers;
mod output;
mod pace;
mod plot;
mod predict;
mod prose;
mod report;
mod serve;
mod signals;
mod terminal;
mod train;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use signet::Error;

pub use augment_args::AugmentArgs;
pub use data_args::DataArgs;
pub use device::DeviceArgs;
pub use model_args::ModelArgs;
pub use output::{note, print, print_drawing, say, write_file};

/// A deep-learning engine from scratch, at work on the American Sign Language alphabet.
#[derive(Debug, Parser)]
#[command(name = "signet", version, about, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done, 1 ran but failed its check, 2 wrong use or an error")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Train(Box<train::Args>),
    Evaluate(evaluate::Args),
    Export(export::Args),
    Predict(predict::Args),
    Report(report::Args),
    Serve(serve::Args),
    /// Look at the data set, or download it
    Data(data::Args),
    Devices(devices::Args),
    Bench(bench::Args),
}

/// Runs the program with the arguments of this process.
pub fn run() -> ExitCode {
    run_with(std::env::args_os())
}

/// Runs the program with other arguments, the first of which is its name.
pub fn run_with(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command = Cli::parse_from(args).command;
    let name = command.name();
    let result = match command {
        Command::Train(args) => args.run(),
        Command::Evaluate(args) => args.run(),
        Command::Export(args) => args.run(),
        Command::Predict(args) => args.run(),
        Command::Report(args) => args.run(),
        Command::Serve(args) => args.run(),
        Command::Data(args) => args.run(),
        Command::Devices(args) => args.run(),
        Command::Bench(args) => args.run(),
    };
    result.unwrap_or_else(|error| {
        if is_closed_pipe(&error) {
            return ExitCode::SUCCESS;
        }
        failure::say(&error, name);
        ExitCode::from(2)
    })
}

impl Command {
    /// Its name on the command line.
    fn name(&self) -> &'static str {
        match self {
            Self::Train(_) => "train",
            Self::Evaluate(_) => "evaluate",
            Self::Export(_) => "export",
            Self::Predict(_) => "predict",
            Self::Report(_) => "report",
            Self::Serve(_) => "serve",
            Self::Data(_) => "data",
            Self::Devices(_) => "devices",
            Self::Bench(_) => "bench",
        }
    }
}

/// Whether the reader of our output has gone: it has seen what it wanted.
fn is_closed_pipe(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
}
