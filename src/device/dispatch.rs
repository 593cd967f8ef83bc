//! From a [`Device`](super::Device) to the kernels of the one it is: the only place that asks.
#![forbid(unsafe_code)]

use super::{AnyView, AnyViewMut, Backend, Device, Output};
use crate::Result;
use crate::dtype::{Element, Plain};

/// What a kernel is given, as the device has it that runs the kernel.
pub(crate) trait On<D: Backend> {
    /// As the device has it.
    type At;

    /// It, on `device`.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when it lies on another device.
    fn on(self, device: &D) -> Result<Self::At>;
}

/// The same on every device.
impl<D: Backend, P: Plain> On<D> for P {
    type At = P;

    fn on(self, _device: &D) -> Result<P> {
        Ok(self)
    }
}

impl<'a, D: Backend, E: Element> On<D> for AnyView<'a, E> {
    type At = D::View<'a, E>;

    fn on(self, device: &D) -> Result<Self::At> {
        device.view_of(self)
    }
}

impl<'a, D: Backend, E: Element> On<D> for AnyViewMut<'a, E> {
    type At = D::ViewMut<'a, E>;

    fn on(self, device: &D) -> Result<Self::At> {
        device.view_mut_of(self)
    }
}

impl<D: Backend, X: On<D>> On<D> for Option<X> {
    type At = Option<X::At>;

    fn on(self, device: &D) -> Result<Self::At> {
        self.map(|x| x.on(device)).transpose()
    }
}

/// [`On`] for structs of several things, each of which goes to the device.
macro_rules! each_field_on {
    ($name:ident<$lt:lifetime $(, $t:ident: Float)?> { $($field:ident),* $(,)? }) => {
        impl<$lt, D: $crate::device::Backend $(, $t: $crate::dtype::Float)?> $crate::device::On<D>
            for $name<$lt, $crate::device::Device $(, $t)?>
        {
            type At = $name<$lt, D $(, $t)?>;

            fn on(self, device: &D) -> $crate::Result<Self::At> {
                Ok($name { $($field: self.$field.on(device)?),* })
            }
        }
    };
}

impl<'a, D: Backend, E: Element> On<D> for Output<'a, Device, E> {
    type At = Output<'a, D, E>;

    fn on(self, device: &D) -> Result<Self::At> {
        Ok(Output { view: self.view.on(device)?, accumulate: self.accumulate })
    }
}

/// Declares what an op asks of a device: a trait that [`Cpu`](super::Cpu) and [`Cuda`](super::Cuda)
/// implement, each in a file of the op, and that [`Device`] has by them.
macro_rules! kernels {
    (
        $(#[$about:meta])*
        pub(crate) trait $kernels:ident<$t:ident: Float>: Backend {
            $(
                $(#[$doc:meta])*
                fn $name:ident(&self, $($argument:ident: $kind:ty),* $(,)?) -> Result<()>;
            )*
        }
    ) => {
        $(#[$about])*
        pub(crate) trait $kernels<$t: $crate::dtype::Float>: $crate::device::Backend {
            $(
                $(#[$doc])*
                #[allow(clippy::too_many_arguments)]
                fn $name(&self, $($argument: $kind),*) -> $crate::Result<()>;
            )*
        }

        impl<$t: $crate::dtype::Float> $kernels<$t> for $crate::device::Device {
            $(
                fn $name(&self, $($argument: $kind),*) -> $crate::Result<()> {
                    use $crate::device::{Device, On};
                    match self {
                        Device::Cpu(device) => device.$name($($argument.on(device)?),*),
                        Device::Cuda(device) => device.$name($($argument.on(device)?),*),
                    }
                }
            )*
        }
    };
}

pub(crate) use {each_field_on, kernels};
