use super::{GatherGeometry, GatherKernels};
use crate::Result;
use crate::device::Cpu;
use crate::dtype::Float;
use rayon::prelude::*;

impl<T: Float> GatherKernels<T> for Cpu {
    fn gather(
        &self,
        geometry: &GatherGeometry,
        pixels: &[u8],
        labels: &[i32],
        order: &[u32],
        batch: Option<&[u64]>,
        images: &mut [T],
        targets: &mut [i32],
    ) -> Result<()> {
        let width = geometry.width as usize;
        let start = batch.map_or(0, |batch| batch[0] as usize * geometry.batch_size as usize);
        let order = &order[start..];
        let scaled: [T; 256] = std::array::from_fn(|byte| T::of(byte as f64) / T::of(255.0));
        self.kernel("gather", geometry.cost::<T>(), || {
            let rows = images.par_chunks_mut(width.max(1)).zip(order).zip(targets);
            rows.with_min_len(16).for_each(|((image, &row), target)| {
                let row = row as usize;
                *target = labels[row];
                for (x, &byte) in image.iter_mut().zip(&pixels[row * width..][..width]) {
                    *x = scaled[byte as usize];
                }
            });
        });
        Ok(())
    }
}
