//! Sums, means, variances, norms and log-sum-exp over some dimensions.

use super::extremes::{largest, tied};
use super::geometry::{Prepared, prepared};
use super::{Extreme, Member, ReduceGeometry, ReduceKernels, sums};
use crate::autograd::SavedTensor;
use crate::dtype::Float;
use crate::{Result, Shape, Tensor};

impl<T: Float> Tensor<T> {
    /// The sum over `dims`, all where none is named; with `keepdim` these stay, with size 1.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&device, &[1.0_f32, 2.0, 3.0, 4.0], [2, 2])?;
    /// assert_eq!(x.sum_dim(&[0], false)?.to_vec()?, [4.0, 6.0]);
    /// assert_eq!(x.sum_dim(&[-1], true)?.dims(), [2, 1]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when a dimension is not there, or there twice.
    pub fn sum_dim(&self, dims: &[isize], keepdim: bool) -> Result<Self> {
        reduced("sum_dim", self, dims, keepdim, |_| Member::Sum { scale: 1.0 })
    }

    /// The mean over `dims`, all where none is named; NaN where there is nothing.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let images = Tensor::<f32>::zeros(&device, [8, 3, 28, 28])?;
    /// assert_eq!(images.mean_dim(&[2, 3], false)?.dims(), [8, 3]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when a dimension is not there, or there twice.
    pub fn mean_dim(&self, dims: &[isize], keepdim: bool) -> Result<Self> {
        reduced("mean_dim", self, dims, keepdim, mean)
    }

    /// The variance over `dims`, all where none is named: the sum of squares of the distances from the
    /// mean, divided by the number of elements less `correction`. PyTorch's default is a correction of 1.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&device, &[1.0_f32, 2.0, 3.0, 6.0], [4])?;
    /// assert_eq!(x.var_dim(&[], 0, false)?.item()?, 3.5);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when a dimension is not there, or there twice.
    pub fn var_dim(&self, dims: &[isize], correction: usize, keepdim: bool) -> Result<Self> {
        const OP: &str = "var_dim";
        let Prepared { x, geometry, shape, .. } = prepared(OP, self, dims, keepdim)?;
        let degrees = geometry.length().saturating_sub(correction) as f64;
        let member = Member::Variance { scale: 1.0 / degrees };
        let means = sums(&geometry, mean(&geometry), &x, None, shape.clone())?;
        let y = sums(&geometry, member, &x, Some(&means), shape)?;
        Ok(recorded(OP, y, &x, geometry, member, Some(means)))
    }

    /// `log(sum(exp(x)))` over `dims`, all where none is named, without overflow.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&device, &[1000.0_f64, 1000.0], [2])?;
    /// assert_eq!(x.logsumexp(&[0], false)?.item()?, 1000.0 + 2.0_f64.ln());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when a dimension is not there, or there twice.
    pub fn logsumexp(&self, dims: &[isize], keepdim: bool) -> Result<Self> {
        const OP: &str = "logsumexp";
        let Prepared { x, geometry, shape, of_nothing } = prepared(OP, self, dims, keepdim)?;
        let largest = (!of_nothing).then(|| largest(&x, &geometry, &shape)).transpose()?;
        let y = sums(&geometry, Member::LogSumExp, &x, largest.as_ref(), shape)?;
        let saved = y.detach();
        Ok(recorded(OP, y, &x, geometry, Member::LogSumExp, Some(saved)))
    }

    /// The `p`-norm over `dims`, all where none is named: `sum(|x|^p)^(1/p)`, for an infinite `p` the largest
    /// `|x|` or the smallest, for 0 the number of elements that are not 0. At 0 its gradient is 0.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&device, &[3.0_f32, -4.0, 0.0, 0.0], [2, 2])?;
    /// assert_eq!(x.norm(2.0, &[1], false)?.to_vec()?, [5.0, 0.0]);
    /// assert_eq!(x.norm(f64::INFINITY, &[], false)?.item()?, 4.0);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when a dimension is not there, there twice, or empty where `p`
    /// is infinite.
    pub fn norm(&self, p: f64, dims: &[isize], keepdim: bool) -> Result<Self> {
        const OP: &str = "norm";
        if p.is_infinite() {
            let extreme = Extreme { smallest: p < 0.0, magnitude: true };
            return tied(OP, self, dims, keepdim, extreme);
        }
        reduced(OP, self, dims, keepdim, |_| Member::Norm { p })
    }
}

fn mean(geometry: &ReduceGeometry) -> Member {
    Member::Sum { scale: 1.0 / geometry.length() as f64 }
}

/// A member without a value of each result that is there before.
fn reduced<T: Float>(
    op: &'static str,
    x: &Tensor<T>,
    dims: &[isize],
    keepdim: bool,
    member: impl Fn(&ReduceGeometry) -> Member,
) -> Result<Tensor<T>> {
    let Prepared { x, geometry, shape, .. } = prepared(op, x, dims, keepdim)?;
    let member = member(&geometry);
    let y = sums(&geometry, member, &x, None, shape)?;
    let saved = matches!(member, Member::Norm { .. }).then(|| y.detach());
    Ok(recorded(op, y, &x, geometry, member, saved))
}

/// `y` as what `member` made of `x`; its derivative reads `c` where it has one, and `x` then too.
fn recorded<T: Float>(
    op: &'static str,
    y: Tensor<T>,
    x: &Tensor<T>,
    geometry: ReduceGeometry,
    member: Member,
    c: Option<Tensor<T>>,
) -> Tensor<T> {
    let device = x.device().clone();
    let saved = c.map(|c| (x.save(op, "input"), c.save(op, "output")));
    y.with_grad_fn([Some(x)], move |[node], gradient, gradients| {
        let Some(output) = gradients.output(node, geometry.numel())? else { return Ok(()) };
        let (x, c) = saved.as_ref().map(|(x, c)| (x, c)).unzip();
        let x = x.map(SavedTensor::read).transpose()?;
        let c = c.map(SavedTensor::read).transpose()?;
        let (x, c) = (x.as_ref().map(|x| x.view()), c.as_ref().map(|c| c.view()));
        let gradient = gradient.read();
        device.reduce_sum_backward(&geometry, member, x, c, None, gradient.view(), output)
    })
}

/// The sum over `dims`, in a shape of as many elements, as a constant.
pub(super) fn sum_to<T: Float>(x: &Tensor<T>, dims: &[isize], shape: &Shape) -> Result<Tensor<T>> {
    let Prepared { x, geometry, .. } = prepared("sum_dim", &x.detach(), dims, true)?;
    sums(&geometry, Member::Sum { scale: 1.0 }, &x, None, shape.clone())
}
