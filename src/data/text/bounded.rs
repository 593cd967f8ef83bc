//! Packed data that unpacks to what no file of photographs does is not read to its end.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::data::DataError;

/// Bytes that any packed file may unpack to.
const ALWAYS: u64 = 64 << 20;

/// How many times its own size a larger one may unpack to: the published files take 3.5 times
/// theirs, files of zeros 1,000 times.
const TIMES: u64 = 200;

/// Bytes that were read so far, where others see it.
pub(super) type Count = Arc<AtomicU64>;

/// Counts what is read.
pub(super) struct Counted<R> {
    from: R,
    count: Count,
}

impl<R> Counted<R> {
    pub fn new(from: R) -> (Self, Count) {
        let count = Count::default();
        (Self { from, count: Arc::clone(&count) }, count)
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(into)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Gives unpacked bytes, as long as they are in proportion to the packed ones.
pub(super) struct Bounded<R> {
    from: R,
    given: u64,
    packed: Count,
}

impl<R> Bounded<R> {
    /// Of `from`, which unpacks what `packed` counts.
    pub fn new(from: R, packed: Count) -> Self {
        Self { from, given: 0, packed }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(into)?;
        self.given += read as u64;
        let most = self.packed.load(Ordering::Relaxed).saturating_mul(TIMES).max(ALWAYS);
        if self.given > most {
            let message = format!(
                "it unpacks to more than {TIMES} times its size, which no data of photographs does"
            );
            return Err(io::Error::other(DataError::new(message)));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_swells_beyond_proportion_ends_with_an_error() {
        let read = |packed: u64, size: u64| {
            let count = Arc::new(AtomicU64::new(packed));
            io::copy(&mut Bounded::new(io::repeat(0).take(size), count), &mut io::sink())
        };
        assert_eq!(read(1, ALWAYS).unwrap(), ALWAYS);
        let large = ALWAYS + 1;
        assert!(read(1, large).unwrap_err().to_string().contains("200 times its size"));
        assert_eq!(read(large / TIMES + 1, large).unwrap(), large);
    }
}
