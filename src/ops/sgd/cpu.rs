use super::{SgdKernels, SgdStep};
use crate::Result;
use crate::device::Cpu;
use crate::device::cpu::BLOCK;
use crate::dtype::Float;
use crate::ops::UpdateState;
use rayon::prelude::*;

impl<T: Float> SgdKernels<T> for Cpu {
    fn sgd(
        &self,
        step: &SgdStep,
        state: UpdateState<'_, Self>,
        parameters: &mut [T],
        gradients: &[T],
        velocity: Option<&mut [T]>,
    ) -> Result<()> {
        let [lr, momentum, decay, rate] =
            [state.lr[0], step.momentum, step.weight_decay, 1.0 - step.dampening].map(T::of);
        let is_first = state.steps[0] == 0;
        let cost = super::cost::<T>(parameters.len(), velocity.is_some());
        self.kernel("sgd", cost, || {
            let elements = parameters.par_iter_mut().zip(gradients).with_min_len(BLOCK);
            match velocity {
                None => elements.for_each(|(p, &g)| *p -= lr * (g + decay * *p)),
                Some(velocity) => elements.zip(velocity).for_each(|((p, &g), b)| {
                    let g = g + decay * *p;
                    *b = if is_first { g } else { momentum * *b + rate * g };
                    *p -= lr * if step.nesterov == 1 { g + momentum * *b } else { *b };
                }),
            }
        });
        state.steps[0] += u64::from(state.is_last);
        Ok(())
    }
}
