//! Sizes, commands and text as people write them on a terminal, beside the words of the engine.

pub use signet::support::words::{count, counted, hex, line, path};

use signet::support::words::is_obeyed;
use std::fmt::Write as _;
use std::path::Path;

/// A size in bytes: `512 bytes`, `9.8 MB`, `105 MB`; units are powers of a thousand.
pub fn bytes(number: u64) -> String {
    if number < 1000 {
        return counted(number, "byte");
    }
    let (mut size, mut unit) = (number as f64 / 1e3, "kB");
    for next in ["MB", "GB", "TB"] {
        // What would be rounded to a thousand is one of the next.
        if size >= 999.5 {
            (size, unit) = (size / 1e3, next);
        }
    }
    if size < 99.95 { format!("{size:.1} {unit}") } else { format!("{size:.0} {unit}") }
}

/// A path as a shell takes it, where a command is shown to be copied.
pub fn argument(path: &Path) -> String {
    let path = self::path(path);
    // It refuses a NUL alone, which is escaped by now.
    shlex::try_quote(&path).map_or_else(|_| path.clone(), Into::into)
}

/// Text of several lines for a terminal: nothing but line ends and tabs is obeyed. Escapes are JSON's,
/// whose strings may hold such characters beyond ASCII.
pub fn lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\r' => out.push_str("\\r"),
            // Writing to a String cannot fail.
            c if is_obeyed(c) && c != '\n' && c != '\t' => {
                _ = write!(out, "\\u{:04x}", u32::from(c))
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_unit_that_fits() {
        let sizes = [1, 999, 1000, 9_800_000, 99_960_000, 105_000_000, 999_600_000, 6_900_000_000];
        assert_eq!(
            sizes.map(bytes).join(", "),
            "1 byte, 999 bytes, 1.0 kB, 9.8 MB, 100 MB, 105 MB, 1.0 GB, 6.9 GB"
        );
    }

    #[test]
    fn a_path_in_a_command_can_be_copied() {
        assert_eq!(argument(Path::new("runs/asl-1")), "runs/asl-1");
        assert_eq!(argument(Path::new("my runs/it's")), "\"my runs/it's\"");
        assert_eq!(argument(Path::new("$HOME/a")), "'$HOME/a'");
    }

    #[test]
    fn lines_stay_lines_and_json_stays_json() {
        assert_eq!(lines("a\tb\nc\u{1b}[2J\r"), "a\tb\nc\\u001b[2J\\r");
        let name = "a\u{1b}\u{9b}\n\u{202e}";
        let json = serde_json::to_string(name).unwrap();
        let shown = lines(&json);
        assert!(!shown.chars().any(char::is_control), "{shown}");
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), name);
    }
}
