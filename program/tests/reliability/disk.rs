//! A full disk, a read-only one, and a folder that vanishes.
//!
//! The disks are small ones in memory that only the test's own processes see (`unshare`, which
//! Linux lets every user do; where it is forbidden these tests are left out).

use crate::common::program::{HANGS_AFTER, finish, start, stderr};
use crate::whole::{STATE, Whole, run_resume};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output};
use std::time::Instant;

/// Runs a shell script in which `mount` works; its arguments are `$0`, `$1`, …
fn in_namespace(script: &str, args: &[&str]) -> Output {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--map-root-user", "sh", "-euc", script]).args(args);
    finish(start(&mut command))
}

/// `command` where `folder` is read-only.
pub fn read_only(folder: &Path, command: &Command) -> Command {
    let script = r#"
        mount --bind "$1" "$1"
        mount -o remount,bind,ro "$1"
        ! touch "$1/file" 2>/dev/null
        shift
        exec "$@"
    "#;
    let mut outer = Command::new("unshare");
    outer.args(["--mount", "--map-root-user", "sh", "-euc", script, "sh"]).arg(folder);
    outer.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    if let Some(place) = command.get_current_dir() {
        outer.current_dir(place);
    }
    outer
}

/// A run on a disk of so many kB, and then again with more room. `{}` is what is done in between.
const RUN_IN: &str = r#"
    disk=$1 run=$2 kilobytes=$3 copy=$4; shift 4
    mount -t tmpfs -o size=${kilobytes}k tmpfs "$disk"
    code=0; "$@" || code=$?
    ls -A "$run" 2>/dev/null | grep '\.part$' && exit 90
    mount -o remount,size=100m "$disk"
    echo "ended with $code" >&2
    if [ -e "$run/config.json" ]; then "$0" train --resume "$run" -q; else "$@"; fi
    cp -r "$run" "$copy"
"#;

/// The run ends with an error wherever the disk gets full, and goes on once there is room.
fn fill(whole: &Whole, kilobytes: usize) -> bool {
    let disk = tempfile::tempdir().unwrap();
    let name = format!("full-{kilobytes}");
    let run = disk.path().join(&name);
    let copy = whole.place.run_folder(&name);
    let program = env!("CARGO_BIN_EXE_signet");
    let disk = disk.path().to_str().unwrap();
    let mut args = whole.args(&name);
    let out = args.iter().position(|arg| *arg == "--out").unwrap() + 1;
    args[out] = disk;
    let size = kilobytes.to_string();
    let fixed = [program, disk, run.to_str().unwrap(), &size, copy.to_str().unwrap(), program];
    let output = in_namespace(RUN_IN, &[&fixed[..], &args].concat());
    let text = stderr(&output);
    assert!(output.status.success(), "{kilobytes} kB: {text}");
    assert!(!text.contains("panicked"), "{kilobytes} kB: {text}");
    let was_full = text.contains("ended with 2");
    assert!(was_full || text.contains("ended with 0"), "{kilobytes} kB: {text}");
    assert_eq!(was_full, text.contains("No space left on device"), "{kilobytes} kB: {text}");
    whole.compare(&name);
    was_full
}

#[needs::test(mount)]
fn a_full_disk_costs_nothing_that_was_saved() {
    let whole = Whole::new(3, 32);
    // At the record, at the first state, at the first models, at the next state.
    let full = [0, 3_000, 9_000, 15_000].map(|kilobytes| fill(&whole, kilobytes.max(4)));
    assert_eq!(full, [true; 4]);
    assert!(!fill(&whole, 60_000));
}

#[needs::test(mount)]
#[ignore = "a minute: run by scripts/full"]
fn a_disk_that_gets_full_anywhere_costs_nothing_that_was_saved() {
    let whole = Whole::new(3, 32);
    let full = (1..=60).filter(|step| fill(&whole, step * 500)).count();
    println!("full in {full} of 60 runs");
    assert!(full > 20);
}

#[needs::test(mount)]
fn a_read_only_folder_is_an_error_and_nothing_changes() {
    let whole = Whole::new(2, 32);
    let out = whole.place.out.path();
    let before = contents(out);
    let script = r#"
        mount --bind "$1" "$1"
        mount -o remount,bind,ro "$1"
        code=0; "$0" train --resume "$1/whole" --epochs 3 || code=$?
        [ $code = 2 ] || exit 91
        shift
        code=0; "$0" "$@" || code=$?
        [ $code = 2 ] || exit 92
    "#;
    let program = env!("CARGO_BIN_EXE_signet");
    let args = [&[program, out.to_str().unwrap()], &whole.args("new")[..]].concat();
    let output = in_namespace(script, &args);
    let text = stderr(&output);
    assert!(output.status.success(), "{:?}: {text}", output.status);
    assert_eq!(text.matches("Read-only file system").count(), 2, "{text}");
    assert!(!text.contains("panicked"), "{text}");
    assert_eq!(contents(out), before);
}

/// The names in a folder and below, with sizes.
fn contents(folder: &Path) -> Vec<(String, u64)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
        let data = entry.metadata().unwrap();
        all.push((entry.path().display().to_string(), data.len()));
        if data.is_dir() {
            all.extend(contents(&entry.path()));
        }
    }
    all.sort();
    all
}

/// Waits until the run in `folder` has saved something.
#[track_caller]
pub fn wait_for_state(child: &mut Child, folder: &Path) {
    let begin = Instant::now();
    while !folder.join(STATE).exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended too early");
        assert!(begin.elapsed() < HANGS_AFTER, "it saves nothing");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

#[test]
fn a_folder_that_vanishes_ends_the_run_with_an_error() {
    let whole = Whole::new(1, 32);
    let args = whole.place.train("gone", &["--epochs", "100000", "-q"]);
    let folder = whole.place.run_folder("gone");
    let mut child = start(&mut crate::common::program::signet(&args));
    wait_for_state(&mut child, &folder);
    // While it is being emptied, something may be put into it.
    let begin = Instant::now();
    while fs::remove_dir_all(&folder).is_err() && folder.exists() {
        assert!(begin.elapsed() < HANGS_AFTER);
    }
    let output = finish(child);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("error: cannot write") && text.contains("gone"), "{text}");
    assert!(text.contains("No such file or directory") && !text.contains("panicked"), "{text}");
    assert!(!folder.exists(), "it came back");
}

#[test]
fn a_folder_that_was_moved_goes_on_at_its_new_place() {
    let whole = Whole::new(6, 64);
    let [old, new] = ["old", "new"].map(|name| whole.place.run_folder(name));
    let mut child = whole.start("old");
    wait_for_state(&mut child, &old);
    fs::rename(&old, &new).unwrap();
    let output = finish(child);
    let text = stderr(&output);
    assert!(matches!(output.status.code(), Some(0 | 2)) && !text.contains("panicked"), "{text}");
    let output = run_resume(&new);
    assert!(output.status.success(), "{}", stderr(&output));
    whole.compare("new");
}
