//! Files of a run that changed on the disk: a run goes on with the same bits, or says which file is
//! damaged and what to do.

use crate::common::program::{run, stderr};
use crate::whole::{BEST, MODEL, PREVIOUS, STATE, Whole, run_resume};
use signet::rng::{Philox, Sequence};
use std::fs;
use std::path::Path;

/// A bit flipped, a part missing at the end, or a block of zeros, somewhere.
fn damaged(bytes: &[u8], random: &mut Sequence) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let at = random.next_u32() as usize % bytes.len();
    match random.next_u32() % 3 {
        0 => bytes[at] ^= 1 << (random.next_u32() % 8),
        1 => bytes.truncate(at),
        _ => {
            let end = bytes.len().min(at + 512);
            bytes[at..end].fill(0);
            // A block of zeros changes nothing where there were zeros.
            bytes[at] = !bytes[at];
        }
    }
    bytes
}

/// Cuts the run `name` short: as it was after two of its three epochs.
fn stopped_run(whole: &Whole, name: &str) {
    let mut args = whole.args(name);
    let epochs = args.iter().position(|arg| *arg == "--epochs").unwrap() + 1;
    args[epochs] = "2";
    assert!(run(&args).status.success());
    let folder = whole.place.run_folder(name);
    assert!(folder.join(PREVIOUS).exists());
}

/// Goes on to the third epoch.
fn go_on(folder: &Path) -> std::process::Output {
    run(&["train", "--resume", folder.to_str().unwrap(), "--epochs", "3", "-q"])
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn check(times: usize) {
    let whole = Whole::new(3, 64);
    stopped_run(&whole, "stopped");
    let mut random = Philox::new(5).sequence(0, 0);
    for number in 0..times {
        let files = ["config.json", "metrics.jsonl", MODEL, BEST, STATE, PREVIOUS];
        let file = files[number % files.len()];
        let name = format!("damaged-{number}");
        let folder = whole.place.run_folder(&name);
        copy(&whole.place.run_folder("stopped"), &folder);
        let path = folder.join(file);
        let bytes = damaged(&fs::read(&path).unwrap(), &mut random);
        fs::write(&path, &bytes).unwrap();
        if file == BEST {
            let data = whole.place.data.path().to_str().unwrap();
            let output = run(&["evaluate", folder.to_str().unwrap(), "--data", data]);
            let text = stderr(&output);
            assert_eq!(output.status.code(), Some(2), "{text}");
            assert!(text.contains(BEST) && text.contains("damaged"), "{text}");
        }
        let output = go_on(&folder);
        let text = stderr(&output);
        assert!(output.status.success(), "{name}, {file}: {text}");
        let says = text.contains("state.safetensors: is ") && text.contains(PREVIOUS);
        assert_eq!(says, file == STATE, "{name}, {file}: {text}");
        let aside = folder.join("state.damaged.safetensors");
        assert_eq!(fs::read(aside).ok(), (file == STATE).then_some(bytes), "{name}");
        whole.compare(&name);
        fs::remove_dir_all(folder).unwrap();
    }
}

#[test]
fn a_damaged_file_is_noticed_and_made_good() {
    check(12);
}

#[test]
#[ignore = "a minute: run by scripts/full"]
fn many_damaged_files_are_noticed_and_made_good() {
    check(300);
}

#[test]
fn two_damaged_states_are_refused_and_left_alone() {
    let whole = Whole::new(3, 32);
    stopped_run(&whole, "stopped");
    let folder = whole.place.run_folder("stopped");
    let cut = |file: &str| {
        let path = folder.join(file);
        let bytes = fs::read(&path).unwrap();
        fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
        bytes
    };
    let [_, previous] = [STATE, PREVIOUS].map(cut);
    let output = run_resume(&folder);
    assert_eq!(output.status.code(), Some(2));
    for part in [STATE, PREVIOUS, "was it copied whole?", "Copy one of them again"] {
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
    }
    assert!(folder.join(STATE).exists());
    // A copy of the older one is enough.
    fs::write(folder.join(PREVIOUS), previous).unwrap();
    assert!(go_on(&folder).status.success());
    whole.compare("stopped");
}
