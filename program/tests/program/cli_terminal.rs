//! What `signet train` shows on a terminal: under a pseudo terminal, whose bytes a terminal emulator
//! turns into a screen.
#![cfg(unix)]

use crate::common;

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::num::NonZeroU16;
use std::process::{Command, ExitStatus};

use pty_process::Size;
use pty_process::blocking::{Pty, open};
use vt100::Parser;

use common::program::{Place, run, signet, stderr, stdout, with_model};

/// Enough rows that nothing leaves the screen.
const ROWS: u16 = 120;

/// A terminal with the program on it.
struct Terminal {
    pty: Pty,
    child: std::process::Child,
    screen: Parser,
    bytes: Vec<u8>,
    /// The screens so far that showed a bar.
    bars: Vec<Vec<String>>,
}

impl Terminal {
    fn start(columns: u16, command: Command) -> Self {
        Self::start_with(columns, command.into())
    }

    fn start_with(columns: u16, command: pty_process::blocking::Command) -> Self {
        let (pty, pts) = open().unwrap();
        pty.resize(Size::new(ROWS, columns)).unwrap();
        let child = command.spawn(pts).unwrap();
        let screen = Parser::new(size(ROWS), size(columns), 0);
        Self { pty, child, screen, bytes: Vec::new(), bars: Vec::new() }
    }

    /// Reads on; false when the program has closed the terminal.
    fn read(&mut self) -> bool {
        let mut chunk = [0; 1024];
        match self.pty.read(&mut chunk) {
            Ok(0) => false,
            // What Linux says once the other side is closed.
            Err(error) if error.raw_os_error() == Some(5) => false,
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(error) => panic!("{error}"),
            Ok(count) => {
                self.bytes.extend(&chunk[..count]);
                // Byte by byte: a bar may come and go within a chunk.
                for &byte in &chunk[..count] {
                    self.screen.process(&[byte]);
                    if byte == b'\r' || byte == b'\n' || byte == b't' || byte == b'g' {
                        self.look();
                    }
                }
                true
            }
        }
    }

    fn look(&mut self) {
        let bars: Vec<String> = self.lines().into_iter().filter(|line| is_bar(line)).collect();
        if !bars.is_empty() {
            self.bars.push(bars);
        }
    }

    fn lines(&self) -> Vec<String> {
        self.screen.screen().contents().lines().map(|line| line.trim_end().to_owned()).collect()
    }

    fn resize(&mut self, columns: u16) {
        self.pty.resize(Size::new(ROWS, columns)).unwrap();
        self.screen.set_size(size(ROWS), size(columns));
    }

    /// Reads to the end.
    fn finish(&mut self) -> ExitStatus {
        while self.read() {}
        self.child.wait().unwrap()
    }

    /// That nothing of a bar is left, the cursor is to be seen and at the start of a line.
    #[track_caller]
    fn check_tidy(&self) {
        let lines = self.lines();
        assert!(!lines.iter().any(|line| line.contains(['━', '─'])), "{lines:#?}");
        assert!(!self.screen.screen().hide_cursor(), "the cursor is hidden");
        assert_eq!(self.screen.screen().cursor_position().1, 0, "{lines:#?}");
        for bars in &self.bars {
            assert_eq!(bars.len(), 1, "two bars at a time: {bars:#?}");
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

fn size(of: u16) -> NonZeroU16 {
    NonZeroU16::new(of).unwrap()
}

fn is_bar(line: &str) -> bool {
    line.contains(['━', '─'])
}

/// `train` as a command for a terminal that knows everything.
fn train(place: &Place, name: &str, more: &[&str]) -> Command {
    let mut command = signet(&place.train(name, more));
    command.args(["--device", "cpu"]);
    command.env("TERM", "xterm-256color").env_remove("NO_COLOR").env_remove("CLICOLOR");
    command
}

/// The first word of each line of an epoch: heading and numbers.
fn epochs(lines: &[String]) -> Vec<&str> {
    let table = lines.iter().skip_while(|line| !line.starts_with("Epoch  "));
    let table = table.take_while(|line| !line.starts_with("best: "));
    table.map(|line| line.split_whitespace().next().unwrap_or("")).collect()
}

#[test]
fn a_terminal_shows_a_bar_and_keeps_a_line_for_each_epoch() {
    for columns in [40, 80, 200] {
        let place = Place::new(2048, 768);
        let command = train(&place, "a", &["--epochs", "3"]);
        let mut terminal = Terminal::start(columns, command);
        assert!(terminal.finish().success(), "{}", terminal.text());
        terminal.check_tidy();
        assert_eq!(epochs(&terminal.lines()), ["Epoch", "0", "1", "2"], "{:#?}", terminal.lines());
        assert!(!terminal.text().contains("Train - Loss"), "the notebook's lines are for pipes");
        let bars: Vec<_> = terminal.bars.iter().flatten().collect();
        for epoch in ["    0  ", "    1  ", "    2  "] {
            assert!(bars.iter().any(|bar| bar.starts_with(epoch)), "{columns}: {bars:#?}");
        }
        assert!(bars.iter().any(|bar| bar.contains("/64")), "{columns}: {bars:#?}");
        // Where there is no room for both, the time that is left is what a bar is looked at for.
        let loss = bars.iter().any(|bar| bar.contains("loss "));
        assert!(loss || columns < 80, "{columns}: {bars:#?}");
        assert!(bars.iter().any(|bar| bar.contains(" left")), "{columns}: {bars:#?}");
        let speed = bars.iter().any(|bar| bar.contains(" images/s"));
        assert_eq!(speed, columns >= 80, "{columns}: {bars:#?}");
        // The validation has a bar too, which knows how many images are done.
        let validating = |bar: &String| {
            bar.contains("validating") && bar.contains("/768 images") && bar.contains('━')
        };
        assert_eq!(bars.iter().any(|bar| validating(bar)), columns >= 80, "{columns}: {bars:#?}");
        // The values are those of the run.
        let metrics = place.metrics("a");
        let accuracy = format!("{:.4}", metrics[2]["valid_accuracy"].as_f64().unwrap());
        let last = terminal.lines().into_iter().find(|line| line.starts_with("    2  ")).unwrap();
        assert!(last.contains(&accuracy), "{last}: {accuracy}");
    }
}

#[test]
fn a_plot_is_drawn_in_colours() {
    let place = Place::new(64, 32);
    let mut terminal = Terminal::start(80, train(&place, "a", &["--epochs", "2", "--plot"]));
    assert!(terminal.finish().success(), "{}", terminal.text());
    let text = terminal.text();
    // A dot of training, in its colour: no bytes of ours are shown for what they are.
    assert!(text.contains("\u{1b}[33m\u{2801}\u{1b}[0m") && !text.contains("u001b"), "{text}");
}

/// Only wider: what was made for a wider terminal than it meets is wrapped by the terminal, before
/// the program can know of it.
#[test]
fn a_terminal_may_change_its_size_meanwhile() {
    let place = Place::new(1600, 64);
    let mut terminal = Terminal::start(30, train(&place, "a", &["--epochs", "4"]));
    let mut sizes = [50, 80, 120, 200].into_iter();
    let mut seen = 0;
    while terminal.read() {
        if terminal.bars.len() > seen + 3
            && let Some(columns) = sizes.next()
        {
            terminal.resize(columns);
            seen = terminal.bars.len();
        }
    }
    assert!(terminal.child.wait().unwrap().success());
    assert_eq!(sizes.next(), None, "it was too fast to be resized: {}", terminal.bars.len());
    terminal.check_tidy();
    assert_eq!(epochs(&terminal.lines()), ["Epoch", "0", "1", "2", "3"], "{:#?}", terminal.lines());
}

#[test]
fn colours_and_control_bytes_are_for_terminals_that_want_them() {
    let place = Place::new(320, 32);
    let colour = "\u{1b}[36m";
    let show = |name: &str, variable: &str, value: &str| {
        let mut command = train(&place, name, &["--epochs", "1"]);
        command.env(variable, value);
        let mut terminal = Terminal::start(100, command);
        assert!(terminal.finish().success());
        terminal.check_tidy();
        assert_eq!(epochs(&terminal.lines()), ["Epoch", "0"]);
        terminal
    };
    let plain = show("plain", "TERM", "xterm");
    assert!(plain.text().contains(colour) && !plain.bars.is_empty());
    let grey = show("grey", "NO_COLOR", "1");
    assert!(!grey.text().contains(colour) && !grey.bars.is_empty());
    let dumb = show("dumb", "TERM", "dumb");
    assert!(!dumb.text().contains('\u{1b}') && dumb.bars.is_empty(), "{:?}", dumb.text());
}

#[test]
fn ctrl_c_leaves_a_tidy_terminal() {
    let place = Place::new(6400, 64);
    let mut terminal = Terminal::start(80, train(&place, "a", &["--epochs", "50"]));
    while terminal.read() {
        if terminal.bars.len() > 5 {
            break;
        }
    }
    terminal.pty.write_all(b"\x03").unwrap();
    let status = terminal.finish();
    assert_eq!(status.code(), Some(130), "{}", terminal.text());
    terminal.check_tidy();
    let text = terminal.text();
    let stopped = text.split("stopped ").nth(1).unwrap();
    // Where it was: at the start of an epoch, or after so many of its 200 steps.
    // It may go on in the next lines.
    let stopped = stopped.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(stopped.starts_with("before epoch") || stopped.contains(", after step "), "{text}");
    assert!(stopped.contains(" of 50 epochs done; go on with: signet train --resume "), "{text}");
}

#[test]
fn a_file_gets_the_notebooks_lines_while_the_terminal_shows_the_bar() {
    let place = Place::new(320, 32);
    let path = place.out.path().join("log");
    let command = pty_process::blocking::Command::from(train(&place, "a", &["--epochs", "2"]));
    let mut terminal = Terminal::start_with(80, command.stdout(File::create(&path).unwrap()));
    assert!(terminal.finish().success());
    terminal.check_tidy();
    assert!(!terminal.bars.is_empty());
    let log = fs::read_to_string(&path).unwrap();
    assert!(!log.contains(['\u{1b}', '\r']), "{log}");
    let lines: Vec<_> = log.lines().filter(|line| line.starts_with("Epoch: ")).collect();
    assert_eq!(lines, ["Epoch: 0", "Epoch: 1"]);
}

/// A pipe's reader may write to the same terminal: no bar then, so that nothing mixes.
#[test]
fn a_pipe_gets_plain_lines_and_no_bar() {
    let place = Place::new(320, 32);
    let mut command = Command::new("sh");
    let quoted = |arg: &str| format!("'{arg}'");
    let args: Vec<_> = place.train("a", &["--epochs", "2"]).into_iter().map(quoted).collect();
    let line = format!("'{}' {} --device cpu | cat", env!("CARGO_BIN_EXE_signet"), args.join(" "));
    command.args(["-c", &line]).env("TERM", "xterm-256color");
    let mut terminal = Terminal::start(80, command);
    assert!(terminal.finish().success());
    assert!(terminal.bars.is_empty() && !terminal.text().contains('\u{1b}'), "{}", terminal.text());
    assert!(terminal.text().contains("Epoch: 1\r\nTrain - Loss: "), "{}", terminal.text());

    let output = run(&place.train("b", &["--epochs", "2"]));
    for text in [stdout(&output), stderr(&output)] {
        assert!(!text.contains(['\u{1b}', '\r', '━', '─']), "{text}");
    }
}

#[test]
fn bytes_that_are_no_text_do_not_go_to_a_terminal() {
    let (_folder, model) = with_model(24);
    let command = signet(&["export", model.to_str().unwrap(), "--onnx", "-"]);
    let mut terminal = Terminal::start(80, command);
    assert_eq!(terminal.finish().code(), Some(2));
    let text = terminal.text();
    assert!(text.starts_with("error: --onnx: stdout is a terminal"), "{text}");
    assert!(text.len() < 300, "{text}");
}

/// What a terminal would wrap is longer than the terminal, of which no line of a table is: neither
/// the model's summary nor the epochs nor what `evaluate` prints.
#[test]
fn narrow_terminals_wrap_no_table() {
    let place = Place::new(320, 240);
    let trained = run(&place.train("a", &["--epochs", "1", "-q"]));
    assert!(trained.status.success(), "{}", stderr(&trained));
    let folder = place.run_folder("a");
    for columns in [40, 60] {
        let mut evaluate = signet(&["evaluate", folder.to_str().unwrap(), "--device", "cpu"]);
        evaluate.env("TERM", "xterm-256color");
        let name = columns.to_string();
        for command in [train(&place, &name, &["--epochs", "2", "--profile"]), evaluate] {
            let mut terminal = Terminal::start(columns, command);
            assert!(terminal.finish().success(), "{}", terminal.text());
            let text = terminal.text();
            let text = console::strip_ansi_codes(&text);
            for line in text.split(['\n', '\r']) {
                // Sentences go on in the next line. Commands and paths stay whole: the terminal wraps them,
                // and they can be copied.
                let words: Vec<_> = line.split_whitespace().collect();
                let is_whole = words.len() <= 2 || words[0] == "signet" || words[0] == "next:";
                let is_place = line.contains(place.out.path().to_str().unwrap());
                assert!(
                    line.chars().count() <= usize::from(columns) || is_whole || is_place,
                    "{columns}: {line:?}"
                );
            }
        }
        let evaluate = signet(&["evaluate", folder.to_str().unwrap(), "--device", "cpu"]);
        let mut terminal = Terminal::start(columns, evaluate);
        assert!(terminal.finish().success());
        let lines = terminal.lines();
        // All 24 columns of the matrix, in blocks.
        let heads = lines.iter().filter(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            words.len() > 3
                && words
                    .iter()
                    .all(|word| word.len() == 1 && word.as_bytes()[0].is_ascii_uppercase())
        });
        let letters: usize = heads.map(|line| line.split_whitespace().count()).sum();
        assert_eq!(letters, 24, "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains("mean loss")), "{lines:#?}");
    }
}

/// A resumed epoch has the speed of this process: what an earlier one did took no time here.
#[test]
fn a_resumed_run_claims_no_speed_that_it_does_not_have() {
    let place = Place::new(6400, 64);
    let mut terminal = Terminal::start(80, train(&place, "a", &["--epochs", "1"]));
    // In the second half of the epoch.
    while terminal.read() {
        if terminal.bars.last().is_some_and(|bars| bars[0].contains("━━━━━━━")) {
            break;
        }
    }
    terminal.pty.write_all(b"\x03").unwrap();
    assert_eq!(terminal.finish().code(), Some(130), "it was too fast: {}", terminal.text());
    let folder = place.run_folder("a");
    let mut resume = signet(&["train", "--resume", folder.to_str().unwrap(), "--device", "cpu"]);
    resume.env("TERM", "xterm-256color");
    let mut terminal = Terminal::start(100, resume);
    assert!(terminal.finish().success(), "{}", terminal.text());
    assert!(terminal.text().contains("going on in epoch 0, after step "), "{}", terminal.text());
    let metrics = String::from_utf8(place.file("a", "metrics.jsonl")).unwrap();
    let metrics: serde_json::Value = serde_json::from_str(metrics.trim()).unwrap();
    let whole = metrics["images_per_second"].as_f64().unwrap();
    for bar in terminal.bars.iter().flatten() {
        let Some(start) = bar
            .strip_suffix(" images/s")
            .or_else(|| bar.split_once(" images/s").map(|(start, _)| start))
        else {
            continue;
        };
        let speed = start.rsplit("  ").next().unwrap().replace(',', "");
        let speed: f64 = speed.trim().parse().unwrap();
        assert!(speed < 10.0 * whole, "{speed} where the epoch had {whole}: {bar}");
    }
}
