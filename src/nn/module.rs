use super::state_dict::{StateDict, Value, Values};
use crate::dtype::Float;
use crate::{Error, Result, Shape, Tensor};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Something with parameters: PyTorch's `nn.Module`.
///
/// A network of one's own is a struct of layers, and of other such structs, and `#[derive(Module)]` names
/// what it is made of. [`Init`](super::Init) draws all parameters, on a device; its
/// [arena](super::Init::arena) is what an optimizer takes, and its [context](super::Init::context) tells
/// dropout and batch normalisation whether they train.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::nn::{Forward, Init, Linear, LinearModule, Module};
/// use signet::{Device, Result, Tensor};
///
/// #[derive(Module)]
/// struct Residual {
///     linear: LinearModule,
/// }
///
/// impl Residual {
///     /// `x + linear(x)`
///     fn forward(&self, x: &Tensor) -> Result<Tensor> {
///         x.add(&self.linear.forward(x)?)
///     }
/// }
///
/// let device = Device::cpu()?;
/// let init = Init::new(&device, 0)?;
/// let model = Residual { linear: Linear::new(4, 4).build(&init)? };
/// assert_eq!(model.forward(&Tensor::zeros(&device, [2, 4])?)?.dims(), [2, 4]);
/// let dict = model.state_dict()?;
/// assert!(dict.get("linear.weight").is_some());
/// # Ok(()) }
/// ```
///
/// # Deriving it
///
/// Each field is a module: a layer, another such struct, a `Vec`, an `Option` or a `Box` of one. Its name
/// is the first part of its parameters' keys, and for a field without a name its number. What is no module
/// says what it is:
///
/// | field | what it is |
/// |---|---|
/// | `#[module(parameter)] scale: Tensor` | a parameter: `init.constant(1.0, [4])?`; `Option<Tensor>` too |
/// | `#[module(buffer)] mean: Tensor` | values that are kept beside the parameters |
/// | `#[module(skip)] heads: usize` | none of both |
///
/// A struct with a type parameter `T: Float` is a `Module<T>` for `f64` too, which
/// [`gradcheck()`](crate::gradcheck()) asks for; any other is a `Module<f32>`, which is what `Module` says
/// as a type.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no module",
    note = "in a struct that derives `Module`, mark what is none `#[module(skip)]`, `#[module(parameter)]` or `#[module(buffer)]`"
)]
pub trait Module<T: Float = f32> {
    /// Its parameters and buffers by PyTorch's names and in PyTorch's order.
    fn state(&self) -> Vec<(String, State<T>)> {
        Vec::new()
    }

    /// [`Module::state`] as part of a larger module: each name with `part.` in front.
    fn state_of_part(&self, part: &str) -> Vec<(String, State<T>)> {
        let state = self.state().into_iter();
        state.map(|(name, state)| (format!("{part}.{name}"), state)).collect()
    }

    /// Its parameters, frozen ones too.
    fn parameters(&self) -> Vec<Tensor<T>> {
        let parameter = |(_, state)| match state {
            State::Parameter(tensor) => Some(tensor),
            State::Buffer(_) | State::Count(_) => None,
        };
        self.state().into_iter().filter_map(parameter).collect()
    }

    /// Freezes (`false`) or thaws (`true`) all its parameters, as PyTorch's `requires_grad_`: a frozen
    /// one is a constant, for which nothing is recorded and no gradient computed. An optimizer leaves
    /// it as it is from the next [`zero_grad`](crate::optim::Optimizer::zero_grad) on.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::nn::{Forward, Init, Linear, Module};
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let stem = Linear::new(2, 2).build(&Init::<f32>::new(&device, 0)?)?;
    /// stem.requires_grad(false)?;
    /// assert!(!stem.forward(&Tensor::zeros(&device, [1, 2])?)?.needs_grad());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Autograd`] when one of them was computed from others.
    fn requires_grad(&self, requires_grad: bool) -> Result<()> {
        self.parameters().iter().try_for_each(|p| p.requires_grad(requires_grad).map(drop))
    }

    /// A copy of all values on the host, by name.
    ///
    /// # Errors
    /// When the device fails.
    fn state_dict(&self) -> Result<StateDict> {
        self.state().into_iter().map(|(name, state)| Ok((name, state.value()?))).collect()
    }

    /// Sets all values from `dict`, which must have exactly the names and shapes of this module.
    ///
    /// # Errors
    /// [`Error::Shape`] naming the first names that are missing, unexpected or of another shape;
    /// nothing is changed then.
    fn load_state_dict(&self, dict: &StateDict) -> Result<()> {
        let state = self.state();
        dict.expect(state.iter().map(|(name, state)| (name.as_str(), state.shape())))?;
        // Before anything is set, so that nothing is set by halves.
        for (name, state) in &state {
            if let (State::Count(_), Some(value)) = (state, dict.get(name)) {
                count(name, value)?;
            }
        }
        for (name, state) in &state {
            let Some(value) = dict.get(name) else { continue };
            state.set(name, value)?;
        }
        Ok(())
    }
}

/// Called `0`, `1` and so on, as in `torch.nn.ModuleList`.
impl<T: Float, M: Module<T>> Module<T> for Vec<M> {
    fn state(&self) -> Vec<(String, State<T>)> {
        let parts = self.iter().enumerate();
        parts.flat_map(|(i, module)| module.state_of_part(&i.to_string())).collect()
    }
}

/// None has nothing.
impl<T: Float, M: Module<T>> Module<T> for Option<M> {
    fn state(&self) -> Vec<(String, State<T>)> {
        self.as_ref().map_or_else(Vec::new, |module| module.state())
    }
}

impl<T: Float, M: Module<T> + ?Sized> Module<T> for &M {
    fn state(&self) -> Vec<(String, State<T>)> {
        (**self).state()
    }
}

impl<T: Float, M: Module<T> + ?Sized> Module<T> for Box<M> {
    fn state(&self) -> Vec<(String, State<T>)> {
        (**self).state()
    }
}

/// One parameter or buffer of a module.
pub enum State<T: Float = f32> {
    /// Learned by the optimizer.
    Parameter(Tensor<T>),
    /// Kept beside the parameters, as running statistics are.
    Buffer(Tensor<T>),
    /// A counter, an int64 scalar in files.
    Count(Arc<AtomicU64>),
}

impl<T: Float> State<T> {
    /// Named parameters, without those that a layer was built without.
    pub fn parameters<const N: usize>(
        named: [(&str, Option<&Tensor<T>>); N],
    ) -> Vec<(String, Self)> {
        named
            .into_iter()
            .filter_map(|(name, tensor)| Some((name.to_string(), Self::Parameter(tensor?.clone()))))
            .collect()
    }

    /// Its shape.
    pub fn shape(&self) -> Shape {
        match self {
            Self::Parameter(tensor) | Self::Buffer(tensor) => tensor.shape().clone(),
            Self::Count(_) => Shape::default(),
        }
    }

    fn value(&self) -> Result<Value> {
        let values = match self {
            Self::Parameter(tensor) | Self::Buffer(tensor) => Values::float(tensor.to_vec()?),
            Self::Count(count) => Values::I64(vec![count.load(Ordering::Relaxed) as i64]),
        };
        Ok(Value { shape: self.shape(), values })
    }

    fn set(&self, name: &str, value: &Value) -> Result<()> {
        match self {
            Self::Parameter(tensor) | Self::Buffer(tensor) => tensor.set(&value.values.to_float()),
            Self::Count(count) => {
                count.store(self::count(name, value)?, Ordering::Relaxed);
                Ok(())
            }
        }
    }
}

/// The one element of `value`, which must be a count.
fn count(name: &str, value: &Value) -> Result<u64> {
    match value.values.to_float::<f64>()[..] {
        [number] if number >= 0.0 => Ok(number as u64),
        ref other => Err(Error::shape("load_state_dict", format!("{name} is no count: {other:?}"))),
    }
}
