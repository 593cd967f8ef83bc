//! The program on a machine with a GPU, which cusim plays, or with something of it missing.

use super::program::{finish, signet, start, stderr, stdout};
use cusim::{LinkDir, Report};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use tempfile::TempDir;

/// A machine as a program sees it: its CUDA libraries, cusim's settings, a kernel cache of its own.
pub struct Machine {
    links: LinkDir,
    folder: TempDir,
    variables: Vec<(&'static str, String)>,
}

impl Machine {
    /// One with a GPU that works.
    pub fn new() -> Self {
        let links = LinkDir::new().expect("cusim was built with this test");
        Self { links, folder: tempfile::tempdir().unwrap(), variables: Vec::new() }
    }

    /// With one of cusim's settings, or another variable.
    pub fn with(mut self, variable: &'static str, value: &str) -> Self {
        self.variables.push((variable, value.to_owned()));
        self
    }

    /// Without the libraries whose file names begin with `name`.
    pub fn without(self, name: &str) -> Self {
        for path in self.libraries(name) {
            fs::remove_file(path).unwrap();
        }
        self
    }

    /// With a file that is no library in place of those whose names begin with `name`.
    pub fn with_broken(self, name: &str) -> Self {
        for path in self.libraries(name) {
            fs::remove_file(&path).unwrap();
            fs::write(&path, "no library").unwrap();
        }
        self
    }

    fn libraries(&self, name: &str) -> Vec<PathBuf> {
        let paths = fs::read_dir(self.links.path()).unwrap().map(|entry| entry.unwrap().path());
        let named = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(name);
        let libraries: Vec<PathBuf> = paths.filter(named).collect();
        assert!(!libraries.is_empty(), "cusim has no {name}");
        libraries
    }

    /// The program on this machine. It sees these libraries and the system's, no others: nothing
    /// that cargo or the caller put on the search path.
    pub fn signet(&self, args: &[&str]) -> Command {
        let mut command = signet(args);
        command.env("LD_LIBRARY_PATH", self.links.path());
        command.env("SIGNET_KERNEL_CACHE", self.kernel_cache());
        command.env("CUSIM_TRACE", self.trace_file()).env("CUSIM_REPORT", self.report_file());
        command.env("CUSIM_LEAKS", "1");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs the program to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        finish(start(&mut self.signet(args)))
    }

    /// Runs what must go well and leave nothing to report.
    #[track_caller]
    pub fn run_clean(&self, args: &[&str]) -> Output {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}{}", stdout(&output), stderr(&output));
        assert_eq!(self.reports(), [], "{args:?}");
        output
    }

    /// The folder of compiled kernels.
    pub fn kernel_cache(&self) -> PathBuf {
        self.folder.path().join("kernels")
    }

    /// What cusim found wrong so far.
    pub fn reports(&self) -> Vec<Report> {
        lines(self.report_file()).iter().filter_map(|line| Report::from_json(line)).collect()
    }

    /// Every function of the driver and of NVRTC called so far, in order.
    pub fn calls(&self) -> Vec<String> {
        lines(self.trace_file())
    }

    /// Forgets reports and calls.
    pub fn forget(&self) {
        for file in [self.report_file(), self.trace_file()] {
            // Neither is there if there was nothing to write.
            _ = fs::remove_file(file);
        }
    }

    fn trace_file(&self) -> PathBuf {
        self.folder.path().join("trace")
    }

    fn report_file(&self) -> PathBuf {
        self.folder.path().join("report")
    }
}

fn lines(file: PathBuf) -> Vec<String> {
    fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
}
