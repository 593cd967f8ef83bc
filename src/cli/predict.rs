//! `signet predict`: the letters that photographs show.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use super::contact_sheet::{Picture, PictureFile};
use super::{DeviceArgs, ModelArgs, note, print};
use crate::data::{DataError, ImageFiles, SIDE, image_files};
use crate::device::{Device, OnDevice};
use crate::photo::{Crop, MAX_BYTES, decode, is_animation};
use crate::predict::{Guess, Image, Prediction, Predictor, TrainedModel};
use crate::{Error, Result, words};

/// Images side by side on the sheet of `--show`.
const COLUMNS: usize = 8;

/// Say which letter each photograph shows
///
/// An image that cannot be read is named on stderr, the others are still predicted, and the exit
/// code is 1.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,

    /// PNG, JPEG, WebP, GIF, BMP or TIFF files, folders of them, or - for stdin
    ///
    /// Of an animation the first frame is looked at, of a TIFF document the first page.
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<PathBuf>,

    /// The part of each image to look at [default: auto; none for a model of `train --data DIR`
    /// with a folder of images]
    #[arg(long, value_enum)]
    crop: Option<Crop>,

    /// Print one JSON object an image
    #[arg(long)]
    json: bool,

    /// Draw what the network sees of each image, its letter below: a PNG file, or a JPEG where the
    /// name ends so
    #[arg(long, value_name = "FILE")]
    show: Option<PathBuf>,

    #[command(flatten)]
    device: DeviceArgs,
}

impl Args {
    /// Predicts.
    ///
    /// # Errors
    /// For a model or a device that cannot be used, and when stdout cannot be written.
    pub fn run(self) -> Result<ExitCode> {
        let show = self.show.as_deref().map(PictureFile::new).transpose()?;
        let model = self.model.open()?;
        caution(&model);
        let crop = self.crop.unwrap_or_else(|| Crop::fitting(&model));
        let (mut images, mut failed) = (Vec::new(), false);
        for path in self.images {
            match expand(path) {
                Ok(found) => images.extend(found),
                Err(error) => {
                    complain(&error);
                    failed = true;
                }
            }
        }
        let device = self.device.choose()?.device;
        let seen = device.run(Job { model: &model, images: &images, crop, json: self.json })?;
        failed |= seen.len() < images.len();
        if let (Some(file), false) = (show, seen.is_empty()) {
            let cells: Vec<_> =
                seen.iter().map(|(image, letter)| (&image[..], letter.as_str())).collect();
            file.write(&Picture::of(&cells, [SIDE, SIDE], COLUMNS))?;
        }
        Ok(if failed { ExitCode::from(1) } else { ExitCode::SUCCESS })
    }
}

/// Says so where what `model` makes of photographs is not to be relied on.
pub(super) fn caution(model: &TrainedModel) {
    if model.synthetic {
        note(format_args!(
            "notice: this model learned from drawn hands and never saw a photograph; its letters \
             for photographs mean little"
        ));
    }
}

/// Says what is wrong with one image.
fn complain(error: &Error) {
    note(format_args!("error: {error}"));
}

/// A folder's images, or the file itself.
fn expand(path: PathBuf) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path]);
    }
    let ImageFiles { files, skipped } = image_files(&path)?;
    if files.is_empty() {
        let but = if skipped.is_empty() { String::new() } else { format!(", but {skipped}") };
        let message =
            format!("there is no PNG, JPEG, WebP, GIF, BMP or TIFF image in this folder{but}");
        return Err(DataError::new(message).in_file(path).into());
    }
    if !skipped.is_empty() {
        note(format_args!("notice: not read in {}: {skipped}", words::path(&path)));
    }
    Ok(files)
}

struct Job<'a> {
    model: &'a TrainedModel,
    images: &'a [PathBuf],
    crop: Crop,
    json: bool,
}

impl OnDevice for Job<'_> {
    /// What the network saw of each image that could be read, and the letter it took it for.
    type Result = Vec<(Image, String)>;

    fn run<D: Device<f32>>(self, device: &D) -> Result<Self::Result> {
        let predictor = Predictor::new(device, self.model)?;
        let (widths, mut seen) = (self.widths(), Vec::new());
        for path in self.images {
            let photo = read(path).and_then(|bytes| {
                let photo = decode(&bytes);
                if photo.is_ok() && is_animation(&bytes) {
                    let path = words::path(path);
                    note(format_args!("notice: {path} is an animation: its first frame is read"));
                }
                Ok(photo.map_err(|error| DataError::new(error.to_string()).in_file(path))?)
            });
            match photo {
                Ok(photo) => {
                    let image = self.crop.image(&photo);
                    let probabilities = predictor.probabilities(&[image])?;
                    let prediction = Prediction::new(&self.model.classes, &probabilities[0]);
                    seen.push((image, prediction.best.letter.clone()));
                    self.print(path, widths, prediction)?;
                }
                Err(error) => complain(&error),
            }
        }
        Ok(seen)
    }
}

/// The bytes of a file, or of stdin for `-`.
fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let from: Box<dyn Read> = if path.as_os_str() == OsStr::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(path).map_err(Error::io("read", path))?)
    };
    from.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    if bytes.len() as u64 > MAX_BYTES {
        let message = format!("it is larger than {} MB", MAX_BYTES / 1_000_000);
        return Err(DataError::new(message).in_file(path).into());
    }
    Ok(bytes)
}

/// A line of `--json`.
#[derive(Serialize)]
struct Line {
    path: String,
    #[serde(flatten)]
    prediction: Prediction,
}

/// Characters of the columns of the table: as many as the longest entry has.
#[derive(Clone, Copy)]
struct Widths {
    path: usize,
    class: usize,
}

impl Job<'_> {
    fn widths(&self) -> Widths {
        let paths = self.images.iter().map(|path| words::path(path).chars().count());
        let classes = self.model.classes.iter().map(|class| words::line(class).chars().count());
        Widths { path: paths.max().unwrap_or(0), class: classes.max().unwrap_or(0) }
    }

    fn print(&self, path: &Path, widths: Widths, prediction: Prediction) -> Result<()> {
        if self.json {
            let path = path.display().to_string();
            let line = serde_json::to_string(&Line { path, prediction });
            let line =
                line.map_err(|e| Error::argument("--json", format!("cannot be written: {e}")))?;
            return print(line);
        }
        let Widths { path: path_width, class: class_width } = widths;
        let mut line = format!("{:<path_width$}", words::path(path));
        for Guess { letter, probability } in prediction.top {
            let letter = words::line(&letter);
            line += &format!("  {letter:<class_width$} {probability:.4}");
        }
        print(line)
    }
}
