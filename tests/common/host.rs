//! Tensors on the host, in f64, and random ones.

use signet::rng::{Philox, Sequence};
use signet::{Device, Tensor, dtype::Float};

/// A tensor on the host; `f64` holds every element type of the fixtures exactly.
#[derive(Debug, Clone, PartialEq)]
pub struct HostTensor {
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its elements, row-major.
    pub values: Vec<f64>,
}

impl HostTensor {
    /// The same tensor on a device, rounded to `T`.
    pub fn on<T: Float>(&self, device: &Device) -> Tensor<T> {
        let values: Vec<T> = self.values.iter().map(|&x| T::of(x)).collect();
        Tensor::from_slice(device, &values, &self.shape[..]).expect("values fill the shape")
    }

    /// The elements as the integers they are.
    pub fn integers(&self) -> Vec<i32> {
        self.values.iter().map(|&x| x as i32).collect()
    }

    /// The elements as labels on a device.
    pub fn labels_on(&self, device: &Device) -> Tensor<i32> {
        Tensor::from_slice(device, &self.integers(), &self.shape[..]).expect("they fill the shape")
    }

    /// The tensor at `/ 255`, as the network gets pixels.
    pub fn scaled(&self) -> Self {
        Self { values: self.values.iter().map(|x| x / 255.0).collect(), ..self.clone() }
    }

    /// The rows `range` along the first dimension.
    pub fn rows(&self, range: std::ops::Range<usize>) -> Self {
        let row = self.values.len() / self.shape[0];
        let mut shape = self.shape.clone();
        shape[0] = range.len();
        Self { shape, values: self.values[range.start * row..range.end * row].to_vec() }
    }
}

/// The values of a tensor, as `f64`.
pub fn values<T: Float>(tensor: &Tensor<T>) -> Vec<f64> {
    tensor.to_vec().expect("the device works").into_iter().map(T::as_f64).collect()
}

/// The bit patterns of a tensor; `f32` widens without a change, NaN included.
pub fn bits<T: Float>(tensor: &Tensor<T>) -> Vec<u64> {
    values(tensor).into_iter().map(f64::to_bits).collect()
}

/// How to draw the elements of a random tensor. All are exactly representable in f32.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fill {
    /// Normal with this standard deviation.
    Normal(f64),
    /// Normal and at least 1/8 away from zero, where relu has its kink.
    OffZero,
    /// Like [`Fill::OffZero`], without the signs: sums of these do not cancel.
    Positive,
    /// Every value of a grid between -1 and 1 once, in random order: no maximum has a rival near.
    Distinct,
}

impl Fill {
    /// A tensor of `shape` drawn from stream `stream` of `seed`.
    pub fn draw(self, shape: &[usize], seed: u64, stream: u32) -> HostTensor {
        let n = shape.iter().product();
        let philox = Philox::new(seed);
        let mut random = philox.sequence(stream, 0);
        let one = |random: &mut Sequence| match self {
            Self::Normal(std) => std * random.normal(),
            Self::OffZero | Self::Distinct => {
                let x = random.normal();
                x + 0.125 * x.signum()
            }
            Self::Positive => random.normal().abs() + 0.125,
        };
        let values: Vec<f64> = match self {
            Self::Distinct => {
                let order = philox.permutation(stream, 0, n);
                order.iter().map(|&i| (2.0 * f64::from(i) + 1.0) / n as f64 - 1.0).collect()
            }
            _ => (0..n).map(|_| one(&mut random)).collect(),
        };
        let values = values.into_iter().map(|x| f64::from(x as f32)).collect();
        HostTensor { shape: shape.to_vec(), values }
    }
}
