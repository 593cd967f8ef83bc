//! The matrix product, which the linear layer uses too.
//!
//! | file | subject |
//! |---|---|
//! | `mod.rs` | one product, and [`Tensor::matmul`] |
//! | `batched.rs` | many products in one launch, and when they are one |
//! | `cpu.rs`, `cuda.rs` | both on each device |

mod batched;
mod cpu;
pub(crate) mod cuda;

use crate::device::{AnyView, Backend, Cost, Device, Output, kernels};
use crate::dtype::{Float, Plain};
use crate::ops::{index32, numel32};
use crate::{Error, Result, Shape, Tensor};
use batched::broadcast;

pub(crate) use batched::{BatchedGeometry, Plan};

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

        /// `c [batches, m, n]`: each matrix the sum of `terms` products `op(a) op(b)`, of the matrices
        /// that the geometry's walks find.
        fn batched_matmul(
            &self,
            geometry: &BatchedGeometry,
            a: Self::View<'_, T>,
            b: Self::View<'_, T>,
            c: Output<'_, Self, T>,
        ) -> Result<()>;
    }
}

/// The product as `plan` has it.
fn multiply<T: Float>(
    device: &Device,
    plan: &Plan,
    a: AnyView<'_, T>,
    b: AnyView<'_, T>,
    c: Output<'_, Device, T>,
) -> Result<()> {
    match plan {
        Plan::Plain(geometry) => device.matmul(geometry, a, b, None, c),
        Plan::Batched(geometry) => device.batched_matmul(geometry, a, b, c),
    }
}

/// An operand: its batch dimensions and its matrix. A vector is a matrix with one row on the left and
/// with one column on the right.
fn operand(shape: &Shape, on_the_left: bool) -> Result<(&[usize], [usize; 2])> {
    match *shape.dims() {
        [] => {
            let message = "both operands need at least one dimension, one is a scalar: use mul";
            Err(Error::shape("matmul", message))
        }
        [k] => Ok((&[], if on_the_left { [1, k] } else { [k, 1] })),
        [ref batch @ .., rows, columns] => Ok((batch, [rows, columns])),
    }
}

impl<T: Float> Tensor<T> {
    /// The matrix product, as `torch.matmul`:
    ///
    /// | `self` | `other` | result |
    /// |---|---|---|
    /// | `[m, k]` | `[k, n]` | `[m, n]` |
    /// | `[.., m, k]` | `[.., k, n]` | `[.., m, n]`, leading dimensions broadcast as NumPy's |
    /// | `[k]` | `[.., k, n]` | `[.., n]` |
    /// | `[.., m, k]` | `[k]` | `[.., m]` |
    /// | `[k]` | `[k]` | `[]` |
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&device, &[1.0_f32, 2.0, 3.0, 4.0], [2, 2])?;
    /// let y = Tensor::from_slice(&device, &[1.0, 10.0], [2, 1])?;
    /// assert_eq!(x.matmul(&y)?.to_vec()?, [21.0, 43.0]);
    /// // Two rows, each times the same matrix.
    /// let rows = x.reshape([2, 1, 2])?;
    /// assert_eq!(rows.matmul(&x)?.to_vec()?, [7.0, 10.0, 15.0, 22.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] for other shapes, and for leading dimensions that broadcast in turn more than
    /// six times.
    pub fn matmul(&self, other: &Self) -> Result<Self> {
        const OP: &str = "matmul";
        let (a_batch, [m, k]) = operand(self.shape(), true)?;
        let (b_batch, [rows, n]) = operand(other.shape(), false)?;
        if rows != k {
            let message =
                format!("{} times {}: {k} columns meet {rows} rows", self.shape(), other.shape());
            return Err(Error::shape(OP, message));
        }
        let batch = broadcast(OP, [a_batch, b_batch], [self.shape(), other.shape()])?;
        let mut dims = batch.clone();
        dims.extend((self.shape().rank() > 1).then_some(m));
        dims.extend((other.shape().rank() > 1).then_some(n));
        let shape = Shape::from(dims);
        for shape in [self.shape(), other.shape(), &shape] {
            numel32(OP, shape)?;
        }
        let device = self.device().clone();
        let mut c = device.alloc(shape.numel())?;
        let output = Output { view: Device::view_mut(&mut c), accumulate: false };
        let plan = Plan::new(OP, MatmulGeometry::new(OP, m, n, k)?, [a_batch, b_batch, &batch])?;
        multiply(&device, &plan, self.read().view(), other.read().view(), output)?;
        let output = Self::from_buffer(&device, c, shape);
        let (a, b) = (self.save(OP, "left matrix"), other.save(OP, "right matrix"));
        let (a_batch, b_batch) = (a_batch.to_vec(), b_batch.to_vec());
        let inputs = [Some(self), Some(other)];
        Ok(output.with_grad_fn(inputs, move |[a_node, b_node], gradient, gradients| {
            let gradient = gradient.read();
            let gradient = gradient.view();
            if let Some(output) = gradients.output(a_node, a.numel())? {
                let product = MatmulGeometry::new(OP, m, k, n)?.transpose_b();
                let plan = Plan::new(OP, product, [&batch, &b_batch, &a_batch])?;
                multiply(&device, &plan, gradient, b.read()?.view(), output)?;
            }
            if let Some(output) = gradients.output(b_node, b.numel())? {
                let product = MatmulGeometry::new(OP, k, n, m)?.transpose_a();
                let plan = Plan::new(OP, product, [&a_batch, &batch, &b_batch])?;
                multiply(&device, &plan, a.read()?.view(), gradient, output)?;
            }
            Ok(())
        }))
    }
}
