//! Compiled kernels on disk, so that a machine compiles each once.
//!
//! An entry's name is a hash of everything that goes into it, so it never has to be thrown away for
//! being out of date. It carries a hash of its content: an entry that was cut short or changed is
//! compiled again. A cache that cannot be read or written is no cache and no error.
#![forbid(unsafe_code)]

use super::sources::{Header, Source};
use crate::support::words::hex;
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Where the cache is, where set; empty: no cache.
const VARIABLE: &str = "SIGNET_KERNEL_CACHE";
/// First in every entry. The number is the format's.
const MAGIC: &[u8; 16] = b"signet-kernel-1\n";
const EXTENSION: &str = "kernel";
/// Length of a SHA-256.
const HASH: usize = 32;

/// A folder of compiled kernels, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelCache {
    folder: Option<PathBuf>,
}

/// How much is in the cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheSize {
    /// Compiled files.
    pub files: u64,
    /// Their bytes together.
    pub bytes: u64,
}

/// The name of an entry: a hash of all that decides about its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key(String);

impl Key {
    pub(super) fn new(
        source: &Source,
        headers: &[Header],
        options: &[String],
        nvrtc: (u32, u32),
    ) -> Self {
        let mut hash = Sha256::new();
        // Each part goes in with its length: "ab" + "c" must not equal "a" + "bc".
        let mut part = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        };
        part(env!("CARGO_PKG_VERSION"));
        part(&format!("{}.{}", nvrtc.0, nvrtc.1));
        part(&options.len().to_string());
        options.iter().for_each(|option| part(option));
        for (name, text) in headers.iter().map(|h| (h.name, h.text)) {
            part(name);
            part(text);
        }
        part(source.file);
        part(source.text);
        Self(hex(&hash.finalize()))
    }
}

impl KernelCache {
    /// The cache of this user: `$SIGNET_KERNEL_CACHE` where set, else `signet/kernels` in the
    /// folder that the system keeps for caches.
    pub fn of_user() -> Self {
        Self::configured(std::env::var_os(VARIABLE), dirs::cache_dir())
    }

    fn configured(variable: Option<OsString>, system: Option<PathBuf>) -> Self {
        let folder = match variable {
            Some(folder) if folder.is_empty() => None,
            Some(folder) => Some(folder.into()),
            None => system.map(|folder| folder.join("signet").join("kernels")),
        };
        Self { folder }
    }

    /// The cache in `folder`, which is made when it is first written to.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self { folder: Some(folder.into()) }
    }

    /// No cache: every process compiles anew.
    pub fn none() -> Self {
        Self { folder: None }
    }

    /// The folder; `None` when there is no cache.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// How much is in the cache.
    pub fn size(&self) -> CacheSize {
        let mut size = CacheSize::default();
        for path in self.files() {
            if let Ok(metadata) = fs::metadata(path) {
                size.files += 1;
                size.bytes += metadata.len();
            }
        }
        size
    }

    /// Removes every compiled kernel, and says how much that was.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) when a file cannot be removed.
    pub fn clear(&self) -> crate::Result<CacheSize> {
        let size = self.size();
        for path in self.files() {
            match fs::remove_file(&path) {
                // Somebody else cleared it at the same time.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                result => result.map_err(crate::Error::io("remove", &path))?,
            }
        }
        Ok(size)
    }

    /// The entries, and what a process that was killed while it wrote one has left.
    fn files(&self) -> Vec<PathBuf> {
        let Some(folder) = &self.folder else { return Vec::new() };
        let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        paths
            .filter(|path| path.extension().is_some_and(|e| e == EXTENSION || e == "part"))
            .collect()
    }

    /// The code under `key`, if it is there and whole.
    pub(super) fn get(&self, key: &Key) -> Option<Vec<u8>> {
        let mut entry = fs::read(self.path(key)?).ok()?;
        let before = entry.len() - Self::code(&entry)?.len();
        entry.drain(..before);
        Some(entry)
    }

    /// The code in the bytes of an entry, if they are those that were written.
    pub fn code(entry: &[u8]) -> Option<&[u8]> {
        let (hash, code) = entry.strip_prefix(MAGIC)?.split_at_checked(HASH)?;
        (Sha256::digest(code).as_slice() == hash).then_some(code)
    }

    /// Keeps `code` under `key`. What cannot be written is compiled again next time.
    pub(super) fn put(&self, key: &Key, code: &[u8]) {
        let Some(path) = self.path(key) else { return };
        let _ = write_whole(&path, code);
    }

    fn path(&self, key: &Key) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(&key.0).with_extension(EXTENSION))
    }
}

/// Writes an entry under a name of this process and thread alone and renames it: a reader sees a
/// whole entry or none, and the last of several writers wins with the same bytes.
fn write_whole(path: &Path, code: &[u8]) -> std::io::Result<()> {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let number = WRITES.fetch_add(1, Ordering::Relaxed);
    let temporary = path.with_extension(format!("{}-{number}.part", std::process::id()));
    let written = fs::File::create(&temporary).and_then(|mut file| {
        file.write_all(MAGIC)?;
        file.write_all(&Sha256::digest(code))?;
        file.write_all(code)
    });
    let renamed = written.and_then(|()| fs::rename(&temporary, path));
    if renamed.is_err() {
        // A full disk: half an entry would only take up more of it.
        let _ = fs::remove_file(&temporary);
    }
    renamed
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: Source = Source { name: "a", file: "kernels/a.cu", text: "text" };

    fn key(text: &'static str) -> Key {
        Key::new(&Source { text, ..SOURCE }, &[], &["-D".into()], (13, 2))
    }

    #[test]
    fn an_entry_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let cache = KernelCache::in_folder(folder.path().join("not/yet/there"));
        assert_eq!(cache.get(&key("a")), None);
        cache.put(&key("a"), b"code of a");
        cache.put(&key("b"), b"");
        assert_eq!(cache.get(&key("a")).unwrap(), b"code of a");
        assert_eq!(cache.get(&key("b")).unwrap(), b"");
        assert_eq!(cache.get(&key("c")), None);
        let (header, a, b) = ((MAGIC.len() + HASH) as u64, 9, 0);
        assert_eq!(cache.size(), CacheSize { files: 2, bytes: 2 * header + a + b });
        assert_eq!(cache.clear().unwrap().files, 2);
        assert_eq!(cache.size(), CacheSize::default());
        assert_eq!(cache.get(&key("a")), None);
    }

    #[test]
    fn every_part_of_the_key_counts() {
        let header = Header { name: "common.cuh", text: "h" };
        let options = ["-D".to_owned()];
        let base = Key::new(&SOURCE, &[header], &options, (13, 2));
        assert_eq!(base, Key::new(&SOURCE, &[header], &options, (13, 2)));
        let others = [
            Key::new(&Source { text: "texts", ..SOURCE }, &[header], &options, (13, 2)),
            Key::new(&Source { file: "kernels/b.cu", ..SOURCE }, &[header], &options, (13, 2)),
            Key::new(&SOURCE, &[Header { text: "i", ..header }], &options, (13, 2)),
            Key::new(&SOURCE, &[], &options, (13, 2)),
            Key::new(&SOURCE, &[header], &["-E".into()], (13, 2)),
            Key::new(&SOURCE, &[header], &[], (13, 2)),
            Key::new(&SOURCE, &[header], &options, (13, 1)),
            Key::new(&SOURCE, &[header], &options, (1, 32)),
        ];
        for (i, other) in others.iter().enumerate() {
            assert_ne!(&base, other, "case {i}");
        }
    }

    #[test]
    fn a_broken_entry_is_not_trusted() {
        let folder = tempfile::tempdir().unwrap();
        let cache = KernelCache::in_folder(folder.path());
        cache.put(&key("a"), b"code of a");
        let path = cache.path(&key("a")).unwrap();
        let whole = fs::read(&path).unwrap();
        let cut_short = (0..whole.len()).map(|len| whole[..len].to_vec());
        let changed = (0..whole.len()).map(|at| {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            bytes
        });
        let longer = [[&whole[..], b"x"].concat()];
        for broken in cut_short.chain(changed).chain(longer) {
            fs::write(&path, &broken).unwrap();
            assert_eq!(cache.get(&key("a")), None, "{broken:?}");
        }
        cache.put(&key("a"), b"code of a");
        assert_eq!(cache.get(&key("a")).unwrap(), b"code of a");
    }

    #[test]
    fn many_writers_and_readers_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let cache = KernelCache::in_folder(folder.path());
        let code = vec![7_u8; 100_000];
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..25 {
                        if let Some(found) = cache.get(&key("a")) {
                            assert_eq!(found, code);
                        }
                        cache.put(&key("a"), &code);
                    }
                });
            }
        });
        assert_eq!(cache.get(&key("a")).unwrap(), code);
        assert_eq!(cache.size().files, 1, "temporary files are left");
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        // A file where the folder should be refuses everybody, root too.
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let cache = KernelCache::in_folder(&file);
        cache.put(&key("a"), b"code");
        assert_eq!(cache.get(&key("a")), None);
        assert_eq!(cache.size(), CacheSize::default());
        assert_eq!(cache.clear().unwrap(), CacheSize::default());
    }

    #[test]
    fn the_variable_decides_where_it_is() {
        let configured = |variable: Option<&str>| {
            KernelCache::configured(variable.map(Into::into), Some("/cache".into()))
        };
        assert_eq!(configured(None).folder(), Some(Path::new("/cache/signet/kernels")));
        assert_eq!(configured(Some("/other")).folder(), Some(Path::new("/other")));
        assert_eq!(configured(Some("")).folder(), None);
        let none = KernelCache::configured(None, None);
        none.put(&key("a"), b"code");
        assert_eq!((none.get(&key("a")), none.size()), (None, CacheSize::default()));
    }
}
