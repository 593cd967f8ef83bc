use super::summary::{Summary, SummaryRow};
use super::{Context, Init, Layer, Module, State};
use crate::arena::Arena;
use crate::device::Device;
use crate::dtype::Float;
use crate::{Result, Shape, Tensor};

/// `torch.nn.Sequential`: layers one after the other, their parameters in one arena.
pub struct Sequential<D: Device<T>, T: Float> {
    layers: Vec<Layer>,
    modules: Vec<Box<dyn Module<D, T>>>,
    arena: Arena<D, T>,
    context: Context,
}

impl<D: Device<T>, T: Float> Sequential<D, T> {
    /// Builds `layers` on `device` with parameters drawn from `seed`, in training mode.
    ///
    /// # Errors
    /// When a hyper-parameter is outside its range or the device fails.
    pub fn new(device: &D, seed: u64, layers: Vec<Layer>) -> Result<Self> {
        let init = Init::new(device, seed)?;
        let modules = layers.iter().map(|layer| layer.build(&init)).collect::<Result<_>>()?;
        let (arena, context) = (init.arena().clone(), init.context().clone());
        Ok(Self { layers, modules, arena, context })
    }

    /// The layers' descriptions.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// All parameters and their gradients, for an optimizer.
    pub fn arena(&self) -> &Arena<D, T> {
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

impl<D: Device<T>, T: Float> Module<D, T> for Sequential<D, T> {
    fn forward(&self, input: &Tensor<D, T>) -> Result<Tensor<D, T>> {
        self.modules.iter().try_fold(input.clone(), |x, module| module.forward(&x))
    }

    fn state(&self) -> Vec<(String, State<D, T>)> {
        let modules = self.modules.iter().enumerate();
        modules.flat_map(|(i, module)| module.state_of_part(&i.to_string())).collect()
    }
}
