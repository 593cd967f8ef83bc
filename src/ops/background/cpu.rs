use super::{BLOCKS, Backdrop, BackgroundKernels, STEP, cost};
use crate::Result;
use crate::device::Cpu;
use crate::dtype::Float;
use crate::ops::SomeImages;
use crate::support::flood_fill;

impl<T: Float> BackgroundKernels<T> for Cpu {
    fn background(
        &self,
        geometry: &SomeImages,
        step: &[u64],
        input: &[T],
        output: &mut [T],
    ) -> Result<()> {
        let (height, width) = (geometry.height as usize, geometry.width as usize);
        self.kernel("background", cost::<T>(output.len()), || {
            geometry.change(step[0], BLOCKS, input, output, |search: &mut Search, block, x, y| {
                y.copy_from_slice(x);
                search.find(x, height, width);
                let backdrop = Backdrop::new([block(0), block(1), block(2)]);
                for &at in &search.found {
                    let (column, row) = (at % width, at / width);
                    let value = backdrop.at(from_middle(column, width), from_middle(row, height));
                    y.iter_mut().skip(at).step_by(height * width).for_each(|y| *y = value);
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
    /// Pixels of the background.
    found: Vec<usize>,
    /// Which they are.
    is_found: Vec<bool>,
}

impl Search {
    /// Finds the background of `image [C, H, W]`.
    fn find<T: Float>(&mut self, image: &[T], height: usize, width: usize) {
        self.is_found.clear();
        self.is_found.resize(height * width, false);
        let step = T::of(STEP);
        let alike = |at: usize, near: usize| {
            let mut channels = image.chunks_exact(height * width);
            channels.all(|channel| (channel[at] - channel[near]).abs() <= step)
        };
        flood_fill([0, width - 1], &mut self.found, &mut self.is_found, width, alike);
    }
}
