//! Time per kernel, by events on the stream.
//!
//! Host clocks would time the queueing, not the work. Two events around each launch are read only
//! when somebody asks, or when many have gathered, so that measuring adds no wait.
#![forbid(unsafe_code)]

use super::{Cuda, Event};
use crate::Result;
use crate::device::{KernelTime, Memory};
use cudarc::driver::DriverError;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

/// Launches whose events are kept before they are read.
const PENDING: usize = 1024;

/// The times so far; off until [`Cuda::start_profile`].
#[derive(Debug, Default)]
pub(super) struct Profile(RefCell<Option<Times>>);

#[derive(Debug, Default)]
struct Times {
    read: BTreeMap<&'static str, (u64, Duration)>,
    pending: Vec<Measured>,
}

/// A kernel between two events.
#[derive(Debug)]
struct Measured {
    name: &'static str,
    start: Event,
    end: Event,
}

impl Times {
    /// Reads the events of finished kernels; the caller has waited for the stream.
    fn read_pending(&mut self) -> Result<(), DriverError> {
        for measured in self.pending.drain(..) {
            let (calls, total) = self.read.entry(measured.name).or_default();
            *calls += 1;
            *total += measured.start.until(&measured.end)?;
        }
        Ok(())
    }
}

impl Profile {
    /// Destroys the events. The caller has made the context current.
    pub(super) fn clear(&self) {
        self.0.take();
    }
}

impl Cuda {
    /// Starts to measure the time each kernel takes on the device. From here on no graph is
    /// captured ([`Memory::capture`] says `None`): a graph's kernels cannot be timed one by one.
    pub fn start_profile(&self) {
        self.profile_cell().0.borrow_mut().get_or_insert_default();
    }

    /// The time per kernel since [`Cuda::start_profile`], the most expensive first. Waits for the
    /// device.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when the device fails.
    pub fn profile(&self) -> Result<Vec<KernelTime>> {
        self.synchronize()?;
        let mut times = self.profile_cell().0.borrow_mut();
        let Some(times) = times.as_mut() else { return Ok(Vec::new()) };
        times.read_pending().map_err(self.driver_error("reading kernel times"))?;
        let mut list: Vec<_> = times
            .read
            .iter()
            .map(|(&name, &(calls, total))| KernelTime { name, calls, total })
            .collect();
        list.sort_by_key(|time| std::cmp::Reverse(time.total));
        Ok(list)
    }

    /// Whether launches are timed.
    pub(super) fn is_profiled(&self) -> bool {
        self.profile_cell().0.borrow().is_some()
    }

    /// Runs one launch, between two events while a profile is on.
    pub(super) fn measure(
        &self,
        name: &'static str,
        launch: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let mut times = self.profile_cell().0.borrow_mut();
        let Some(times) = times.as_mut() else { return launch() };
        let start = self.event()?;
        launch()?;
        times.pending.push(Measured { name, start, end: self.event()? });
        if times.pending.len() >= PENDING {
            self.synchronize()?;
            times.read_pending().map_err(self.driver_error("reading kernel times"))?;
        }
        Ok(())
    }
}
