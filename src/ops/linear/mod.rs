//! The fully connected layer: a matrix product and a bias.

pub(crate) mod cuda;

use crate::device::{Backend, Cost, Device, Output, each_field_on};
use crate::dtype::{Float, Plain};
use crate::ops::index32;
use crate::ops::matmul::{MatmulGeometry, MatmulKernels};
use crate::ops::sum::{ChannelGeometry, SumKernels};
use crate::{Error, Result, Shape, Tensor};

/// Sizes of one fully connected layer.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct LinearGeometry {
    /// Rows of input and output.
    pub rows: u32,
    /// Columns of the input.
    pub in_features: u32,
    /// Columns of the output.
    pub out_features: u32,
}

impl Plain for LinearGeometry {}

impl LinearGeometry {
    /// The geometry of input `[.., in_features]`, of which all dimensions but the last are rows,
    /// weight `[out_features, in_features]` and bias `[out_features]`.
    ///
    /// # Errors
    /// [`Error::Shape`] in the name of `op` for other shapes, and for more elements than kernels
    /// index.
    pub fn new<T: Float>(
        op: &'static str,
        input: &Tensor<T>,
        weight: &Tensor<T>,
        bias: Option<&Tensor<T>>,
    ) -> Result<Self> {
        let [ref leading @ .., in_features] = *input.dims() else {
            return Err(Error::shape(op, "expected a tensor [.., in_features], got a scalar"));
        };
        let rows = Shape::from(leading).numel();
        let [out_features, columns] =
            weight.shape().expect(op, "[out_features, in_features] as weight")?;
        if columns != in_features {
            let message = format!(
                "input {} has {in_features} features, weight {} takes {columns}",
                input.shape(),
                weight.shape()
            );
            return Err(Error::shape(op, message));
        }
        if let Some(bias) = bias.filter(|bias| bias.dims() != [out_features]) {
            let message = format!("bias {} for {out_features} out_features", bias.shape());
            return Err(Error::shape(op, message));
        }
        for (a, b) in [(rows, in_features), (in_features, out_features), (rows, out_features)] {
            index32(op, a.saturating_mul(b))?;
        }
        let [rows, in_features, out_features] =
            [rows, in_features, out_features].map(|size| size as u32);
        Ok(Self { rows, in_features, out_features })
    }

    /// The shape of its output for an input of shape `input`.
    pub fn output_shape(&self, input: &Shape) -> Shape {
        let leading = input.dims().split_last().map_or(&[][..], |(_, leading)| leading);
        Shape::from([leading, &[self.out_features as usize]].concat())
    }

    /// Of any of its three products.
    pub fn cost<T>(&self) -> Cost {
        self.forward().cost::<T>()
    }

    /// `[N, in_features]` times the transposed weight.
    pub fn forward(&self) -> MatmulGeometry {
        let &Self { rows: m, out_features: n, in_features: k } = self;
        MatmulGeometry { m, n, k, transpose_a: 0, transpose_b: 1 }
    }

    /// `[N, out_features]` times the weight: the input's gradient.
    pub fn backward_input(&self) -> MatmulGeometry {
        let &Self { rows: m, out_features: k, in_features: n } = self;
        MatmulGeometry { m, n, k, transpose_a: 0, transpose_b: 0 }
    }

    /// The transposed gradient times the input: the weight's gradient.
    pub fn backward_weight(&self) -> MatmulGeometry {
        let &Self { rows: k, out_features: m, in_features: n } = self;
        MatmulGeometry { m, n, k, transpose_a: 1, transpose_b: 0 }
    }

    /// The output's columns, over which the bias's gradient sums.
    pub fn columns(&self) -> ChannelGeometry {
        ChannelGeometry { outer: self.rows, channels: self.out_features, inner: 1 }
    }
}

/// The gradients of a fully connected layer; `None` is not computed.
pub(crate) struct LinearGradients<'a, M: Backend, T: Float> {
    /// `[N, in_features]`.
    pub input: Option<Output<'a, M, T>>,
    /// `[out_features, in_features]`.
    pub weight: Option<Output<'a, M, T>>,
    /// `[out_features]`.
    pub bias: Option<Output<'a, M, T>>,
}

each_field_on!(LinearGradients<'a, T: Float> { input, weight, bias });

impl<'a, M: Backend, T: Float> LinearGradients<'a, M, T> {
    /// The gradient of the input (0), the weight (1) or the bias (2), and no other.
    fn only(i: usize, output: Output<'a, M, T>) -> Self {
        let mut one = [None, None, None];
        one[i] = Some(output);
        let [input, weight, bias] = one;
        Self { input, weight, bias }
    }
}

/// `input weight^T + bias`, as `torch.nn.functional.linear`: input `[.., in_features]`, weight
/// `[out_features, in_features]`, bias `[out_features]`, result `[.., out_features]`.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor};
/// use signet::ops::linear::linear;
///
/// let device = Device::cpu()?;
/// let x = Tensor::from_slice(&device, &[1.0_f32, 2.0], [1, 2])?;
/// // Three outputs of two inputs.
/// let weight = Tensor::from_slice(&device, &[1.0, 0.0, 0.0, 1.0, 1.0, 1.0], [3, 2])?;
/// let bias = Tensor::from_slice(&device, &[0.0, 0.0, 10.0], [3])?;
/// assert_eq!(linear(&x, &weight, Some(&bias))?.to_vec()?, [1.0, 2.0, 13.0]);
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::Shape`] for other shapes.
pub fn linear<T: Float>(
    input: &Tensor<T>,
    weight: &Tensor<T>,
    bias: Option<&Tensor<T>>,
) -> Result<Tensor<T>> {
    let geometry = LinearGeometry::new("linear", input, weight, bias)?;
    let shape = geometry.output_shape(input.shape());
    let device = input.device().clone();
    let mut y = device.alloc(shape.numel())?;
    {
        let bias = bias.map(Tensor::read);
        let bias = bias.as_ref().map(|bias| bias.view());
        let output = Output { view: Device::view_mut(&mut y), accumulate: false };
        let (input, weight) = (input.read(), weight.read());
        device.matmul(&geometry.forward(), input.view(), weight.view(), bias, output)?;
    }
    let output = Tensor::from_buffer(&device, y, shape);
    let (x, w) = (input.save("linear", "input"), weight.save("linear", "weight"));
    let inputs = [Some(input), Some(weight), bias];
    Ok(output.with_grad_fn(inputs, move |nodes, gradient, gradients| {
        let lengths = [x.numel(), w.numel(), geometry.out_features as usize];
        let gradient = gradient.read();
        let gradient = gradient.view();
        // One after the other: input and weight may be the same tensor.
        for (i, (node, len)) in nodes.into_iter().zip(lengths).enumerate() {
            let Some(output) = gradients.output(node, len)? else { continue };
            let gradients = LinearGradients::only(i, output);
            let (x, w) =
                (x.read_if(gradients.weight.is_some())?, w.read_if(gradients.input.is_some())?);
            backward(&device, &geometry, x.view(), w.view(), gradient, gradients)?;
        }
        Ok(())
    }))
}

/// The gradients of a fully connected layer from that of its output, `[N, out_features]`.
pub(crate) fn backward<D: MatmulKernels<T> + SumKernels<T>, T: Float>(
    device: &D,
    geometry: &LinearGeometry,
    input: D::View<'_, T>,
    weight: D::View<'_, T>,
    gradient: D::View<'_, T>,
    gradients: LinearGradients<'_, D, T>,
) -> Result<()> {
    if let Some(output) = gradients.input {
        device.matmul(&geometry.backward_input(), gradient, weight, None, output)?;
    }
    if let Some(output) = gradients.weight {
        device.matmul(&geometry.backward_weight(), gradient, input, None, output)?;
    }
    if let Some(output) = gradients.bias {
        device.channel_sum(&geometry.columns(), T::one(), gradient, output)?;
    }
    Ok(())
}
