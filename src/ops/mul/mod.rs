//! Elementwise multiplication, the second operand repeated over leading dimensions.

mod cpu;
mod cuda;

use crate::device::{Backend, Device, Output, kernels};
use crate::dtype::Float;
use crate::ops::add::repeat;
use crate::ops::sum::SumKernels;
use crate::{Result, Tensor};

kernels! {
    /// What multiplication asks of a device.
    pub(crate) trait MulKernels<T: Float>: Backend {
        /// `y[i] = a[i] * b[i % len(b)]`.
        fn mul(&self, a: Self::View<'_, T>, b: Self::View<'_, T>, y: Output<'_, Self, T>)
        -> Result<()>;
    }
}

impl<T: Float> Tensor<T> {
    /// `self * other`, elementwise; `other` has the same shape or the last dimensions of it.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&device, &[1.0_f32, 2.0, 3.0, 4.0], [2, 2])?;
    /// assert_eq!(x.mul(&x)?.to_vec()?, [1.0, 4.0, 9.0, 16.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) for other shapes.
    pub fn mul(&self, other: &Self) -> Result<Self> {
        let geometry = repeat("mul", self, other)?;
        let device = self.device().clone();
        let mut y = device.alloc(self.numel())?;
        let output = Output { view: Device::view_mut(&mut y), accumulate: false };
        device.mul(self.read().view(), other.read().view(), output)?;
        let output = Self::from_buffer(&device, y, self.shape().clone());
        let (a, b) = (self.save("mul", "first factor"), other.save("mul", "second factor"));
        let inputs = [Some(self), Some(other)];
        Ok(output.with_grad_fn(inputs, move |[a_node, b_node], gradient, gradients| {
            let gradient = gradient.read();
            let gradient = gradient.view();
            if let Some(output) = gradients.output(b_node, b.numel())? {
                let mut product = device.alloc(a.numel())?;
                let whole = Output { view: Device::view_mut(&mut product), accumulate: false };
                device.mul(gradient, a.read()?.view(), whole)?;
                device.channel_sum(&geometry, T::one(), Device::view(&product), output)?;
            }
            if let Some(output) = gradients.output(a_node, a.numel())? {
                device.mul(gradient, b.read()?.view(), output)?;
            }
            Ok(())
        }))
    }
}
