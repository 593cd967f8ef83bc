//! The matrix product, which the linear layer uses too.

mod cpu;
pub(crate) mod cuda;

use crate::device::{Backend, Cost, Device, Output, kernels};
use crate::dtype::{Float, Plain};
use crate::ops::index32;
use crate::{Error, Result, Shape, Tensor};

/// The product `op(a) op(b)` of `[m, k]` and `[k, n]`, where `op` may transpose: a transposed `a`
/// lies in memory as `[k, m]`, a transposed `b` as `[n, k]`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct MatmulGeometry {
    /// Rows of the result.
    pub m: u32,
    /// Columns of the result.
    pub n: u32,
    /// The dimension that is summed.
    pub k: u32,
    /// 1 when `a` lies transposed, else 0.
    pub transpose_a: u32,
    /// 1 when `b` lies transposed, else 0.
    pub transpose_b: u32,
}

impl Plain for MatmulGeometry {}

impl MatmulGeometry {
    /// The product of `[m, k]` and `[k, n]`.
    ///
    /// # Errors
    /// [`Error::Shape`] in the name of `op` when an operand has more elements than kernels index.
    pub fn new(op: &'static str, m: usize, n: usize, k: usize) -> Result<Self> {
        for (a, b) in [(m, k), (k, n), (m, n)] {
            index32(op, a.saturating_mul(b))?;
        }
        let [m, n, k] = [m as u32, n as u32, k as u32];
        Ok(Self { m, n, k, transpose_a: 0, transpose_b: 0 })
    }

    /// `2 m n k` FLOP; reads both operands once and writes the result once.
    pub fn cost<T>(&self) -> Cost {
        let [m, n, k] = [self.m, self.n, self.k].map(u64::from);
        Cost { flops: 2 * m * n * k, bytes: 0 }.moving::<T>(m * k + k * n + m * n)
    }

    /// The first operand lies in memory as `[k, m]`.
    pub fn transpose_a(self) -> Self {
        Self { transpose_a: 1, ..self }
    }

    /// The second operand lies in memory as `[n, k]`.
    pub fn transpose_b(self) -> Self {
        Self { transpose_b: 1, ..self }
    }
}

kernels! {
    /// What matrix products ask of a device.
    pub(crate) trait MatmulKernels<T: Float>: Backend {
        /// `c = op(a) op(b) + bias`, the bias `[n]` repeated over rows.
        fn matmul(
            &self,
            geometry: &MatmulGeometry,
            a: Self::View<'_, T>,
            b: Self::View<'_, T>,
            bias: Option<Self::View<'_, T>>,
            c: Output<'_, Self, T>,
        ) -> Result<()>;
    }
}

impl<T: Float> Tensor<T> {
    /// The matrix product of `[m, k]` and `[k, n]`.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&device, &[1.0_f32, 2.0, 3.0, 4.0], [2, 2])?;
    /// let y = Tensor::from_slice(&device, &[1.0, 10.0], [2, 1])?;
    /// assert_eq!(x.matmul(&y)?.to_vec()?, [21.0, 43.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] for other shapes.
    pub fn matmul(&self, other: &Self) -> Result<Self> {
        const OP: &str = "matmul";
        let [m, k] = self.shape().expect(OP, "[m, k] on the left")?;
        let [rows, n] = other.shape().expect(OP, "[k, n] on the right")?;
        if rows != k {
            let message =
                format!("{} times {}: {k} columns meet {rows} rows", self.shape(), other.shape());
            return Err(Error::shape(OP, message));
        }
        let device = self.device().clone();
        let mut c = device.alloc(m * n)?;
        let output = Output { view: Device::view_mut(&mut c), accumulate: false };
        let geometry = MatmulGeometry::new(OP, m, n, k)?;
        device.matmul(&geometry, self.read().view(), other.read().view(), None, output)?;
        let output = Self::from_buffer(&device, c, Shape::from([m, n]));
        let (a, b) = (self.save(OP, "left matrix"), other.save(OP, "right matrix"));
        let inputs = [Some(self), Some(other)];
        Ok(output.with_grad_fn(inputs, move |[a_node, b_node], gradient, gradients| {
            let gradient = gradient.read();
            let gradient = gradient.view();
            if let Some(output) = gradients.output(a_node, m * k)? {
                let geometry = MatmulGeometry::new(OP, m, k, n)?.transpose_b();
                device.matmul(&geometry, gradient, b.read()?.view(), None, output)?;
            }
            if let Some(output) = gradients.output(b_node, k * n)? {
                let geometry = MatmulGeometry::new(OP, k, n, m)?.transpose_a();
                device.matmul(&geometry, a.read()?.view(), gradient, None, output)?;
            }
            Ok(())
        }))
    }
}
