//! One run of an op and its backward pass under a random upstream gradient.

use super::Case;
use crate::common::host::{Fill, values};
use signet::dtype::Float;
use signet::{Device, Tensor};

/// What one run gave, widened to `f64`: bits compare as well as values.
#[derive(Debug, Clone)]
pub struct Pass {
    /// The result.
    pub output: Vec<f64>,
    /// The gradient that was given to it.
    pub upstream: Vec<f64>,
    /// By input; `None` for a constant.
    pub gradients: Vec<Option<Vec<f64>>>,
}

impl Pass {
    /// Runs `case` on `inputs`, of which those get a gradient that `watch` picks.
    pub fn new<T: Float>(case: &Case, inputs: &[Tensor<T>], watch: impl Fn(usize) -> bool) -> Self {
        let leaf = |(i, input): (_, &Tensor<T>)| input.detach().requires_grad(watch(i)).unwrap();
        let inputs: Vec<_> = inputs.iter().enumerate().map(leaf).collect();
        let output = case.op.run(&inputs).unwrap_or_else(|e| panic!("{}: {e}", case.name()));
        let upstream = upstream(&output);
        output.backward_with(&upstream).expect("the output was recorded");
        let gradient = |input: &Tensor<T>| input.grad().unwrap().map(|gradient| values(&gradient));
        Self {
            output: values(&output),
            upstream: values(&upstream),
            gradients: inputs.iter().map(gradient).collect(),
        }
    }

    /// Draws the inputs; all get a gradient.
    pub fn of_case<T: Float>(case: &Case, device: &Device) -> Self {
        Self::new(case, &case.draw::<T>(device, 2), |_| true)
    }

    /// The bit patterns of output and gradients.
    pub fn bits(&self) -> Vec<Vec<u64>> {
        let all = std::iter::once(&self.output).chain(self.gradients.iter().flatten());
        all.map(|values| values.iter().map(|x| x.to_bits()).collect()).collect()
    }
}

/// A random gradient for `output`.
pub fn upstream<T: Float>(output: &Tensor<T>) -> Tensor<T> {
    Fill::Normal(1.0).draw(output.dims(), 3, 50).on(output.device())
}
