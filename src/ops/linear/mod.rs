//! The fully connected layer: a matrix product and a bias.

mod layer;

pub use layer::{Linear, LinearModule};

use crate::device::{Device, Output};
use crate::dtype::Float;
use crate::ops::matmul::MatmulGeometry;
use crate::ops::sum::ChannelGeometry;
use crate::tape::Tape;
use crate::{Error, Result, Shape, Tensor};

/// `input weight^T + bias`, as `torch.nn.functional.linear`: input `[N, in_features]`, weight
/// `[out_features, in_features]`, bias `[out_features]`, result `[N, out_features]`.
///
/// # Errors
/// [`Error::Shape`] for other shapes.
pub fn linear<D: Device<T>, T: Float>(
    input: &Tensor<D, T>,
    weight: &Tensor<D, T>,
    bias: Option<&Tensor<D, T>>,
) -> Result<Tensor<D, T>> {
    const OP: &str = "linear";
    let [rows, in_features] = input.shape().expect(OP, "[N, in_features]")?;
    let [out_features, columns] =
        weight.shape().expect(OP, "[out_features, in_features] as weight")?;
    if columns != in_features {
        let message = format!(
            "input {} has {in_features} features, weight {} takes {columns}",
            input.shape(),
            weight.shape()
        );
        return Err(Error::shape(OP, message));
    }
    if let Some(bias) = bias
        && bias.dims() != [out_features]
    {
        return Err(Error::shape(
            OP,
            format!("bias {} for {out_features} out_features", bias.shape()),
        ));
    }
    let device = input.device().clone();
    let mut y = device.alloc(rows * out_features)?;
    {
        let geometry = MatmulGeometry::new(OP, rows, out_features, in_features)?.transpose_b();
        let bias = bias.map(Tensor::read);
        let bias = bias.as_ref().map(|bias| bias.view());
        let output = Output { view: D::view_mut(&mut y), accumulate: false };
        device.matmul(&geometry, input.read().view(), weight.read().view(), bias, output)?;
    }
    let output = Tensor::from_buffer(&device, y, Shape::from([rows, out_features]));
    let (x, w) = (input.detach(), weight.detach());
    Tape::record(
        [Some(input), Some(weight), bias],
        output,
        move |[x_node, w_node, b_node], gradient, gradients| {
            let gradient = D::view(&gradient);
            if let Some(output) = gradients.output(x_node, x.numel())? {
                let geometry = MatmulGeometry::new(OP, rows, in_features, out_features)?;
                device.matmul(&geometry, gradient, w.read().view(), None, output)?;
            }
            if let Some(output) = gradients.output(w_node, w.numel())? {
                let geometry =
                    MatmulGeometry::new(OP, out_features, in_features, rows)?.transpose_a();
                device.matmul(&geometry, gradient, x.read().view(), None, output)?;
            }
            if let Some(output) = gradients.output(b_node, out_features)? {
                let geometry =
                    ChannelGeometry { outer: rows as u32, channels: out_features as u32, inner: 1 };
                device.channel_sum(&geometry, T::one(), gradient, output)?;
            }
            Ok(())
        },
    )
}
