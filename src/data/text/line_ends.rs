//! Lines that end in CR alone, as on a Macintosh long ago and in "CSV (Macintosh)" of Excel.

use std::io::{self, Read};

/// Whether the first line end of `head` is a CR without an LF.
pub(super) fn are_cr(head: &[u8]) -> bool {
    let first = memchr::memchr2(b'\r', b'\n', head);
    first.is_some_and(|at| head[at] == b'\r' && head.get(at + 1).is_some_and(|&next| next != b'\n'))
}

/// Gives what it reads with LF for each line end of CR, and for those of CR and LF.
pub(super) struct CrToLf<R> {
    from: R,
    /// The last byte was a CR: an LF that follows belongs to it.
    after_cr: bool,
}

impl<R> CrToLf<R> {
    pub fn new(from: R) -> Self {
        Self { from, after_cr: false }
    }
}

impl<R: Read> Read for CrToLf<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.from.read(into)?;
            let mut kept = 0;
            for at in 0..read {
                let byte = into[at];
                if byte == b'\n' && self.after_cr {
                    self.after_cr = false;
                    continue;
                }
                self.after_cr = byte == b'\r';
                into[kept] = if self.after_cr { b'\n' } else { byte };
                kept += 1;
            }
            // Nothing kept of something read is not the end.
            if kept > 0 || read == 0 {
                return Ok(kept);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a byte at a time.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let end = into.len().min(1);
            self.0.read(&mut into[..end])
        }
    }

    #[test]
    fn each_line_end_becomes_one() {
        for text in [&b"a\rb\r\rc\r\nd\ne\r"[..], b"\r\n\r", b""] {
            let expected: Vec<u8> =
                String::from_utf8_lossy(text).replace("\r\n", "\n").replace('\r', "\n").into();
            let (mut fast, mut slow) = (Vec::new(), Vec::new());
            CrToLf::new(text).read_to_end(&mut fast).unwrap();
            CrToLf::new(Slow(text)).read_to_end(&mut slow).unwrap();
            assert_eq!((&fast, &slow), (&expected, &expected));
        }
    }

    #[test]
    fn the_first_line_end_tells() {
        assert!(are_cr(b"a\rb\n"));
        assert!(!are_cr(b"a\r\nb\r") && !are_cr(b"a\nb\rc") && !are_cr(b"a") && !are_cr(b"a\r"));
    }
}
