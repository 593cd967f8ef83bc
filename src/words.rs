//! Numbers and bytes as people write them.
#![forbid(unsafe_code)]

#[cfg(feature = "cli")]
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

/// A count and what is counted, a regular noun: `1 epoch`, `27,455 images`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// A size in bytes: `512 bytes`, `9.8 MB`, `105 MB`; units are powers of a thousand.
#[cfg(feature = "cli")]
pub(crate) fn bytes(number: u64) -> String {
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

/// Bytes as lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A name as part of a line: what a terminal would obey, line ends included, is written as `{:?}`
/// writes it. A file's or a class's name may hold anything, and come from anyone.
pub(crate) fn line(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        if is_obeyed(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// The same for a path.
pub(crate) fn path(path: &Path) -> String {
    line(&path.display().to_string())
}

/// A path as a shell takes it, where a command is shown to be copied.
#[cfg(feature = "cli")]
pub(crate) fn argument(path: &Path) -> String {
    let path = self::path(path);
    // It refuses a NUL alone, which is escaped by now.
    shlex::try_quote(&path).map_or_else(|_| path.clone(), Into::into)
}

/// Text of several lines for a terminal: nothing but line ends and tabs is obeyed. Escapes are JSON's,
/// whose strings may hold such characters beyond ASCII.
#[cfg(feature = "cli")]
pub(crate) fn lines(text: &str) -> String {
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

/// Control characters, and those that turn the direction of what follows.
fn is_obeyed(c: char) -> bool {
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
    #[cfg(feature = "cli")]
    fn sizes_have_the_unit_that_fits() {
        let sizes = [1, 999, 1000, 9_800_000, 99_960_000, 105_000_000, 999_600_000, 6_900_000_000];
        assert_eq!(
            sizes.map(bytes).join(", "),
            "1 byte, 999 bytes, 1.0 kB, 9.8 MB, 100 MB, 105 MB, 1.0 GB, 6.9 GB"
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

    #[test]
    #[cfg(feature = "cli")]
    fn a_path_in_a_command_can_be_copied() {
        assert_eq!(argument(Path::new("runs/asl-1")), "runs/asl-1");
        assert_eq!(argument(Path::new("my runs/it's")), "\"my runs/it's\"");
        assert_eq!(argument(Path::new("$HOME/a")), "'$HOME/a'");
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
