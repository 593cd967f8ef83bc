//! The check that `scripts/gpu-check` packs, without a GPU: its own tests, and the two commands of
//! `scripts/gpu/README.md` for a machine on loan.

use std::fs;
use std::path::Path;
#[cfg(target_os = "linux")]
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// What such a machine takes as one command.
const MOST_CHARACTERS: usize = 2000;

fn read(path: &str) -> String {
    let path = Path::new(ROOT).join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A call, its heading's number of minutes and its command.
fn calls() -> Vec<(f64, String)> {
    let page = read("scripts/gpu/README.md");
    let sections = page.split("\n## ").filter(|section| section.contains(" call: at most "));
    let call = |section: &str| {
        let minutes = section.split(" call: at most ").nth(1).unwrap().split(' ').next().unwrap();
        let command = section.split("```sh\n").nth(1).expect("a call has a command");
        (minutes.parse().unwrap(), command.split("```").next().unwrap().to_owned())
    };
    sections.map(call).collect()
}

/// What follows `option` in a command.
fn value<'a>(command: &'a str, option: &str) -> &'a str {
    let mut words = command.split_whitespace().skip_while(|&word| word != option);
    words.nth(1).unwrap_or_else(|| panic!("{command} has no {option}"))
}

#[test]
fn both_calls_fit_a_machine_on_loan() {
    let calls = calls();
    assert_eq!(calls.len(), 2);
    // Starting a machine and copying take some of the fifteen minutes, both times.
    assert!(calls.iter().map(|(minutes, _)| minutes).sum::<f64>() < 11.0);
    for (minutes, command) in &calls {
        let length = command.chars().count();
        assert!(length <= MOST_CHARACTERS, "{length} characters:\n{command}");
        // The check ends by itself, else is stopped, and there is time to unpack before.
        let own: f64 = value(command, "--minutes").parse().unwrap();
        let seconds = |option| value(command, option).parse::<f64>().unwrap();
        let (stopped, patience) = (seconds("--signal=TERM"), seconds("-k"));
        assert!(own * 60.0 < stopped && stopped + patience + 10.0 <= minutes * 60.0, "{command}");
    }
}

#[test]
fn both_calls_together_ask_for_every_part_but_the_longest() {
    let script = read("scripts/gpu/run.py");
    let table = script.split("PARTS = {").nth(1).unwrap().split('}').next().unwrap();
    let parts: Vec<_> = table.split('"').skip(1).step_by(2).collect();
    assert!(parts.len() > 5, "{parts:?}");
    let asked: Vec<_> =
        calls().iter().map(|(_, command)| value(command, "--only").to_owned()).collect();
    for part in asked.iter().flat_map(|only| only.split(',')) {
        assert!(parts.contains(&part), "there is no part {part}");
    }
    for part in parts.into_iter().filter(|&part| part != "long") {
        assert!(
            asked.iter().any(|only| only.split(',').any(|one| one == part)),
            "no call asks for {part}"
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn both_calls_are_what_a_shell_understands() {
    for (_, command) in calls() {
        let shell =
            Command::new("bash").args(["-n", "-c", &command]).output().expect("there is a bash");
        assert!(shell.status.success(), "{command}\n{}", String::from_utf8_lossy(&shell.stderr));
    }
}

#[cfg(target_os = "linux")]
#[needs::test(python)]
fn the_checks_own_tests_pass() {
    let script = Path::new(ROOT).join("scripts/gpu/selftest.py");
    let done = Command::new("python3").arg(script).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}
