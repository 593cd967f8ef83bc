//! A test in a process of its own.

use std::process::Command;

/// The running test binary again, for the test `name` alone, modules and all: what differs in that process
/// is for the caller to say, in its environment.
///
/// # Panics
/// If nobody knows where the binary is.
pub fn again(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a running program has a path"));
    // The name is exact, so a test that is left out as a rule is wanted here.
    command.args([name, "--exact", "--include-ignored", "--nocapture", "--test-threads=1"]);
    command
}
