use super::{Backdrop, BackgroundKernels, STEP, cost};
use crate::Result;
use crate::device::Cpu;
use crate::dtype::Float;
use crate::ops::SomeImages;
use crate::rng::Philox;
use rayon::prelude::*;

impl<T: Float> BackgroundKernels<T> for Cpu {
    fn background(
        &self,
        geometry: &SomeImages,
        step: &[u64],
        input: &[T],
        output: &mut [T],
    ) -> Result<()> {
        let (height, width) = (geometry.height as usize, geometry.width as usize);
        let numel = geometry.numel();
        if numel == 0 {
            return Ok(());
        }
        let philox = Philox::new(geometry.seed);
        self.kernel("background", cost::<T>(output.len()), || {
            let images = output.par_chunks_mut(numel).zip(input.par_chunks(numel)).enumerate();
            images.for_each_init(Search::default, |search, (i, (output, input))| {
                let block = |j| philox.block(geometry.stream, step[0], 3 * i as u32 + j);
                let backdrop = Backdrop::new([block(0), block(1), block(2)]);
                output.copy_from_slice(input);
                if geometry.has(backdrop.word) {
                    search.find(input, height, width);
                    search.found.iter().for_each(|&at| {
                        let x = from_middle(at % width, width);
                        let value = backdrop.at(x, from_middle(at / width, height));
                        output.iter_mut().skip(at).step_by(height * width).for_each(|y| *y = value);
                    });
                }
            });
        });
        Ok(())
    }
}

/// From -0.5 to 0.5; 0 for the only one.
fn from_middle<T: Float>(place: usize, count: usize) -> T {
    let last = T::of(count as f64 - 1.0).max(T::one());
    T::of(place as f64) / last - T::of(if count > 1 { 0.5 } else { 0.0 })
}

/// A search for a background; kept from image to image for its memory.
#[derive(Default)]
struct Search {
    /// Pixels of the background. Those from some place on still have to be looked around from.
    found: Vec<usize>,
    /// Which they are.
    is_found: Vec<bool>,
}

impl Search {
    /// Finds the background of `image [C, H, W]`.
    fn find<T: Float>(&mut self, image: &[T], height: usize, width: usize) {
        self.is_found.clear();
        self.is_found.resize(height * width, false);
        self.found.clear();
        for corner in [0, width - 1] {
            if !std::mem::replace(&mut self.is_found[corner], true) {
                self.found.push(corner);
            }
        }
        let mut next = 0;
        while let Some(&at) = self.found.get(next) {
            next += 1;
            let x = at % width;
            let beside = [
                (x > 0).then(|| at - 1),
                (x + 1 < width).then_some(at + 1),
                at.checked_sub(width),
                (at + width < height * width).then_some(at + width),
            ];
            for near in beside.into_iter().flatten() {
                let mut channels = image.chunks_exact(height * width);
                if !self.is_found[near]
                    && channels.all(|channel| (channel[at] - channel[near]).abs() <= T::of(STEP))
                {
                    self.is_found[near] = true;
                    self.found.push(near);
                }
            }
        }
    }
}
