//! Fetches the published files into a folder.
//!
//! What may go wrong is somebody else's machine, so: each mirror has five seconds to answer and to
//! send the next bytes, whether there is a network at all is known within ten seconds, a file is
//! in its place only once its checksum is right, and several processes may fill one folder at the
//! same time, since each writes a file of its own and renames it.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use ureq::http::Response;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body};

use super::{MIRRORS, PublishedFile};
use crate::words::hex;
use signet::data::DataError;
use signet::files::{remove_abandoned, sync_folder, temporary_file};

/// How long to wait for other machines.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// For one mirror to say something.
    silence: Duration,
    /// For the first of all mirrors to answer; after that, there is no network.
    decision: Duration,
}

const PATIENCE: Patience =
    Patience { silence: Duration::from_secs(5), decision: Duration::from_secs(9) };

/// How old a file that was being written must be for nobody to be at it any more.
const ABANDONED: Duration = Duration::from_secs(3600);

/// Told about the progress of a download.
pub trait Progress {
    /// Bytes of `file` that have arrived so far, after unpacking; starts again for another mirror.
    fn bytes(&mut self, file: &PublishedFile<'_>, bytes: u64);
    /// A mirror failed, and the next one is tried if there is one.
    fn failed(&mut self, url: &str, reason: &str);
}

/// The folders to download from: the public ones, or those in `SIGNET_MIRRORS`, addresses with
/// spaces between them, for a site with a copy of its own (and for tests).
pub fn mirrors() -> Vec<String> {
    match std::env::var("SIGNET_MIRRORS") {
        Ok(own) if !own.trim().is_empty() => {
            own.split_whitespace().map(|url| format!("{}/", url.trim_end_matches('/'))).collect()
        }
        _ => MIRRORS.map(str::to_owned).to_vec(),
    }
}

/// Downloads `files` into `folder`, from the first of `mirrors` that has them right.
///
/// A file that is there already and right is kept; another of its name is replaced.
///
/// # Errors
/// If no mirror delivers a file, with the reason of each; or if the folder cannot be written.
pub fn download(
    files: &[PublishedFile<'_>],
    mirrors: &[String],
    folder: &Path,
    progress: &mut dyn Progress,
) -> Result<(), DataError> {
    download_with(PATIENCE, files, mirrors, folder, progress)
}

fn download_with(
    patience: Patience,
    files: &[PublishedFile<'_>],
    mirrors: &[String],
    folder: &Path,
    progress: &mut dyn Progress,
) -> Result<(), DataError> {
    fs::create_dir_all(folder).map_err(|error| cannot_write(folder, &error))?;
    remove_abandoned(folder, ABANDONED);
    let mut online = None;
    for file in files {
        let target = folder.join(file.name);
        if file.is_at(&target) {
            continue;
        }
        let online = match &mut online {
            Some(online) => online,
            none => none.insert(Online::new(patience)?),
        };
        fetch(file, mirrors, folder, online, progress)?;
    }
    Ok(())
}

/// Fetches one file from the first mirror that has it right.
fn fetch(
    file: &PublishedFile<'_>,
    mirrors: &[String],
    folder: &Path,
    online: &mut Online,
    progress: &mut dyn Progress,
) -> Result<(), DataError> {
    let mut reasons = Vec::new();
    for mirror in mirrors {
        let url = format!("{mirror}{}", file.name);
        let reason = match fetch_from(&url, file, folder, online, progress) {
            Ok(()) => return Ok(()),
            Err(Failure::Folder(error)) => return Err(error),
            Err(Failure::Mirror(reason)) => reason,
        };
        progress.failed(&url, &reason);
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    let reasons = if reasons.is_empty() { "no mirror".to_owned() } else { reasons.join("; ") };
    Err(DataError::new(format!("cannot download {}: {reasons}", file.name)))
}

/// Why a file did not arrive.
enum Failure {
    /// The mirror's fault: another one may do better.
    Mirror(String),
    /// This machine's fault: no mirror can help.
    Folder(DataError),
}

fn fetch_from(
    url: &str,
    file: &PublishedFile<'_>,
    folder: &Path,
    online: &mut Online,
    progress: &mut dyn Progress,
) -> Result<(), Failure> {
    let mut body = online.get(url).map_err(Failure::Mirror)?.into_body().into_reader();
    let in_folder = |error: std::io::Error| Failure::Folder(cannot_write(folder, &error));

    // Goes away by itself unless it is put in its place at the end.
    let mut part = temporary_file(folder).map_err(in_folder)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    let mut arrived = 0;
    loop {
        let read = body
            .read(&mut buffer)
            .map_err(|error| Failure::Mirror(format!("the transfer broke off: {error}")))?;
        if read == 0 {
            break;
        }
        arrived += read as u64;
        if arrived > file.size {
            return Err(Failure::Mirror(format!("it sent more than {} bytes", file.size)));
        }
        hash.update(&buffer[..read]);
        part.write_all(&buffer[..read]).map_err(in_folder)?;
        progress.bytes(file, arrived);
    }
    if arrived < file.size {
        let reason = format!("the transfer ended after {arrived} of {} bytes", file.size);
        return Err(Failure::Mirror(reason));
    }
    if hex(&hash.finalize()) != file.sha256 {
        return Err(Failure::Mirror("what it sent has the wrong sha256".to_owned()));
    }
    part.as_file().sync_all().map_err(in_folder)?;
    part.persist(folder.join(file.name)).map_err(|error| in_folder(error.error))?;
    sync_folder(folder).map_err(in_folder)
}

fn cannot_write(folder: &Path, error: &std::io::Error) -> DataError {
    DataError::new(format!("cannot write into it: {error}")).in_file(folder)
}

/// The network, and whether it has answered yet.
struct Online {
    agent: Agent,
    patience: Patience,
    start: Instant,
    answered: bool,
}

impl Online {
    /// # Errors
    /// If the certificates that the user names cannot be read.
    fn new(patience: Patience) -> Result<Self, DataError> {
        let tls = TlsConfig::builder().root_certs(trusted_certificates()?).build();
        let silence = Some(patience.silence);
        let config = Agent::config_builder()
            .timeout_resolve(silence)
            .timeout_connect(silence)
            .timeout_recv_response(silence)
            .timeout_per_read(silence)
            .user_agent(concat!("signet/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls)
            .build();
        Ok(Self { agent: config.into(), patience, start: Instant::now(), answered: false })
    }

    /// The answer to a request for `url`, or why there is none.
    ///
    /// Looking up the name, connecting, shaking hands and waiting each have a time limit of their
    /// own; a thread of its own bounds them together, and what it still does after that is lost.
    fn get(&mut self, url: &str) -> Result<Response<Body>, String> {
        let Patience { silence, decision } = self.patience;
        let no_answer = || format!("no answer within {} seconds", silence.as_secs_f64());
        let mut limit = silence;
        if !self.answered {
            limit = limit.min(decision.saturating_sub(self.start.elapsed()));
        }
        if limit.is_zero() {
            return Err(no_answer());
        }
        let (sender, receiver) = mpsc::channel();
        let (agent, address) = (self.agent.clone(), url.to_owned());
        std::thread::spawn(move || {
            // The other end is gone if time ran out: nobody wants the answer any more.
            let _ = sender.send(agent.get(&address).call());
        });
        let answer = receiver.recv_timeout(limit);
        self.answered |= matches!(answer, Ok(Ok(_) | Err(ureq::Error::StatusCode(_))));
        match answer {
            Ok(Ok(response)) => Ok(response),
            Err(_) | Ok(Err(ureq::Error::Timeout(_))) => Err(no_answer()),
            Ok(Err(error)) => Err(reason(&error)),
        }
    }
}

/// Whose certificates are believed: those of the file `SSL_CERT_FILE` and the folders `SSL_CERT_DIR`
/// where one is set, else the system's, among them those of a company's inspecting proxy; where a
/// system has none, as in a small container, Mozilla's.
fn trusted_certificates() -> Result<RootCerts, DataError> {
    let found = rustls_native_certs::load_native_certs();
    let certificates = found.certs.iter().map(|c| Certificate::from_der(c).to_owned());
    if !found.certs.is_empty() {
        return Ok(RootCerts::from(certificates.collect::<Vec<_>>()));
    }
    let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().find_map(|name| {
        let value = std::env::var_os(name).filter(|value| !value.is_empty())?;
        Some((name, PathBuf::from(value)))
    });
    let Some((name, path)) = named else { return Ok(RootCerts::WebPki) };
    let why = found.errors.first().map_or_else(
        || "it holds no certificate as PEM text (-----BEGIN CERTIFICATE-----)".to_owned(),
        ToString::to_string,
    );
    let error = DataError::new(format!("no certificate can be read from it: {why}")).in_file(path);
    Err(error.with_help(format!("{name} names it; name another file, or unset {name}")))
}

/// A failed request, in plain words.
fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::StatusCode(404) => "the file is not there (HTTP 404)".to_owned(),
        ureq::Error::StatusCode(code) => format!("the server refused it (HTTP {code})"),
        ureq::Error::HostNotFound => {
            "the server's name cannot be looked up (no network?)".to_owned()
        }
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            "the connection was refused".to_owned()
        }
        // It comes as an error of the connection's, or of the handshake's.
        error if is_of_a_stranger(&error.to_string()) => {
            "its certificate is of an authority that this machine does not trust; if that is a \
             proxy that looks into connections, name the proxy's certificate in SSL_CERT_FILE"
                .to_owned()
        }
        // The resolver's answer has no kind of its own.
        ureq::Error::Io(error) if error.to_string().contains("lookup address") => {
            "the server's name cannot be looked up (no network?)".to_owned()
        }
        other => other.to_string(),
    }
}

/// Whether an error is about a certificate of an authority that is not trusted, or that only has the
/// name of one that is.
fn is_of_a_stranger(error: &str) -> bool {
    error.contains("UnknownIssuer") || error.contains("BadSignature")
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// So short that the tests take no time, in the proportion of [`PATIENCE`].
    const SHORT: Patience =
        Patience { silence: Duration::from_millis(500), decision: Duration::from_millis(900) };

    const TEXT: &[u8] = b"label,pixel1\r\n3,4\r\n";

    fn sha256(bytes: &[u8]) -> String {
        hex(&Sha256::digest(bytes))
    }

    /// What a mirror does with each connection.
    #[derive(Clone, Copy)]
    enum Manner {
        Sends(&'static [u8]),
        /// Sends a byte at a time, without haste.
        Drips,
        /// Promises more bytes than it sends.
        BreaksOff,
        /// Sends the head of an answer and half of the body, then nothing.
        Stalls,
        NotFound,
        /// Accepts connections and never says a word.
        Silent,
    }

    /// A mirror on this machine; it lives as long as the test program.
    fn mirror(manner: Manner) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            for stream in listener.incoming().map_while(Result::ok) {
                kept.extend(serve(stream, manner));
            }
        });
        format!("http://{address}/")
    }

    /// Answers one request; gives the connection back if it is to stay open.
    fn serve(mut stream: TcpStream, manner: Manner) -> Option<TcpStream> {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        let (status, length, body) = match manner {
            Manner::Sends(body) => ("200 OK", body.len(), body),
            Manner::BreaksOff | Manner::Stalls => ("200 OK", TEXT.len(), &TEXT[..5]),
            Manner::Drips => ("200 OK", TEXT.len(), &b""[..]),
            Manner::NotFound => ("404 Not Found", 0, &b""[..]),
            Manner::Silent => return Some(stream),
        };
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n");
        let _ = stream.write_all(&[head.as_bytes(), body].concat());
        if matches!(manner, Manner::Drips) {
            for byte in TEXT {
                std::thread::sleep(SHORT.silence / 10);
                let _ = stream.write_all(&[*byte]);
            }
        }
        matches!(manner, Manner::Stalls).then_some(stream)
    }

    /// An address where nobody listens.
    fn refusing() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/", listener.local_addr().unwrap())
    }

    #[derive(Default)]
    struct Log {
        bytes: u64,
        failed: Vec<String>,
    }

    impl Progress for Log {
        fn bytes(&mut self, _: &PublishedFile<'_>, bytes: u64) {
            self.bytes = bytes;
        }

        fn failed(&mut self, _: &str, reason: &str) {
            self.failed.push(reason.to_owned());
        }
    }

    /// Downloads one file of [`TEXT`] from `mirrors`; checks that nothing else is left behind.
    fn run(mirrors: &[String], folder: &Path) -> (Result<(), DataError>, Log) {
        let sha256 = sha256(TEXT);
        let file = PublishedFile { name: "a.csv", size: TEXT.len() as u64, sha256: &sha256 };
        let mut log = Log::default();
        let result = download_with(SHORT, &[file], mirrors, folder, &mut log);
        let names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        match result {
            Ok(()) => {
                assert_eq!(names, ["a.csv"]);
                assert_eq!(fs::read(folder.join("a.csv")).unwrap(), TEXT);
            }
            Err(_) => assert!(names.is_empty(), "{names:?}"),
        }
        (result, log)
    }

    #[test]
    fn a_good_mirror_is_used_and_a_file_that_is_there_is_kept() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("new").join("folder");
        let good = mirror(Manner::Sends(TEXT));
        let (result, log) = run(&[good], &folder);
        assert_eq!((result, log.bytes), (Ok(()), TEXT.len() as u64));
        let (result, log) = run(&[refusing()], &folder);
        assert_eq!((result, log.bytes, log.failed.len()), (Ok(()), 0, 0));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(folder.join("a.csv")).unwrap().permissions().mode();
            let ordinary = root.path().join("ordinary");
            fs::write(&ordinary, "").unwrap();
            assert_eq!(mode, fs::metadata(ordinary).unwrap().permissions().mode());
        }
    }

    #[test]
    fn the_next_mirror_is_tried_after_every_kind_of_failure() {
        let root = tempfile::tempdir().unwrap();
        let mirrors = [
            refusing(),
            mirror(Manner::NotFound),
            mirror(Manner::Sends(b"label,pixel1\r\n3,5\r\n")),
            mirror(Manner::Sends(b"label,pixel1\r\n3,4\r\n and more")),
            mirror(Manner::Sends(b"label")),
            mirror(Manner::BreaksOff),
            mirror(Manner::Sends(TEXT)),
        ];
        let (result, log) = run(&mirrors, root.path());
        assert_eq!(result, Ok(()));
        let reasons = [
            "refused",
            "HTTP 404",
            "wrong sha256",
            "sent more than 19",
            "after 5 of 19",
            "broke off",
        ];
        assert_eq!(log.failed.len(), reasons.len());
        for (said, reason) in log.failed.iter().zip(reasons) {
            assert!(said.contains(reason), "{said} / {reason}");
        }
    }

    #[test]
    fn a_wrong_file_in_the_folder_is_replaced() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("a.csv"), [b'x'; TEXT.len()]).unwrap();
        assert_eq!(run(&[mirror(Manner::Sends(TEXT))], root.path()).0, Ok(()));
    }

    #[test]
    fn if_no_mirror_has_it_the_reasons_are_named_and_nothing_is_left() {
        let root = tempfile::tempdir().unwrap();
        let bad = mirror(Manner::Sends(b"label,pixel1\r\n3,5\r\n"));
        let error = run(&[refusing(), bad, refusing()], root.path()).0.unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("cannot download a.csv: the connection was refused; "), "{text}");
        assert!(text.ends_with("wrong sha256"), "{text}");
        assert!(run(&[], root.path()).0.is_err());
    }

    /// However many mirrors are silent, the decision comes within ten seconds (here: one).
    #[test]
    fn silence_is_given_up_in_time() {
        let root = tempfile::tempdir().unwrap();
        let silent = [0; 4].map(|_| mirror(Manner::Silent));
        let start = Instant::now();
        let error = run(&silent, root.path()).0.unwrap_err();
        assert!(error.to_string().ends_with("no answer within 0.5 seconds"), "{error}");
        let all = SHORT.decision + Duration::from_millis(400);
        assert!(start.elapsed() < all, "{:?}", start.elapsed());
        const { assert!(PATIENCE.decision.as_secs() < 10) };
    }

    #[test]
    fn a_mirror_that_stalls_in_the_middle_is_given_up() {
        let root = tempfile::tempdir().unwrap();
        let mirrors = [mirror(Manner::Stalls), mirror(Manner::Sends(TEXT))];
        let (result, log) = run(&mirrors, root.path());
        assert_eq!(result, Ok(()));
        assert!(log.failed[0].contains("broke off"), "{:?}", log.failed);
    }

    /// The limits are on silence, not on a download that takes long.
    #[test]
    fn a_slow_mirror_is_waited_for() {
        let root = tempfile::tempdir().unwrap();
        let start = Instant::now();
        assert_eq!(run(&[mirror(Manner::Drips)], root.path()).0, Ok(()));
        assert!(start.elapsed() > SHORT.silence, "{:?}", start.elapsed());
    }

    #[test]
    fn several_at_once_fill_one_folder() {
        let root = tempfile::tempdir().unwrap();
        let good = mirror(Manner::Sends(TEXT));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                let good = good.clone();
                scope.spawn(|| {
                    let sha256 = sha256(TEXT);
                    let size = TEXT.len() as u64;
                    let file = PublishedFile { name: "a.csv", size, sha256: &sha256 };
                    download(&[file], &[good], root.path(), &mut Log::default()).unwrap();
                });
            }
        });
        assert_eq!(run(&[], root.path()).0, Ok(()), "one whole file and no rest");
    }

    #[test]
    fn what_a_killed_process_left_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let file = |name: &str, hours: u64| {
            let path = root.path().join(name);
            let time = std::time::SystemTime::now() - Duration::from_secs(3600 * hours);
            fs::File::create(&path).unwrap().set_modified(time).unwrap();
            path
        };
        let old = file(".signet-old.part", 2);
        let kept = [file(".signet-new.part", 0), file(".signet-old.csv", 2), file("old.part", 2)];
        download(&[], &[], root.path(), &mut Log::default()).unwrap();
        assert!(!old.exists());
        assert!(kept.iter().all(|path| path.exists()));
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        let error = download(&[], &[], &file.join("folder"), &mut Log::default()).unwrap_err();
        assert!(error.to_string().contains("cannot write into it"), "{error}");
    }
}
