//! What threads do together: barriers of a block, and the exchanges of a warp.
//!
//! Whoever arrives waits; the last to arrive makes all ready, in the order they arrived in.

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char};

use super::fibre::Fibre;
use super::run::{Failure, Run};

/// A place in the source, as the kernel passes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Site {
    file: *const c_char,
    line: i32,
}

impl Site {
    pub fn new(file: *const c_char, line: i32) -> Self {
        Self { file, line }
    }

    pub fn file(self) -> String {
        // SAFETY: `__builtin_FILE()` in a loaded object, or null.
        let file = (!self.file.is_null()).then(|| unsafe { CStr::from_ptr(self.file) });
        file.map_or_else(|| "?".to_owned(), |f| f.to_string_lossy().into_owned())
    }

    pub fn line(self) -> u32 {
        self.line.unsigned_abs()
    }
}

impl std::fmt::Display for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file(), self.line)
    }
}

/// What a suspended thread waits for.
#[derive(Clone, Copy, Debug)]
pub enum Waiting {
    Nothing,
    Barrier(Site),
    Warp(Site),
}

/// The block's barrier.
#[derive(Debug, Default)]
pub struct Barrier {
    kind: u32,
    site: Option<Site>,
    arrived: Vec<u32>,
    /// How many predicates were true.
    nonzero: u32,
    result: i32,
}

/// A warp's exchanges under way, one for each mask.
#[derive(Debug, Default)]
pub struct Warp {
    /// Lanes that exist and have not ended.
    pub live: u32,
    groups: Vec<Group>,
}

#[derive(Debug)]
struct Group {
    mask: u32,
    kind: u32,
    arrived: u32,
    /// In the order they came.
    lanes: Vec<u8>,
    values: [u64; 32],
    arguments: [u8; 32],
    width: u32,
}

/// Kinds of exchange, as the shim numbers them.
const SYNC: u32 = 0;
const BALLOT: u32 = 1;
const SHUFFLE: u32 = 2;
const SHUFFLE_UP: u32 = 3;
const SHUFFLE_DOWN: u32 = 4;
const SHUFFLE_XOR: u32 = 5;
/// What a lane gets that reads one which does not take part: NaN as float and as double.
const UNDEFINED: u64 = u64::MAX;

impl Warp {
    pub fn reset(&mut self, live: u32) {
        self.live = live;
        self.groups.clear();
    }
}

impl Group {
    /// What `lane` gets out of it.
    fn result(&self, lane: u32) -> u64 {
        let argument = u32::from(self.arguments[lane as usize]);
        let width = self.width;
        let base = lane / width * width;
        // Which lane it reads; its own where that would leave the segment.
        let source = match self.kind {
            SHUFFLE => base + argument % width,
            SHUFFLE_UP if lane - base >= argument => lane - argument,
            SHUFFLE_DOWN if lane + argument < base + width => lane + argument,
            SHUFFLE_XOR if (lane ^ argument) < base + width => lane ^ argument,
            BALLOT => {
                let lanes = self.lanes.iter().filter(|&&l| self.values[l as usize] != 0);
                return lanes.fold(0, |ballot, &l| ballot | 1 << l);
            }
            _ => lane,
        };
        if self.arrived >> source & 1 == 1 { self.values[source as usize] } else { UNDEFINED }
    }
}

impl Run<'_> {
    /// `__syncthreads` and its relatives.
    pub fn barrier(&self, kind: u32, predicate: bool, site: Site) -> i32 {
        let thread = self.current();
        let mut barrier = self.barrier.borrow_mut();
        match barrier.site {
            Some(first) if first != site || barrier.kind != kind => {
                let other = barrier.arrived[0];
                drop(barrier);
                let what = format!(
                    "thread {} waits at the barrier at {first}, thread {} at the one at {site}",
                    self.name(other),
                    self.name(thread),
                );
                self.fail(Failure::Divergence(what, Some(site)));
            }
            Some(_) => {}
            None => (barrier.site, barrier.kind, barrier.nonzero) = (Some(site), kind, 0),
        }
        barrier.nonzero += u32::from(predicate);
        barrier.arrived.push(thread);
        if barrier.arrived.len() as u32 == self.threads {
            barrier.result = match kind {
                1 => barrier.nonzero as i32,
                2 => i32::from(barrier.nonzero == self.threads),
                _ => i32::from(barrier.nonzero > 0),
            };
            barrier.site = None;
            self.scratch.ready.borrow_mut().extend(barrier.arrived.drain(..));
            if let Some(checker) = &self.checker {
                checker.barrier();
            }
        }
        drop(barrier);
        self.wait(Waiting::Barrier(site));
        self.barrier.borrow().result
    }

    /// `__syncwarp`, votes and shuffles: each lane gives a value and gets one.
    pub fn exchange(
        &self,
        kind: u32,
        mask: u32,
        value: u64,
        argument: u32,
        width: u32,
        site: Site,
    ) -> u64 {
        let thread = self.current();
        let (warp_number, lane) = (thread / 32, thread % 32);
        if mask >> lane & 1 == 0 {
            let what = format!("thread {} is not in its own mask {mask:#010x}", self.name(thread));
            self.fail(Failure::Divergence(what, Some(site)));
        }
        if !width.is_power_of_two() || width > 32 {
            let what = format!("a shuffle's width is {width}, not a power of two up to 32");
            self.fail(Failure::Divergence(what, Some(site)));
        }
        {
            let mut warps = self.scratch.warps.borrow_mut();
            let warp = &mut warps[warp_number as usize];
            let known = warp.groups.iter().position(|g| (g.mask, g.kind) == (mask, kind));
            let at = known.unwrap_or_else(|| {
                let group = Group {
                    mask,
                    kind,
                    arrived: 0,
                    lanes: Vec::with_capacity(32),
                    values: [0; 32],
                    arguments: [0; 32],
                    width,
                };
                warp.groups.push(group);
                warp.groups.len() - 1
            });
            let group = &mut warp.groups[at];
            group.arrived |= 1 << lane;
            group.lanes.push(lane as u8);
            group.values[lane as usize] = value;
            group.arguments[lane as usize] = argument.min(255) as u8;
            self.finish_groups(warp, warp_number);
        }
        self.wait(Waiting::Warp(site));
        self.scratch.results.borrow()[thread as usize]
    }

    /// Completes the exchanges that every lane they need has come to. Lanes that have ended are
    /// not waited for.
    fn finish_groups(&self, warp: &mut Warp, warp_number: u32) {
        let live = warp.live;
        warp.groups.retain(|group| {
            if group.arrived & group.mask != group.mask & live {
                return true;
            }
            let mut results = self.scratch.results.borrow_mut();
            let mut ready = self.scratch.ready.borrow_mut();
            for &lane in &group.lanes {
                let thread = warp_number * 32 + u32::from(lane);
                results[thread as usize] = group.result(u32::from(lane));
                ready.push_back(thread);
            }
            // Shuffles and votes exchange values, and order no memory.
            if let Some(checker) = self.checker.as_ref().filter(|_| group.kind == SYNC) {
                checker.warp_sync(warp_number, group.arrived);
            }
            false
        });
    }

    /// The lanes of the current thread's warp that have not ended.
    pub fn live_lanes(&self) -> u32 {
        self.scratch.warps.borrow()[self.current() as usize / 32].live
    }

    /// Called on a fibre: its thread's kernel has returned.
    pub(super) fn end_thread(&self) {
        let thread = self.current();
        self.ended.set(self.ended.get() + 1);
        let mut warps = self.scratch.warps.borrow_mut();
        let warp = &mut warps[thread as usize / 32];
        warp.live &= !(1 << (thread % 32));
        if !warp.groups.is_empty() {
            self.finish_groups(warp, thread / 32);
        }
    }

    /// Explains why nobody can go on.
    pub(super) fn stuck(&self, fibres: &[Option<Fibre>]) -> Failure {
        // How many threads wait where, and the first of them.
        let mut places: BTreeMap<(&str, Site), (u32, u32)> = BTreeMap::new();
        for thread in (0..self.threads).filter(|&t| fibres[t as usize].is_some()) {
            let place = match self.scratch.waiting[thread as usize].get() {
                Waiting::Nothing => continue,
                Waiting::Barrier(site) => ("the barrier", site),
                Waiting::Warp(site) => ("the warp exchange", site),
            };
            places.entry(place).or_insert((0, thread)).0 += 1;
        }
        let mut parts: Vec<_> = places
            .iter()
            .map(|((what, site), (count, first))| {
                let first = self.name(*first);
                format!("{count} threads (the first is {first}) wait at {what} at {site}")
            })
            .collect();
        if self.ended.get() > 0 {
            parts.push(format!("{} threads have returned", self.ended.get()));
        }
        Failure::Divergence(parts.join(", "), places.keys().next().map(|&(_, site)| site))
    }

    /// A thread's coordinates in words.
    fn name(&self, thread: u32) -> String {
        let [x, y, z] = self.coordinates(thread);
        format!("({x},{y},{z})")
    }
}
