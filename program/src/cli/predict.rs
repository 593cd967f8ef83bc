//! `signet predict`: the letters, or other classes, that photographs show.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use super::contact_sheet::{Picture, PictureFile};
use super::failure::{help as advice, say_with};
use super::terminal::table_width;
use super::{DeviceArgs, ModelArgs, note, print};
use crate::data::{ImageFiles, has_sub_folders, image_files};
use crate::photo::{Crop, MAX_BYTES, decode, is_animation};
use crate::predict::{Guess, Prediction, Predictor, TrainedModel};
use crate::report::words::probability as shown;
use crate::words;
use signet::data::Image;
use signet::data::{DataError, SIDE};
use signet::{Device, Error, Result};

/// Images side by side on the sheet of `--show`.
const COLUMNS: usize = 8;

/// Say which letter, or other class, each photograph shows
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

    /// Draw what the network sees of each image, its class below: a PNG file, or a JPEG where the
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
        let crop = self.crop.unwrap_or_else(|| Crop::fitting(model.whole_images));
        let (mut images, mut complaints) = (Vec::new(), Complaints::default());
        for path in self.images {
            match expand(path) {
                Ok(found) => images.extend(found),
                Err(error) => complaints.say(&error),
            }
        }
        let device = self.device.choose()?.device;
        let predictions = Predictions {
            model: &model,
            images: &images,
            crop,
            json: self.json,
            complaints: &mut complaints,
        };
        let seen = device.install(|| predictions.run(&device))?;
        if let (Some(file), false) = (show, seen.is_empty()) {
            let cells: Vec<_> =
                seen.iter().map(|(image, letter)| (&image[..], letter.as_str())).collect();
            file.write(&Picture::of(&cells, [SIDE, SIDE], COLUMNS))?;
        }
        let failed = complaints.any;
        Ok(if failed { ExitCode::from(1) } else { ExitCode::SUCCESS })
    }
}

/// Says so where what `model` makes of photographs is not to be relied on.
pub(super) fn caution(model: &TrainedModel) {
    if model.synthetic {
        note(format_args!(
            "notice: this model learned from drawn hands and never saw a photograph; what it says \
             of photographs means little"
        ));
    }
}

/// What is wrong with single images.
#[derive(Debug, Default)]
struct Complaints {
    any: bool,
    /// What was advised so far: many images may have the same fault, and once is enough.
    advised: HashSet<String>,
}

impl Complaints {
    fn say(&mut self, error: &Error) {
        self.any = true;
        let help = match error {
            Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => Some(
                "check the name; an IMAGE is a file, a folder of image files, or - for stdin"
                    .to_owned(),
            ),
            _ => advice(error, "predict"),
        };
        let help = help.filter(|help| self.advised.insert(help.clone()));
        say_with(&error.to_string(), help.as_deref());
    }
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
        let help = match has_sub_folders(&path) {
            true => "the folders in it are not looked into: name those, or the files themselves",
            false => "name the image files themselves, or the folder that they are in",
        };
        return Err(DataError::new(message).in_file(path).with_help(help).into());
    }
    if !skipped.is_empty() {
        note(format_args!("notice: not read in {}: {skipped}", words::path(&path)));
    }
    Ok(files)
}

struct Predictions<'a> {
    model: &'a TrainedModel,
    images: &'a [PathBuf],
    crop: Crop,
    json: bool,
    complaints: &'a mut Complaints,
}

impl Predictions<'_> {
    /// What the network saw of each image that could be read, and the letter it took it for.
    fn run(self, device: &Device) -> Result<Vec<(Image, String)>> {
        let predictor = Predictor::new(device, self.model)?;
        let (widths, mut seen) = (self.widths(), Vec::new());
        for path in self.images {
            let photo = read(path).and_then(|bytes| {
                let photo = decode(&bytes);
                if photo.is_ok() && is_animation(&bytes) {
                    let path = words::path(path);
                    note(format_args!("notice: {path} is an animation: its first frame is read"));
                }
                Ok(photo.map_err(|error| {
                    let told = DataError::new(error.to_string()).in_file(path);
                    match error.help() {
                        Some(help) => told.with_help(help),
                        None => told,
                    }
                })?)
            });
            match photo {
                Ok(photo) => {
                    let image = self.crop.image(&photo);
                    let probabilities = predictor.probabilities(&[image])?;
                    let prediction = Prediction::new(&self.model.classes, &probabilities[0]);
                    seen.push((image, prediction.best.class.clone()));
                    self.print(path, widths, prediction)?;
                }
                Err(error) => self.complaints.say(&error),
            }
        }
        Ok(seen)
    }

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
        print(line(&words::path(path), path_width, class_width, &prediction.top, table_width()))
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

/// A path and the guesses for it, the best first, in at most `width` columns: where there is no room,
/// there are fewer guesses, and at last less of the path's beginning.
fn line(path: &str, path_width: usize, class_width: usize, top: &[Guess], width: usize) -> String {
    let guess = |guess: &Guess| {
        let Guess { class, probability, .. } = guess;
        // As wide as 0.9800, so that what follows stands below its like.
        format!("  {:<class_width$} {:<6}", words::line(class), shown(*probability))
    };
    let guesses: Vec<String> = top.iter().map(guess).collect();
    let taken =
        |count: usize| guesses.iter().take(count).map(|guess| guess.chars().count()).sum::<usize>();
    let count = (1..=guesses.len()).rev().find(|&count| path_width + taken(count) <= width);
    let count = count.unwrap_or(1);
    let path_width = path_width.min(width.saturating_sub(taken(count)).max(1));
    let skipped = path.chars().count().saturating_sub(path_width);
    let path: String = match skipped {
        0 => path.to_owned(),
        _ => std::iter::once('…').chain(path.chars().skip(skipped + 1)).collect(),
    };
    let mut line = format!("{path:<path_width$}");
    guesses.iter().take(count).for_each(|guess| line += guess);
    line.truncate(line.trim_end().len());
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_terminal_gets_fewer_guesses_and_the_end_of_the_path() {
        let guess =
            |class: &str, probability| Guess { class: class.to_owned(), letter: None, probability };
        let top = [guess("A", 0.98), guess("T", 0.01), guess("S", 0.00001)];
        let path = "photographs/hand.jpg";
        assert_eq!(
            line(path, 21, 1, &top, usize::MAX),
            "photographs/hand.jpg   A 0.9800  T 0.0100  S 1e-5"
        );
        assert_eq!(line(path, 20, 1, &top, 44), "photographs/hand.jpg  A 0.9800  T 0.0100");
        assert_eq!(line(path, 20, 1, &top, 39), "photographs/hand.jpg  A 0.9800");
        assert_eq!(line(path, 20, 1, &top, 19), "…hand.jpg  A 0.9800");
        let first = [guess("A", 0.00001), guess("T", 0.98)];
        assert_eq!(line("a.png", 5, 1, &first, 80), "a.png  A 1e-5    T 0.9800", "in columns");
    }
}
