//! Tests in processes of their own: a driver error is sticky for a process, and check mode is a
//! property of one.
#![forbid(unsafe_code)]

use std::fs;
use std::process::Command;

use crate::report::Report;
use crate::temp::TempDir;

/// Tells a child which test it is there for.
const CHILD: &str = "CUSIM_CHILD";

/// What a child left behind.
#[derive(Debug)]
pub struct ChildOutput {
    /// Whether the test passed.
    pub success: bool,
    /// Standard output, standard error, and how it ended.
    pub output: String,
    pub reports: Vec<Report>,
    /// Every driver and NVRTC function it called, in order (for one thread).
    pub calls: Vec<String>,
}

/// Runs the test `name` of the running test binary again, as a child with these environment
/// variables. `None` in that child: it goes on to do the work.
///
/// ```no_run
/// #[test]
/// fn finds_the_race() {
///     let Some(child) = cusim::in_child("finds_the_race", &[("CUSIM_CHECK", "1")]) else {
///         return; // the child: launch the kernel here
///     };
///     assert_eq!(child.reports[0].kind, "race");
/// }
/// ```
///
/// # Panics
/// If the child cannot be started.
#[must_use]
pub fn in_child(name: &str, variables: &[(&str, &str)]) -> Option<ChildOutput> {
    if std::env::var(CHILD).is_ok_and(|child| child == name) {
        return None;
    }
    let dir = TempDir::new().expect("a temporary directory can be made");
    let (report, trace) = (dir.path().join("report"), dir.path().join("trace"));
    let exe = std::env::current_exe().expect("a running program has a path");
    let mut command = Command::new(exe);
    // The name is exact, so a test that is left out as a rule is wanted here.
    command.args([name, "--exact", "--include-ignored", "--nocapture", "--test-threads=1"]);
    command.env("CUSIM_REPORT", &report).env("CUSIM_TRACE", &trace).env(CHILD, name);
    command.envs(variables.iter().copied());
    let output = command.output().expect("the test binary can be run again");
    let text = [output.stdout, output.stderr].map(|t| String::from_utf8_lossy(&t).into_owned());
    let output_text = format!("{}{}", text.concat(), output.status);
    assert!(output_text.contains("running 1 test"), "no test is called {name}");
    // Neither file exists if there was nothing to write.
    let report = fs::read_to_string(report).unwrap_or_default();
    let trace = fs::read_to_string(trace).unwrap_or_default();
    Some(ChildOutput {
        success: output.status.success(),
        output: output_text,
        reports: report.lines().filter_map(Report::from_json).collect(),
        calls: trace.lines().map(str::to_owned).collect(),
    })
}
