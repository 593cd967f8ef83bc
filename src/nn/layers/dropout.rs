use crate::dtype::Float;
use crate::nn::{Context, Forward, Init, Module};
use crate::ops::dropout::{DropoutGeometry, DropoutMask};
use crate::{Result, Shape, Tensor};
use parking_lot::Mutex;

/// `torch.nn.Dropout`: in training, zeroes each element with probability `p` and scales the others
/// by `1 / (1 - p)`; in evaluation, does nothing.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor, layers};
/// use signet::nn::{Dropout, Forward, Sequential};
///
/// let device = Device::cpu()?;
/// let model = Sequential::<f32>::new(&device, 0, layers![Dropout::new(0.2)])?;
/// let x = Tensor::zeros(&device, [8, 512])?;
/// assert_eq!(model.forward(&x)?.dims(), [8, 512]);
/// # Ok(()) }
/// ```
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
    pub fn build<T: Float>(&self, init: &Init<T>) -> Result<DropoutModule> {
        let context = init.context().clone();
        let geometry = DropoutGeometry::new(self.p, context.seed(), init.stream())?;
        Ok(DropoutModule { geometry, context, uses: Mutex::default() })
    }

    pub(crate) fn output_shape(&self, input: &Shape) -> Result<Shape> {
        Ok(input.clone())
    }
}

/// A [`Dropout`] with its random stream.
#[derive(Debug)]
pub struct DropoutModule {
    geometry: DropoutGeometry,
    context: Context,
    uses: Mutex<Uses>,
}

/// How often a layer was met in a forward pass, and which pass that was.
#[derive(Debug, Default)]
struct Uses {
    pass: Option<u64>,
    count: u32,
}

/// Of the bits of a random stream's number those above it count the uses in one pass; below them are the
/// layers.
const USE_SHIFT: u32 = 20;

impl DropoutModule {
    /// The mask of this forward pass; `None` when nothing is dropped.
    ///
    /// # Errors
    /// When the device fails.
    pub(crate) fn mask(&self) -> Result<Option<DropoutMask>> {
        if !self.context.training() || self.geometry.threshold == 0 {
            return Ok(None);
        }
        let mut uses = self.uses.lock();
        let again = uses.pass == Some(self.context.pass());
        uses.count = if again { uses.count + 1 } else { 0 };
        // No mask is used twice. Where nobody counts steps, a layer that meets its last pass again is in
        // the next one; a training loop that does count has met it twice in a model.
        if again && !self.context.is_told() {
            uses.count = 0;
            self.context.set_step(self.context.step() + 1)?;
        }
        uses.pass = Some(self.context.pass());
        let stream = self.geometry.stream + (uses.count << USE_SHIFT);
        let geometry = DropoutGeometry { stream, ..self.geometry };
        Ok(Some(DropoutMask { geometry, step: self.context.step_on_device() }))
    }
}

impl<T: Float> Module<T> for DropoutModule {}

impl<T: Float> Forward<T> for DropoutModule {
    fn forward(&self, input: &Tensor<T>) -> Result<Tensor<T>> {
        match self.mask()? {
            Some(mask) => input.dropout(&mask),
            None => Ok(input.clone()),
        }
    }
}
