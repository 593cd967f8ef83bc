//! `signet report`: a page about one run or several.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::failure::going_on;
use super::output::can_write;
use super::{DeviceArgs, note, print, write_file};
use crate::data::{self, Request};
use crate::report::{MOST_RUNS, REPORT, Run, page};
use crate::runs::{Record, RunFolder};
use crate::words;
use signet::data::{DataError, Split, TRAIN_IMAGES, VALID_IMAGES, synthetic};
use signet::{Device, Error, Result};

/// Write a page about one run, or about several side by side
///
/// One file of HTML that needs nothing beside it: curves, confusion matrix, precision and recall,
/// the worst mistakes, the filters of the first layer, and the settings. `train` writes it at its
/// end. The best model is measured again for it, on the run's own validation images; where these are
/// not to be had, the page says so and leaves out what rests on them.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folders of runs
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,

    /// Where the page goes [default: report.html in the run's folder; of several runs, in this one]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// The data that the runs were trained on, if it is no longer where it was
    #[arg(long, value_name = "auto|synthetic|DIR|ZIP")]
    data: Option<Request>,

    #[command(flatten)]
    device: DeviceArgs,
}

impl Args {
    /// Reads the runs, measures their models, and writes the page.
    ///
    /// # Errors
    /// For a folder that holds no run or a damaged one, a model that computes no numbers, too many runs,
    /// data that was asked for and is not the runs', and a page that cannot be written.
    pub fn run(self) -> Result<ExitCode> {
        if self.runs.len() > MOST_RUNS {
            let message = format!("at most {MOST_RUNS} fit one page, got {}", self.runs.len());
            return Err(Error::argument("RUN", message));
        }
        let mut runs: Vec<_> =
            self.runs.iter().map(|path| Run::read(path)).collect::<Result<_>>()?;
        let names: HashSet<_> = runs.iter().map(|run| run.name().to_owned()).collect();
        if names.len() < runs.len() {
            for (run, path) in runs.iter_mut().zip(&self.runs) {
                run.rename(path.display().to_string());
            }
        }
        let out = match (self.out, &self.runs[..]) {
            (Some(out), _) => out,
            (None, [run]) => run.join(REPORT),
            (None, _) => PathBuf::from(REPORT),
        };
        can_write(&out)?;
        let device = self.device.choose()?.device;
        for (run, path) in runs.iter_mut().zip(&self.runs) {
            let record = run.record();
            let own = record.request();
            let split = find(self.data.as_ref().unwrap_or(&own), record).and_then(|split| {
                record.check_data(&split, run.name())?;
                Ok(split)
            });
            match split {
                Ok(split) => run.measure(&device, &split)?,
                // What was asked for by name has to be right.
                Err(error) if self.data.is_some() => return Err(error),
                Err(error) => run.without(error.to_string()),
            }
            say_what_is_missing(run);
            if let Some(help) = going_on(path) {
                note(format_args!("help: {help}"));
            }
        }
        write_file(&out, page(&runs)?.as_bytes())?;
        print(format_args!("report: {}", words::path(&out)))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Writes the page of a run that has just been trained on `split`, if an epoch of it is done. Says
/// where it is, unless it has to be `quiet`; that it cannot be written is no reason to fail.
pub(super) fn after_training(folder: &RunFolder, device: &Device, split: &Split, quiet: bool) {
    let path = folder.file(REPORT);
    let write = || -> Result<bool> {
        match folder.metrics()?[..] {
            [] => Ok(false),
            _ => {
                let mut run = Run::read(folder.path())?;
                run.measure(device, split)?;
                say_what_is_missing(&run);
                write_file(&path, page(&[run])?.as_bytes())?;
                Ok(true)
            }
        }
    };
    match write() {
        Ok(true) if !quiet => note(format_args!("report: {}", words::path(&path))),
        Ok(_) => {}
        Err(error) => note(format_args!("notice: no report: {error}")),
    }
}

fn say_what_is_missing(run: &Run) {
    if let Some(why) = run.missing() {
        let name = words::line(run.name());
        note(format_args!("notice: the report says nothing of the mistakes of {name}: {why}"));
    }
}

/// The images that `request` names, for a run with this record. Nothing is downloaded for a page.
fn find(request: &Request, record: &Record) -> Result<Split> {
    let folder: &Path = match request {
        Request::Folder(folder) => folder,
        Request::Auto if !record.synthetic => match data::find_local()? {
            Some(folder) => return Ok(data::read_folder(folder)?),
            None => {
                let error = DataError::new("Sign Language MNIST is not on this machine");
                return Err(error.with_help("`signet data fetch` downloads it").into());
            }
        },
        // Where there was no other data, `auto` drew it.
        Request::Auto | Request::Synthetic => {
            return Ok(synthetic(record.config.seed, TRAIN_IMAGES, VALID_IMAGES));
        }
    };
    Ok(data::read_folder(folder)?)
}
