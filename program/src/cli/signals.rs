//! Ctrl-C and its like.

use std::sync::atomic::{AtomicBool, Ordering};

use signet::{Error, Result};

/// The exit code of a program that a signal stopped, as shells give it for Ctrl-C.
pub const INTERRUPTED: u8 = 130;

/// Has the first Ctrl-C, SIGTERM or SIGHUP do `first`. Another ends the program at once, after
/// `tidy`.
///
/// # Errors
/// When the system does not allow it.
pub fn on_signals(
    first: impl Fn() + Send + 'static,
    tidy: impl Fn() + Send + 'static,
) -> Result<()> {
    let asked = AtomicBool::new(false);
    ctrlc::set_handler(move || {
        if asked.swap(true, Ordering::Relaxed) {
            tidy();
            std::process::exit(i32::from(INTERRUPTED));
        }
        first();
    })
    .map_err(|e| Error::argument("signal handler", e.to_string()))
}
