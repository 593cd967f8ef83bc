//! One launch's checks: every access is looked up in the regions a kernel may touch, and noted.
#![forbid(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ops::Range;

use crate::engine::fibre::Pool;
use crate::engine::run::Run;
use crate::heap::Heap;
use crate::launch::Shape;
use crate::module::{Image, Kernel};
use crate::report::{self, Place};

use super::Shadow;
use super::cell::Access;
use super::clock::Known;
use super::touched::Touched;

/// A piece of memory that a kernel may touch.
struct Region<'a> {
    range: Range<usize>,
    /// None for memory that is not watched: stacks, constants, pinned memory of the host.
    shadow: Option<&'a Shadow>,
    /// Whether each block has its own.
    shared: bool,
    name: RegionName<'a>,
}

enum RegionName<'a> {
    Global,
    Variable(&'a str),
    Shared(&'a str),
    Unwatched,
}

const WARP: usize = 32;

pub struct Checker<'a> {
    image: &'a Image,
    kernel: &'a Kernel,
    launch: u32,
    /// Sorted by address, without overlaps.
    regions: Vec<Region<'a>>,
    /// The region of the last access: mostly that of the next, too.
    recent: Cell<usize>,
    block: Cell<u32>,
    phase: Cell<u32>,
    /// For each thread, which ticks of the lanes of its warp it comes after.
    ticks: RefCell<Vec<[u32; WARP]>>,
    ticks_used: Cell<bool>,
    /// For each thread, the phase of its last fence.
    fences: RefCell<Vec<Option<u32>>>,
    /// What each thread will acquire with its next fence.
    seen: RefCell<HashMap<u32, Known>>,
    /// What the block, and each thread since the last barrier, has acquired.
    known: RefCell<Known>,
    acquired: RefCell<HashMap<u32, Known>>,
    /// What was released through each atomic variable.
    released: RefCell<HashMap<usize, Known>>,
    dynamic: u32,
    touched: Option<Touched>,
}

impl<'a> Checker<'a> {
    pub fn new(kernel: &'a Kernel, shape: Shape, heap: &'a Heap, pool: &Pool, launch: u32) -> Self {
        let image = &*kernel.image;
        let mut regions = Vec::new();
        let global = heap.allocations().map(|(start, allocation)| Region {
            range: start..start + allocation.size,
            shadow: allocation.shadow.as_ref(),
            shared: false,
            name: RegionName::Global,
        });
        regions.extend(global);
        let unwatched =
            |range| Region { range, shadow: None, shared: false, name: RegionName::Unwatched };
        regions.extend(heap.pinned().map(|(start, size)| unwatched(start..start + size)));
        regions.push(unwatched(pool.range()));
        if let Some(shadows) = &image.shadows {
            let variables = image.variables.iter().zip(&shadows.variables);
            regions.extend(variables.map(|(variable, shadow)| Region {
                range: variable.range.clone(),
                shadow: Some(shadow),
                shared: false,
                name: RegionName::Variable(&variable.name),
            }));
            let base = image.shared_memory();
            let shared = image.shared.iter().zip(&shadows.shared);
            regions.extend(shared.map(|(variable, shadow)| Region {
                range: base + variable.range.start..base + variable.range.end,
                shadow: Some(shadow),
                shared: true,
                name: RegionName::Shared(&variable.name),
            }));
            regions.push(Region {
                range: image.dynamic..image.dynamic + shape.dynamic as usize,
                shadow: Some(&shadows.dynamic),
                shared: true,
                name: RegionName::Shared("dynamic shared memory"),
            });
        }
        regions.sort_by_key(|r| (r.range.start, r.range.end));
        let threads = shape.threads() as usize;
        Self {
            image,
            kernel,
            launch,
            regions,
            recent: Cell::new(0),
            block: Cell::new(0),
            phase: Cell::new(0),
            ticks: RefCell::new(vec![[0; WARP]; threads]),
            ticks_used: Cell::new(true),
            fences: RefCell::new(vec![None; threads]),
            seen: RefCell::default(),
            known: RefCell::default(),
            acquired: RefCell::default(),
            released: RefCell::default(),
            dynamic: shape.dynamic,
            touched: Touched::wanted(),
        }
    }

    /// Every block is done.
    pub fn end(&self, shape: Shape) {
        if let Some(touched) = &self.touched {
            touched.write(self.kernel, shape);
        }
    }

    pub fn begin_block(&self, number: u32) {
        self.block.set(number);
        self.phase.set(0);
        if self.ticks_used.replace(false) {
            for (thread, ticks) in self.ticks.borrow_mut().iter_mut().enumerate() {
                *ticks = [0; WARP];
                ticks[thread % WARP] = 1;
            }
        }
        self.fences.borrow_mut().fill(None);
        self.seen.borrow_mut().clear();
        self.known.borrow_mut().clear();
        self.acquired.borrow_mut().clear();
        if let Some(touched) = &self.touched {
            touched.begin_block();
        }
        if let Some(shadows) = &self.image.shadows {
            for &i in &self.kernel.shared {
                shadows.shared[i].mark_uninitialised(0, self.image.shared[i].range.len());
            }
            shadows.dynamic.mark_uninitialised(0, self.dynamic as usize);
        }
    }

    /// Every thread of the block has come to a barrier.
    pub fn barrier(&self) {
        self.phase.set(self.phase.get() + 1);
        let mut known = self.known.borrow_mut();
        for (_, acquired) in self.acquired.borrow_mut().drain() {
            known.join(&acquired);
        }
    }

    /// `__syncwarp` of these lanes of a warp.
    pub fn warp_sync(&self, warp: u32, lanes: u32) {
        self.ticks_used.set(true);
        let mut all = self.ticks.borrow_mut();
        let first = warp as usize * WARP;
        let members = || (0..WARP).filter(|lane| lanes >> lane & 1 == 1);
        let mut joined = [0; WARP];
        for lane in members() {
            for (j, tick) in joined.iter_mut().zip(&all[first + lane]) {
                *j = (*j).max(*tick);
            }
        }
        for lane in members() {
            all[first + lane] = joined;
            all[first + lane][lane] += 1;
        }
    }

    /// `__threadfence`.
    pub fn fence(&self, thread: u32) {
        self.fences.borrow_mut()[thread as usize] = Some(self.phase.get());
        if let Some(seen) = self.seen.borrow_mut().remove(&thread) {
            self.acquired.borrow_mut().entry(thread).or_default().join(&seen);
        }
    }

    /// Notes an access by the current thread. False if it must not happen.
    pub fn access(
        &self,
        run: &Run,
        address: usize,
        size: usize,
        write: bool,
        atomic: bool,
        pc: usize,
    ) -> bool {
        let thread = run.current();
        let now = Access {
            launch: self.launch,
            block: self.block.get(),
            phase: self.phase.get(),
            tick: self.ticks.borrow()[thread as usize][thread as usize % WARP],
            pc: pc.wrapping_sub(self.image.base) as u32,
            thread: thread as u16,
            atomic,
            write,
        };
        let place = || Place { pc: now.pc, block: run.block(), thread: run.coordinates(thread) };
        let Some(region) = self.region(address, size) else {
            // Constants and tables of the image.
            if !write && self.image.read_only.contains(&address) {
                return true;
            }
            report::out_of_bounds(
                self.kernel,
                place(),
                address,
                size,
                write,
                &self.nearest(address),
            );
            return false;
        };
        let Some(shadow) = region.shadow else { return true };
        let offset = address - region.range.start;
        if let Some(touched) = self.touched.as_ref().filter(|_| !region.shared) {
            let (start, length) = (region.range.start, region.range.len());
            let kinds = [!write || atomic, write];
            touched.note((start, length), (offset, size), kinds, (now.pc, now.thread));
        }
        if atomic {
            self.synchronise(address, thread);
        }
        if (!write || atomic) && !shadow.is_initialised(offset, size) {
            report::uninitialised(self.kernel, place(), size, &self.describe(region, address));
            // Once is enough.
            shadow.mark_initialised(offset, size);
        }
        if write {
            shadow.mark_initialised(offset, size);
        }
        let mut race = None;
        shadow.visit(offset, size, |record| {
            let found = record.note(now, |earlier| self.is_ordered(earlier, &now, region.shared));
            race = race.or(found);
        });
        if let Some(earlier) = race {
            let other = Place {
                pc: earlier.pc,
                block: self.block_coordinates(earlier.block, run.shape),
                thread: run.coordinates(u32::from(earlier.thread)),
            };
            let what = self.describe(region, address);
            report::race(self.kernel, (place(), write), (other, earlier.write), size, &what);
        }
        true
    }

    /// Whether `earlier` is known to have happened before `now`.
    fn is_ordered(&self, earlier: &Access, now: &Access, shared: bool) -> bool {
        if earlier.block == now.block {
            if earlier.phase < now.phase {
                return true;
            }
            let same_warp = usize::from(earlier.thread) / WARP == usize::from(now.thread) / WARP;
            let ticks = self.ticks.borrow();
            let seen = ticks[usize::from(now.thread)][usize::from(earlier.thread) % WARP];
            if same_warp && earlier.tick <= seen {
                return true;
            }
        } else if shared {
            // Another block's shared memory, at the same address.
            return true;
        }
        let acquired = self.acquired.borrow();
        self.known.borrow().contains(earlier)
            || (!acquired.is_empty()
                && acquired.get(&u32::from(now.thread)).is_some_and(|k| k.contains(earlier)))
    }

    /// An atomic operation: releases what came before the thread's last fence, and makes what others
    /// released here wait for its next.
    fn synchronise(&self, address: usize, thread: u32) {
        let mut released = self.released.borrow_mut();
        if let Some(here) = released.get(&address) {
            self.seen.borrow_mut().entry(thread).or_default().join(here);
        }
        let fences = self.fences.borrow();
        let Some(fence) = fences[thread as usize] else { return };
        let here = released.entry(address).or_default();
        let (block, phase) = (self.block.get(), self.phase.get());
        here.add_block(block, fence);
        here.add_thread(block, thread as u16, phase);
        let known = self.known.borrow();
        if !known.is_empty() {
            here.join(&known);
        }
        if let Some(acquired) = self.acquired.borrow().get(&thread) {
            here.join(acquired);
        }
    }

    /// The region that holds all of an access.
    fn region(&self, address: usize, size: usize) -> Option<&Region<'a>> {
        let holds = |r: &Region| r.range.start <= address && address + size <= r.range.end;
        if let Some(recent) = self.regions.get(self.recent.get()).filter(|r| holds(r)) {
            return Some(recent);
        }
        let after = self.regions.partition_point(|r| r.range.start <= address);
        let at = after.checked_sub(1)?;
        if holds(&self.regions[at]) {
            self.recent.set(at);
            return Some(&self.regions[at]);
        }
        None
    }

    fn describe(&self, region: &Region, address: usize) -> String {
        let offset = address - region.range.start;
        match region.name {
            RegionName::Global => {
                format!("byte {offset} of an allocation of {} bytes", region.range.len())
            }
            RegionName::Variable(name) => format!("byte {offset} of `{name}`"),
            RegionName::Shared(name) => {
                format!("byte {offset} of shared `{}`", report::simple_name(name))
            }
            RegionName::Unwatched => format!("address {address:#x}"),
        }
    }

    /// Words for an address that is in no region.
    fn nearest(&self, address: usize) -> String {
        let after = self.regions.partition_point(|r| r.range.start <= address);
        let before = after.checked_sub(1).map(|at| &self.regions[at]);
        match before.filter(|r| address - r.range.start < 2 * r.range.len().max(1 << 20)) {
            Some(region) => self.describe(region, address),
            None => format!("address {address:#x}"),
        }
    }

    fn block_coordinates(&self, number: u32, shape: Shape) -> [u32; 3] {
        let [x, y, _] = shape.grid;
        [number % x, number / x % y, number / x / y]
    }
}
