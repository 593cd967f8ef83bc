//! Numbers as values of flags: what is none is told what is expected, in plain words.

use std::ops::RangeInclusive;

/// A number with or without a decimal point.
///
/// # Errors
/// With what is expected.
pub fn number(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| match text.replace(',', ".").parse::<f64>() {
        Ok(meant) => format!("expected a number with a decimal point, as in {meant}"),
        Err(_) => "expected a number, such as 0.001".to_owned(),
    })
}

/// A whole number of at least 0.
///
/// # Errors
/// With what is expected.
pub fn whole<T: TryFrom<u64>>(text: &str) -> Result<T, String> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let number = digits.parse::<u64>().ok().and_then(|number| T::try_from(number).ok());
        return number.ok_or_else(|| "the number is too large".to_owned());
    }
    Err("expected a whole number of at least 0, such as 20".to_owned())
}

/// A whole number between two.
///
/// # Errors
/// With what is expected.
pub fn whole_in<T: TryFrom<u64>>(text: &str, range: RangeInclusive<u64>) -> Result<T, String> {
    let number = whole::<u64>(text).ok().filter(|number| range.contains(number));
    number
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| format!("expected a whole number from {} to {}", range.start(), range.end()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::{Arg, Command, CommandFactory};

    #[test]
    fn what_is_no_number_is_told_what_is_expected() {
        assert_eq!((number("1e-3"), number("-2"), whole("20")), (Ok(0.001), Ok(-2.0), Ok(20_u64)));
        assert!(number("nan").unwrap().is_nan(), "what a number may be is for the setting to say");
        assert_eq!(number("abc").unwrap_err(), "expected a number, such as 0.001");
        assert_eq!(
            number("0,001").unwrap_err(),
            "expected a number with a decimal point, as in 0.001"
        );
        for text in ["abc", "", "-1", "1.5", "1e3", "+"] {
            let error = whole::<usize>(text).unwrap_err();
            assert_eq!(error, "expected a whole number of at least 0, such as 20", "{text}");
        }
        assert_eq!(whole::<u64>("99999999999999999999").unwrap_err(), "the number is too large");
        assert_eq!(whole::<u8>("300").unwrap_err(), "the number is too large");
        assert_eq!(whole_in("65535", 0..=65535), Ok(65535_u16));
        let error = whole_in::<u16>("0", 1..=9).unwrap_err();
        assert_eq!(error, "expected a whole number from 1 to 9");
    }

    /// Of every flag of every subcommand: none has the words of Rust for what is no number.
    #[test]
    fn no_flag_speaks_of_literals_and_digits() {
        let mut numbers = Vec::new();
        check(&mut vec!["signet".to_owned()], &Cli::command(), &mut numbers);
        for flag in ["--lr", "--epochs", "--rotation", "--zoom", "--count", "--port", "--threads"] {
            assert!(
                numbers.iter().any(|known| known == flag),
                "{flag} takes no number? {numbers:?}"
            );
        }
    }

    fn check(path: &mut Vec<String>, command: &Command, numbers: &mut Vec<String>) {
        for flag in command.get_arguments().filter_map(Arg::get_long) {
            let values = ["abc", "1.x", "99999999999999999999999"];
            for (value, count) in values.iter().flat_map(|value| [(*value, 1), (*value, 2)]) {
                let flag = format!("--{flag}");
                let given =
                    [&path[..], std::slice::from_ref(&flag), &vec![value.to_owned(); count]];
                let Err(error) = Cli::command().try_get_matches_from(given.concat()) else {
                    continue;
                };
                let said = error.to_string();
                for word in ["literal", "digit", "to fit", "parse", "not in "] {
                    assert!(!said.contains(word), "{path:?} {flag} {value}: {said}");
                }
                if said.contains("expected a ") && !numbers.contains(&flag) {
                    numbers.push(flag);
                }
            }
        }
        for inner in command.get_subcommands() {
            path.push(inner.get_name().to_owned());
            check(path, inner, numbers);
            path.pop();
        }
    }
}
