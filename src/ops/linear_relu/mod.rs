//! A hidden layer as one op: the fully connected layer, dropout and the rectifier.
//!
//! The order of the last two does not matter: dropout multiplies by nothing negative.

mod cpu;
mod cuda;

use crate::device::{Backend, Device, kernels};
use crate::dtype::Float;
use crate::ops::dropout::{DropoutMask, DropoutView};
use crate::ops::linear::{LinearGeometry, LinearGradients};
use crate::{Result, Tensor};

kernels! {
    /// What a hidden layer asks of a device.
    pub(crate) trait LinearReluKernels<T: Float>: Backend {
        /// `output = relu(dropout(input weight^T + bias))`, the elements to drop counted over
        /// `[N, out_features]`.
        fn linear_relu_forward(
            &self,
            geometry: &LinearGeometry,
            input: Self::View<'_, T>,
            weight: Self::View<'_, T>,
            bias: Option<Self::View<'_, T>>,
            drop: Option<DropoutView<'_, Self>>,
            output: Self::ViewMut<'_, T>,
        ) -> Result<()>;

        /// The gradients. Where the output is positive (or NaN) the layer passed its value on, times
        /// `scale` (dropout's, else 1); elsewhere nothing.
        fn linear_relu_backward(
            &self,
            geometry: &LinearGeometry,
            scale: T,
            input: Self::View<'_, T>,
            weight: Self::View<'_, T>,
            output: Self::View<'_, T>,
            grad_output: Self::View<'_, T>,
            gradients: LinearGradients<'_, Self, T>,
        ) -> Result<()>;
    }
}

/// `relu(dropout(linear(input, weight, bias)))`: input `[.., in_features]`, weight `[out_features,
/// in_features]`, bias `[out_features]`, result `[.., out_features]`; without a `mask` nothing is
/// dropped.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor};
/// use signet::ops::linear_relu::linear_relu;
///
/// let device = Device::cpu()?;
/// let x = Tensor::from_slice(&device, &[1.0_f32, 2.0], [1, 2])?;
/// let weight = Tensor::from_slice(&device, &[1.0, 0.0, 0.0, -1.0], [2, 2])?;
/// assert_eq!(linear_relu(&x, &weight, None, None)?.to_vec()?, [1.0, 0.0]);
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) for other shapes.
pub fn linear_relu<T: Float>(
    input: &Tensor<T>,
    weight: &Tensor<T>,
    bias: Option<&Tensor<T>>,
    mask: Option<&DropoutMask>,
) -> Result<Tensor<T>> {
    const OP: &str = "linear_relu";
    let geometry = LinearGeometry::new(OP, input, weight, bias)?;
    let shape = geometry.output_shape(input.shape());
    let device = input.device().clone();
    let mut y = device.alloc(shape.numel())?;
    {
        let bias = bias.map(Tensor::read);
        let step = mask.map(|mask| mask.step.read());
        let drop = mask.zip(step.as_ref());
        let drop = drop.map(|(mask, step)| mask.view(step));
        device.linear_relu_forward(
            &geometry,
            input.read().view(),
            weight.read().view(),
            bias.as_ref().map(|bias| bias.view()),
            drop,
            Device::view_mut(&mut y),
        )?;
    }
    let output = Tensor::from_buffer(&device, y, shape);
    let (x, w) = (input.save(OP, "input"), weight.save(OP, "weight"));
    let y = output.save(OP, "output");
    let scale = mask.map_or(T::one(), |mask| T::of(mask.geometry.scale));
    let inputs = [Some(input), Some(weight), bias];
    Ok(output.with_grad_fn(inputs, move |nodes, gradient, gradients| {
        let lengths = [x.numel(), w.numel(), geometry.out_features as usize];
        let wanted = std::array::from_fn::<_, 3, _>(|i| (nodes[i], lengths[i]));
        let [input, weight, bias] = gradients.outputs(wanted)?;
        device.linear_relu_backward(
            &geometry,
            scale,
            x.read_if(weight.is_some())?.view(),
            w.read_if(input.is_some())?.view(),
            y.read()?.view(),
            gradient.read().view(),
            LinearGradients { input, weight, bias },
        )
    }))
}
