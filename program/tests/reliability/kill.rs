//! SIGKILL, SIGINT and SIGTERM at random moments, inside a save too, and going on each time.

use crate::common::program::{Signal, finish, signal as send, start, stderr};
use crate::whole::{Whole, parts, resume};
use signet::rng::Philox;

/// What came of killing.
#[derive(Debug, Default)]
struct Tally {
    /// Processes that were ended.
    kills: usize,
    /// Of these, how many were writing a file: its beginning was there.
    in_a_save: usize,
    /// How many had not saved anything yet.
    before_a_state: usize,
    /// Runs that came to their end and were compared.
    runs: usize,
}

/// Kills `kills` processes, each after a random part of the time that a whole run takes, and goes
/// on with the run. One that gets to its end is compared, and another run is begun.
fn kill(whole: &Whole, seed: u64, kills: usize) -> Tally {
    let mut random = Philox::new(seed).sequence(0, 0);
    let mut tally = Tally::default();
    while tally.kills < kills {
        let name = format!("killed-{seed}-{}", tally.runs);
        let folder = whole.place.run_folder(&name);
        let mut has_state = false;
        while tally.kills < kills {
            let mut child = whole.start_or_resume(&name);
            std::thread::sleep(whole.time.mul_f64(random.uniform()));
            if child.try_wait().unwrap().is_some() {
                let output = child.wait_with_output().unwrap();
                assert!(output.status.success(), "{name}: {}", stderr(&output));
                break;
            }
            child.kill().unwrap();
            child.wait().unwrap();
            tally.kills += 1;
            tally.in_a_save += usize::from(parts(&folder) > 0);
            has_state = whole.check_killed(&name, has_state);
            tally.before_a_state += usize::from(!has_state);
        }
        whole.finish(&name);
        tally.runs += 1;
    }
    tally
}

#[test]
fn a_run_that_is_killed_goes_on_with_the_same_bits() {
    let whole = Whole::new(3, 96);
    let tally = kill(&whole, 0, 8);
    println!("{tally:?}");
}

/// As many as `SIGNET_KILLS` says: see `scripts/kill-anywhere`.
#[test]
#[ignore = "minutes: run by scripts/full"]
fn a_run_that_is_killed_anywhere_goes_on_with_the_same_bits() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let kills = number("SIGNET_KILLS").unwrap_or(200);
    let seed = number("SIGNET_KILL_SEED").unwrap_or(1);
    let whole = Whole::new(4, 96);
    let tally = kill(&whole, seed as u64, kills);
    println!("a whole run takes {:?}\n{tally:?}", whole.time);
    assert!(kills < 50 || tally.in_a_save > 0, "no save was hit: {tally:?}");
}

/// Stops processes politely; they save and say how to go on.
fn interrupt(whole: &Whole, signal: Signal, times: usize) {
    let mut random = Philox::new(2).sequence(0, 0);
    let (mut stopped, mut runs) = (0, 0);
    while stopped < times {
        let name = format!("stopped{signal}-{runs}");
        let folder = whole.place.run_folder(&name);
        let mut has_state = false;
        while stopped < times {
            let child = whole.start_or_resume(&name);
            std::thread::sleep(whole.time.mul_f64(random.uniform()));
            send(child.id(), signal);
            let output = finish(child);
            has_state = whole.check_stopped(&name, has_state);
            match output.status.code() {
                Some(0) => break,
                Some(130) => {
                    let line = format!("signet train --resume {}", folder.display());
                    assert!(has_state && stderr(&output).contains(&line), "{}", stderr(&output));
                    assert_eq!(parts(&folder), 0, "{name}: parts of files are left");
                }
                // It had not come to the point of listening yet: that is a kill.
                None => assert_eq!(stderr(&output), ""),
                other => panic!("{other:?}: {}", stderr(&output)),
            }
            stopped += 1;
        }
        whole.finish(&name);
        runs += 1;
    }
}

#[test]
fn a_run_that_is_stopped_goes_on_with_the_same_bits() {
    let whole = Whole::new(3, 96);
    interrupt(&whole, Signal::SIGTERM, 4);
    interrupt(&whole, Signal::SIGINT, 4);
}

#[test]
#[ignore = "a minute: run by scripts/full"]
fn a_run_that_is_stopped_anywhere_goes_on_with_the_same_bits() {
    let whole = Whole::new(4, 96);
    interrupt(&whole, Signal::SIGTERM, 50);
    interrupt(&whole, Signal::SIGINT, 50);
}

/// Who presses Ctrl-C twice does not wait: the second one ends even a save.
#[test]
fn a_second_signal_ends_at_once_and_loses_nothing() {
    let whole = Whole::new(3, 96);
    let mut random = Philox::new(3).sequence(0, 0);
    let mut has_state = false;
    for _ in 0..6 {
        let child = whole.start_or_resume("twice");
        std::thread::sleep(whole.time.mul_f64(random.range(0.3, 0.9)));
        for _ in 0..2 {
            // The first one may have ended it, which is not reaped yet and takes another.
            send(child.id(), Signal::SIGINT);
        }
        finish(child);
        has_state = whole.check_stopped("twice", has_state);
    }
    whole.finish("twice");
}

/// A run that was killed before it saved anything starts from its beginning.
#[test]
fn a_run_that_saved_nothing_starts_anew() {
    let whole = Whole::new(1, 32);
    let output = finish(whole.start("nothing"));
    assert!(output.status.success());
    let folder = whole.place.run_folder("nothing");
    for file in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
        if file.file_name().unwrap() != "config.json" {
            std::fs::remove_file(file).unwrap();
        }
    }
    let output = finish(start(&mut resume(&folder)));
    assert!(output.status.success());
    assert!(stderr(&output).contains("the run starts from its beginning"), "{}", stderr(&output));
    whole.compare("nothing");
    // And a folder in which nothing was written at all is as good as none.
    let empty = whole.place.run_folder("empty");
    std::fs::create_dir(&empty).unwrap();
    whole.finish("empty");
}
