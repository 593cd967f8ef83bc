//! The cache of downloaded data: several processes that fill it at once, and one that is read-only.

use crate::common::child::again;
use crate::common::program::{Place, finish, signet, start, stderr};
use signet::data::{DataError, FolderFiles};
use signet_cli::data::{PUBLISHED, Progress, PublishedFile, download};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

type Files = Vec<(&'static str, Vec<u8>)>;

/// A mirror on this machine. It sends the end of its first file once so many have the beginning:
/// these work at the same time.
#[derive(Clone)]
struct Mirror {
    address: String,
    files: Arc<Files>,
    together: usize,
    /// How many asked for the first file.
    asked: Arc<Mutex<usize>>,
}

impl Mirror {
    fn new(files: Files, together: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/", listener.local_addr().unwrap());
        let (files, asked) = (Arc::new(files), Arc::default());
        let mirror = Self { address, files, together, asked };
        let answering = mirror.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mirror = answering.clone();
                // A client that was killed is gone.
                thread::spawn(move || _ = mirror.answer(stream.unwrap()));
            }
        });
        mirror
    }

    fn asked(&self) -> usize {
        *self.asked.lock().unwrap()
    }

    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let request = lines.next().unwrap()?;
        while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        let name = request.split(['/', ' ']).nth(2).unwrap();
        let place = self.files.iter().position(|(known, _)| *known == name).unwrap();
        let bytes = &self.files[place].1;
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len())?;
        let (first, mut rest) = bytes.split_at(bytes.len() / 2);
        stream.write_all(first)?;
        if place == 0 {
            *self.asked.lock().unwrap() += 1;
            // A mirror that says nothing for long is given up.
            while self.asked() < self.together {
                stream.write_all(&rest[..1])?;
                rest = &rest[1..];
                thread::sleep(Duration::from_millis(20));
            }
        }
        stream.write_all(rest)
    }
}

const NAMES: [&str; 2] = ["first.csv", "second.csv"];

fn text(name: &str) -> Vec<u8> {
    name.bytes().cycle().take(400_000).collect()
}

fn small_files() -> Files {
    NAMES.map(|name| (name, text(name))).into()
}

struct Quiet;

impl Progress for Quiet {
    fn bytes(&mut self, _: &PublishedFile<'_>, _: u64) {}
    fn failed(&mut self, _: &str, _: &str) {}
}

fn fetch(mirror: &str, folder: &Path) -> Result<(), DataError> {
    use sha2::{Digest, Sha256};
    NAMES.iter().try_for_each(|name| {
        let text = text(name);
        let sha256: String = Sha256::digest(&text).iter().map(|b| format!("{b:02x}")).collect();
        let file = PublishedFile { name, size: text.len() as u64, sha256: &sha256 };
        download(&[file], &[mirror.to_owned()], folder, &mut Quiet)
    })
}

/// What the processes of [`start_fetch`] do: the program's download, of files that are small.
#[test]
fn fetches_where_it_is_told() {
    let variable = |name| std::env::var(name).ok();
    let told = variable("SIGNET_TEST_MIRROR").zip(variable("SIGNET_TEST_FOLDER"));
    if let Some((mirror, folder)) = told {
        fetch(&mirror, Path::new(&folder)).unwrap();
    }
}

/// A process of its own that fetches the small files.
fn start_fetch(mirror: &Mirror, folder: &Path) -> Child {
    let mut command = again("cache::fetches_where_it_is_told");
    command.env("SIGNET_TEST_MIRROR", &mirror.address).env("SIGNET_TEST_FOLDER", folder);
    start(&mut command)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn processes_that_fetch_at_once_fill_one_cache() {
    for round in 0..5 {
        let root = tempfile::tempdir().unwrap();
        let cache = root.path().join("signet").join("asl");
        let mirror = Mirror::new(small_files(), 3);
        let children = [(); 3].map(|()| start_fetch(&mirror, &cache));
        for output in children.map(finish) {
            assert!(output.status.success(), "{round}: {output:?}");
        }
        assert_eq!(mirror.asked(), 3, "{round}: they did not work at the same time");
        assert_eq!(names(&cache), NAMES, "{round}");
        for name in NAMES {
            assert!(fs::read(cache.join(name)).unwrap() == text(name), "{round}: {name}");
        }
    }
}

#[test]
fn one_that_was_killed_takes_nothing_from_the_others() {
    let root = tempfile::tempdir().unwrap();
    let mirror = Mirror::new(small_files(), 3);
    // Alone it waits for the others.
    let mut killed = start_fetch(&mirror, root.path());
    while mirror.asked() < 1 || names(root.path()).is_empty() {
        assert!(killed.try_wait().unwrap().is_none());
        thread::sleep(Duration::from_millis(1));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let children = [(); 2].map(|()| start_fetch(&mirror, root.path()));
    for output in children.map(finish) {
        assert!(output.status.success(), "{output:?}");
    }
    let names = names(root.path());
    // Nobody can tell yet that the part is of no use to anyone.
    assert!(names.len() == 3 && names[0].ends_with(".part"), "{names:?}");
    for name in NAMES {
        assert!(fs::read(root.path().join(name)).unwrap() == text(name), "{name}");
    }
}

/// The program with a cache below `home`, and a mirror to fill it from.
fn at_home(args: &[&str], home: &Path, mirror: &Mirror) -> Command {
    let mut command = signet(args);
    command.current_dir(home).env_remove("SIGNET_DATA");
    command.env("HOME", home).env("XDG_CACHE_HOME", home.join("cache"));
    command.env("SIGNET_MIRRORS", &mirror.address);
    command
}

fn cache_at(home: &Path) -> PathBuf {
    let cache = home.join("cache").join("signet").join("asl");
    fs::create_dir_all(&cache).unwrap();
    cache
}

/// A full cache on a read-only disk is as good as any; an empty one is no reason to stop for who
/// takes what there is, and an error for who asked for it.
#[needs::test(mount)]
fn a_cache_on_a_read_only_disk_is_read() {
    let (home, place) = (tempfile::tempdir().unwrap(), Place::new(3, 2));
    let above = home.path().join("cache");
    fs::create_dir(&above).unwrap();
    let files = PUBLISHED.map(|file| (file.name, text(file.name)));
    let mirror = Mirror::new(files.into(), 1);
    let run = |folder: &Path, args: &[&str]| {
        let output = finish(start(&mut crate::disk::read_only(
            folder,
            &at_home(args, home.path(), &mirror),
        )));
        (output.status.code(), stderr(&output))
    };
    let cannot_fill = |folder: &Path| {
        let (code, text) = run(folder, &["data", "fetch"]);
        assert!(code == Some(2) && text.contains("cannot write into it"), "{code:?} {text}");
        let (code, text) = run(folder, &["data", "show", "--out", "picture.png"]);
        assert!(code == Some(0) && text.contains("cannot write into it"), "{code:?} {text}");
        assert!(text.contains("using the built-in synthetic hands"), "{text}");
        assert_eq!(names(folder), [""; 0]);
    };
    cannot_fill(&above);
    let cache = cache_at(home.path());
    cannot_fill(&cache);
    for name in names(place.data.path()) {
        fs::copy(place.data.path().join(&name), cache.join(&name)).unwrap();
    }
    let asked = mirror.asked();
    let (code, text) = run(&cache, &["data", "info"]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = run(&cache, &["train", "--epochs", "1", "-q", "--out", "runs"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(mirror.asked(), asked, "it was there");
}

/// The files as they are published, from `$SIGNET_DATA`.
fn published() -> Option<Files> {
    let folder = std::env::var_os("SIGNET_DATA")?;
    let found = FolderFiles::find(Path::new(&folder)).ok()?;
    let files = PUBLISHED.into_iter().zip([found.train, found.valid]).map(|(file, path)| {
        let mut bytes = fs::read(&path).unwrap();
        if path.extension().is_some_and(|extension| extension == "gz") {
            let packed = std::mem::take(&mut bytes);
            flate2::read::MultiGzDecoder::new(&packed[..]).read_to_end(&mut bytes).unwrap();
        }
        (file.name, bytes)
    });
    Some(files.collect())
}

/// The program and the real files, 105 MB for each process.
#[test]
#[ignore = "needs Sign Language MNIST in $SIGNET_DATA"]
fn programs_that_fetch_at_once_fill_one_cache() {
    let Some(files) = published() else {
        eprintln!("SKIPPED: SIGNET_DATA names no folder with Sign Language MNIST");
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let cache = cache_at(home.path());
    let mirror = Mirror::new(files, 3);
    let verbs: [&[&str]; 3] =
        [&["data", "fetch"], &["data", "fetch"], &["data", "show", "--out", "picture.png"]];
    let children = verbs.map(|verb| start(&mut at_home(verb, home.path(), &mirror)));
    for output in children.map(finish) {
        let text = stderr(&output);
        assert!(output.status.success() && text.contains("downloaded and checked"), "{text}");
    }
    assert_eq!(mirror.asked(), 3, "they did not work at the same time");
    assert_eq!(names(&cache), ["sign_mnist_test.csv", "sign_mnist_train.csv"]);
    for file in PUBLISHED {
        assert!(file.is_at(&cache.join(file.name)), "{}", file.name);
    }
}
