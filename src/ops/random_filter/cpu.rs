use super::{BLOCKS, FLAT, RandomFilter, RandomFilterKernels, cost};
use crate::Result;
use crate::device::Cpu;
use crate::dtype::Float;
use crate::ops::SomeImages;
use std::iter::repeat_n;

impl<T: Float> RandomFilterKernels<T> for Cpu {
    fn random_filter(
        &self,
        geometry: &SomeImages,
        step: &[u64],
        input: &[T],
        output: &mut [T],
    ) -> Result<()> {
        let (width, plane) = (geometry.width as usize, (geometry.height * geometry.width) as usize);
        self.kernel("random_filter", cost::<T>(output.len()), || {
            geometry.change(step[0], BLOCKS, input, output, |padded, block, x, y| {
                let filter = RandomFilter::new(block);
                for (x, y) in x.chunks_exact(plane).zip(y.chunks_exact_mut(plane)) {
                    convolve(&filter, width, x, padded, y);
                }
                keep_light(filter.kept, x, y);
            });
        });
        Ok(())
    }
}

/// The convolution of one channel, by way of a copy in `padded`, whose edges are repeated as far as
/// the filter reaches.
fn convolve<T: Float>(
    filter: &RandomFilter<T>,
    width: usize,
    input: &[T],
    padded: &mut Vec<T>,
    output: &mut [T],
) {
    let (size, radius) = (filter.size, filter.size / 2);
    let height = input.len() / width;
    let wide = width + 2 * radius;
    padded.clear();
    for row in 0..height + 2 * radius {
        let row = &input[row.saturating_sub(radius).min(height - 1) * width..][..width];
        padded.extend(repeat_n(row[0], radius));
        padded.extend_from_slice(row);
        padded.extend(repeat_n(row[width - 1], radius));
    }
    for (row, output) in output.chunks_exact_mut(width).enumerate() {
        output.fill(T::zero());
        for (tap, &weight) in filter.weights[..size * size].iter().enumerate() {
            let from = &padded[(row + tap / size) * wide + tap % size..];
            output.iter_mut().zip(from).for_each(|(sum, &x)| *sum += weight * x);
        }
    }
}

/// Brings `convolved` to the mean and the deviation of `image`, and mixes both.
fn keep_light<T: Float>(kept: T, image: &[T], convolved: &mut [T]) {
    let ([mean, deviation], [its_mean, its_deviation]) = (moments(image), moments(convolved));
    let gain = if its_deviation > FLAT { deviation / its_deviation } else { 0.0 };
    let rest = T::one() - kept;
    let (gain, offset) = (rest * T::of(gain), rest * T::of(mean - its_mean * gain));
    convolved.iter_mut().zip(image).for_each(|(y, &x)| *y = kept * x + gain * *y + offset);
}

/// The mean and the standard deviation.
fn moments<T: Float>(values: &[T]) -> [f64; 2] {
    let count = values.len() as f64;
    let [sum, squares] = values.iter().fold([0.0, 0.0], |[sum, squares], x| {
        let x = x.as_f64();
        [sum + x, squares + x * x]
    });
    let mean = sum / count;
    [mean, (squares / count - mean * mean).max(0.0).sqrt()]
}
