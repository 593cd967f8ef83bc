//! Checking gradients against finite differences, for our ops and for users' own.

use crate::dtype::Float;
use crate::rng::Philox;
use crate::{Error, Result, Tensor, no_grad};
use std::fmt;

/// How close is close enough. The defaults suit `f64`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GradcheckOptions {
    /// Half the distance of the two points of a central difference.
    pub eps: f64,
    /// Allowed difference relative to the numeric gradient.
    pub rtol: f64,
    /// Allowed difference beside that.
    pub atol: f64,
    /// Draws the upstream gradient.
    pub seed: u64,
}

impl Default for GradcheckOptions {
    fn default() -> Self {
        Self { eps: 1e-6, rtol: 1e-6, atol: 1e-8, seed: 0 }
    }
}

/// The element that came closest to its tolerance, or exceeded it most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Worst {
    /// Which input.
    pub input: usize,
    /// Which element of it, row-major.
    pub index: usize,
    /// Its gradient by the tape.
    pub analytic: f64,
    /// Its gradient by differences.
    pub numeric: f64,
    /// The difference as a share of the tolerance: more than 1 is too much.
    pub share: f64,
}

impl fmt::Display for Worst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "input {} element {}: gradient {:e}, by differences {:e}, {:.3} of the tolerance",
            self.input, self.index, self.analytic, self.numeric, self.share
        )
    }
}

/// Compares the gradients of `function` by every element of every input with central differences,
/// under a random upstream gradient (one of all ones would hide errors that cancel).
///
/// `function` must be deterministic and smooth around the inputs. Returns the worst element.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, GradcheckOptions, Tensor, gradcheck};
///
/// let device = Device::cpu()?;
/// let x = Tensor::from_slice(&device, &[0.5, -1.0, 2.0], [3])?;
/// let cube = |inputs: &[Tensor<f64>]| inputs[0].mul(&inputs[0])?.mul(&inputs[0]);
/// let worst = gradcheck(cube, &[x], &GradcheckOptions::default())?;
/// assert!(worst.share < 1.0);
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::Autograd`] when an element is off by more than the tolerance, and whatever `function`
/// returns.
pub fn gradcheck<T: Float>(
    function: impl Fn(&[Tensor<T>]) -> Result<Tensor<T>>,
    inputs: &[Tensor<T>],
    options: &GradcheckOptions,
) -> Result<Worst> {
    let leaves = inputs.iter().map(|input| input.detach().requires_grad(true));
    let leaves = leaves.collect::<Result<Vec<_>>>()?;
    let output = function(&leaves)?;
    let mut random = Philox::new(options.seed).sequence(0, 0);
    let upstream: Vec<T> = (0..output.numel()).map(|_| T::of(random.range(-1.0, 1.0))).collect();
    let upstream_tensor = Tensor::from_slice(output.device(), &upstream, output.shape().clone())?;
    output.backward_with(&upstream_tensor)?;
    drop(output);

    let project = |output: Tensor<T>| -> Result<f64> {
        let values = output.to_vec()?;
        Ok(values.iter().zip(&upstream).map(|(y, u)| y.as_f64() * u.as_f64()).sum())
    };
    let mut worst: Option<Worst> = None;
    for (i, input) in inputs.iter().enumerate() {
        let analytic = match leaves[i].grad()? {
            Some(gradient) => gradient.to_vec()?,
            None => vec![T::zero(); input.numel()],
        };
        let values = input.to_vec()?;
        for (index, &value) in values.iter().enumerate() {
            let at = |value: T| {
                let mut moved = values.clone();
                moved[index] = value;
                let mut all: Vec<_> = inputs.iter().map(Tensor::detach).collect();
                all[i] = Tensor::from_slice(input.device(), &moved, input.shape().clone())?;
                project(no_grad(|| function(&all))?)
            };
            let (above, below) = (value + T::of(options.eps), value - T::of(options.eps));
            let numeric = (at(above)? - at(below)?) / (above - below).as_f64();
            let analytic = analytic[index].as_f64();
            let share = (analytic - numeric).abs() / (options.atol + options.rtol * numeric.abs());
            // NaN is the worst of all.
            if worst.is_none_or(|worst| share > worst.share || share.is_nan()) {
                worst = Some(Worst { input: i, index, analytic, numeric, share });
            }
        }
    }
    match worst {
        Some(worst) if worst.share <= 1.0 => Ok(worst),
        Some(worst) => Err(Error::Autograd(format!("wrong gradient: {worst}"))),
        None => Err(Error::Autograd("there is no input element to check".into())),
    }
}
