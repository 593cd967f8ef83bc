//! Running one test on every device.
//!
//! A test is a function `fn name(on: TestDevice)`; [`on_every_device!`](crate::on_every_device)
//! makes a `#[test]` of it per device. Another device is a variant of [`TestDevice`] and one line in
//! the macro.

use signet::{Cpu, Device};

/// A device that the tests can open by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TestDevice {
    /// The CPU, with two threads.
    Cpu,
    /// The GPU, or what stands in for one.
    Cuda,
}

impl TestDevice {
    /// A handle of its own: tests run side by side and share nothing.
    pub fn open(self) -> Device {
        match self {
            Self::Cpu => Cpu::new(Some(2)).expect("two threads can be started").into(),
            #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
            Self::Cuda => super::cuda::device()
                .expect("SIGNET_TEST_CUDA must be sim, real or nothing here")
                .into(),
            #[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
            Self::Cuda => unreachable!("no test asks for it here"),
        }
    }

    /// Up to how many elements a test runs an op anew for each of them: on the stand-in a run takes
    /// some hundred times as long.
    pub fn each_element(self) -> usize {
        match self {
            Self::Cpu => 400,
            Self::Cuda => 50,
        }
    }
}

/// Makes `#[test]`s of functions of a [`TestDevice`], in a module per device.
#[macro_export]
macro_rules! on_every_device {
    ($($test:ident),* $(,)?) => {
        $crate::on_device!(cpu: Cpu, test; $($test),*);
        #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
        $crate::on_device!(cuda: Cuda, needs::test_on_cusim; $($test),*);
    };
}

/// [`on_every_device!`](crate::on_every_device) for one device.
#[macro_export]
macro_rules! on_device {
    ($name:ident: $device:ident, $attribute:path; $($test:ident),*) => {
        mod $name {
            use $crate::common::device::TestDevice;
            $(
                #[$attribute]
                fn $test() {
                    super::$test(TestDevice::$device);
                }
            )*
        }
    };
}
