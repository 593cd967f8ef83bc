use crate::dtype::Float;
use crate::nn::{Forward, Init, Module};
use crate::ops::avg_pool2d::{
    AdaptiveAvgPool2d, AvgPool2d, AvgPool2dGeometry, adaptive_avg_pool2d, avg_pool2d,
};
use crate::ops::of_one_image;
use crate::{Result, Shape, Tensor};

impl AvgPool2d {
    /// Has no parameters to draw.
    ///
    /// # Errors
    /// Never.
    pub fn build<T: Float>(&self, _: &Init<T>) -> Result<Self> {
        Ok(*self)
    }

    pub(crate) fn output_shape(&self, input: &Shape) -> Result<Shape> {
        of_one_image(input, |input| Ok(AvgPool2dGeometry::new(self, input)?.1))
    }
}

impl<T: Float> Module<T> for AvgPool2d {}

impl<T: Float> Forward<T> for AvgPool2d {
    fn forward(&self, input: &Tensor<T>) -> Result<Tensor<T>> {
        avg_pool2d(input, self)
    }
}

impl AdaptiveAvgPool2d {
    /// Has no parameters to draw.
    ///
    /// # Errors
    /// Never.
    pub fn build<T: Float>(&self, _: &Init<T>) -> Result<Self> {
        Ok(*self)
    }

    pub(crate) fn output_shape(&self, input: &Shape) -> Result<Shape> {
        of_one_image(input, |input| Ok(AvgPool2dGeometry::adaptive(self, input)?.1))
    }
}

impl<T: Float> Module<T> for AdaptiveAvgPool2d {}

impl<T: Float> Forward<T> for AdaptiveAvgPool2d {
    fn forward(&self, input: &Tensor<T>) -> Result<Tensor<T>> {
        adaptive_avg_pool2d(input, self)
    }
}
