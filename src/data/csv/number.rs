//! Fields as numbers, and as words of a message.

/// A decimal number 0 to 255 of at most three digits.
#[inline]
pub(super) fn byte(field: &[u8]) -> Option<u8> {
    let digit = |byte: u8| {
        let value = byte.wrapping_sub(b'0');
        (value < 10).then_some(u16::from(value))
    };
    let value = match *field {
        [a] => digit(a)?,
        [a, b] => digit(a)? * 10 + digit(b)?,
        [a, b, c] => digit(a)? * 100 + digit(b)? * 10 + digit(c)?,
        _ => return None,
    };
    u8::try_from(value).ok()
}

/// The field without what programs put around a value: spaces and quotes.
pub(super) fn bare(field: &[u8]) -> &[u8] {
    let field = field.trim_ascii();
    match field {
        [b'"', inner @ .., b'"'] | [b'\'', inner @ .., b'\''] => inner.trim_ascii(),
        _ => field,
    }
}

/// A whole number 0 to 255 as programs write them: `107`, ` 107`, `"107"`, `107.0`, `1.07e+02`, and
/// `107,0` where a comma does not separate.
#[cold]
pub(super) fn whole(field: &[u8], separator: u8) -> Option<u8> {
    let field = bare(field);
    if let Some(value) = byte(field) {
        return Some(value);
    }
    let value = decimal(field, separator)?;
    // What is not whole or too large becomes another number.
    let byte = value as u8;
    (f64::from(byte) == value).then_some(byte)
}

/// Any number.
pub(super) fn decimal(field: &[u8], separator: u8) -> Option<f64> {
    let text = std::str::from_utf8(bare(field)).ok()?.trim();
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.,eE".contains(&byte));
    if !is_number || text.len() > 64 {
        return None;
    }
    if separator == b',' { text.parse().ok() } else { text.replace(',', ".").parse().ok() }
}

/// A field for a message: quoted, without control characters, and not too long.
pub(super) fn quoted(field: &[u8]) -> String {
    const LONGEST: usize = 24;
    let text = String::from_utf8_lossy(field);
    let mut short: String = text.chars().take(LONGEST).collect();
    if text.chars().nth(LONGEST).is_some() {
        short.push('…');
    }
    format!("{short:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_read_as_programs_write_them() {
        for text in ["107", " 107\t", "\"107\"", "' 107'", "107.0", "107.", "1.07e+02", "+107"] {
            assert_eq!(whole(text.as_bytes(), b','), Some(107), "{text}");
        }
        assert_eq!(whole(b"107,0", b';'), Some(107));
        assert_eq!(whole(b"-0.0", b','), Some(0));
        for text in ["107.5", "256", "-1", "1e9", "nan", "inf", "", "1 07", "0x1", "\"\"", "\"1"] {
            assert_eq!(whole(text.as_bytes(), b','), None, "{text}");
        }
    }
}
