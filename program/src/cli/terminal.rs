//! The terminal that stdout and stderr may be.

use std::io;

use console::Term;
use indicatif::{ProgressBar, ProgressDrawTarget, TermLike};

/// Where a terminal does not say how wide it is.
const USUAL_WIDTH: u16 = 80;

/// Columns for the `^C` that a terminal shows when someone stops the program, and one more, as some
/// terminals wrap after the last.
const MARGIN: u16 = 3;

/// How often a second a bar is drawn at most.
const DRAWS: u8 = 20;

/// Whether people see what is written to stdout.
pub fn stdout_is_terminal() -> bool {
    Term::stdout().is_term()
}

/// How many columns a line on stdout may have.
pub fn stdout_width() -> usize {
    usize::from(width(&Term::stdout())) - 1
}

/// How many columns a table on stdout may have: as many as it likes where no terminal wraps them.
pub fn table_width() -> usize {
    if stdout_is_terminal() { stdout_width() } else { usize::MAX }
}

/// The same on stderr.
pub fn notes_width() -> usize {
    let stderr = Term::stderr();
    if stderr.is_term() { usize::from(width(&stderr)) - 1 } else { usize::MAX }
}

/// How many columns a bar on stderr may have.
pub fn bar_width() -> usize {
    Stderr(Term::stderr()).width().into()
}

/// Where a bar is drawn: on stderr, or nowhere.
///
/// It is nowhere if stderr is no terminal, or one that knows no cursor. It is nowhere too if stdout
/// is a pipe, as in `signet train | tee log`: the pipe's reader may write to this same terminal, into
/// the middle of the bar.
pub fn bar_target() -> ProgressDrawTarget {
    let drawable = !ProgressBar::new(0).is_hidden();
    if drawable && !stdout_is_pipe() {
        let stderr = Box::new(Stderr(Term::stderr()));
        ProgressDrawTarget::term_like_with_hz(stderr, DRAWS)
    } else {
        ProgressDrawTarget::hidden()
    }
}

fn width(terminal: &Term) -> u16 {
    match terminal.size_checked() {
        Some((_, columns)) if columns > 0 => columns,
        _ => USUAL_WIDTH,
    }
}

#[cfg(unix)]
fn stdout_is_pipe() -> bool {
    use std::os::fd::AsFd;
    use std::os::unix::fs::FileTypeExt;
    let stdout = io::stdout().as_fd().try_clone_to_owned().map(std::fs::File::from);
    stdout.and_then(|file| file.metadata()).is_ok_and(|file| file.file_type().is_fifo())
}

#[cfg(not(unix))]
fn stdout_is_pipe() -> bool {
    !stdout_is_terminal()
}

/// Stderr, narrower than it is. Bars fill their line, and behind a full line the `^C` would start
/// another: then that would be cleared in the end, and the bar would stay.
#[derive(Debug)]
struct Stderr(Term);

impl TermLike for Stderr {
    fn width(&self) -> u16 {
        width(&self.0).saturating_sub(MARGIN).max(1)
    }

    fn height(&self) -> u16 {
        self.0.size().0
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_up(n)
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_down(n)
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_right(n)
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_left(n)
    }

    fn write_line(&self, line: &str) -> io::Result<()> {
        self.0.write_line(line)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.0.write_str(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.0.clear_line()
    }

    fn flush(&self) -> io::Result<()> {
        self.0.flush()
    }
}
