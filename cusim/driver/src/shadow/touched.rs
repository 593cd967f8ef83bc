//! How many bytes of global memory a launch touches, each counted once however often it is accessed:
//! what a perfect cache would move. And how many sectors its warps ask for, without any cache.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::sync::OnceLock;

use crate::launch::Shape;
use crate::module::Kernel;

/// One bit for each byte of a region.
type Bits = Vec<u64>;

/// The bytes that a GPU moves together, at an address that they divide.
const SECTOR: usize = 32;

/// What a launch has accessed so far.
#[derive(Default)]
pub struct Touched {
    /// What was read and what was written, by region.
    bytes: RefCell<HashMap<usize, [Bits; 2]>>,
    warps: RefCell<Warps>,
}

/// The accesses of warps. Threads run one after the other here; on a GPU the lanes of a warp run an
/// instruction together, and one sector serves all that access it. So the n-th time that a lane comes
/// to an instruction counts as one access with the n-th time of the other lanes.
#[derive(Default)]
struct Warps {
    /// How often a thread of this block came to an instruction.
    visits: HashMap<(u32, u16), u32>,
    /// Instruction, warp, visit and sector of each access of this block.
    seen: HashSet<(u32, u16, u32, usize)>,
    sectors: u64,
}

impl Warps {
    fn note(&mut self, pc: u32, thread: u16, address: usize, size: usize) {
        let visits = self.visits.entry((pc, thread)).or_default();
        *visits += 1;
        for sector in address / SECTOR..=(address + size - 1) / SECTOR {
            self.sectors += u64::from(self.seen.insert((pc, thread / 32, *visits, sector)));
        }
    }
}

impl Touched {
    /// A count, if `CUSIM_TOUCHED` asks for one.
    pub fn wanted() -> Option<Self> {
        file().is_some().then(Self::default)
    }

    /// The threads to come are of another block.
    pub fn begin_block(&self) {
        let mut warps = self.warps.borrow_mut();
        warps.visits.clear();
        warps.seen.clear();
    }

    /// Notes an access, by an instruction of a thread, to bytes of a region that begins at `region`
    /// and has a `length`.
    pub fn note(
        &self,
        (region, length): (usize, usize),
        (offset, size): (usize, usize),
        kinds: [bool; 2],
        (pc, thread): (u32, u16),
    ) {
        self.warps.borrow_mut().note(pc, thread, region + offset, size);
        let mut regions = self.bytes.borrow_mut();
        let words = || vec![0; length.div_ceil(64)];
        let bits = regions.entry(region).or_insert_with(|| [words(), words()]);
        for (bits, _) in bits.iter_mut().zip(kinds).filter(|(_, kind)| *kind) {
            (offset..offset + size).for_each(|byte| bits[byte / 64] |= 1 << (byte % 64));
        }
    }

    /// Appends a line of JSON about the launch to the file.
    pub fn write(&self, kernel: &Kernel, shape: Shape) {
        let Some(path) = file() else { return };
        let regions = self.bytes.borrow();
        let count = |pick: fn(u64, u64) -> u64| -> u64 {
            let words = regions.values().flat_map(|[read, written]| read.iter().zip(written));
            words.map(|(&read, &written)| u64::from(pick(read, written).count_ones())).sum()
        };
        let Shape { grid, block, .. } = shape;
        let line = format!(
            "{{\"kernel\":\"{}\",\"grid\":{grid:?},\"block\":{block:?},\"read\":{},\"written\":{},\
             \"touched\":{},\"sectors\":{}}}",
            kernel.name,
            count(|read, _| read),
            count(|_, written| written),
            count(|read, written| read | written),
            self.warps.borrow().sectors,
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
