use super::DropoutGeometry;
use crate::device::Device;
use crate::dtype::Float;
use crate::nn::{Context, Init, Module};
use crate::{Result, Shape, Tensor};
use std::cell::Cell;

/// `torch.nn.Dropout`: in training, zeroes each element with probability `p` and scales the others
/// by `1 / (1 - p)`; in evaluation, does nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    /// The probability of an element to be zeroed.
    pub p: f64,
}

impl Dropout {
    /// Dropout with probability `p`.
    pub fn new(p: f64) -> Self {
        Self { p }
    }

    /// Takes the next random stream.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) when `p` is no probability.
    pub fn build<D: Device<T>, T: Float>(&self, init: &Init<D, T>) -> Result<DropoutModule> {
        DropoutGeometry::new(self.p, 0, 0, 0)?;
        let context = init.context().clone();
        Ok(DropoutModule { p: self.p, stream: init.stream(), context, last_pass: Cell::new(None) })
    }

    pub(crate) fn output_shape(&self, input: &Shape) -> Result<Shape> {
        Ok(input.clone())
    }
}

/// A [`Dropout`] with its random stream.
#[derive(Debug)]
pub struct DropoutModule {
    p: f64,
    stream: u32,
    context: Context,
    last_pass: Cell<Option<u64>>,
}

impl<D: Device<T>, T: Float> Module<D, T> for DropoutModule {
    fn forward(&self, input: &Tensor<D, T>) -> Result<Tensor<D, T>> {
        if !self.context.training() || self.p == 0.0 {
            return Ok(input.clone());
        }
        // A layer that meets its last pass again is in the next one: where nobody counts steps, no
        // mask is used twice.
        if self.last_pass.get() == Some(self.context.pass()) {
            self.context.set_step(self.context.step() + 1);
        }
        let step = self.context.step();
        self.last_pass.set(Some(self.context.pass()));
        input.dropout(DropoutGeometry::new(self.p, self.context.seed(), step, self.stream)?)
    }
}
