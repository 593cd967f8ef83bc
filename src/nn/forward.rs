//! Modules that map one tensor to one.

use super::Module;
use crate::dtype::Float;
use crate::{Result, Tensor};
use std::any::Any;

/// A [`Module`] that maps a tensor to a tensor: what a [`Sequential`](super::Sequential) is made of.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::nn::{Forward, Init, Linear, LinearModule, Module, ReLU, Sequential};
/// use signet::{Device, Result, Tensor, modules};
///
/// #[derive(Module)]
/// struct Residual {
///     linear: LinearModule,
/// }
///
/// impl Forward for Residual {
///     fn forward(&self, x: &Tensor) -> Result<Tensor> {
///         x.add(&self.linear.forward(x)?)
///     }
/// }
///
/// let init = Init::new(&Device::cpu()?, 0)?;
/// let linear = Linear::new(4, 4);
/// let blocks = modules![Residual { linear: linear.build(&init)? }, ReLU, linear.build(&init)?];
/// let model = Sequential::of(&init, blocks);
/// assert!(model.state_dict()?.get("0.linear.weight").is_some());
/// # Ok(()) }
/// ```
pub trait Forward<T: Float = f32>: Module<T> + Any {
    /// The output for `input`.
    ///
    /// # Errors
    /// When the input does not fit or the device fails.
    fn forward(&self, input: &Tensor<T>) -> Result<Tensor<T>>;

    /// What summaries and messages call it: the name of its type, as PyTorch has it.
    fn name(&self) -> String {
        let path = std::any::type_name::<Self>();
        let path = path.split('<').next().unwrap_or(path);
        let name = path.rsplit("::").next().unwrap_or(path);
        name.strip_suffix("Module").filter(|short| !short.is_empty()).unwrap_or(name).to_owned()
    }
}

/// Any module of a [`Sequential`](super::Sequential).
pub type AnyModule<T = f32> = Box<dyn Forward<T> + Send + Sync>;

/// One after the other, as in `torch.nn.Sequential`.
impl<T: Float, M: Forward<T>> Forward<T> for Vec<M> {
    fn forward(&self, input: &Tensor<T>) -> Result<Tensor<T>> {
        self.iter().try_fold(input.clone(), |x, module| module.forward(&x))
    }
}

/// `module` as what it is, if it is an `M`.
pub(super) fn as_a<T: Float, M: Any>(module: &AnyModule<T>) -> Option<&M> {
    let module: &dyn Any = &**module;
    module.downcast_ref()
}
