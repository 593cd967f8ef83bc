//! What cusim found, read back from its JSON.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::iter::Peekable;
use std::str::Chars;

/// One finding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// `race`, `out-of-bounds`, `uninitialised`, `divergence`, `illegal-address`, `misaligned`,
    /// `assert`, `launch-failure` or `leak`.
    pub kind: String,
    /// Empty for leaks.
    pub kernel: String,
    /// File and line of the access, where they are known.
    pub at: Option<(String, u32)>,
    /// File and line of the other access of a race.
    pub other: Option<(String, u32)>,
    /// All of it in words.
    pub text: String,
}

impl Report {
    /// Reads a line of a report file.
    #[must_use]
    pub fn from_json(line: &str) -> Option<Self> {
        let mut fields = parse(line)?;
        let mut place = |file: &str, number: &str| {
            Some((fields.remove(file)?, fields.remove(number)?.parse().ok()?))
        };
        let (at, other) = (place("file", "line"), place("other_file", "other_line"));
        let mut field = |name: &str| fields.remove(name).unwrap_or_default();
        let (kind, kernel, text) = (field("kind"), field("kernel"), field("text"));
        Some(Self { kind, kernel, at, other, text })
    }
}

/// An object of strings and numbers, which is all that a report is.
fn parse(line: &str) -> Option<HashMap<String, String>> {
    let mut chars = line.trim().strip_prefix('{')?.strip_suffix('}')?.chars().peekable();
    let mut fields = HashMap::new();
    while chars.peek().is_some() {
        let name = string(&mut chars)?;
        (chars.next()? == ':').then_some(())?;
        let value = match chars.peek()? {
            '"' => string(&mut chars)?,
            _ => std::iter::from_fn(|| chars.next_if(char::is_ascii_digit)).collect(),
        };
        fields.insert(name, value);
        chars.next_if_eq(&',');
    }
    Some(fields)
}

fn string(chars: &mut Peekable<Chars>) -> Option<String> {
    (chars.next()? == '"').then_some(())?;
    let mut out = String::new();
    loop {
        match chars.next()? {
            '"' => return Some(out),
            '\\' => match chars.next()? {
                'u' => {
                    let code: String = chars.take(4).collect();
                    out.push(char::from_u32(u32::from_str_radix(&code, 16).ok()?)?);
                }
                c => out.push(c),
            },
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_driver_writes() {
        let json = r#"{"kind":"race","kernel":"k","file":"a \"b\".cu","line":12,"other_file":"c.cu","other_line":3,"text":"x\u000ay"}"#;
        let report = Report::from_json(json).unwrap();
        assert_eq!(report.kind, "race");
        assert_eq!(report.at, Some(("a \"b\".cu".to_owned(), 12)));
        assert_eq!(report.other, Some(("c.cu".to_owned(), 3)));
        assert_eq!(report.text, "x\ny");
        assert_eq!(Report::from_json("{\"kind\""), None);
    }
}
