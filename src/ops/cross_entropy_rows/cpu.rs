use super::{CrossEntropyRowsKernels, RowsGeometry};
use crate::Result;
use crate::device::Cpu;
use crate::dtype::Float;
use crate::ops::cross_entropy::{argmax, sum_of_exponentials};
use rayon::prelude::*;

impl<T: Float> CrossEntropyRowsKernels<T> for Cpu {
    fn cross_entropy_rows(
        &self,
        geometry: &RowsGeometry,
        logits: &[T],
        target: &[i32],
        losses: &mut [T],
        predicted: &mut [i32],
    ) -> Result<()> {
        self.kernel("cross_entropy_rows", geometry.cost::<T>(), || {
            let rows = logits.par_chunks_exact(geometry.classes as usize).zip(target);
            let results = losses.par_iter_mut().zip(predicted);
            rows.zip(results).with_min_len(16).for_each(
                |((logits, &target), (loss, predicted))| {
                    let best = argmax(logits);
                    // Shifted by the maximum, no exponential overflows.
                    let max = logits[best];
                    let sum = sum_of_exponentials(logits.iter().map(|&logit| (logit - max).exp()));
                    let of_target = usize::try_from(target).ok().and_then(|t| logits.get(t));
                    *loss = of_target.map_or(T::nan(), |&logit| sum.ln() - (logit - max));
                    *predicted = best as i32;
                },
            );
        });
        Ok(())
    }
}
