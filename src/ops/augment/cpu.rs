use super::{AugmentGeometry, AugmentKernels, Draw};
use crate::Result;
use crate::device::Cpu;
use crate::dtype::Float;
use crate::rng::Philox;
use rayon::prelude::*;

impl<T: Float> AugmentKernels<T> for Cpu {
    fn augment(
        &self,
        geometry: &AugmentGeometry,
        step: &[u64],
        input: &[T],
        output: &mut [T],
    ) -> Result<()> {
        let numel = (geometry.channels * geometry.height * geometry.width) as usize;
        if numel == 0 {
            return Ok(());
        }
        let philox = Philox::new(geometry.seed);
        self.kernel("augment", geometry.cost::<T>(), || {
            let images = output.par_chunks_mut(numel).zip(input.par_chunks(numel)).enumerate();
            images.for_each(|(i, (output, input))| {
                let block = |j| philox.block(geometry.stream, step[0], 3 * i as u32 + j);
                image(geometry, &Draw::new([block(0), block(1), block(2)]), input, output);
            });
        });
        Ok(())
    }
}

/// Changes one image `[C, H, W]`.
fn image<T: Float>(g: &AugmentGeometry, draw: &Draw<T>, input: &[T], output: &mut [T]) {
    let (height, width) = (g.height as usize, g.width as usize);
    let (one, half) = (T::one(), T::of(0.5));
    let centre = [T::of(width as f64 - 1.0) * half, T::of(height as f64 - 1.0) * half];
    let (sin, cos) = (T::of(g.rotation) * draw.rotation).sin_cos();
    let zoom = T::of(g.zoom) + T::of(g.zoom_range) * draw.zoom;
    let mirror = if draw.flip < g.flip { -one } else { one };
    let slant = (T::of(g.shear) * draw.shear).tan();
    let wide = one + T::of(g.aspect) * draw.aspect;
    let shift = [
        centre[0] + T::of(g.shift) * draw.shift[0] * T::of(width as f64),
        centre[1] + T::of(g.shift) * draw.shift[1] * T::of(height as f64),
    ];
    let brightness = one + T::of(g.brightness) * draw.brightness;
    let (from_y, from_x) = (T::of(std::f64::consts::TAU) * draw.direction).sin_cos();
    let light = T::of(g.light) * draw.light;
    let slope = [light * from_x / centre[0].max(one), light * from_y / centre[1].max(one)];
    let last = [T::of(width as f64 - 1.0), T::of(height as f64 - 1.0)];

    for (input, output) in
        input.chunks_exact(height * width).zip(output.chunks_exact_mut(height * width))
    {
        for (row, output) in output.chunks_exact_mut(width).enumerate() {
            let y = T::of(row as f64) - centre[1];
            let (slanted, from_y) = (slant * y, y / wide);
            let (sin_y, cos_y) = (sin * from_y, cos * from_y);
            for (column, output) in output.iter_mut().enumerate() {
                let x = T::of(column as f64) - centre[0];
                let from_x = (mirror * x + slanted) * wide;
                let at_x = (cos * from_x - sin_y) / zoom + shift[0];
                let at_y = (sin * from_x + cos_y) / zoom + shift[1];
                let (at_x, at_y) =
                    (at_x.max(T::zero()).min(last[0]), at_y.max(T::zero()).min(last[1]));
                // Rounded down by the conversion: without SSE 4.1, `floor` is a call.
                let (left, top) = (at_x.as_f64() as u32, at_y.as_f64() as u32);
                let right_share = at_x - T::of(f64::from(left));
                let low_share = at_y - T::of(f64::from(top));
                let (left, top) = (left as usize, top as usize);
                let (right, low) = ((left + 1).min(width - 1), (top + 1).min(height - 1));
                let between = |row: usize| {
                    let (a, b) = (input[row * width + left], input[row * width + right]);
                    a + (b - a) * right_share
                };
                let (high, low) = (between(top), between(low));
                let value = high + (low - high) * low_share;
                let lit = one + slope[0] * x + slope[1] * y;
                *output = unit(value * brightness * lit);
            }
        }
    }
    let sum: f64 = output.iter().map(|x| x.as_f64()).sum();
    let mean = T::of(sum / output.len() as f64);
    let contrast = one + T::of(g.contrast) * draw.contrast;
    output.iter_mut().for_each(|x| *x = unit(mean + (*x - mean) * contrast));
}

/// `x` cut to 0..1.
fn unit<T: Float>(x: T) -> T {
    x.max(T::zero()).min(T::one())
}
