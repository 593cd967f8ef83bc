//! The two formats of files, and where in them the numbers lie.
//!
//! Since 1.6, `torch.save` writes a zip archive: the pickle as `NAME/data.pkl`, each storage as
//! `NAME/data/KEY`. Before, it wrote five pickles one after the other (a magic number, a version,
//! facts about the machine, the object, the keys of the storages) and then for each storage the number
//! of its elements and their bytes.

use super::object::{Graph, Object, Storage};
use super::pickle;
use crate::support::FileKind;
use std::collections::HashMap;
use std::io::{Cursor, Read};
use std::ops::Range;
use zip::ZipArchive;
use zip::read::{ArchiveOffset, Config};

/// The pickle of the magic number, 0x1950a86a20f9469cfc6c.
const MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

/// The largest pickle in an archive, in bytes. The numbers are not in it.
const MAX_PICKLE: u64 = 16 << 20;

/// How often the size of the file fits what is unpacked of it, and what may be unpacked of any file.
/// `torch.save` packs nothing.
const MAX_RATIO: usize = 64;
const UNPACKED_AT_LEAST: usize = 1 << 20;

pub(super) fn is_zip(bytes: &[u8]) -> bool {
    FileKind::of(bytes) == Some(FileKind::Zip)
}

pub(super) fn is_pickle(bytes: &[u8]) -> bool {
    matches!(bytes, [0x80, 2..=5, ..])
}

/// A file whose storages can be read.
pub(super) enum Container<'a> {
    Zip(Zip<'a>),
    Legacy(Legacy<'a>),
}

impl<'a> Container<'a> {
    pub fn open(bytes: &'a [u8]) -> Result<Self, String> {
        if is_zip(bytes) {
            Ok(Self::Zip(Zip::open(bytes)?))
        } else {
            Ok(Self::Legacy(Legacy::open(bytes)?))
        }
    }

    /// What the file's pickle makes.
    pub fn graph(&mut self) -> Result<Graph, String> {
        match self {
            Self::Zip(zip) => zip.graph(),
            Self::Legacy(legacy) => legacy.graph(),
        }
    }

    /// Finds the storages of `graph`, before one is read.
    pub fn prepare(&mut self, graph: &Graph) -> Result<(), String> {
        match self {
            Self::Zip(_) => Ok(()),
            Self::Legacy(legacy) => legacy.find_storages(graph),
        }
    }

    /// The bytes of a storage, from its first element on.
    pub fn storage(&mut self, storage: &Storage) -> Result<&[u8], String> {
        let size = storage.element.size();
        let bytes = |count: usize| count.checked_mul(size);
        let range = bytes(storage.start)
            .zip(bytes(storage.numel))
            .and_then(|(start, length)| Some(start..start.checked_add(length)?));
        let all = match self {
            Self::Zip(zip) => zip.storage(&storage.key)?,
            Self::Legacy(legacy) => legacy.storage(&storage.key)?,
        };
        let missing =
            || format!("storage {} is shorter than its pickle says", quoted(&storage.key));
        range.and_then(|range| all.get(range)).ok_or_else(missing)
    }

    /// The most elements that all tensors of the file may have together. Each is read once as a rule,
    /// and tensors may share a storage.
    pub fn most_elements(&self) -> usize {
        match self {
            Self::Zip(zip) => zip.most_elements,
            Self::Legacy(legacy) => 4 * legacy.bytes.len(),
        }
    }
}

/// A text of the file, as it may stand in a message.
fn quoted(text: &str) -> String {
    let short: String = text.chars().take(60).collect();
    format!("{short:?}")
}

pub(super) struct Zip<'a> {
    archive: ZipArchive<Cursor<&'a [u8]>>,
    /// What the names of the entries begin with.
    folder: String,
    /// Storages that were read.
    read: HashMap<String, Vec<u8>>,
    /// Bytes that may yet be unpacked.
    left: usize,
    most_elements: usize,
}

impl<'a> Zip<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self, String> {
        // Without a search for where the archive begins: it begins with the file, and the search takes
        // the second file for the first where the first one's name has 30 letters.
        let config = Config { archive_offset: ArchiveOffset::Known(0) };
        let archive = ZipArchive::with_config(config, Cursor::new(bytes))
            .map_err(|e| format!("is a damaged zip archive ({e}); was it copied whole?"))?;
        let names: Vec<String> = archive.file_names().flatten().map(Into::into).collect();
        let folders = names.iter().filter_map(|name| name.strip_suffix("data.pkl"));
        let mut folders = folders.filter(|folder| folder.is_empty() || folder.ends_with('/'));
        let folder = folders.next().ok_or_else(|| what_it_is(&names))?.to_owned();
        if archive.index_for_name(&format!("{folder}constants.pkl")).is_some() {
            return Err("is TorchScript, a program beside its values; in Python: \
                        torch.save(torch.jit.load(FILE).state_dict(), \"model.pth\")"
                .into());
        }
        let most = bytes.len().saturating_mul(MAX_RATIO).max(UNPACKED_AT_LEAST);
        let most = most.min(super::super::MAX_BYTES as usize);
        // An element has a byte at least, and the bytes are packed little if at all.
        let most_elements = bytes.len().max(UNPACKED_AT_LEAST).saturating_mul(4);
        let read = HashMap::new();
        let mut zip = Self { archive, folder, read, left: most, most_elements };
        if zip.entry("byteorder", 16)?.is_some_and(|order| order.trim_ascii() != b"little") {
            return Err("was written on a big-endian machine; save it again on another".into());
        }
        Ok(zip)
    }

    /// The bytes of an entry of at most so many.
    fn entry(&mut self, name: &str, most: u64) -> Result<Option<Vec<u8>>, String> {
        let name = format!("{}{name}", self.folder);
        let Some(index) = self.archive.index_for_name(&name) else { return Ok(None) };
        let damaged = |e: &dyn std::fmt::Display| {
            format!("{} in it is damaged ({e}); was it copied whole?", quoted(&name))
        };
        let entry = self.archive.by_index(index).map_err(|e| damaged(&e))?;
        let most = most.min(self.left as u64);
        let mut bytes = Vec::new();
        entry.take(most + 1).read_to_end(&mut bytes).map_err(|e| damaged(&e))?;
        if bytes.len() as u64 > most {
            return Err(format!("{} in it is larger than {most} bytes", quoted(&name)));
        }
        self.left -= bytes.len();
        Ok(Some(bytes))
    }

    fn graph(&mut self) -> Result<Graph, String> {
        let bytes = self.entry("data.pkl", MAX_PICKLE)?.ok_or("its pickle is missing")?;
        Ok(pickle::run(&bytes)?.0)
    }

    fn storage(&mut self, key: &str) -> Result<&[u8], String> {
        if !self.read.contains_key(key) {
            let bytes = self.entry(&format!("data/{key}"), u64::MAX - 1)?;
            let bytes = bytes.ok_or_else(|| format!("storage {} is missing", quoted(key)))?;
            self.read.insert(key.to_owned(), bytes);
        }
        Ok(self.read.get(key).map_or(&[], Vec::as_slice))
    }
}

/// What an archive is that `torch.save` did not write.
fn what_it_is(names: &[String]) -> String {
    let has = |ending: &str| names.iter().find(|name| name.ends_with(ending));
    let inside = [".safetensors", ".pth", ".pt"].into_iter().find_map(has);
    match (inside, has(".npy"), has(".h5")) {
        (Some(name), ..) => {
            format!("is a zip archive with {} in it; unpack it first", quoted(name))
        }
        (_, Some(_), _) => {
            "holds arrays of NumPy; save a state dict with torch.save or safetensors".into()
        }
        (.., Some(_)) => "is a model of Keras; convert it to PyTorch first".into(),
        _ => "is a zip archive without data.pkl, which torch.save writes; unpack it first".into(),
    }
}

pub(super) struct Legacy<'a> {
    bytes: &'a [u8],
    /// Where the storages' keys stand.
    keys_at: usize,
    found: HashMap<String, Range<usize>>,
}

impl<'a> Legacy<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self, String> {
        if !bytes.starts_with(MAGIC) {
            return Err("is a pickle, but none of torch.save; in Python, save the values alone: \
                        torch.save(model.state_dict(), \"model.pth\")"
                .into());
        }
        Ok(Self { bytes, keys_at: 0, found: HashMap::new() })
    }

    fn graph(&mut self) -> Result<Graph, String> {
        let mut at = MAGIC.len();
        let mut next = || {
            let (graph, length) = pickle::run(&self.bytes[at..])?;
            at += length;
            Ok::<_, String>(graph)
        };
        let (version, machine, graph) = (next()?, next()?, next()?);
        if !matches!(version.get(version.root), Object::Int(1001)) {
            return Err("is of a version of torch.save that is not known".into());
        }
        let is_little = machine.entry(machine.root, "little_endian").map(|id| machine.get(id));
        if matches!(is_little, Some(Object::Bool(false))) {
            return Err("was written on a big-endian machine; save it again on another".into());
        }
        self.keys_at = at;
        Ok(graph)
    }

    fn find_storages(&mut self, graph: &Graph) -> Result<(), String> {
        let sizes: HashMap<&str, usize> = (graph.objects.iter())
            .filter_map(|object| match object {
                Object::Storage(storage) => Some((storage.key.as_str(), storage.element.size())),
                _ => None,
            })
            .collect();
        let (keys, length) = pickle::run(&self.bytes[self.keys_at..])?;
        let Object::List(ids) = keys.get(keys.root) else {
            return Err("the keys of its storages are no list".into());
        };
        let mut at = self.keys_at + length;
        for id in ids {
            let Object::Text(key) = keys.get(*id) else {
                return Err("the key of a storage is no text".into());
            };
            let size = sizes.get(key.as_str());
            let size = *size.ok_or_else(|| format!("storage {} is of no tensor", quoted(key)))?;
            let short = || format!("ends in storage {}; was it copied whole?", quoted(key));
            let count = self.bytes.get(at..at + 8).and_then(|count| count.try_into().ok());
            let count = usize::try_from(u64::from_le_bytes(count.ok_or_else(short)?));
            let length = count.ok().and_then(|count| count.checked_mul(size)).ok_or_else(short)?;
            let start = at + 8;
            let end = start.checked_add(length).filter(|end| *end <= self.bytes.len());
            let end = end.ok_or_else(short)?;
            self.found.insert(key.clone(), start..end);
            at = end;
        }
        Ok(())
    }

    fn storage(&self, key: &str) -> Result<&[u8], String> {
        let found = self.found.get(key).and_then(|range| self.bytes.get(range.clone()));
        found.ok_or_else(|| format!("storage {} is missing", quoted(key)))
    }
}
