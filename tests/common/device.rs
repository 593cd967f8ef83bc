//! Running one generic test on every device.
//!
//! A test is a function `fn name<D: TestDevice>()`; [`on_every_device!`](crate::on_every_device)
//! makes a `#[test]` of it per device. Another device is one `impl TestDevice` and one line in
//! the macro.

use signet::{Cpu, Device};

/// A device that the tests can open by themselves, in both precisions.
pub trait TestDevice: Device<f32> + Device<f64> {
    /// A handle of its own: tests run side by side and share nothing.
    fn open() -> Self;
}

impl TestDevice for Cpu {
    fn open() -> Self {
        Cpu::new(Some(2)).expect("two threads can be started")
    }
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
impl TestDevice for signet::Cuda {
    /// The GPU that `SIGNET_TEST_CUDA` names: `sim`, the CPU in its place (also where nothing is
    /// named), or `real`.
    fn open() -> Self {
        let choice = std::env::var("SIGNET_TEST_CUDA").unwrap_or_else(|_| "sim".into());
        match choice.as_str() {
            "sim" => _ = cusim::Sim::load().expect("cusim was built with this test"),
            "real" => {}
            other => panic!("SIGNET_TEST_CUDA={other}: sim or real"),
        }
        // Kernels compiled for checks are not those without, though their sources are the same.
        let check = std::env::var("CUSIM_CHECK").unwrap_or_default();
        let folder = format!("{}/kernels-{choice}{check}", env!("CARGO_TARGET_TMPDIR"));
        let cache = signet::device::cuda::KernelCache::in_folder(folder);
        signet::Cuda::open(0, cache).unwrap_or_else(|reason| panic!("{reason}"))
    }
}

/// Makes `#[test]`s of generic functions, in a module per device.
#[macro_export]
macro_rules! on_every_device {
    ($($test:ident),* $(,)?) => {
        $crate::on_device!(cpu: signet::Cpu; $($test),*);
        #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
        $crate::on_device!(cuda: signet::Cuda; $($test),*);
    };
}

/// [`on_every_device!`](crate::on_every_device) for one device.
#[macro_export]
macro_rules! on_device {
    ($name:ident: $device:ty; $($test:ident),*) => {
        mod $name {
            $(
                #[test]
                fn $test() {
                    super::$test::<$device>();
                }
            )*
        }
    };
}
