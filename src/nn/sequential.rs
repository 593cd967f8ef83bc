use super::fuse::Fused;
use super::places::{Place, Watch};
use super::summary::{Summary, SummaryRow};
use super::{Context, Init, Layer, LayerModule, Module, State};
use crate::autograd::Arena;
use crate::device::Device;
use crate::dtype::Float;
use crate::ops::cross_entropy::{CrossEntropyOptions, cross_entropy};
use crate::ops::linear_cross_entropy::linear_cross_entropy;
use crate::{Result, Shape, Tensor};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// `torch.nn.Sequential`: layers one after the other, their parameters in one arena.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor, layers};
/// use signet::nn::{Conv2d, Flatten, Linear, MaxPool2d, Module, ReLU, Sequential};
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
pub struct Sequential<T: Float = f32> {
    pub(super) layers: Vec<Layer>,
    pub(super) modules: Vec<LayerModule<T>>,
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
        let init = Init::new(device, seed)?;
        let modules = layers.iter().map(|layer| layer.build(&init)).collect::<Result<_>>()?;
        let (arena, context) = (init.arena().clone(), init.context().clone());
        let (fuse, detect_anomaly) = (AtomicBool::new(true), AtomicBool::new(false));
        let places = Mutex::new(None);
        let model = Self { layers, modules, arena, context, fuse, detect_anomaly, places };
        for (name, state) in model.state() {
            match state {
                State::Parameter(tensor) | State::Buffer(tensor) => tensor.set_name(name),
                State::Count(_) => {}
            }
        }
        Ok(model)
    }

    /// The layers' descriptions.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
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
    /// As [`Module::forward`] and [`cross_entropy`].
    pub fn cross_entropy(
        &self,
        input: &Tensor<T>,
        target: &Tensor<i32>,
        options: &CrossEntropyOptions,
    ) -> Result<(Tensor<T>, Tensor<i32>)> {
        let all = self.modules.len();
        let (layers, x, (loss, correct)) = match &self.modules[..] {
            [before @ .., LayerModule::Linear(last)] if self.fuse.load(Ordering::Relaxed) => {
                let (x, weight, bias) =
                    (self.run(before, input)?, &last.weight, last.bias.as_ref());
                self.enter(Place::Layers(all - 1..all));
                let answer = linear_cross_entropy(&x, weight, bias, target, options)?;
                (all - 1..all, x, answer)
            }
            modules => {
                let x = self.run(modules, input)?;
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
    fn run(&self, modules: &[LayerModule<T>], input: &Tensor<T>) -> Result<Tensor<T>> {
        let (mut x, mut done) = (input.clone(), 0);
        while let Some((piece, layers)) =
            Fused::first(&modules[done..], self.fuse.load(Ordering::Relaxed))
        {
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

    /// A table of layers, output shapes and parameters for an input of shape `input`.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when the input does not fit.
    pub fn summary(&self, input: impl Into<Shape>) -> Result<Summary> {
        let input = input.into();
        let mut shape = input.clone();
        let mut rows = Vec::new();
        for (layer, module) in self.layers.iter().zip(&self.modules) {
            shape = layer.output_shape(&shape)?;
            let parameters = module.state().into_iter().map(|(_, state)| match state {
                State::Parameter(tensor) => tensor.numel(),
                State::Buffer(_) | State::Count(_) => 0,
            });
            let parameters = parameters.sum();
            rows.push(SummaryRow { layer: layer.name(), output: shape.clone(), parameters });
        }
        Ok(Summary { input, rows })
    }
}

impl<T: Float> Module<T> for Sequential<T> {
    fn forward(&self, input: &Tensor<T>) -> Result<Tensor<T>> {
        self.run(&self.modules, input)
    }

    fn state(&self) -> Vec<(String, State<T>)> {
        let modules = self.modules.iter().enumerate();
        modules.flat_map(|(i, module)| module.state_of_part(&i.to_string())).collect()
    }
}
