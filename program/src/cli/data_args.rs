//! `--data`, `--offline` and `--seed`: which images a subcommand works on.

use std::path::Path;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

use super::note;
use super::numbers::whole;
use crate::data::{self, MIRRORS, PUBLISHED, PublishedFile, Request};
use crate::runs::Record;
use crate::words;
use signet::Result;
use signet::data::{DataError, Split, TRAIN_IMAGES, VALID_IMAGES, synthetic};

/// Which images to work on; flatten it into the arguments of a subcommand.
#[derive(Debug, Clone, clap::Args)]
pub struct DataArgs {
    /// The data: `auto`, `synthetic`, a folder with the CSV files or images, or Kaggle's archive.zip
    ///
    /// A folder of images has a sub-folder for each class; a fifth of each class is kept for
    /// validation, unless they lie in `train` and `valid` (or `val`, `test`) in it. They are
    /// squeezed to 28x28, grey.
    /// `auto` takes Sign Language MNIST from $SIGNET_DATA, data/asl_data or the user's cache
    /// folder, else downloads it to there; without a network it draws the synthetic set.
    #[arg(long, value_name = "auto|synthetic|DIR|ZIP", default_value_t)]
    pub data: Request,

    /// Never use the network
    #[arg(long)]
    pub offline: bool,

    /// Seed of every random number
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    #[arg(value_parser = whole::<u64>)]
    pub seed: u64,
}

impl DataArgs {
    /// The images asked for, downloaded if need be; says on stderr what the user should know.
    ///
    /// # Errors
    /// If a named folder, or files that were found, cannot be used.
    pub fn load(&self) -> Result<Split> {
        let split = match &self.data {
            Request::Synthetic => self.draw(),
            Request::Folder(folder) => data::read_folder(folder)?,
            Request::Auto => match data::find_local()? {
                Some(folder) => data::read_folder(folder)?,
                None => self.fetch_or_draw()?,
            },
        };
        for notice in split.notice.iter().flat_map(|notice| notice.lines()) {
            note(format_args!("notice: {notice}"));
        }
        Ok(split)
    }

    /// These, or what a run was trained on where no data is named.
    pub fn or_of(self, record: &Record) -> Self {
        match self.data {
            Request::Auto => Self { data: record.request(), seed: record.config.seed, ..self },
            _ => self,
        }
    }

    fn draw(&self) -> Split {
        synthetic(self.seed, TRAIN_IMAGES, VALID_IMAGES)
    }

    fn fetch_or_draw(&self) -> Result<Split> {
        let reason = if self.offline {
            "Sign Language MNIST is not on this machine, and --offline forbids downloading it"
                .to_owned()
        } else {
            match data::cache_folder() {
                Some(folder) => match fetch(&folder) {
                    Ok(()) => return Ok(data::read_folder(folder)?),
                    Err(error) => error.to_string(),
                },
                None => "this system has no cache folder to download to".to_owned(),
            }
        };
        note(format_args!(
            "notice: {reason}\nnotice: using the built-in synthetic hands instead; an accuracy on \
             them is not one on photographs\nhelp: a folder with the CSV files is taken by `--data \
             DIR` or $SIGNET_DATA"
        ));
        Ok(self.draw())
    }
}

/// Downloads the published files to `folder`, with a progress bar if stderr is a terminal.
pub(super) fn fetch(folder: &Path) -> Result<(), DataError> {
    let mirrors = data::mirrors();
    let total = PUBLISHED.iter().map(|file| file.size).sum::<u64>();
    let from = mirrors.first().map_or("nowhere", String::as_str);
    let others = match mirrors.len().saturating_sub(1) {
        0 => String::new(),
        1 => " (or a mirror)".to_owned(),
        n => format!(" (or {n} mirrors)"),
    };
    note(format_args!(
        "downloading Sign Language MNIST, {:.0} MB, from {from}{others} to {}",
        total as f64 / 1e6,
        words::path(folder)
    ));
    let start = Instant::now();
    let mut bar = Bar::new(total);
    let result = data::download(&PUBLISHED, &mirrors, folder, &mut bar);
    bar.bar.finish_and_clear();
    result?;
    note(format_args!("downloaded and checked in {:.1} s", start.elapsed().as_secs_f64()));
    Ok(())
}

/// What `signet data info` says about a download that has not been made.
pub(super) fn would_download() -> (String, u64) {
    let from = data::mirrors().into_iter().next().unwrap_or_else(|| MIRRORS[0].to_owned());
    (from, PUBLISHED.iter().map(|file| file.size).sum())
}

/// Progress on stderr; indicatif draws nothing where that is no terminal.
struct Bar {
    bar: ProgressBar,
    /// What the last mirror failed of: the same again is no news.
    reason: String,
}

impl Bar {
    fn new(total: u64) -> Self {
        let bar = ProgressBar::new(total);
        let template = "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta} left";
        // The template is a constant: if it were wrong, the plain bar would do.
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        Self { bar, reason: String::new() }
    }
}

impl data::Progress for Bar {
    fn bytes(&mut self, file: &PublishedFile<'_>, bytes: u64) {
        let before: u64 =
            PUBLISHED.iter().take_while(|other| *other != file).map(|other| other.size).sum();
        self.bar.set_position(before + bytes);
    }

    fn failed(&mut self, url: &str, reason: &str) {
        if self.reason != reason {
            self.reason = reason.to_owned();
            self.bar.suspend(|| note(format_args!("{url}: {reason}")));
        }
    }
}
