//! `signet data` as a user sees it: the real program, its output, and its exit codes.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::common::program::{signet, stderr};

/// A home of its own for each test, so that no real cache is seen or filled.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The program, ready to run in this home with a network where every connection is refused.
    fn command(&self, arguments: &[&str]) -> Command {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let refusing = format!("http://{}/", listener.local_addr().unwrap());
        let mut command = signet(arguments);
        command.current_dir(self.0.path()).env_remove("SIGNET_DATA");
        command.env("HOME", self.0.path()).env("XDG_CACHE_HOME", self.path("cache"));
        command.env("SIGNET_MIRRORS", refusing);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs the program, which must succeed; what it wrote to stdout.
    fn stdout(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs the program, which must fail with exit code 2 and nothing on stdout; its messages.
    fn error(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let stderr = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(stderr.contains("error: ") && !stderr.contains("panicked"), "{stderr}");
        stderr
    }

    /// Writes a data folder with these files.
    fn folder(&self, name: &str, train: &[u8], valid: &[u8]) -> String {
        let folder = self.path(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("sign_mnist_train.csv"), train).unwrap();
        fs::write(folder.join("sign_mnist_valid.csv"), valid).unwrap();
        folder.to_str().unwrap().to_owned()
    }

    fn entries(&self) -> Vec<String> {
        let entry = |entry: std::io::Result<fs::DirEntry>| {
            entry.unwrap().file_name().to_string_lossy().into_owned()
        };
        fs::read_dir(self.0.path()).unwrap().map(entry).collect()
    }
}

fn csv(labels: &[&str]) -> String {
    let mut text: String = (1..=784).fold("label".to_owned(), |s, p| s + &format!(",pixel{p}"));
    for label in labels {
        text += "\r\n";
        text += label;
        text += &",100".repeat(784);
    }
    text + "\r\n"
}

#[test]
fn every_bad_input_is_an_error_with_its_place() {
    let home = Home::new();
    let good = csv(&["0", "24"]);
    let mut not_utf8 = csv(&["0"]).into_bytes();
    let end = not_utf8.len();
    not_utf8[end - 3] = 0xfe;
    // A gzip header and the beginning of a stored block of 5 bytes.
    let truncated = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x01\x05\0\xfa\xffla";
    let glued = good.replacen("\r\n24,", ",24,", 1);
    let cases: [(&str, Vec<u8>, &str); 19] = [
        ("empty", Vec::new(), "valid.csv: the file is empty"),
        ("only-header", csv(&[]).into(), "valid.csv:1: there is a header but no row"),
        ("no-header", csv(&["0"]).split_once('\n').unwrap().1.into(), "valid.csv:1: the header is"),
        ("other-header", good.replacen("pixel9", "p9", 1).into(), "valid.csv:1:10: the header has"),
        ("short-row", good.replacen("0,100,", "0,", 1).into(), "valid.csv:2: the row has 784"),
        ("long-row", good.replacen("0,100,", "0,1,1,", 1).into(), "valid.csv:2: the row has 786"),
        ("surplus", good.replace("100\r\n", "100,x\r\n").into(), "valid.csv:2: the row has 786"),
        ("glued", glued.into(), "valid.csv:2: the row has 1570 columns, not 785"),
        ("parquet", b"PAR1".to_vec(), "valid.csv: it is a Parquet file, not CSV text"),
        ("page", b"<!doctype html>".to_vec(), "valid.csv: it is a web page, not CSV text"),
        ("cut-utf16", b"\xff\xfel\0a".to_vec(), "valid.csv:1: the UTF-16 text ends in"),
        ("text", good.replacen("24,100", "24,red", 1).into(), "valid.csv:3:2: pixel1 is \"red\""),
        ("256", good.replacen("24,100", "24,256", 1).into(), "valid.csv:3:2: pixel1 is \"256\""),
        ("minus", good.replacen("24,100", "24,-1", 1).into(), "valid.csv:3:2: pixel1 is \"-1\""),
        ("label", csv(&["0", "25"]).into(), "valid.csv:3:1: label is \"25\": labels are 0 to 24"),
        ("utf8", not_utf8, "valid.csv:2:785: pixel784 is"),
        ("gzip", truncated.to_vec(), "valid.csv:1: the gzip data ends too early"),
        ("both", csv(&["9", "24"]).into(), "valid.csv:3:1: labels of two conventions in one file"),
        ("other", csv(&["9"]).into(), "valid.csv:2:1: label 9 means course labels, but"),
    ];
    for (name, valid, message) in cases {
        let folder = home.folder(name, good.as_bytes(), &valid);
        let stderr = home.error(&["data", "show", "--data", &folder]);
        assert!(stderr.contains(message), "{name}: {stderr}");
        assert!(!home.path("contact-sheet.png").exists(), "{name}");
    }
}

#[test]
fn missing_folders_and_files_are_named() {
    let home = Home::new();
    let folder = home.folder("half", b"", b"");
    fs::remove_file(Path::new(&folder).join("sign_mnist_valid.csv")).unwrap();
    fs::write(home.path("file"), "").unwrap();
    for (data, message) in [
        ("nowhere", "nowhere: there is no such folder"),
        ("file", "file: it is not a folder"),
        ("", "the name of the folder is empty"),
        ("half", "half: there is no sign_mnist_valid.csv or sign_mnist_test.csv in it"),
    ] {
        let stderr = home.error(&["data", "info", "--data", data]);
        assert!(stderr.contains(message) && stderr.contains("help: "), "{data}: {stderr}");
    }
    let output = home.command(&["data", "info"]).env("SIGNET_DATA", "nowhere").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("SIGNET_DATA names this folder"), "{}", stderr(&output));
}

#[test]
fn wrong_use_is_exit_code_2() {
    let home = Home::new();
    for arguments in [
        &["data"][..],
        &["data", "show", "--count", "0"],
        &["data", "show", "--split", "test"],
        &["data", "info", "--seed", "-1"],
        &["nonsense"],
        &[],
    ] {
        let output = home.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
    assert_eq!(home.stdout(&["--version"]), format!("signet {}\n", env!("CARGO_PKG_VERSION")));
    assert!(home.stdout(&["--help"]).contains("data"));
}

#[test]
fn info_describes_a_folder() {
    let home = Home::new();
    let folder = home.folder("d", csv(&["0", "10", "10"]).as_bytes(), csv(&["24"]).as_bytes());
    let text = home.stdout(&["data", "info", "--data", &folder]);
    for part in [
        &format!("data     Sign Language MNIST ({folder})\n"),
        "labels   Kaggle (A = 0 to Y = 24, no 9)\n",
        "images   3 train, 1 valid; 28 x 28 pixels, 24 classes\n",
        "letter  train  valid\nA           1      0\n",
        "\nK           2      0\n",
        "\ntotal       3      1\n",
    ] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    let json = home.stdout(&["data", "info", "--json", "--data", &folder]);
    let info: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(info["train"]["images"], 3);
    assert_eq!(info["letters"][9]["letter"], "K");
    assert_eq!(info["letters"][9]["train"], 2);
    assert_eq!(info["synthetic"], false);
    assert_eq!(info["files"][0]["published"], false);
    assert!(info["sha256"].as_str().unwrap().len() == 64);
}

#[test]
fn an_assumption_about_the_labels_is_said() {
    let home = Home::new();
    let folder = home.folder("d", csv(&["10"]).as_bytes(), csv(&["1"]).as_bytes());
    let output = home.run(&["data", "info", "--data", &folder]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stderr(&output).contains("notice: no label is 9 or 24"), "{}", stderr(&output));
}

#[test]
fn the_data_is_looked_for_where_the_help_says() {
    let home = Home::new();
    let (train, valid) = (csv(&["0"]), csv(&["24"]));
    let is_from = |folder: &str, variable: Option<&str>| {
        let mut command = home.command(&["data", "info"]);
        command.envs(variable.map(|folder| ("SIGNET_DATA", folder)));
        let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
        assert!(text.lines().next().unwrap().contains(folder), "{folder}: {text}");
    };
    is_from("not on this machine", None);
    home.folder("cache/signet/asl", train.as_bytes(), valid.as_bytes());
    is_from("cache/signet/asl)", None);
    home.folder("data/asl_data", train.as_bytes(), valid.as_bytes());
    is_from("(data/asl_data)", None);
    home.folder("own", train.as_bytes(), valid.as_bytes());
    is_from("(own)", Some("own"));
}

#[test]
fn looking_does_not_download() {
    let home = Home::new();
    let json = home.stdout(&["data", "info", "--json"]);
    let absent: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(absent["available"], false);
    assert_eq!(absent["download_bytes"], 83_281_065 + 21_777_485);
    assert!(home.entries().is_empty(), "{:?}", home.entries());
}

#[test]
fn without_a_network_the_synthetic_set_steps_in_and_says_so() {
    let home = Home::new();
    let start = Instant::now();
    let output = home.run(&["data", "show"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(start.elapsed() < Duration::from_secs(10));
    let text = stderr(&output);
    assert!(text.contains("downloading Sign Language MNIST, 105 MB, from http://127."), "{text}");
    assert!(text.contains("the connection was refused"), "{text}");
    assert!(text.contains("using the built-in synthetic hands instead"), "{text}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("synthetic hands (seed 0)"));
    assert_eq!(fs::read_dir(home.path("cache/signet/asl")).unwrap().count(), 0);
}

#[test]
fn offline_never_asks_the_network() {
    let home = Home::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let watched = format!("http://{}/", listener.local_addr().unwrap());
    let mut command = home.command(&["data", "info", "--offline"]);
    let output = command.env("SIGNET_MIRRORS", watched).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(stderr(&output).contains("--offline forbids"), "{}", stderr(&output));
    assert!(listener.accept().is_err(), "somebody connected");
}

#[test]
fn fetch_without_a_network_fails() {
    let home = Home::new();
    let stderr = home.error(&["data", "fetch", "--out", "new"]);
    assert!(stderr.contains("cannot download sign_mnist_train.csv: the connection was refused"));
    assert!(stderr.contains("help: this needs a network"), "{stderr}");
    assert_eq!(fs::read_dir(home.path("new")).unwrap().count(), 0);
}

#[test]
fn fetch_leaves_a_users_own_file_alone() {
    let home = Home::new();
    home.folder("own", b"mine", b"");
    let stderr = home.error(&["data", "fetch", "--out", "own"]);
    assert!(stderr.contains("sign_mnist_train.csv: it exists, and is not the published file"));
    assert_eq!(fs::read(home.path("own/sign_mnist_train.csv")).unwrap(), b"mine");
    fs::write(home.path("file"), "").unwrap();
    assert!(home.error(&["data", "fetch", "--out", "file"]).contains("cannot write into it"));
}

#[test]
fn show_writes_a_picture_and_says_where() {
    let home = Home::new();
    let data = home.folder("d", csv(&["0", "24"]).as_bytes(), csv(&["1"; 9]).as_bytes());
    let show = |more: &[&str]| home.stdout(&[&["data", "show", "--data", &data], more].concat());
    let text = show(&[]);
    assert!(text.starts_with("contact-sheet.png: 2 of 2 train images, Sign Language"), "{text}");
    assert_eq!(size(&home.path("contact-sheet.png")), (2 * 124 + 12, 146 + 12));
    let text = show(&["--split", "valid", "--count", "9", "--out", "other.png"]);
    assert!(text.starts_with("other.png: 9 of 9 valid images"), "{text}");
    assert_eq!(size(&home.path("other.png")), (8 * 124 + 12, 2 * 146 + 12));
    assert_eq!(home.entries().len(), 3, "{:?}", home.entries());

    fn size(path: &Path) -> (u32, u32) {
        let decoder = png::Decoder::new(std::io::BufReader::new(fs::File::open(path).unwrap()));
        let reader = decoder.read_info().unwrap();
        (reader.info().width, reader.info().height)
    }
}

#[test]
fn a_picture_that_cannot_be_written_is_an_error_and_leaves_nothing() {
    let home = Home::new();
    let data = home.folder("d", csv(&["0"]).as_bytes(), csv(&["24"]).as_bytes());
    fs::create_dir(home.path("folder")).unwrap();
    for out in ["missing/sheet.png", "folder", "d/sign_mnist_train.csv/x.png"] {
        let stderr = home.error(&["data", "show", "--data", &data, "--out", out]);
        assert!(stderr.contains(&format!("cannot write {out}: ")), "{stderr}");
    }
    assert_eq!(home.entries().len(), 2, "{:?}", home.entries());
    assert_eq!(fs::read_dir(home.path("folder")).unwrap().count(), 0);
}

/// What `signet data info | head -0` does.
#[test]
fn a_closed_pipe_is_no_error() {
    let home = Home::new();
    let data = home.folder("d", csv(&["0"]).as_bytes(), csv(&["24"]).as_bytes());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = home.command(&["data", "info", "--data", &data]);
    let child = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stderr(&output), "");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    let home = Home::new();
    let data = home.folder("d", csv(&["0"]).as_bytes(), csv(&["24"]).as_bytes());
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = home.command(&["data", "info", "--data", &data]);
    let output = command.stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("error: cannot write stdout"), "{}", stderr(&output));
}

/// Whoever writes into a pipe may never come.
#[cfg(unix)]
#[test]
fn a_pipe_is_no_data() {
    let home = Home::new();
    let pipe = home.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert!(home.error(&["data", "info", "--data", "pipe"]).contains("pipe: it is not a folder"));
    fs::create_dir(home.path("d")).unwrap();
    for name in ["sign_mnist_train.csv", "archive.zip"] {
        fs::rename(&pipe, home.path("d").join(name)).unwrap();
        let error = home.error(&["data", "info", "--data", "d"]);
        assert!(error.contains("d: there is no sign_mnist_train.csv in it"), "{error}");
        fs::rename(home.path("d").join(name), &pipe).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn a_folder_whose_name_is_no_utf8_is_data() {
    use std::os::unix::ffi::OsStrExt;
    let home = Home::new();
    home.folder("d", csv(&["0"]).as_bytes(), csv(&["24"]).as_bytes());
    let name = std::ffi::OsStr::from_bytes(b"d\xfe");
    fs::rename(home.path("d"), home.0.path().join(name)).unwrap();
    let output = home.command(&["data", "info", "--json", "--data"]).arg(name).output().unwrap();
    let info: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(info["files"][0]["path"], "d\u{fffd}/sign_mnist_train.csv", "{}", stderr(&output));
}

#[test]
fn info_describes_an_archive() {
    let home = Home::new();
    let mut writer = zip::ZipWriter::new(fs::File::create(home.path("archive.zip")).unwrap());
    for (name, labels) in [("sign_mnist_train.csv", ["0"]), ("sign_mnist_test.csv", ["24"])] {
        writer.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        std::io::Write::write_all(&mut writer, csv(&labels).as_bytes()).unwrap();
    }
    writer.finish().unwrap();
    for data in ["archive.zip", "."] {
        let text = home.stdout(&["data", "info", "--data", data]);
        let place = Path::new(data).join("archive.zip");
        let place = if data == "." { place } else { data.into() };
        let file = format!("file     {}/sign_mnist_train.csv (sha256 ", place.display());
        assert!(text.contains(&file) && text.contains("1 train, 1 valid"), "{text}");
    }
}
