use super::LinearReluKernels;
use crate::Result;
use crate::device::cpu::BLOCK;
use crate::device::{Backend, Cost, Cpu, Output};
use crate::dtype::Float;
use crate::ops::dropout::{DropoutView, scaled};
use crate::ops::linear::{self, LinearGeometry, LinearGradients};
use crate::ops::matmul::MatmulKernels;
use rayon::prelude::*;

/// Elements of the output that one task handles.
const CHUNK: usize = BLOCK / 4;

impl<T: Float> LinearReluKernels<T> for Cpu {
    fn linear_relu_forward(
        &self,
        geometry: &LinearGeometry,
        input: &[T],
        weight: &[T],
        bias: Option<&[T]>,
        drop: Option<DropoutView<'_, Self>>,
        output: &mut [T],
    ) -> Result<()> {
        let product = Output { view: &mut *output, accumulate: false };
        self.matmul(&geometry.forward(), input, weight, bias, product)?;
        let cost = Cost::elementwise::<T>(output.len(), 2, 2);
        self.kernel("linear_relu_forward", cost, || {
            output.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, y)| {
                let mut factors = [T::one(); CHUNK];
                if let Some(DropoutView { geometry, step }) = &drop {
                    self.dropout_factors(geometry, step[0], chunk * CHUNK, &mut factors[..y.len()]);
                }
                self.simd().vectorize(
                    #[inline(always)]
                    || {
                        for (y, &factor) in y.iter_mut().zip(&factors) {
                            let x = scaled(*y, factor);
                            // `x <= 0` is false for NaN, which so stays.
                            *y = if x <= T::zero() { T::zero() } else { x };
                        }
                    },
                );
            });
        });
        Ok(())
    }

    fn linear_relu_backward(
        &self,
        geometry: &LinearGeometry,
        scale: T,
        input: &[T],
        weight: &[T],
        output: &[T],
        grad_output: &[T],
        gradients: LinearGradients<'_, Self, T>,
    ) -> Result<()> {
        let mut passed = self.alloc(output.len())?;
        let cost = Cost::elementwise::<T>(output.len(), 3, 1);
        self.kernel("linear_relu_backward", cost, || {
            let chunks = passed.par_chunks_mut(CHUNK).zip(output.par_chunks(CHUNK));
            chunks.zip(grad_output.par_chunks(CHUNK)).for_each(|((passed, output), gradient)| {
                self.simd().vectorize(
                    #[inline(always)]
                    || {
                        for ((passed, &y), &gradient) in passed.iter_mut().zip(output).zip(gradient)
                        {
                            *passed = if y <= T::zero() { T::zero() } else { gradient * scale };
                        }
                    },
                );
            });
        });
        linear::backward(self, geometry, input, weight, &passed, gradients)
    }
}
