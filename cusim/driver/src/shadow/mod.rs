//! Check mode's memory about memory: who touched each byte last, and whether anyone wrote it.
//!
//! * [`cell`]: the record of accesses to one place.
//! * [`clock`]: what is known to have happened before what.
//! * [`checker`]: one launch's checks.
//! * [`touched`]: how many bytes a launch touches.

pub mod cell;
pub mod checker;
pub mod clock;
pub mod touched;

use std::alloc::{self, Layout};
use std::cell::{Cell as StdCell, RefCell};
use std::ptr::NonNull;

use cell::Record;

/// Bytes that share a record, as long as they are accessed together.
pub const GRANULE: usize = 4;

/// The shadow of a piece of memory. Large ones cost real memory only where they are used.
pub struct Shadow {
    records: Zeroed<Record>,
    /// One for each byte: whether it has been written.
    written: Zeroed<u8>,
    /// Records of single bytes, for granules accessed in parts.
    parts: RefCell<Vec<[Record; GRANULE]>>,
}

// SAFETY: only used under the driver's lock.
unsafe impl Send for Shadow {}
// SAFETY: as above.
unsafe impl Sync for Shadow {}

impl Shadow {
    pub fn uninitialised(bytes: usize) -> Self {
        Self {
            records: Zeroed::new(bytes.div_ceil(GRANULE)),
            written: Zeroed::new(bytes),
            parts: RefCell::default(),
        }
    }

    pub fn initialised(bytes: usize) -> Self {
        let shadow = Self::uninitialised(bytes);
        shadow.mark_initialised(0, bytes);
        shadow
    }

    pub fn mark_initialised(&self, offset: usize, bytes: usize) {
        self.written.range(offset, bytes).iter().for_each(|w| w.set(1));
    }

    pub fn mark_uninitialised(&self, offset: usize, bytes: usize) {
        self.written.range(offset, bytes).iter().for_each(|w| w.set(0));
    }

    pub fn copy_initialised(&self, offset: usize, from: &Self, from_offset: usize, bytes: usize) {
        let source = from.written.range(from_offset, bytes).iter();
        self.written.range(offset, bytes).iter().zip(source).for_each(|(to, w)| to.set(w.get()));
    }

    pub fn is_initialised(&self, offset: usize, bytes: usize) -> bool {
        self.written.range(offset, bytes).iter().all(|w| w.get() != 0)
    }

    /// Calls `visit` with each record that an access to these bytes concerns.
    pub fn visit(&self, offset: usize, bytes: usize, mut visit: impl FnMut(&mut Record)) {
        let end = offset + bytes;
        let mut at = offset;
        while at < end {
            let granule = at / GRANULE;
            let next = end.min((granule + 1) * GRANULE);
            // SAFETY: the only reference to this record: `visit` is given nothing else of ours,
            // and does not come back here.
            let record = unsafe { &mut *self.records.range(granule, 1)[0].as_ptr() };
            if next - at == GRANULE && record.parts == 0 {
                visit(record);
            } else {
                let mut all = self.parts.borrow_mut();
                if record.parts == 0 {
                    all.push([*record; GRANULE]);
                    record.parts = all.len() as u32;
                }
                let parts = &mut all[record.parts as usize - 1];
                parts[at % GRANULE..][..next - at].iter_mut().for_each(&mut visit);
            }
            at = next;
        }
    }
}

/// A long array of zeros that the system hands out page by page.
struct Zeroed<T> {
    start: NonNull<StdCell<T>>,
    count: usize,
}

/// Types for which zero bytes are a value.
trait Zero: Copy {}
impl Zero for u8 {}
impl Zero for Record {}

impl<T: Zero> Zeroed<T> {
    fn new(count: usize) -> Self {
        let layout = Self::layout(count);
        // SAFETY: the layout has a size, since `layout` counts at least one.
        let start = unsafe { alloc::alloc_zeroed(layout) };
        let start = NonNull::new(start.cast()).unwrap_or_else(|| alloc::handle_alloc_error(layout));
        Self { start, count }
    }

    fn layout(count: usize) -> Layout {
        Layout::array::<T>(count.max(1)).expect("shadows are smaller than the address space")
    }

    fn range(&self, from: usize, count: usize) -> &[StdCell<T>] {
        assert!(from + count <= self.count, "within the shadow");
        // SAFETY: within the array, whose zero bytes are values of T.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(from), count) }
    }
}

impl<T> Drop for Zeroed<T> {
    fn drop(&mut self) {
        let layout = Layout::array::<T>(self.count.max(1)).expect("as when it was allocated");
        // SAFETY: allocated in `new` with this layout.
        unsafe { alloc::dealloc(self.start.as_ptr().cast(), layout) };
    }
}
