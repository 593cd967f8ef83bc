//! Running on cusim in every order of blocks and threads, and under its checks.
//!
//! Both are settings of a whole process, so such a test runs in a process of its own.

use super::cuda::is_sim;

/// Runs `work` in a process of its own; with `settings` of cusim, whose checks must find nothing.
pub fn alone(test: &str, settings: &[(&str, &str)], work: impl FnOnce()) {
    if !is_sim() {
        return work();
    }
    let Some(child) = cusim::in_child(test, settings) else { return work() };
    assert!(child.reports.is_empty(), "{:#?}", child.reports);
    assert!(child.success, "{}", child.output);
}

/// Calls `work` once per order of blocks and threads. A GPU has no such setting and runs as it
/// likes each time.
pub fn in_every_order(mut work: impl FnMut()) {
    for order in cusim::Order::ALL {
        if is_sim() {
            cusim::Sim::load().expect("cusim was built with this test").set_order(order);
        }
        work();
    }
}
