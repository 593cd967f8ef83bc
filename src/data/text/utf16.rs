//! UTF-16 text, as Windows programs and PowerShell's `>` write it, to UTF-8.

use std::io::{self, Read};

use crate::data::DataError;

/// How text is written in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Utf16 {
    Little,
    Big,
}

impl Utf16 {
    /// What the first bytes of a file say: a byte order mark, or the zero bytes of letters.
    pub fn of(head: &[u8]) -> Option<Self> {
        match head {
            // UTF-32 begins like UTF-16.
            [0xff, 0xfe, 0, 0, ..] => None,
            [0xff, 0xfe, ..] => Some(Self::Little),
            [0xfe, 0xff, ..] => Some(Self::Big),
            [first, 0, second, 0, ..] if *first > 0 && *second > 0 => Some(Self::Little),
            [0, first, 0, second, ..] if *first > 0 && *second > 0 => Some(Self::Big),
            _ => None,
        }
    }
}

/// Whether the first bytes are those of UTF-32.
pub(super) fn is_utf32(head: &[u8]) -> bool {
    head.starts_with(&[0xff, 0xfe, 0, 0]) || head.starts_with(&[0, 0, 0xfe, 0xff])
}

/// Bytes of UTF-16 that are turned at a time.
const CHUNK: usize = 32 << 10;

/// Reads UTF-16 and gives UTF-8. Half a pair of surrogates becomes U+FFFD, which no number has.
pub(super) struct Decoder<R> {
    from: R,
    order: Utf16,
    /// The bytes of a unit, or the units of a pair, that is not whole yet.
    rest: Vec<u8>,
    /// UTF-8 that was not given out yet, from `at` on.
    text: Vec<u8>,
    at: usize,
    is_at_end: bool,
    /// Half a unit is left at the end.
    is_cut: bool,
}

impl<R: Read> Decoder<R> {
    pub fn new(from: R, order: Utf16) -> Self {
        let (rest, text) = (Vec::new(), Vec::new());
        Self { from, order, rest, text, at: 0, is_at_end: false, is_cut: false }
    }

    /// Turns the next chunk.
    fn fill(&mut self) -> io::Result<()> {
        let mut bytes = std::mem::take(&mut self.rest);
        let before = bytes.len();
        (&mut self.from).take(CHUNK as u64).read_to_end(&mut bytes)?;
        self.is_at_end = bytes.len() - before < CHUNK;
        self.is_cut = self.is_at_end && bytes.len() % 2 == 1;
        let unit = |pair: &[u8]| match self.order {
            Utf16::Little => u16::from_le_bytes([pair[0], pair[1]]),
            Utf16::Big => u16::from_be_bytes([pair[0], pair[1]]),
        };
        let mut units: Vec<u16> = bytes.chunks_exact(2).map(unit).collect();
        let mut used = 2 * units.len();
        let is_high = |unit: &u16| (0xd800..0xdc00).contains(unit);
        if !self.is_at_end && units.last().is_some_and(is_high) {
            units.pop();
            used -= 2;
        }
        self.rest = bytes.split_off(used);
        let letters = char::decode_utf16(units).map(|letter| letter.unwrap_or('\u{fffd}'));
        self.text = letters.collect::<String>().into_bytes();
        self.at = 0;
        Ok(())
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at == self.text.len() && !self.is_at_end {
            self.fill()?;
        }
        if self.at == self.text.len() && self.is_cut {
            let error = DataError::new("the UTF-16 text ends in the middle of a character")
                .with_help("copy or download the file again");
            return Err(io::Error::other(error));
        }
        let given = (&self.text[self.at..]).read(into)?;
        self.at += given;
        Ok(given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(units: &[u16], order: Utf16) -> String {
        let bytes = units.iter().flat_map(|unit| match order {
            Utf16::Little => unit.to_le_bytes(),
            Utf16::Big => unit.to_be_bytes(),
        });
        let bytes: Vec<u8> = bytes.collect();
        let mut text = String::new();
        Decoder::new(&bytes[..], order).read_to_string(&mut text).unwrap();
        text
    }

    /// Pairs of surrogates that lie across the chunks, and halves of pairs.
    #[test]
    fn letters_of_all_lengths_come_out_whole() {
        let text = "aé€😀".repeat(CHUNK / 4) + "x";
        let units: Vec<u16> = text.encode_utf16().collect();
        for shift in 0..3 {
            let shifted = [&vec![u16::from(b'-'); shift], &units[..]].concat();
            let expected = "-".repeat(shift) + &text;
            assert!(decoded(&shifted, Utf16::Little) == expected);
            assert!(decoded(&shifted, Utf16::Big) == expected);
        }
        assert_eq!(decoded(&[0xd83d, 0x61, 0xdc00], Utf16::Little), "\u{fffd}a\u{fffd}");
        let mut chunk = vec![0x61; CHUNK / 2];
        *chunk.last_mut().unwrap() = 0xd83d;
        assert!(decoded(&chunk, Utf16::Big).ends_with("a\u{fffd}"));
    }

    #[test]
    fn half_a_unit_at_the_end_is_an_error() {
        let mut text = String::new();
        let error = Decoder::new(&b"a\0b"[..], Utf16::Little).read_to_string(&mut text);
        assert!(error.unwrap_err().to_string().contains("ends in the middle of a character"));
    }
}
