//! The text of a file, unpacked if it is gzip.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};

use super::DataError;
use crate::words::hex;

/// The text that `reader` gives, and whether it is gzip: told by its first bytes, not by a name.
pub(super) fn plain<'a>(
    reader: impl Read + Send + 'a,
) -> io::Result<(Box<dyn Read + Send + 'a>, bool)> {
    let mut reader = BufReader::with_capacity(64 << 10, reader);
    let is_gzip = reader.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    Ok((if is_gzip { Box::new(MultiGzDecoder::new(reader)) } else { Box::new(reader) }, is_gzip))
}

/// sha256, in hexadecimal, of the text of a file; the same whether it is packed or not.
///
/// # Errors
/// If the file cannot be read.
pub fn text_sha256(path: impl AsRef<Path>) -> Result<String, DataError> {
    let path = path.as_ref();
    let hash = || {
        let (mut text, _) = plain(File::open(path)?)?;
        let mut hash = Sha256::new();
        io::copy(&mut text, &mut hash)?;
        Ok(hex(&hash.finalize()))
    };
    hash().map_err(|error: io::Error| {
        DataError::new(format!("cannot read it: {error}")).in_file(path)
    })
}
