//! `signet data`: look at the data set, or download it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use serde::Serialize;

use super::columns::Table;
use super::contact_sheet::{Picture, PictureFile};
use super::data_args::{fetch, would_download};
use super::numbers::whole_in;
use super::terminal::table_width;
use super::{AugmentArgs, DataArgs, print, say};
use crate::data::{self, PUBLISHED, Request};
use crate::words::{self, bytes, count};
use signet::data::{DataError, Dataset, FolderFiles, Source, Split, are_letters, text_sha256};
use signet::ops::augment::{AugmentOptions, augment};
use signet::rng::{Philox, stream};
use signet::{Device, Result, Tensor};

/// Arguments of `signet data`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what the data is: origin, size, letters, checksums
    Info(InfoArgs),
    /// Download Sign Language MNIST
    Fetch(FetchArgs),
    /// Write a picture of some images with their letters
    Show(Box<ShowArgs>),
}

impl Args {
    /// Runs the subcommand.
    pub fn run(&self) -> Result<ExitCode> {
        match &self.command {
            Command::Info(args) => args.run()?,
            Command::Fetch(args) => args.run()?,
            Command::Show(args) => args.run()?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// `signet data info`
#[derive(Debug, clap::Args)]
struct InfoArgs {
    #[command(flatten)]
    data: DataArgs,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl InfoArgs {
    fn run(&self) -> Result<()> {
        // Looking must not download: then say where the data would come from.
        let missing =
            self.data.data == Request::Auto && !self.data.offline && data::find_local()?.is_none();
        if missing {
            let absent = Absent::new();
            return if self.json { print(json(&absent)) } else { say(absent.text()) };
        }
        let info = Info::new(&self.data.load()?)?;
        if self.json { print(json(&info)) } else { say(info.text()) }
    }
}

fn json(value: &impl Serialize) -> serde_json::Value {
    // Plain structs of numbers and strings: turning them into a value cannot fail.
    serde_json::to_value(value).unwrap_or_default()
}

/// The answer where the data is not on this machine.
#[derive(Debug, Serialize)]
struct Absent {
    available: bool,
    looked_in: Vec<String>,
    download_from: String,
    download_bytes: u64,
}

impl Absent {
    fn new() -> Self {
        let (download_from, download_bytes) = would_download();
        let mut looked_in = vec!["$SIGNET_DATA (not set)".to_owned(), "data/asl_data".to_owned()];
        looked_in.extend(data::cache_folder().map(|folder| folder.display().to_string()));
        Self { available: false, looked_in, download_from, download_bytes }
    }

    fn text(&self) -> String {
        format!(
            "data       Sign Language MNIST, not on this machine\n\
             looked in  {}\n\
             download   {} from {}\n\n\
             Training downloads it by itself; `signet data fetch` does so now.",
            self.looked_in.join(", "),
            bytes(self.download_bytes),
            self.download_from
        )
    }
}

/// What there is to know about a data set.
#[derive(Debug, Serialize)]
struct Info {
    available: bool,
    source: String,
    synthetic: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<String>,
    files: Vec<FileInfo>,
    channels: usize,
    height: usize,
    width: usize,
    classes: usize,
    train: PartInfo,
    valid: PartInfo,
    per_class: Vec<ClassInfo>,
    /// The same, if the classes are letters.
    #[serde(skip_serializing_if = "Option::is_none")]
    letters: Option<Vec<ClassInfo>>,
    /// Of the images and classes, however the files are packed and numbered.
    sha256: String,
}

#[derive(Debug, Serialize)]
struct FileInfo {
    #[serde(serialize_with = "as_shown")]
    path: PathBuf,
    /// Of the plain text.
    sha256: String,
    /// Whether these are the published bytes.
    published: bool,
}

/// A path as it is shown: JSON has no other bytes than UTF-8.
fn as_shown<S: serde::Serializer>(
    path: &Path,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

#[derive(Debug, Serialize)]
struct PartInfo {
    images: usize,
    /// Of all pixels, 0 to 255.
    pixel_mean: f64,
    pixel_std: f64,
}

#[derive(Debug, Clone, Serialize)]
struct ClassInfo {
    class: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    letter: Option<String>,
    train: usize,
    valid: usize,
}

impl PartInfo {
    fn new(part: &Dataset) -> Self {
        let (pixel_mean, pixel_std) = part.pixel_mean_std();
        Self { images: part.len(), pixel_mean, pixel_std }
    }
}

impl FileInfo {
    fn new(path: PathBuf) -> Result<Self, DataError> {
        let sha256 = text_sha256(&path)?;
        let published = PUBLISHED.iter().any(|file| file.sha256 == sha256);
        Ok(Self { path, sha256, published })
    }
}

impl Info {
    fn new(split: &Split) -> Result<Self> {
        let (labels, files) = match &split.source {
            Source::Folder { path, convention } => {
                let files = FolderFiles::find(path)?;
                let infos = [FileInfo::new(files.train)?, FileInfo::new(files.valid)?];
                (Some(convention.to_string()), infos.into())
            }
            _ => (None, Vec::new()),
        };
        let (train, valid) = (&split.train, &split.valid);
        let counts = train.class_counts().into_iter().zip(valid.class_counts());
        let letters = are_letters(&train.classes);
        let per_class: Vec<_> = (train.classes.iter().zip(counts))
            .map(|(class, (train, valid))| {
                let letter = letters.then(|| class.clone());
                ClassInfo { class: class.clone(), letter, train, valid }
            })
            .collect();
        Ok(Self {
            available: true,
            source: split.source.to_string(),
            synthetic: split.source.is_synthetic(),
            labels,
            files,
            channels: train.channels,
            height: train.height,
            width: train.width,
            classes: train.classes.len(),
            train: PartInfo::new(train),
            valid: PartInfo::new(valid),
            letters: letters.then(|| per_class.clone()),
            per_class,
            sha256: split.digest(),
        })
    }

    fn text(&self) -> String {
        let mut text = format!("data     {}\n", self.source);
        // Writing to a String cannot fail.
        for file in &self.files {
            let note = if file.published { ", as published" } else { "" };
            let _ = writeln!(
                text,
                "file     {} (sha256 {}{note})",
                words::path(&file.path),
                file.sha256
            );
        }
        if let Some(labels) = &self.labels {
            let _ = writeln!(text, "labels   {labels}");
        }
        let _ = writeln!(
            text,
            "images   {} train, {} valid; {} x {} pixels, {} classes",
            count(self.train.images as u64),
            count(self.valid.images as u64),
            self.height,
            self.width,
            self.classes
        );
        let _ = writeln!(
            text,
            "pixels   train mean {:.2}, std {:.2}; valid mean {:.2}, std {:.2} (of 0 to 255)",
            self.train.pixel_mean,
            self.train.pixel_std,
            self.valid.pixel_mean,
            self.valid.pixel_std
        );
        let _ = writeln!(text, "sha256   {} (of images and classes)\n", self.sha256);
        let title = if self.letters.is_some() { "letter" } else { "class" };
        let mut table = Table::default().names(title, 0).numbers([("train", 0), ("valid", 0)]);
        for ClassInfo { class, train, valid, .. } in &self.per_class {
            table.row([words::line(class), count(*train as u64), count(*valid as u64)]);
        }
        let parts = [self.train.images, self.valid.images];
        let [train, valid] = parts.map(|images| count(images as u64));
        table.row(["total".to_owned(), train, valid]);
        text + &table.text(table_width())
    }
}

/// `signet data fetch`
#[derive(Debug, clap::Args)]
struct FetchArgs {
    /// The folder to download to [default: the user's cache folder]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl FetchArgs {
    fn run(&self) -> Result<()> {
        let folder = match &self.out {
            Some(folder) => {
                refuse_to_replace(folder)?;
                folder.clone()
            }
            None => data::cache_folder().ok_or_else(|| {
                DataError::new("this system has no cache folder")
                    .with_help("name a folder with --out")
            })?,
        };
        if PUBLISHED.iter().all(|file| file.is_at(&folder.join(file.name))) {
            return print(format_args!("{} (already there, checked)", words::path(&folder)));
        }
        fetch(&folder).map_err(|error| match error.help() {
            Some(_) => error,
            None => error.with_help(
                "this needs a network; `--data synthetic` does not, and a folder with the CSV \
                 files is taken by `--data DIR` or $SIGNET_DATA",
            ),
        })?;
        print(words::path(&folder))
    }
}

/// In the cache a wrong file is replaced; in a folder of the user's it may be worth something.
fn refuse_to_replace(folder: &Path) -> Result<(), DataError> {
    for file in &PUBLISHED {
        let path = folder.join(file.name);
        if path.exists() && !file.is_at(&path) {
            return Err(DataError::new("it exists, and is not the published file")
                .in_file(path)
                .with_help("move it away, or name another folder with --out"));
        }
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Train,
    Valid,
}

/// `signet data show`
#[derive(Debug, clap::Args)]
struct ShowArgs {
    #[command(flatten)]
    data: DataArgs,

    /// How many images, drawn at random by --seed
    #[arg(long, value_name = "N", default_value_t = 32)]
    #[arg(value_parser = |text: &str| whole_in::<u16>(text, 1..=1024))]
    count: u16,

    /// Which part of the data
    #[arg(long, value_enum, default_value_t = Part::Train)]
    split: Part,

    /// The file to write: a PNG, or a JPEG where the name ends so
    #[arg(long, value_name = "FILE", default_value = "contact-sheet.png")]
    out: PathBuf,

    #[command(flatten)]
    augment: AugmentArgs,
}

impl ShowArgs {
    fn run(&self) -> Result<()> {
        const COLUMNS: usize = 8;
        let file = PictureFile::new(&self.out)?;
        let split = self.data.load()?;
        let (part, name) = match self.split {
            Part::Train => (&split.train, "train"),
            Part::Valid => (&split.valid, "valid"),
        };
        let order = Philox::new(self.data.seed).permutation(stream::SHUFFLE, 0, part.len());
        let indices: Vec<usize> =
            order.iter().take(self.count.into()).map(|&index| index as usize).collect();
        let columns = COLUMNS.max(indices.len().isqrt());
        let changed = self.augment.options(None)?;
        let changed = changed.map(|options| augmented(part, &indices, &options, self.data.seed));
        let changed = changed.transpose()?;
        let cells: Vec<_> = indices
            .iter()
            .enumerate()
            .map(|(cell, &index)| {
                let image =
                    changed.as_ref().map_or(part.image(index), |changed| changed.image(cell));
                (image, part.class_name(index))
            })
            .collect();
        file.write(&Picture::of(&cells, [part.width, part.height], columns))?;
        say(format_args!(
            "{}: {} of {} {name} images, {}",
            words::path(&self.out),
            count(indices.len() as u64),
            count(part.len() as u64),
            split.source
        ))
    }
}

/// Some images of `part`, changed as a training step would change them.
fn augmented(
    part: &Dataset,
    indices: &[usize],
    options: &AugmentOptions,
    seed: u64,
) -> Result<Dataset> {
    let device = Device::cpu()?;
    let bytes = indices.iter().flat_map(|&index| part.image(index));
    let pixels: Vec<f32> = bytes.map(|&byte| f32::from(byte) / 255.0).collect();
    let shape = [indices.len(), part.channels, part.height, part.width];
    let images = Tensor::from_slice(&device, &pixels, shape)?;
    let step = Tensor::zeros(&device, [1])?;
    let changed = augment(&images, options, seed, &step)?.to_vec()?;
    Ok(Dataset {
        pixels: changed.into_iter().map(|value| (value * 255.0).round() as u8).collect(),
        labels: indices.iter().map(|&index| part.labels[index]).collect(),
        channels: part.channels,
        height: part.height,
        width: part.width,
        classes: part.classes.clone(),
        name: part.name.clone(),
    })
}
