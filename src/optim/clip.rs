//! Gradients kept within bounds, between backward and the optimizer's step.

use crate::autograd::Arena;
use crate::device::{Backend, Device, Output};
use crate::dtype::Float;
use crate::ops::clip_grad::ClipGradKernels;
use crate::ops::index32;
use crate::{Error, Result, Shape, Tensor};
use std::ops::Range;

/// The elements of the flat buffers that hold gradients, in runs of neighbouring parameters. What lies
/// between the parameters of a run is zero.
fn runs<T: Float>(arena: &Arena<T>) -> Result<Vec<Range<usize>>> {
    index32("clip_grad", arena.len())?;
    let elements =
        |run: Range<usize>| arena.range_of(run.start).start..arena.range_of(run.end - 1).end;
    Ok(arena.runs_with_grad().into_iter().map(elements).collect())
}

/// Scales all gradients of `arena` by one factor, so that their norm together is at most `max_norm`, as
/// `torch.nn.utils.clip_grad_norm_`. Returns the norm before, a scalar `[]`, which stays on the device:
/// nothing waits for it, and a captured step may clip.
///
/// `norm_type` is the `p` of the norm, above 0; [`f64::INFINITY`] is the largest gradient. As in
/// PyTorch, a norm that is no number makes all gradients NaN.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::optim::clip_grad_norm_;
/// use signet::{Arena, Device, Tensor};
///
/// let device = Device::cpu()?;
/// let arena = Arena::<f32>::new(&device)?;
/// let w = arena.parameter(&[1.0, 1.0], [2])?;
/// w.mul(&Tensor::from_slice(&device, &[3.0, 4.0], [2])?)?.sum()?.backward()?;
/// let norm = clip_grad_norm_(&arena, 1.0, 2.0)?;
/// assert_eq!(norm.item()?, 5.0);
/// let clipped = w.grad()?.expect("backward ran").to_vec()?;
/// assert!((clipped[0] - 0.6).abs() < 1e-6 && (clipped[1] - 0.8).abs() < 1e-6);
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::Argument`] for a `max_norm` below 0, a `norm_type` that is not above 0, and NaN for either;
/// [`Error::Device`] when the device fails.
pub fn clip_grad_norm_<T: Float>(
    arena: &Arena<T>,
    max_norm: f64,
    norm_type: f64,
) -> Result<Tensor<T>> {
    if max_norm.is_nan() || max_norm < 0.0 {
        return Err(Error::argument("max_norm", format!("must be at least 0, got {max_norm}")));
    }
    if norm_type.is_nan() || norm_type <= 0.0 {
        return Err(Error::argument("norm_type", format!("must be above 0, got {norm_type}")));
    }
    let (device, runs) = (arena.device(), runs(arena)?);
    let mut gradients = arena.gradients_mut()?;
    let (mut total, mut norm) = (device.alloc::<f64>(1)?, device.alloc::<T>(1)?);
    if runs.is_empty() {
        device.zero(Device::view_mut(&mut norm))?;
    }
    for (i, run) in runs.iter().enumerate() {
        let output = Output { view: Device::view_mut(&mut total), accumulate: i > 0 };
        let gradients = Device::slice(Device::view(&gradients), run.clone());
        device.grad_power(norm_type, gradients, output)?;
    }
    for (i, run) in runs.iter().enumerate() {
        let gradients = Device::slice_mut(Device::view_mut(&mut gradients), run.clone());
        let norm = (i == 0).then(|| Device::view_mut(&mut norm));
        device.grad_scale(norm_type, max_norm, Device::view(&total), gradients, norm)?;
    }
    Ok(Tensor::from_buffer(device, norm, Shape::default()))
}

/// Keeps each gradient of `arena` within `-clip_value..=clip_value`, as
/// `torch.nn.utils.clip_grad_value_`; NaN stays.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::optim::clip_grad_value_;
/// use signet::{Arena, Device, Tensor};
///
/// let device = Device::cpu()?;
/// let arena = Arena::<f32>::new(&device)?;
/// let w = arena.parameter(&[1.0, 1.0], [2])?;
/// w.mul(&Tensor::from_slice(&device, &[-3.0, 0.5], [2])?)?.sum()?.backward()?;
/// clip_grad_value_(&arena, 1.0)?;
/// assert_eq!(w.grad()?.expect("backward ran").to_vec()?, [-1.0, 0.5]);
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::Argument`] for a `clip_value` below 0 or NaN; [`Error::Device`] when the device fails.
pub fn clip_grad_value_<T: Float>(arena: &Arena<T>, clip_value: f64) -> Result<()> {
    if clip_value.is_nan() || clip_value < 0.0 {
        return Err(Error::argument("clip_value", format!("must be at least 0, got {clip_value}")));
    }
    let mut gradients = arena.gradients_mut()?;
    for run in runs(arena)? {
        let gradients = Device::slice_mut(Device::view_mut(&mut gradients), run);
        arena.device().grad_clamp(T::of(clip_value), gradients)?;
    }
    Ok(())
}
