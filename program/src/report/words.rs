//! Numbers as people write them.

pub(crate) use crate::words::{count, counted};
use signet::data::are_letters;

/// A length of time: `4.2 s`, `38 s`, `1 min 05 s`, `2 h 07 min`.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        _ if !seconds.is_finite() => "-".to_owned(),
        0..10 => format!("{seconds:.1} s"),
        10..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole / 60 % 60),
    }
}

/// A loss: four decimals, as the notebook prints it, or `7.02e21` where a run diverges.
pub(crate) fn loss(loss: f64) -> String {
    match loss.abs() {
        // Eight characters at most, also rounded.
        ..999.99995 => format!("{loss:.4}"),
        size if size.is_finite() => format!("{loss:.2e}"),
        _ => "not a number".to_owned(),
    }
}

/// A share of images: four decimals, as the notebook prints an accuracy; a dash where there are none.
pub(crate) fn share(share: Option<f64>) -> String {
    share.map_or_else(|| "–".to_owned(), |share| format!("{share:.4}"))
}

/// A probability: four decimals as a share has, or below that `2e-5`.
pub(crate) fn probability(p: f64) -> String {
    if p >= 0.00005 || p == 0.0 { format!("{p:.4}") } else { format!("{p:.0e}") }
}

/// A learning rate, without digits that only a multiplication brought about.
pub(crate) fn rate(lr: f64) -> String {
    let short: f64 = format!("{lr:.4e}").parse().unwrap_or(lr);
    if short == 0.0 || (1e-4..1e6).contains(&short) {
        format!("{short}")
    } else {
        format!("{short:e}")
    }
}

/// What people call the classes of these names: `letter` or `class`.
pub(crate) fn noun(classes: &[String]) -> &'static str {
    if are_letters(classes) { "letter" } else { "class" }
}

/// The same as a title.
pub(crate) fn title(classes: &[String]) -> &'static str {
    if are_letters(classes) { "Letter" } else { "Class" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            [0, 999, 1000, 27455, 1234567].map(count).join(" "),
            "0 999 1,000 27,455 1,234,567"
        );
        let times = [0.04, 9.44, 9.6, 59.4, 59.6, 3599.0, 7260.0, f64::INFINITY].map(duration);
        assert_eq!(
            times.join(", "),
            "0.0 s, 9.4 s, 10 s, 59 s, 1 min 00 s, 59 min 59 s, 2 h 01 min, -"
        );
        assert_eq!(
            [1.0, 0.421, 0.00342, 0.00006, 0.00002, 0.0].map(probability).join(" "),
            "1.0000 0.4210 0.0034 0.0001 2e-5 0.0000"
        );
        assert_eq!([0.0, 3.0, 0.3 * 0.1, 5e-5, 1e30].map(rate).join(" "), "0 3 0.03 5e-5 1e30");
        assert_eq!([loss(1.0), loss(f64::NAN), share(None)].join(" "), "1.0000 not a number –");
    }
}
