use crate::dtype::Float;
use crate::nn::{Forward, Init, Module};
use crate::ops::softmax::around_dim;
use crate::{Result, Shape, Tensor};

/// The two layers differ by name and op alone.
macro_rules! softmax_layer {
    ($(#[$about:meta])* $layer:ident, $op:ident) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $layer {
            /// The dimension along which it runs; a negative one counts from the end.
            pub dim: isize,
        }

        impl $layer {
            /// Along `dim`, which counts from the end where it is negative.
            pub fn new(dim: isize) -> Self {
                Self { dim }
            }

            /// Has no parameters to draw.
            ///
            /// # Errors
            /// Never.
            pub fn build<T: Float>(&self, _: &Init<T>) -> Result<Self> {
                Ok(*self)
            }

            pub(crate) fn output_shape(&self, input: &Shape) -> Result<Shape> {
                around_dim(stringify!($op), input, self.dim)?;
                Ok(input.clone())
            }
        }

        impl<T: Float> Module<T> for $layer {}

        impl<T: Float> Forward<T> for $layer {
            fn forward(&self, input: &Tensor<T>) -> Result<Tensor<T>> {
                input.$op(self.dim)
            }
        }
    };
}

softmax_layer!(
    /// `torch.nn.Softmax`: along a dimension, what is positive and adds up to 1.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor, layers};
    /// use signet::nn::{Forward, Sequential, Softmax};
    ///
    /// let device = Device::cpu()?;
    /// let model = Sequential::<f32>::new(&device, 0, layers![Softmax::new(1)])?;
    /// let x = Tensor::zeros(&device, [1, 4])?;
    /// assert_eq!(model.forward(&x)?.to_vec()?, [0.25; 4]);
    /// # Ok(()) }
    /// ```
    Softmax,
    softmax
);

softmax_layer!(
    /// `torch.nn.LogSoftmax`: the logarithm of [`Softmax`].
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor, layers};
    /// use signet::nn::{LogSoftmax, Forward, Sequential};
    ///
    /// let device = Device::cpu()?;
    /// let model = Sequential::<f32>::new(&device, 0, layers![LogSoftmax::new(1)])?;
    /// let x = Tensor::from_slice(&device, &[0.0, 1000.0], [1, 2])?;
    /// assert_eq!(model.forward(&x)?.to_vec()?, [-1000.0, 0.0]);
    /// # Ok(()) }
    /// ```
    LogSoftmax,
    log_softmax
);
