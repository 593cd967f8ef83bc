use super::forward::as_a;
use super::fuse::Fused;
use super::model::name_tensors;
use super::places::{Place, Watch};
use super::{AnyModule, Context, Forward, Init, Layer, LinearModule, Module, State};
use crate::autograd::Arena;
use crate::device::Device;
use crate::dtype::Float;
use crate::ops::cross_entropy::{CrossEntropyOptions, cross_entropy};
use crate::ops::linear_cross_entropy::linear_cross_entropy;
use crate::{Result, Tensor};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// `torch.nn.Sequential`: layers one after the other, their parameters in one arena.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor, layers};
/// use signet::nn::{Conv2d, Flatten, Forward, Linear, MaxPool2d, ReLU, Sequential};
///
/// let device = Device::cpu()?;
/// let layers = layers![
///     Conv2d::new(1, 8, 3).padding(1), ReLU, MaxPool2d::new(2),
///     Flatten, Linear::new(8 * 14 * 14, 10),
/// ];
/// // Its parameters are drawn from seed 0.
/// let model = Sequential::<f32>::new(&device, 0, layers)?;
/// let logits = model.forward(&Tensor::zeros(&device, [32, 1, 28, 28])?)?;
/// assert_eq!(logits.dims(), [32, 10]);
/// # Ok(()) }
/// ```
///
/// A list of layers among them is a `Sequential` of its own, with keys such as `3.0.weight`, and
/// [`Sequential::of`] takes modules of any kind.
pub struct Sequential<T: Float = f32> {
    /// What the modules were built from; empty where they were given.
    pub(super) layers: Vec<Layer>,
    pub(super) modules: Vec<AnyModule<T>>,
    arena: Arena<T>,
    context: Context,
    fuse: AtomicBool,
    pub(super) detect_anomaly: AtomicBool,
    pub(super) places: Mutex<Option<Watch>>,
}

impl<T: Float> Sequential<T> {
    /// Builds `layers` on `device` with parameters drawn from `seed`, in training mode.
    ///
    /// # Errors
    /// When a hyper-parameter is outside its range or the device fails.
    pub fn new(device: &Device, seed: u64, layers: Vec<Layer>) -> Result<Self> {
        Self::build(&Init::new(device, seed)?, &layers)
    }

    /// Builds `layers`, whose parameters `init` draws.
    ///
    /// # Errors
    /// As [`Sequential::new`].
    pub(super) fn build(init: &Init<T>, layers: &[Layer]) -> Result<Self> {
        let modules = layers.iter().map(|layer| layer.build(init)).collect::<Result<_>>()?;
        Ok(Self { layers: layers.to_vec(), ..Self::of(init, modules) })
    }

    /// Modules of any kind, whose parameters `init` has drawn: see [`Forward`] and [`modules!`].
    ///
    /// [`modules!`]: crate::modules
    pub fn of(init: &Init<T>, modules: Vec<AnyModule<T>>) -> Self {
        let (arena, context) = (init.arena().clone(), init.context().clone());
        let (fuse, detect_anomaly) = (AtomicBool::new(true), AtomicBool::new(false));
        let places = Mutex::new(None);
        let layers = Vec::new();
        let model = Self { layers, modules, arena, context, fuse, detect_anomaly, places };
        name_tensors(&model);
        model
    }

    /// The descriptions that it was built from; none where it was given modules.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Its modules.
    pub fn modules(&self) -> &[AnyModule<T>] {
        &self.modules
    }

    /// All parameters and their gradients, for an optimizer.
    pub fn arena(&self) -> &Arena<T> {
        &self.arena
    }

    /// Seed, step and mode.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Training mode: batch statistics, dropout.
    pub fn train(&self) {
        self.context.train(true);
    }

    /// Evaluation mode: running statistics, no dropout.
    pub fn eval(&self) {
        self.context.train(false);
    }

    /// Whether a run of layers for which there is one op (convolution, batch normalisation,
    /// rectifier, dropout and pooling, say) is computed by it, as it is from the start. The plain
    /// ops compute the same up to rounding.
    pub fn fuse(&self, fuse: bool) {
        self.fuse.store(fuse, Ordering::Relaxed);
    }

    /// The cross-entropy of the model's outputs for `input` against `target [N]`, a scalar, and how
    /// many of them are right, `[1]`: the last layer and the loss may be one op.
    ///
    /// # Errors
    /// As [`Forward::forward`] and [`cross_entropy`].
    pub fn cross_entropy(
        &self,
        input: &Tensor<T>,
        target: &Tensor<i32>,
        options: &CrossEntropyOptions,
    ) -> Result<(Tensor<T>, Tensor<i32>)> {
        let all = self.modules.len();
        let last = self.modules.last().and_then(as_a::<T, LinearModule<T>>);
        let (layers, x, (loss, correct)) = match last {
            Some(last) if self.fuse.load(Ordering::Relaxed) => {
                let x = self.run(&self.modules[..all - 1], input)?;
                self.enter(Place::Layers(all - 1..all));
                let (weight, bias) = (&last.weight, last.bias.as_ref());
                let answer = linear_cross_entropy(&x, weight, bias, target, options)?;
                (all - 1..all, x, answer)
            }
            _ => {
                let x = self.run(&self.modules, input)?;
                self.enter(Place::Loss);
                let answer = cross_entropy(&x, target, options)?;
                (all..all, x, answer)
            }
        };
        if self.detects_anomaly() {
            self.check_loss(layers.clone(), &x, &loss)?;
        }
        let place = if layers.is_empty() { Place::Loss } else { Place::Layers(layers) };
        Ok((self.left(place, loss)?, correct))
    }

    /// Runs `modules`, the first ones of the model.
    fn run(&self, modules: &[AnyModule<T>], input: &Tensor<T>) -> Result<Tensor<T>> {
        let (mut x, mut done) = (input.clone(), 0);
        let fuse = self.fuse.load(Ordering::Relaxed);
        while let Some((piece, layers)) = Fused::first(&modules[done..], fuse) {
            let place = Place::Layers(done..done + layers);
            self.enter(place.clone());
            let output = piece.forward(&x)?;
            x = if self.detects_anomaly() {
                self.watched(done..done + layers, &x, &output)?
            } else {
                output
            };
            x = self.left(place, x)?;
            done += layers;
        }
        Ok(x)
    }
}

impl<T: Float> Module<T> for Sequential<T> {
    fn state(&self) -> Vec<(String, State<T>)> {
        self.modules.state()
    }
}

impl<T: Float> Forward<T> for Sequential<T> {
    fn forward(&self, input: &Tensor<T>) -> Result<Tensor<T>> {
        self.run(&self.modules, input)
    }
}
