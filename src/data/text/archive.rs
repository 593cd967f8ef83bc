//! CSV files in a zip archive, as Kaggle serves them; nothing is unpacked to disk.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use zip::read::{ArchiveOffset, Config};
use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use super::bounded::Bounded;
use crate::data::DataError;
use crate::support::FileKind;

/// Whether a file that begins with `head` is a zip archive.
pub(super) fn is_zip(head: &[u8]) -> bool {
    FileKind::of(head) == Some(FileKind::Zip)
}

/// Whether the file at `path` is a zip archive.
pub(in crate::data) fn is_zip_file(path: &Path) -> bool {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut head = Vec::new();
        File::open(path)?.take(4).read_to_end(&mut head)?;
        Ok(head)
    };
    // A pipe would wait for who writes into it.
    path.is_file() && read().is_ok_and(|head| is_zip(&head))
}

/// An archive whose names are fit to be shown and looked for.
pub(super) struct Archive<R> {
    zip: ZipArchive<R>,
    /// The files in it: their numbers and names.
    files: Vec<(usize, String)>,
    /// Bytes of the whole archive.
    size: u64,
}

impl<R: Read + Seek> Archive<R> {
    /// Reads the list of files.
    ///
    /// # Errors
    /// If it is damaged, or a name in it leads out of it or is no plain text.
    pub fn new(mut from: R) -> Result<Self, DataError> {
        let size = from.seek(std::io::SeekFrom::End(0));
        let size = size.map_err(|e| DataError::new(format!("cannot read it: {e}")))?;
        // It begins where the file does. Searching for its beginning takes the second file for the
        // first in some archives.
        let config = Config { archive_offset: ArchiveOffset::Known(0) };
        let zip = ZipArchive::with_config(config, from).map_err(|error| reason(&error))?;
        let mut files = Vec::with_capacity(zip.len());
        for number in 0..zip.len() {
            let entry = zip.by_index_data(number).map_err(|error| reason(&error))?;
            let name = entry.name().map_err(|error| reason(&error))?.into_owned();
            let is_plain = !name.chars().any(|letter| letter.is_control() || letter == '\\');
            let leads_out = Path::new(&name).components().any(|part| {
                !matches!(part, std::path::Component::Normal(_) | std::path::Component::CurDir)
            });
            if !is_plain || leads_out || entry.enclosed_name().is_none() {
                let message = format!(
                    "the archive has a file called {:?}, a name that leads out of it or is no \
                     plain text: nothing in it is read",
                    name.chars().take(80).collect::<String>()
                );
                return Err(DataError::new(message));
            }
            // What Finder adds is no data.
            let is_noise = name.split('/').any(|part| part == "__MACOSX" || part.starts_with('.'));
            if entry.is_file() && !is_noise {
                files.push((number, name));
            }
        }
        Ok(Self { zip, files, size })
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|(_, name)| name.as_str())
    }

    /// The one CSV file in it; among several, the one that is called as the archive is.
    ///
    /// # Errors
    /// If there is none or several, with what there is.
    pub fn only_csv(&self, archive: &Path) -> Result<String, DataError> {
        let is_csv = |name: &&str| {
            let name = name.to_ascii_lowercase();
            name.ends_with(".csv") || name.ends_with(".csv.gz")
        };
        let names: Vec<&str> = self.names().filter(is_csv).collect();
        let own = archive.file_name().unwrap_or_default().to_string_lossy();
        let own = own.strip_suffix(".zip").unwrap_or(&own);
        let called_so = names.iter().find(|name| base(name).eq_ignore_ascii_case(own));
        match (&names[..], called_so) {
            ([name], _) | (_, Some(name)) => Ok((*name).to_owned()),
            ([], _) => Err(self.without_csv()),
            _ => {
                let message = format!(
                    "the archive holds {} CSV files ({}), of which none is called {own}",
                    names.len(),
                    short_list(&names)
                );
                Err(DataError::new(message).with_help("unpack it: `unzip FILE`"))
            }
        }
    }

    /// The error for an archive in which nothing was found, with what it is.
    pub fn without_csv(&self) -> DataError {
        let has = |name: &str| self.names().any(|other| other == name);
        let ends = |ending: &str| self.names().filter(|name| name.ends_with(ending)).count();
        if has("xl/workbook.xml") {
            return DataError::new("it is an Excel workbook, not CSV text")
                .with_help("save it as CSV in Excel or LibreOffice");
        }
        if has("content.xml") && has("mimetype") {
            return DataError::new("it is an OpenDocument file, not CSV text")
                .with_help("save it as CSV in LibreOffice");
        }
        if self.names().any(|name| base(name) == "data.pkl") {
            return DataError::new("it is a file of PyTorch, not data in CSV files");
        }
        if ends(".npy") > 0 {
            return DataError::new("it is an archive of NumPy arrays, not of CSV files").with_help(
                "write it as CSV with Python: numpy.savetxt(..., fmt=\"%d\", delimiter=\",\")",
            );
        }
        let is_image = |name: &&str| {
            let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
            let images = ["png", "jpg", "jpeg", "jpe", "jfif", "webp", "gif", "bmp", "tif", "tiff"];
            images.iter().any(|image| ending.eq_ignore_ascii_case(image))
        };
        let images = self.names().filter(is_image).count();
        if images > 0 {
            return DataError::new(format!("the archive holds {images} images, not CSV files"))
                .with_help("unpack it and name the folder: `unzip FILE -d DIR`");
        }
        let names: Vec<&str> = self.names().collect();
        let what = match names.len() {
            0 => "no file".to_owned(),
            _ => format!("{} and no CSV file that is looked for", short_list(&names)),
        };
        DataError::new(format!("the archive holds {what}"))
    }

    /// Unpacks the file called `name`.
    ///
    /// # Errors
    /// If there is none, or it is packed in a way that is not read.
    pub fn member(&mut self, name: &str) -> Result<Bounded<impl Read + '_>, DataError> {
        let found = self.files.iter().find(|(_, other)| other == name);
        let Some(&(number, _)) = found else {
            return Err(DataError::new(format!("there is no {name:?} in the archive")));
        };
        let member = self.zip.by_index(number).map_err(|error| reason(&error))?;
        if !matches!(member.compression(), CompressionMethod::Stored | CompressionMethod::Deflated)
        {
            return Err(other_method());
        }
        let packed = member.compressed_size().min(self.size);
        Ok(Bounded::new(member, Arc::new(AtomicU64::new(packed))))
    }
}

/// The name without its folders.
pub(in crate::data) fn base(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// The names of the files in the archive at `path`.
///
/// # Errors
/// If it cannot be read, is damaged, or has names that lead out of it.
pub(in crate::data) fn names_in(path: &Path) -> Result<Vec<String>, DataError> {
    let archive = open(path)?;
    Ok(archive.names().map(str::to_owned).collect())
}

/// What is wrong with an archive that holds none of the files that are looked for.
pub(in crate::data) fn without_csv(path: &Path) -> DataError {
    open(path).map_or_else(|error| error, |archive| archive.without_csv().in_file(path))
}

/// The archive at `path`.
pub(super) fn open(path: &Path) -> Result<Archive<File>, DataError> {
    let opened = File::open(path).map_err(|e| DataError::new(format!("cannot open it: {e}")));
    opened.and_then(Archive::new).map_err(|error| error.in_file(path))
}

/// A path like `archive.zip/folder/file.csv`: the archive, and the name in it.
pub(super) fn split(path: &Path) -> Option<(PathBuf, String)> {
    let archive = path.ancestors().skip(1).find(|ancestor| is_zip_file(ancestor))?;
    let parts = path.strip_prefix(archive).ok()?.iter();
    let parts: Option<Vec<&str>> = parts.map(|part| part.to_str()).collect();
    Some((archive.to_path_buf(), parts?.join("/")))
}

fn other_method() -> DataError {
    DataError::new("it is packed in a way that is not read (only Deflate is)")
        .with_help("unpack it: `unzip FILE` or `7z x FILE`")
}

fn reason(error: &ZipError) -> DataError {
    match error {
        ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED) => {
            DataError::new("it is locked with a password")
                .with_help("unpack it: `unzip FILE` asks for the password")
        }
        ZipError::CompressionMethodNotSupported(_) => other_method(),
        ZipError::Io(error) => DataError::new(format!("cannot read it: {error}")),
        // One line, whatever the reason.
        error => {
            let words: Vec<_> = error.to_string().split_whitespace().map(str::to_owned).collect();
            DataError::new(format!("the zip archive is damaged, or not whole: {}", words.join(" ")))
                .with_help("copy or download the file again")
        }
    }
}

/// The first names of many.
fn short_list(names: &[&str]) -> String {
    const SHOWN: usize = 4;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("{name:?}")).collect();
    let more = if names.len() > SHOWN { ", …" } else { "" };
    shown.join(", ") + more
}
