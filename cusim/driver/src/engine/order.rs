//! The order in which the blocks of a grid, and the threads of a block, get to run.
//!
//! A GPU promises none, so results must not depend on it: a test runs a kernel in all three.
#![forbid(unsafe_code)]

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    #[default]
    Forward,
    Reverse,
    /// Shuffled anew for each launch, by this seed.
    Shuffled(u64),
}

impl Order {
    /// `CUSIM_ORDER`: `forward`, `reverse`, `shuffled` or `shuffled:seed`.
    pub fn from_environment() -> Self {
        let Ok(value) = std::env::var("CUSIM_ORDER") else { return Self::Forward };
        Self::parse(&value).unwrap_or_else(|| {
            eprintln!("cusim: CUSIM_ORDER={value} is none of forward, reverse, shuffled[:seed]");
            std::process::abort()
        })
    }

    fn parse(value: &str) -> Option<Self> {
        match value.split_once(':') {
            None if value == "forward" => Some(Self::Forward),
            None if value == "reverse" => Some(Self::Reverse),
            None if value == "shuffled" => Some(Self::Shuffled(0)),
            Some(("shuffled", seed)) => Some(Self::Shuffled(seed.parse().ok()?)),
            _ => None,
        }
    }

    /// Fills `out` with `0..count` in this order; leaves it empty for forward, which needs none.
    pub fn fill(self, out: &mut Vec<u32>, count: u32, launch: u32) {
        out.clear();
        match self {
            Self::Forward => {}
            Self::Reverse => out.extend((0..count).rev()),
            Self::Shuffled(seed) => {
                out.extend(0..count);
                let mut random = SplitMix(seed ^ (u64::from(launch) << 32) ^ u64::from(count));
                for i in (1..out.len()).rev() {
                    out.swap(i, (random.next() % (i as u64 + 1)) as usize);
                }
            }
        }
    }
}

/// Small, and good enough to shuffle with.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
