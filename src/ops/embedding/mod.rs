//! Rows of a table by their numbers: the kernels are those of [`index`](crate::ops::index).

use crate::dtype::Float;
use crate::ops::index::{of_rows, picked};
use crate::{Error, Result, Shape, Tensor};

/// The rows `ids [..]` of `weight [V, D]`, `[.., D]`. The row `padding_idx` gets no gradient.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::ops::embedding::embedding;
/// use signet::{Device, Tensor};
/// let device = Device::cpu()?;
/// let weight = Tensor::from_slice(&device, &[0.0_f32, 0.5, 1.0, 1.5, 2.0, 2.5], [3, 2])?;
/// let ids = Tensor::from_slice(&device, &[2, 0], [1, 2])?;
/// let words = embedding(&weight, &ids, None)?;
/// assert_eq!((words.dims(), words.to_vec()?), (&[1, 2, 2][..], vec![2.0, 2.5, 0.0, 0.5]));
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::Shape`] for a weight that is no matrix; [`Error::Argument`] for a `padding_idx` that is no row,
/// and on the CPU for an id that is none, which is NaN on a GPU.
pub fn embedding<T: Float>(
    weight: &Tensor<T>,
    ids: &Tensor<i32>,
    padding_idx: Option<usize>,
) -> Result<Tensor<T>> {
    const OP: &str = "embedding";
    let [rows, columns] = weight.shape().expect(OP, "[V, D] as weight")?;
    if let Some(padding_idx) = padding_idx.filter(|&row| row >= rows) {
        let message = format!("must be less than the {rows} rows, got {padding_idx}");
        return Err(Error::argument("padding_idx", message));
    }
    let geometry = of_rows(OP, weight.shape(), ids.numel())?;
    let shape = Shape::from([ids.dims(), &[columns]].concat());
    picked(OP, geometry, weight, ids, padding_idx, shape)
}
