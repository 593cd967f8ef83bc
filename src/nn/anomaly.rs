//! Where numbers cease to be finite: each layer's output, its gradient and each parameter, looked at.

use super::{Sequential, State};
use crate::dtype::Float;
use crate::{Error, Result, Shape, Tensor, no_grad};
use std::ops::Range;
use std::sync::atomic::Ordering;

impl<T: Float> Sequential<T> {
    /// Whether every layer's output, and in the backward pass its gradient, is looked at; the first
    /// that holds an infinity or a NaN ends the pass with [`Error::NonFinite`], which names the
    /// layer. As `torch.autograd.set_detect_anomaly`, and as slow: the host reads all of them, so no
    /// such pass can be captured as a graph. The results are the same.
    ///
    /// Layers that one op computes are looked at together, and computed one by one, to tell which it
    /// was, when there is something to find: the running statistics move on once more then.
    pub fn detect_anomaly(&self, detect: bool) {
        self.detect_anomaly.store(detect, Ordering::Relaxed);
    }

    /// Whether [`Sequential::detect_anomaly`] is on.
    pub(crate) fn detects_anomaly(&self) -> bool {
        self.detect_anomaly.load(Ordering::Relaxed)
    }

    /// `output`, which `layers` made of `input`, if all of it is finite; its gradient is looked at
    /// when it comes.
    pub(super) fn watched(
        &self,
        layers: Range<usize>,
        input: &Tensor<T>,
        output: &Tensor<T>,
    ) -> Result<Tensor<T>> {
        if let Some(found) = first_of(output)? {
            let all = || format!("what {} make is {found}", self.names(layers.clone()));
            return Err(Error::NonFinite(self.culprit(layers.clone(), input)?.unwrap_or_else(all)));
        }
        let name = self.names(layers);
        Ok(output.detach().with_grad_fn([Some(output)], move |[x], gradient, gradients| {
            match first_of(&gradient)? {
                Some(found) => Err(Error::NonFinite(format!(
                    "the gradient for the output of {name} is {found}"
                ))),
                None => gradients.pass(x, gradient),
            }
        }))
    }

    /// Looks at the loss that `layers`, if any, and the cross-entropy made of `input`.
    pub(super) fn check_loss(
        &self,
        layers: Range<usize>,
        input: &Tensor<T>,
        loss: &Tensor<T>,
    ) -> Result<()> {
        let Some(found) = first_of(loss)? else { return Ok(()) };
        let of_finite = || format!("the loss is {found}, and all outputs are finite");
        Err(Error::NonFinite(self.culprit(layers, input)?.unwrap_or_else(of_finite)))
    }

    /// Looks at the gradients of all parameters, as a training loop may after `backward`.
    ///
    /// # Errors
    /// [`Error::NonFinite`] that names the first with an infinity or a NaN, [`Error::Device`] when the
    /// device fails.
    pub fn check_gradients(&self) -> Result<()> {
        self.check("the gradient of", |state| match state {
            State::Parameter(parameter) => parameter.grad(),
            State::Buffer(_) | State::Count(_) => Ok(None),
        })
    }

    /// Looks at all parameters and running statistics, as a training loop may after a step.
    ///
    /// # Errors
    /// As [`Sequential::check_gradients`].
    pub fn check_values(&self) -> Result<()> {
        self.check("after the step", |state| match state {
            State::Parameter(tensor) | State::Buffer(tensor) => Ok(Some(tensor.clone())),
            State::Count(_) => Ok(None),
        })
    }

    fn check(
        &self,
        what: &str,
        tensor: impl Fn(&State<T>) -> Result<Option<Tensor<T>>>,
    ) -> Result<()> {
        for (i, module) in self.modules.iter().enumerate() {
            for (name, state) in module.state() {
                let Some(tensor) = tensor(&state)? else { continue };
                if let Some(found) = first_of(&tensor)? {
                    let layer = module.name();
                    return Err(Error::NonFinite(format!(
                        "{what} {i}.{name} ({layer}) is {found}"
                    )));
                }
            }
        }
        Ok(())
    }

    /// Which of `layers`, one after the other, is the first whose output for `input` is not finite;
    /// `None` where each by itself is, and it was what one op made of them all.
    fn culprit(&self, layers: Range<usize>, input: &Tensor<T>) -> Result<Option<String>> {
        let mut x = input.detach();
        for i in layers {
            x = no_grad(|| self.modules[i].forward(&x))?;
            if let Some(found) = first_of(&x)? {
                return Ok(Some(format!("the output of {} is {found}", self.names(i..i + 1))));
            }
        }
        Ok(None)
    }

    /// `layer 1 (BatchNorm2d)`, `layers 0 (Conv2d) to 3 (MaxPool2d)`.
    fn names(&self, layers: Range<usize>) -> String {
        let name = |i: usize| format!("{i} ({})", self.modules[i].name());
        match layers.len() {
            1 => format!("layer {}", name(layers.start)),
            _ => format!("layers {} to {}", name(layers.start), name(layers.end - 1)),
        }
    }
}

/// The first element of `tensor` that is no finite number, in words.
fn first_of<T: Float>(tensor: &Tensor<T>) -> Result<Option<String>> {
    Ok(first_not_finite(&tensor.to_vec()?, tensor.shape()))
}

/// The first of `values` that is no finite number, and where it is in a tensor of this shape.
pub(crate) fn first_not_finite<T: Float>(values: &[T], shape: &Shape) -> Option<String> {
    let at = values.iter().position(|value| !value.is_finite())?;
    let mut rest = at;
    let mut index: Vec<usize> = shape
        .dims()
        .iter()
        .rev()
        .map(|&size| {
            let i = rest % size;
            rest /= size;
            i
        })
        .collect();
    index.reverse();
    Some(format!("{} at {index:?} of {shape}", values[at]))
}
