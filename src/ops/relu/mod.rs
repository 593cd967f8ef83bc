//! The rectifier, `max(x, 0)`; NaN stays NaN.

mod cpu;
mod cuda;

use crate::device::{Backend, Device, Output, kernels};
use crate::dtype::Float;
use crate::{Result, Tensor};

kernels! {
    /// What the rectifier asks of a device.
    pub(crate) trait ReluKernels<T: Float>: Backend {
        /// `y = x > 0 ? x : 0`, and NaN for NaN.
        fn relu_forward(&self, x: Self::View<'_, T>, y: Self::ViewMut<'_, T>) -> Result<()>;

        /// `grad_x = y > 0 ? grad_y : 0` from the saved output; NaN lets the gradient through, as in
        /// PyTorch.
        fn relu_backward(
            &self,
            y: Self::View<'_, T>,
            grad_y: Self::View<'_, T>,
            grad_x: Output<'_, Self, T>,
        ) -> Result<()>;
    }
}

impl<T: Float> Tensor<T> {
    /// `max(x, 0)` of every element.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&device, &[-1.5_f32, 0.0, 2.0], [3])?;
    /// assert_eq!(x.relu()?.to_vec()?, [0.0, 0.0, 2.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When the device fails.
    pub fn relu(&self) -> Result<Self> {
        let device = self.device().clone();
        let mut y = device.alloc(self.numel())?;
        device.relu_forward(self.read().view(), Device::view_mut(&mut y))?;
        let output = Self::from_buffer(&device, y, self.shape().clone());
        let y = output.save("relu", "output");
        Ok(output.with_grad_fn([Some(self)], move |[x], gradient, gradients| {
            let Some(output) = gradients.output(x, y.numel())? else { return Ok(()) };
            device.relu_backward(y.read()?.view(), gradient.read().view(), output)
        }))
    }
}
