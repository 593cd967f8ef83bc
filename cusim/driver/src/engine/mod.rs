//! Runs a grid: block after block, each CUDA thread of a block a fibre of its own once it has to
//! wait for others.
//!
//! * [`run`]: one launch, and the loop that decides which thread goes on.
//! * [`collective`]: what threads wait for: barriers, shuffles, votes.
//! * [`hooks`]: what kernels call.
//! * [`fibre`], [`trap`]: stacks to run on, and leaving one after an illegal access.
//! * [`order`]: in which order threads and blocks run.
//!
//! A thread that never waits costs a function call: fibres start threads one after the other, and
//! only one that blocks keeps its fibre.

pub mod collective;
pub mod fibre;
pub mod hooks;
pub mod order;
pub mod run;
pub mod trap;

use std::ffi::c_void;

use cudarc::driver::sys::CUresult;

use crate::heap::Heap;
use crate::launch::Shape;
use crate::module::Kernel;
use crate::report;
use crate::shadow::checker::Checker;

use fibre::Pool;
use order::Order;
use run::{Run, Scratch};

/// What stays from launch to launch.
pub struct Engine {
    pub order: Order,
    pool: Pool,
    scratch: Scratch,
    /// Launches so far.
    launches: u32,
}

// SAFETY: fibres hold pointers, so they are not Send by themselves; they run and are suspended
// only within a launch, under the driver's lock, and an idle one has nothing of a launch's, or a
// thread's, on its stack.
unsafe impl Send for Engine {}

impl Engine {
    pub fn new() -> Self {
        Self {
            order: Order::from_environment(),
            pool: Pool::new(),
            scratch: Scratch::default(),
            launches: 0,
        }
    }

    /// Runs a kernel to its end; the error is what the context reports from then on.
    pub fn launch(
        &mut self,
        kernel: &Kernel,
        shape: Shape,
        parameters: *mut *mut c_void,
        heap: &Heap,
    ) -> Result<(), CUresult> {
        self.launches += 1;
        let checker = kernel.image.shadows.is_some();
        let checker = checker.then(|| Checker::new(kernel, shape, heap, &self.pool, self.launches));
        let scratch = std::mem::take(&mut self.scratch);
        let run =
            Run::new(kernel, shape, parameters, checker, scratch, (self.order, self.launches));
        let failure = run.execute(&mut self.pool);
        if let Some(checker) = &run.checker {
            checker.end(shape);
        }
        let outcome = failure.map(|failure| report::failure(&failure, kernel, &run, heap));
        self.scratch = run.into_scratch();
        outcome.map_or(Ok(()), Err)
    }
}
