//! Says, at the end of a run of all tests, how many were left out for want of a tool, and how to get
//! it. It is the last by its name, which is the order in which cargo runs them, and has no tests
//! itself.
//!
//! With `--skips` it names the tests, the long ones among them, as arguments for a run with
//! `--ignored`, and says the same of them on stderr. `scripts/full` asks so.

use std::collections::BTreeMap;
use std::{env, fs};

fn main() {
    let asks_for_skips = env::args().any(|argument| argument == "--skips");
    // Not where some were asked for, or only their names.
    if env::args().count() > 1 && !asks_for_skips {
        return;
    }
    let mut counts = BTreeMap::<String, usize>::new();
    for file in fs::read_dir(needs::list!()).into_iter().flatten().flatten() {
        for line in fs::read_to_string(file.path()).unwrap_or_default().lines() {
            let mut parts = line.split('\t');
            let [why, function, kind] = [(); 3].map(|()| parts.next().unwrap_or_default());
            if asks_for_skips {
                println!("--skip\n{function}");
            } else if kind == "long" {
                continue;
            }
            *counts.entry(why.to_owned()).or_default() += 1;
        }
    }
    if counts.is_empty() {
        return;
    }
    let plural = |count: usize| if count == 1 { "test" } else { "tests" };
    let part = |(why, count): (&String, &usize)| {
        let why = why.trim_start_matches("needs ").trim_end_matches(')');
        let (tool, remedy) = why.split_once(" (").unwrap_or((why, "see its documentation"));
        format!("{tool} ({count} {}; {remedy})", plural(*count))
    };
    let total: usize = counts.values().sum();
    let parts: Vec<_> = counts.iter().map(part).collect();
    let said = format!("LEFT OUT: {total} {} for want of {}", plural(total), parts.join(", "));
    if asks_for_skips {
        eprintln!("{said}");
    } else {
        println!("\n{said}\n");
    }
}
