//! How many bytes of global memory a launch touches, each counted once however often it is accessed:
//! what a perfect cache would move.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::sync::OnceLock;

use crate::launch::Shape;
use crate::module::Kernel;

/// One bit for each byte of a region.
type Bits = Vec<u64>;

/// What a launch has read and written so far, by region.
#[derive(Default)]
pub struct Touched(RefCell<HashMap<usize, [Bits; 2]>>);

impl Touched {
    /// A count, if `CUSIM_TOUCHED` asks for one.
    pub fn wanted() -> Option<Self> {
        file().is_some().then(Self::default)
    }

    /// Notes an access to bytes of a region of `length`.
    pub fn note(&self, region: usize, length: usize, offset: usize, size: usize, kinds: [bool; 2]) {
        let mut regions = self.0.borrow_mut();
        let words = || vec![0; length.div_ceil(64)];
        let bits = regions.entry(region).or_insert_with(|| [words(), words()]);
        for (bits, _) in bits.iter_mut().zip(kinds).filter(|(_, kind)| *kind) {
            (offset..offset + size).for_each(|byte| bits[byte / 64] |= 1 << (byte % 64));
        }
    }

    /// Appends a line of JSON about the launch to the file.
    pub fn write(&self, kernel: &Kernel, shape: Shape) {
        let Some(path) = file() else { return };
        let regions = self.0.borrow();
        let count = |pick: fn(u64, u64) -> u64| -> u64 {
            let words = regions.values().flat_map(|[read, written]| read.iter().zip(written));
            words.map(|(&read, &written)| u64::from(pick(read, written).count_ones())).sum()
        };
        let Shape { grid, block, .. } = shape;
        let line = format!(
            "{{\"kernel\":\"{}\",\"grid\":{grid:?},\"block\":{block:?},\"read\":{},\"written\":{},\
             \"touched\":{}}}",
            kernel.name,
            count(|read, _| read),
            count(|_, written| written),
            count(|read, written| read | written),
        );
        let file = OpenOptions::new().create(true).append(true).open(path);
        if let Err(why) = file.and_then(|mut file| writeln!(file, "{line}")) {
            eprintln!("cusim: CUSIM_TOUCHED={}: {why}", path.display());
        }
    }
}

fn file() -> Option<&'static OsString> {
    static FILE: OnceLock<Option<OsString>> = OnceLock::new();
    FILE.get_or_init(|| std::env::var_os("CUSIM_TOUCHED").filter(|path| !path.is_empty())).as_ref()
}
