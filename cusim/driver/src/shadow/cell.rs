//! The record of accesses to one place, and which two accesses are a race.
#![forbid(unsafe_code)]

/// One access.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Of which launch: launches come one after the other. Zero for none.
    pub launch: u32,
    /// The block's number in the grid.
    pub block: u32,
    /// How many barriers the block had passed.
    pub phase: u32,
    /// How many exchanges of its warp the thread had passed.
    pub tick: u32,
    /// The instruction, from the start of its image.
    pub pc: u32,
    pub thread: u16,
    pub atomic: bool,
    pub write: bool,
}

/// The last write to a place, and two reads since.
///
/// Two reads by different threads are enough: a write that races with a third, unrecorded one
/// races with one of them, unless a warp exchange orders it after both.
#[derive(Clone, Copy, Debug, Default)]
pub struct Record {
    write: Access,
    reads: [Access; 2],
    /// One more than where the records of its single bytes are; 0 for nowhere.
    pub parts: u32,
}

impl Record {
    /// Notes an access; returns an earlier one that it races with. `ordered` tells whether an
    /// earlier access is known to have happened before.
    pub fn note(&mut self, now: Access, ordered: impl Fn(&Access) -> bool) -> Option<Access> {
        let races = |earlier: &Access| {
            earlier.launch == now.launch
                && (earlier.block, earlier.thread) != (now.block, now.thread)
                && !(earlier.atomic && now.atomic)
                && !ordered(earlier)
        };
        let race = if races(&self.write) {
            Some(self.write)
        } else if now.write {
            self.reads.iter().find(|read| races(read)).copied()
        } else {
            None
        };
        if now.write {
            self.write = now;
            self.reads = [Access::default(); 2];
        } else {
            let replaces = |read: &Access| {
                read.launch != now.launch
                    || (read.block, read.thread) == (now.block, now.thread)
                    || ordered(read)
            };
            let slot = usize::from(!replaces(&self.reads[0]));
            self.reads[slot] = now;
        }
        race
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(thread: u16, write: bool) -> Access {
        Access { launch: 1, thread, write, ..Access::default() }
    }

    #[test]
    fn two_threads_one_of_which_writes_are_a_race() {
        let mut record = Record::default();
        assert_eq!(record.note(access(0, false), |_| false), None);
        assert_eq!(record.note(access(1, false), |_| false), None);
        assert_eq!(record.note(access(1, true), |_| false), Some(access(0, false)));
        assert_eq!(record.note(access(1, false), |_| false), None);
        assert_eq!(record.note(access(2, false), |_| true), None);
    }

    #[test]
    fn launches_and_atomics_do_not_race() {
        let mut record = Record::default();
        record.note(access(0, true), |_| false);
        let later = Access { launch: 2, ..access(1, true) };
        assert_eq!(record.note(later, |_| false), None);
        let atomic = Access { launch: 3, atomic: true, ..access(1, true) };
        record.note(atomic, |_| false);
        assert_eq!(record.note(Access { thread: 2, ..atomic }, |_| false), None);
    }
}
