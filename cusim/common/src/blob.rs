//! The "CUBIN" and "PTX" of cusim: a few lines of text that name a shared object.
//!
//! Text without NUL bytes passes through everything that treats PTX as a C string and everything
//! that treats a CUBIN as bytes. The last line makes a truncated copy recognisable.

const MAGIC: &str = "//CUSIM 1";
const END: &str = "//END";
/// Longer than any blob; bounds the search for the end in memory of unknown length.
const LONGEST: usize = 16 * 1024;

/// Whether a program was asked for as machine code of one target or as PTX for any later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Cubin,
    Ptx,
}

/// A compiled program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    pub kind: Kind,
    /// Compute capability times ten: 86 for sm_86.
    pub arch: u32,
    /// Whether its kernels report their memory accesses (check mode).
    pub checked: bool,
    /// The shared object that holds the kernels.
    pub path: String,
}

/// Why bytes given to the driver are no blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// They do not begin like one: a real CUBIN, real PTX, or something else.
    Foreign,
    /// They begin like one and are cut short or garbled.
    Broken,
}

impl Blob {
    /// The blob as text, without the terminating NUL.
    #[must_use]
    pub fn encode(&self) -> String {
        let kind = match self.kind {
            Kind::Cubin => "cubin",
            Kind::Ptx => "ptx",
        };
        let Blob { arch, checked, path, .. } = self;
        format!("{MAGIC}\n{kind}\n{arch}\n{checked}\n{path}\n{END}\n")
    }

    /// Reads a blob back.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        let bytes = &bytes[..bytes.len().min(LONGEST)];
        if !bytes.starts_with(MAGIC.as_bytes()) {
            return Err(Damage::Foreign);
        }
        Self::parse(bytes).ok_or(Damage::Broken)
    }

    /// Reads a blob from memory whose length only its contents tell.
    ///
    /// # Safety
    /// `image` must point to a blob, or to at least one byte that differs from a blob's.
    pub unsafe fn decode_at(image: *const u8) -> Result<Self, Damage> {
        // A blob ends with its END line; anything else ends where it stops looking like one.
        let mut bytes = Vec::new();
        for i in 0..LONGEST {
            // SAFETY: every byte before this one was part of a blob that has not ended yet.
            let byte = unsafe { image.add(i).read() };
            let expected = MAGIC.as_bytes().get(i).copied();
            if expected.is_some_and(|e| e != byte) {
                return Err(if i == 0 { Damage::Foreign } else { Damage::Broken });
            }
            if byte == 0 || !(byte == b'\n' || (b' '..0x7f).contains(&byte) || byte >= 0x80) {
                break;
            }
            bytes.push(byte);
            if bytes.ends_with(END.as_bytes()) {
                break;
            }
        }
        Self::decode(&bytes)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut lines = text.lines().skip(1);
        let kind = match lines.next()? {
            "cubin" => Kind::Cubin,
            "ptx" => Kind::Ptx,
            _ => return None,
        };
        let arch = lines.next()?.parse().ok()?;
        let checked = lines.next()?.parse().ok()?;
        let path = lines.next()?.to_owned();
        (lines.next()? == END).then_some(Self { kind, arch, checked, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Blob {
        Blob { kind: Kind::Ptx, arch: 86, checked: true, path: "/a/b c/ü.so".to_owned() }
    }

    #[test]
    fn survives_a_round_trip_in_memory_of_unknown_length() {
        let text = sample().encode() + "\0rubbish";
        // SAFETY: `text` holds a whole blob.
        assert_eq!(unsafe { Blob::decode_at(text.as_ptr()) }, Ok(sample()));
    }

    #[test]
    fn tells_foreign_from_broken() {
        assert_eq!(Blob::decode(b"\x7fELF"), Err(Damage::Foreign));
        let text = sample().encode();
        assert_eq!(Blob::decode(&text.as_bytes()[..text.len() - 4]), Err(Damage::Broken));
        // SAFETY: the string differs from a blob in its first byte.
        assert_eq!(
            unsafe { Blob::decode_at(c".version 8.0".as_ptr().cast()) },
            Err(Damage::Foreign)
        );
    }
}
