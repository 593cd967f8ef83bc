//! The choice by a mask.

use super::{BinaryKernels, Broadcast, Operand, broadcast, to_operand};
use crate::device::{Backend, Cost, Device};
use crate::dtype::Float;
use crate::{Result, Tensor};

impl Broadcast {
    pub(super) fn where_cost<T>(&self) -> Cost {
        let operands = u64::from(self.repeat[0]) + u64::from(self.repeat[1]);
        let cost = Cost::elementwise::<T>(self.n as usize, 1, 0).moving::<T>(operands);
        cost.moving::<u8>(u64::from(self.repeat[2]))
    }
}

impl Tensor<u8> {
    /// `torch.where(mask, a, b)`: of each element `a` where the mask is not 0, else `b`. All three are
    /// repeated as by [`Tensor::add`].
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&device, &[1.0_f32, -2.0, 3.0], [3])?;
    /// let zero = Tensor::zeros(&device, [])?;
    /// assert_eq!(x.gt(&zero)?.where_cond(&x, &zero)?.to_vec()?, [1.0, 0.0, 3.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) for shapes that do not fit.
    pub fn where_cond<T: Float>(&self, a: &Tensor<T>, b: &Tensor<T>) -> Result<Tensor<T>> {
        let name = "where_cond";
        let shape = broadcast(name, &[self.shape(), a.shape(), b.shape()])?;
        let geometry = Broadcast::new(name, &shape, [a.shape(), b.shape(), self.shape()])?;
        let device = self.device().clone();
        let mut y = device.alloc(shape.numel())?;
        let (mask, of_a, of_b) = (self.read(), a.read(), b.read());
        let target = Device::view_mut(&mut y);
        device.where_forward(&geometry, mask.view(), of_a.view(), of_b.view(), target)?;
        let geometry = Broadcast::new(name, &shape, [&shape, &shape, self.shape()])?;
        let shapes = [a.shape().clone(), b.shape().clone()];
        let mask = self.save(name, "mask");
        let output = Tensor::from_buffer(&device, y, shape);
        Ok(output.with_grad_fn([Some(a), Some(b)], move |nodes, gradient, gradients| {
            let grad_y = gradient.read();
            for (by, node) in [Operand::A, Operand::B].into_iter().zip(nodes) {
                if node.is_none() {
                    continue;
                }
                let own = &shapes[by as usize];
                let mask = mask.read()?;
                to_operand(&device, gradient.shape(), own, node, gradients, |grad| {
                    device.where_backward(by, &geometry, mask.view(), grad_y.view(), grad)
                })?;
            }
            Ok(())
        }))
    }
}
