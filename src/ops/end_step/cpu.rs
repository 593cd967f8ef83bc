use super::EndStepKernels;
use crate::Result;
use crate::device::Cpu;
use crate::dtype::Float;

impl<T: Float> EndStepKernels<T> for Cpu {
    fn end_step(
        &self,
        loss: &[T],
        correct: &[i32],
        losses: &mut [T],
        clock: &mut [u64],
    ) -> Result<()> {
        self.kernel("end_step", super::cost::<T>(), || {
            if let Some(row) = losses.chunks_exact_mut(2).nth(clock[1] as usize) {
                row.copy_from_slice(&[loss[0], T::of(f64::from(correct[0]))]);
            }
            clock.iter_mut().for_each(|count| *count += 1);
        });
        Ok(())
    }
}
