//! Numbers as people write them.

pub(crate) use crate::words::count;

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

/// A loss: four decimals, as the notebook prints it.
pub(crate) fn loss(loss: f64) -> String {
    if loss.is_finite() { format!("{loss:.4}") } else { "not a number".to_owned() }
}

/// A share of images: four decimals, as the notebook prints an accuracy; a dash where there are none.
pub(crate) fn share(share: Option<f64>) -> String {
    share.map_or_else(|| "–".to_owned(), |share| format!("{share:.4}"))
}

/// A probability: `0.42`, `0.003`, or below that `2e-5`.
pub(crate) fn probability(p: f64) -> String {
    if p >= 0.01 {
        format!("{p:.2}")
    } else if p >= 0.001 {
        format!("{p:.3}")
    } else {
        format!("{p:.0e}")
    }
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
        assert_eq!([0.421, 0.0034, 0.00002].map(probability).join(" "), "0.42 0.003 2e-5");
        assert_eq!([loss(1.0), loss(f64::NAN), share(None)].join(" "), "1.0000 not a number –");
    }
}
