//! Masks for attention.

use crate::device::Device;
use crate::dtype::Float;
use crate::{Result, Tensor};

/// `torch.nn.Transformer.generate_square_subsequent_mask(size)`: `[size, size]`, 0 where a place (the row) is to
/// see another (the column), which is itself and those before it, and -inf elsewhere. It is added to the scores of
/// attention, before their softmax.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor, nn};
/// let device = Device::cpu()?;
/// let mask: Tensor = nn::generate_square_subsequent_mask(&device, 3)?;
/// let scores = Tensor::zeros(&device, [3, 3])?;
/// let share = 1.0 / 3.0;
/// let seen = [1.0, 0.0, 0.0, 0.5, 0.5, 0.0, share, share, share];
/// assert_eq!(scores.add(&mask)?.softmax(-1)?.to_vec()?, seen);
/// # Ok(()) }
/// ```
///
/// # Errors
/// When the device fails.
pub fn generate_square_subsequent_mask<T: Float>(
    device: &Device,
    size: usize,
) -> Result<Tensor<T>> {
    let mut values = vec![T::zero(); size * size];
    for (row, values) in values.chunks_exact_mut(size.max(1)).enumerate() {
        values[row + 1..].fill(T::neg_infinity());
    }
    Tensor::from_slice(device, &values, [size, size])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_later_is_hidden() {
        let device = Device::cpu().unwrap();
        let hidden = f64::NEG_INFINITY;
        let mask = generate_square_subsequent_mask::<f64>(&device, 3).unwrap();
        assert_eq!(mask.dims(), [3, 3]);
        let rows = [[0.0, hidden, hidden], [0.0, 0.0, hidden], [0.0; 3]];
        assert_eq!(mask.to_vec().unwrap(), rows.concat());
        assert_eq!(generate_square_subsequent_mask::<f32>(&device, 0).unwrap().dims(), [0, 0]);
    }
}
