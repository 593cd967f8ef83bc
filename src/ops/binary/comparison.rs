//! Comparisons, which give masks.

use super::{BinaryKernels, Broadcast, broadcast};
use crate::device::{Backend, Cost, Device};
use crate::dtype::{Float, Plain};
use crate::{Result, Tensor};

/// Makes [`Comparison`] of the lines of the table, and a method of [`Tensor`] of each.
macro_rules! table {
    ($($(#[$doc:meta])* $name:ident: $example:literal;)*) => {
        /// A comparison, by the name of its kernel.
        #[allow(non_camel_case_types)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Comparison {
            $($name,)*
        }

        impl Plain for Comparison {}

        impl Comparison {
            /// Every one of them.
            #[cfg(test)]
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            pub(super) fn kernel(self) -> &'static str {
                match self {
                    $(Self::$name => concat!(stringify!($name), "_forward"),)*
                }
            }
        }

        impl<T: Float> Tensor<T> {
            $(
                $(#[$doc])*
                /// A mask: 1 where it is so, else 0. Operands are repeated as by [`Tensor::add`].
                ///
                /// ```
                /// # fn main() -> signet::Result<()> {
                /// use signet::{Device, Tensor};
                /// let device = Device::cpu()?;
                /// let x = Tensor::from_slice(&device, &[1.0_f32, 2.0, 3.0, f32::NAN], [4])?;
                /// let y = Tensor::from_slice(&device, &[2.0_f32], [])?;
                #[doc = concat!("assert_eq!(x.", stringify!($name), "(&y)?.to_vec()?, ", $example, ");")]
                /// # Ok(()) }
                /// ```
                ///
                /// # Errors
                /// [`Error::Shape`](crate::Error::Shape) for shapes that do not fit.
                pub fn $name(&self, other: &Self) -> Result<Tensor<u8>> {
                    self.compare(Comparison::$name, other)
                }
            )*
        }
    };
}

table! {
    /// Whether `self == other`, which is false of NaN.
    eq: "[0, 1, 0, 0]";
    /// Whether `self != other`, which is true of NaN.
    ne: "[1, 0, 1, 1]";
    /// Whether `self < other`, which is false of NaN.
    lt: "[1, 0, 0, 0]";
    /// Whether `self <= other`, which is false of NaN.
    le: "[1, 1, 0, 0]";
    /// Whether `self > other`, which is false of NaN.
    gt: "[0, 0, 1, 0]";
    /// Whether `self >= other`, which is false of NaN.
    ge: "[0, 1, 1, 0]";
}

impl Broadcast {
    pub(super) fn comparison_cost<T>(&self) -> Cost {
        let operands = u64::from(self.repeat[0]) + u64::from(self.repeat[1]);
        Cost::elementwise::<u8>(self.n as usize, 1, 1).moving::<T>(operands)
    }
}

impl<T: Float> Tensor<T> {
    fn compare(&self, comparison: Comparison, other: &Self) -> Result<Tensor<u8>> {
        let name = comparison.name();
        let shape = broadcast(name, &[self.shape(), other.shape()])?;
        let geometry = Broadcast::new(name, &shape, [self.shape(), other.shape(), &shape])?;
        let device = self.device();
        let mut y = device.alloc(shape.numel())?;
        let (a, b) = (self.read(), other.read());
        device.compare(comparison, &geometry, a.view(), b.view(), Device::view_mut(&mut y))?;
        Ok(Tensor::from_buffer(device, y, shape))
    }
}
