//! Numbers and bytes as people write them.
#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::path::Path;

/// A count with a comma between thousands: `27,455`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut words = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            words.push(',');
        }
        words.push(digit);
    }
    words
}

/// Bytes as lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A name as part of a line: what a terminal would obey, line ends included, is written as an escape.
/// A file's or a class's name may hold anything, and come from anyone.
pub(crate) fn line(name: &str) -> String {
    escaped(name, |_| false)
}

/// The same for a path.
pub(crate) fn path(path: &Path) -> String {
    line(&path.display().to_string())
}

/// Text of several lines for a terminal: nothing but line ends and tabs is obeyed. The escapes are
/// those of JSON too, whose own strings may hold such characters beyond ASCII.
#[cfg(feature = "cli")]
pub(crate) fn lines(text: &str) -> String {
    escaped(text, |c| c == '\n' || c == '\t')
}

fn escaped(text: &str, is_kept: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        // Beside control characters those that turn the direction of what follows.
        let is_obeyed =
            c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        match c {
            c if is_kept(c) || !is_obeyed => out.push(c),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Writing to a String cannot fail.
            c => _ = write!(out, "\\u{:04x}", u32::from(c)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_obeys_no_name() {
        assert_eq!(line("A"), "A");
        assert_eq!(line("手 é \u{1f44b}"), "手 é \u{1f44b}");
        assert_eq!(line("a\nb\tc\rd"), "a\\nb\\tc\\rd");
        assert_eq!(line("\u{1b}[31mred\u{7}\0"), "\\u001b[31mred\\u0007\\u0000");
        // One character in UTF-8 that some terminals take for ESC [; and letters from right to left.
        assert_eq!(line("\u{9b}2J \u{7f} gpj.\u{202e}exe"), "\\u009b2J \\u007f gpj.\\u202eexe");
        assert_eq!(path(Path::new("a\u{1b}]0;x\u{7}.png")), "a\\u001b]0;x\\u0007.png");
    }

    #[test]
    #[cfg(feature = "cli")]
    fn lines_stay_lines_and_json_stays_json() {
        assert_eq!(lines("a\tb\nc\u{1b}[2J\r"), "a\tb\nc\\u001b[2J\\r");
        let name = "a\u{1b}\u{9b}\n\u{202e}";
        let json = serde_json::to_string(name).unwrap();
        let shown = lines(&json);
        assert!(!shown.chars().any(char::is_control), "{shown}");
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), name);
    }
}
