//! Numbers and bytes as people write them.
#![forbid(unsafe_code)]

use std::path::Path;

/// A count with a comma between thousands: `27,455`.
pub fn count(number: u64) -> String {
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

/// A count and what is counted, a regular noun: `1 epoch`, `27,455 images`.
pub fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// Bytes as lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A name as part of a line: what a terminal would obey, line ends included, is written as `{:?}`
/// writes it. A file's or a class's name may hold anything, and come from anyone.
pub fn line(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        if is_obeyed(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// The same for a path.
pub fn path(path: &Path) -> String {
    line(&path.display().to_string())
}

/// Control characters, and those that turn the direction of what follows.
pub fn is_obeyed(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular() {
        assert_eq!(
            [0, 1, 2, 27_455].map(|n| counted(n, "image")).join(", "),
            "0 images, 1 image, 2 images, 27,455 images"
        );
    }

    #[test]
    fn a_terminal_obeys_no_name() {
        assert_eq!(line("A"), "A");
        assert_eq!(line("手 é \u{1f44b}"), "手 é \u{1f44b}");
        assert_eq!(line("a\nb\tc\rd"), "a\\nb\\tc\\rd");
        assert_eq!(line("\u{1b}[31mred\u{7}\0"), "\\u{1b}[31mred\\u{7}\\u{0}");
        // One character in UTF-8 that some terminals take for ESC [; and letters from right to left.
        assert_eq!(line("\u{9b}2J \u{7f} gpj.\u{202e}exe"), "\\u{9b}2J \\u{7f} gpj.\\u{202e}exe");
        assert_eq!(path(Path::new("a\u{1b}]0;x\u{7}.png")), "a\\u{1b}]0;x\\u{7}.png");
    }
}
