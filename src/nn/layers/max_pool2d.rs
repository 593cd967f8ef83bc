use crate::dtype::Float;
use crate::nn::{Forward, Init, Module};
use crate::ops::max_pool2d::{MaxPool2d, MaxPool2dGeometry, max_pool2d};
use crate::ops::of_one_image;
use crate::{Result, Shape, Tensor};

impl MaxPool2d {
    /// Has no parameters to draw.
    ///
    /// # Errors
    /// Never.
    pub fn build<T: Float>(&self, _: &Init<T>) -> Result<Self> {
        Ok(*self)
    }

    pub(crate) fn output_shape(&self, input: &Shape) -> Result<Shape> {
        of_one_image(input, |input| Ok(MaxPool2dGeometry::new(self, input)?.1))
    }
}

impl<T: Float> Module<T> for MaxPool2d {}

impl<T: Float> Forward<T> for MaxPool2d {
    fn forward(&self, input: &Tensor<T>) -> Result<Tensor<T>> {
        Ok(max_pool2d(input, self)?.0)
    }
}
