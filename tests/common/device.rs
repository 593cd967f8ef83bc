//! Running one generic test on every device.
//!
//! A test is a function `fn name<D: TestDevice>()`; [`on_every_device!`](crate::on_every_device)
//! makes a `#[test]` of it per device. Another device is one `impl TestDevice` and one line in
//! the macro.

use signet::{Cpu, Device};

/// A device that the tests can open by themselves, in both precisions.
pub trait TestDevice: Device<f32> + Device<f64> {
    /// Up to how many elements a test runs an op anew for each of them.
    const EACH_ELEMENT: usize;

    /// A handle of its own: tests run side by side and share nothing.
    fn open() -> Self;
}

impl TestDevice for Cpu {
    const EACH_ELEMENT: usize = 400;

    fn open() -> Self {
        Cpu::new(Some(2)).expect("two threads can be started")
    }
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
impl TestDevice for signet::Cuda {
    /// On the stand-in a run takes some hundred times as long.
    const EACH_ELEMENT: usize = 50;

    fn open() -> Self {
        super::cuda::device().expect("SIGNET_TEST_CUDA must be sim, real or nothing here")
    }
}

/// Makes `#[test]`s of generic functions, in a module per device.
#[macro_export]
macro_rules! on_every_device {
    ($($test:ident),* $(,)?) => {
        $crate::on_device!(cpu: signet::Cpu, test; $($test),*);
        #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
        $crate::on_device!(cuda: signet::Cuda, needs::test_on_cusim; $($test),*);
    };
}

/// [`on_every_device!`](crate::on_every_device) for one device.
#[macro_export]
macro_rules! on_device {
    ($name:ident: $device:ty, $attribute:path; $($test:ident),*) => {
        mod $name {
            $(
                #[$attribute]
                fn $test() {
                    super::$test::<$device>();
                }
            )*
        }
    };
}
