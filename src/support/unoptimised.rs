//! Tells who trains with a library that is not optimised, which takes many times as long, what to do.
#![forbid(unsafe_code)]

use std::sync::Once;

/// How much the library is optimised: 0 where the program that uses it is built without `--release`
/// and its `Cargo.toml` says nothing.
const LEVEL: &str = env!("SIGNET_OPT_LEVEL");

/// A line on stderr at the first backward pass of a process, if the library is not optimised.
pub(crate) fn notice() {
    static ONCE: Once = Once::new();
    if let Some(advice) = advice(LEVEL) {
        ONCE.call_once(|| eprintln!("{advice}"));
    }
}

fn advice(level: &str) -> Option<&'static str> {
    (level == "0").then_some(
        "signet: it was compiled without optimisation, which makes training tens of times slower. \
         Build with --release, or add to your Cargo.toml:\n\n\
         [profile.dev.package.\"*\"]\nopt-level = 3\n",
    )
}

#[cfg(test)]
mod tests {
    use super::advice;

    #[test]
    fn only_what_is_not_optimised_is_mentioned() {
        let advice_of_0 = advice("0").unwrap();
        assert!(advice_of_0.contains("[profile.dev.package.\"*\"]\nopt-level = 3\n"));
        for level in ["1", "2", "3", "s", "z"] {
            assert_eq!(advice(level), None);
        }
        // The README and the crate's page say the same.
        for text in [include_str!("../../README.md"), include_str!("../lib.rs")] {
            let line = |line: &str| line.trim_start_matches("//! ").trim().to_owned() + "\n";
            let plain: String = text.lines().map(line).collect();
            assert!(plain.contains("[profile.dev.package.\"*\"]\nopt-level = 3\n"));
        }
    }
}
