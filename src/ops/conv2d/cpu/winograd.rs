//! Convolutions of 3x3 with a stride of 1 by Winograd's minimal filtering: 4 products an output pixel and
//! channel instead of 9, for some sums of what goes in and comes out. The formulas, and the order in which
//! everything lies, are those of `device/cpu/simd/winograd.rs`.
//!
//! A thread takes a [`Unit`] at a time: some images, or some rows of tiles of one. It puts their channels
//! side by side, and chunk by chunk of the tiles, which stays in a core's cache, transforms, multiplies and
//! transforms back. Units and chunks are those of the shape alone: the same bits with any number of threads.
//!
//! Rounding: with `u` half the distance from 1 to the next number, `|.|` the absolute value of each element,
//! and first order in `u`, an output is off by at most
//!
//! ```text
//!   (C + 10) u |A'| [ sum over c of (|G| |g| |G'|) x (|B'| |d| |B|) ] |A|
//! ```
//!
//! for a pixel takes 2 additions on its way in and 4 on its way out, a weight 4, and C are summed.

use super::{Frame, add_up, filters_backward, filters_forward, partial_sums};
use crate::Result;
use crate::device::cpu::winograd::{
    CHANNELS, Chunk, CorrelateTiles, FilterTiles, FilterToPlaces, GradientToTiles, Grid,
    ImageToTiles, PITCH, PLACES, PlacesToFilter, TILES, TilesToOutput,
};
use crate::device::cpu::{CpuBuffer, put};
use crate::device::{Backend, Cpu, Output};
use crate::dtype::Float;
use crate::ops::conv2d::Conv2dGeometry;
use rayon::prelude::*;
use std::ops::Range;

/// The most tiles of a unit of several rows.
const UNIT: usize = 256;
/// Units of whole images below which images are cut, and into how many strips at most.
const FEW_UNITS: usize = 8;
const STRIPS: usize = 16;
/// Tiles of the batch below which transformed filters cost more than they save.
const LEAST_TILES: usize = 96;
/// Channels of a group below which the transforms cost more than they save.
const LEAST_CHANNELS: u32 = 32;
/// Taps of a filter.
const TAPS: usize = 9;

/// Whether a convolution can be computed so.
fn fits(geometry: &Conv2dGeometry) -> bool {
    geometry.kernel_size == [3, 3]
        && geometry.stride == [1, 1]
        && geometry.dilation == [1, 1]
        && geometry.padding.iter().all(|&padding| padding <= 2)
}

/// Whether it is worth it.
pub(super) fn suits(geometry: &Conv2dGeometry) -> bool {
    let [inputs, outputs] = [geometry.in_channels, geometry.out_channels];
    // Blocks of channels are filled up with zeros.
    let filled = |channels: u32| u64::from(channels.next_multiple_of(CHANNELS as u32));
    let [rows, columns] = [0, 1].map(|axis| geometry.out_size(axis).div_ceil(2));
    fits(geometry)
        && inputs.min(outputs) >= LEAST_CHANNELS
        && 2 * filled(inputs) * filled(outputs) <= 3 * u64::from(inputs) * u64::from(outputs)
        && geometry.batch as usize * rows * columns >= LEAST_TILES
}

/// Some images, or some rows of tiles of one image.
struct Unit {
    images: Range<usize>,
    /// Of pixels of the target.
    rows: Range<usize>,
    grid: Grid,
}

impl Unit {
    /// Its tiles, cut.
    fn chunks(&self) -> Vec<Chunk> {
        let tiles = self.images.len() * self.grid.tiles();
        let chunk = |first| Chunk { grid: self.grid, tiles: first..(first + TILES).min(tiles) };
        (0..tiles).step_by(TILES).map(chunk).collect()
    }
}

/// A convolution of planes, with its sizes.
struct Plan {
    /// The images that are read and written.
    source: Frame,
    target: Frame,
    /// Zeros above and left of the source.
    padding: [usize; 2],
    /// Channels of one group of the convolution, of source and target.
    channels: [usize; 2],
    /// Whether the filters are turned by half a circle.
    turned: bool,
    batch: usize,
    /// Images of a unit.
    images: usize,
    /// Rows of tiles of a unit.
    rows: usize,
}

impl Plan {
    /// The output from the input; `turned`, the input's gradient from the output's.
    fn new(geometry: &Conv2dGeometry, turned: bool) -> Self {
        let mut frames = Frame::of(geometry);
        let mut channels = [geometry.in_channels, geometry.out_channels].map(|n| n as usize);
        let mut padding = geometry.padding.map(|n| n as usize);
        if turned {
            frames.reverse();
            channels.reverse();
            padding = padding.map(|n| 2 - n);
        }
        let [source, target] = frames;
        let batch = geometry.batch as usize;
        let [rows, columns] = target.size.map(|size| size.div_ceil(2));
        let tiles = rows * columns;
        let images = (TILES / tiles).max(1);
        let (images, rows) = if tiles <= UNIT && batch.div_ceil(images) >= FEW_UNITS {
            (images, rows)
        } else {
            // A chunk, or more where the strips would be many, but not more than stays in the cache.
            let strip = (TILES / columns).max(rows.div_ceil(STRIPS)).min(UNIT / columns);
            (1, strip.clamp(1, rows))
        };
        Self { source, target, padding, channels, turned, batch, images, rows }
    }

    /// Blocks of channels of one group, of source and target.
    fn blocks(&self) -> [usize; 2] {
        self.channels.map(|channels| channels.div_ceil(CHANNELS))
    }

    /// Groups of channels.
    fn groups(&self) -> usize {
        self.target.channels / self.channels[1]
    }

    /// Units of one image.
    fn strips(&self) -> usize {
        self.target.size[0].div_ceil(2 * self.rows)
    }

    fn units(&self) -> usize {
        self.batch.div_ceil(self.images) * self.strips()
    }

    fn unit(&self, unit: usize) -> Unit {
        let (first, row) =
            (unit / self.strips() * self.images, unit % self.strips() * 2 * self.rows);
        let rows = row..(row + 2 * self.rows).min(self.target.size[0]);
        let grid = Grid { rows: rows.len().div_ceil(2), columns: self.target.size[1].div_ceil(2) };
        Unit { images: first..(first + self.images).min(self.batch), rows, grid }
    }
}

/// Where a thread works on a unit: the planes of one group of channels, and the transformed tiles of a chunk.
struct Scratch<T: Float> {
    source: CpuBuffer<T>,
    target: CpuBuffer<T>,
    source_tiles: CpuBuffer<T>,
    target_tiles: CpuBuffer<T>,
}

impl<T: Float> Scratch<T> {
    fn new(device: &Cpu, plan: &Plan) -> Result<Self> {
        let [from, to] = plan.blocks();
        let grid = Grid { rows: plan.rows, columns: plan.target.size[1].div_ceil(2) };
        let plane = |blocks: usize, border: usize| {
            let [rows, columns] = grid.plane(border);
            device.alloc(plan.images * blocks * rows * columns * CHANNELS)
        };
        let tiles = |blocks: usize| device.alloc(PLACES * blocks * PITCH * CHANNELS);
        Ok(Self {
            source: plane(from, 2)?,
            target: plane(to, 0)?,
            source_tiles: tiles(from)?,
            target_tiles: tiles(to)?,
        })
    }

    /// Lays what a unit's tiles see of group `of` of the source side by side.
    fn load(&mut self, device: &Cpu, plan: &Plan, images: &[T], unit: &Unit, of: usize) {
        let (images, size) = ((images, plan.source), unit.grid.plane(2));
        let group = (of, plan.channels[0]);
        device.simd().vectorize(
            #[inline(always)]
            || lay_side_by_side(images, unit, group, plan.padding, size, &mut self.source),
        );
    }

    /// The same of an image of the target, without what lies around the tiles.
    fn load_target(&mut self, device: &Cpu, plan: &Plan, images: &[T], unit: &Unit, of: usize) {
        let (images, size) = ((images, plan.target), unit.grid.plane(0));
        let group = (of, plan.channels[1]);
        device.simd().vectorize(
            #[inline(always)]
            || lay_side_by_side(images, unit, group, [0, 0], size, &mut self.target),
        );
    }
}

/// Lays the channels of group `of` of so many side by side in `plane`: the rows of `images` that a unit's
/// tiles see, with so many zeros above and left, and behind them what zeros are needed.
#[inline(always)]
fn lay_side_by_side<T: Float>(
    (images, frame): (&[T], Frame),
    unit: &Unit,
    (of, channels): (usize, usize),
    [above, left]: [usize; 2],
    [rows, columns]: [usize; 2],
    plane: &mut [T],
) {
    let (plane, _) = plane.as_chunks_mut::<CHANNELS>();
    let mut lines = plane.chunks_exact_mut(columns);
    for image in unit.images.clone() {
        for block in (0..channels).step_by(CHANNELS) {
            let here = CHANNELS.min(channels - block);
            let channel = |c: usize| &images[frame.plane(image, of * channels + block + c)];
            for (line, row) in lines.by_ref().take(rows).zip(unit.rows.start..) {
                let Some(y) = row.checked_sub(above).filter(|&y| y < frame.size[0]) else {
                    line.as_flattened_mut().fill(T::zero());
                    continue;
                };
                let (before, line) = line.split_at_mut(left);
                before.as_flattened_mut().fill(T::zero());
                let (line, behind) = line.split_at_mut(frame.size[1].min(line.len()));
                behind.as_flattened_mut().fill(T::zero());
                if here < CHANNELS {
                    line.iter_mut().for_each(|pixel| pixel[here..].fill(T::zero()));
                }
                let width = line.len();
                let row = |c: usize| &channel(c)[y * frame.size[1]..][..width];
                let mut c = 0;
                while c + 4 <= here {
                    four_side_by_side([row(c), row(c + 1), row(c + 2), row(c + 3)], line, c);
                    c += 4;
                }
                for c in c..here {
                    line.iter_mut().zip(row(c)).for_each(|(pixel, &x)| pixel[c] = x);
                }
            }
        }
    }
}

/// `pixels[x][first + i] = rows[i][x]`: small matrices are transposed in registers.
#[inline(always)]
fn four_side_by_side<T: Float>(rows: [&[T]; 4], pixels: &mut [[T; CHANNELS]], first: usize) {
    let (fours, rest) = pixels.as_chunks_mut::<4>();
    let [a, b, c, d] = rows.map(|row| row.as_chunks::<4>().0);
    for ((((pixels, a), b), c), d) in fours.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        for (i, pixel) in pixels.iter_mut().enumerate() {
            pixel[first..first + 4].copy_from_slice(&[a[i], b[i], c[i], d[i]]);
        }
    }
    let done = rows[0].len() - rest.len();
    for (i, row) in rows.into_iter().enumerate() {
        rest.iter_mut().zip(&row[done..]).for_each(|(pixel, &x)| pixel[first + i] = x);
    }
}

/// [`lay_side_by_side`] back: the rows of each image and channel of a unit of the target, of group `of` of so
/// many channels, are those of `plane`, which has no border.
#[inline(always)]
fn take_apart<T: Float>(
    plane: &[T],
    unit: &Unit,
    (of, channels): (usize, usize),
    (targets, frame): (&mut [&mut [T]], Frame),
    accumulate: bool,
) {
    let ([rows, columns], width) = (unit.grid.plane(0), frame.size[1]);
    let (plane, _) = plane.as_chunks::<CHANNELS>();
    let mut lines = plane.chunks_exact(columns);
    for targets in targets.chunks_mut(frame.channels) {
        for targets in targets[of * channels..][..channels].chunks_mut(CHANNELS) {
            for (row, line) in lines.by_ref().take(rows).enumerate() {
                // The last tile of an odd number of rows has one too many.
                if row == unit.rows.len() {
                    continue;
                }
                for (targets, first) in targets.chunks_mut(4).zip((0..).step_by(4)) {
                    let line = &line[..width];
                    if let ([a, b, c, d], false) = (&mut *targets, accumulate) {
                        let rows = [a, b, c, d].map(|target| &mut target[row * width..][..width]);
                        four_apart(line, first, rows);
                        continue;
                    }
                    for (c, target) in targets.iter_mut().enumerate() {
                        let target = target[row * width..][..width].iter_mut().zip(line);
                        target.for_each(|(y, pixel)| put(y, pixel[first + c], accumulate));
                    }
                }
            }
        }
    }
}

/// `rows[i][x] = pixels[x][first + i]`.
#[inline(always)]
fn four_apart<T: Float>(pixels: &[[T; CHANNELS]], first: usize, rows: [&mut [T]; 4]) {
    let (fours, rest) = pixels.as_chunks::<4>();
    let [(a, e), (b, f), (c, g), (d, h)] = rows.map(|row| row.as_chunks_mut::<4>());
    for ((((pixels, a), b), c), d) in fours.iter().zip(a).zip(b).zip(c).zip(d) {
        let [p, q, r, s] = pixels.each_ref().map(|pixel| &pixel[first..first + 4]);
        *a = [p[0], q[0], r[0], s[0]];
        *b = [p[1], q[1], r[1], s[1]];
        *c = [p[2], q[2], r[2], s[2]];
        *d = [p[3], q[3], r[3], s[3]];
    }
    for (i, row) in [e, f, g, h].into_iter().enumerate() {
        row.iter_mut().zip(rest).for_each(|(y, pixel)| *y = pixel[first + i]);
    }
}

/// The output.
pub(super) fn forward<T: Float>(
    device: &Cpu,
    geometry: &Conv2dGeometry,
    input: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    output: &mut [T],
) -> Result<()> {
    let output = Output { view: output, accumulate: false };
    let filter = filters_forward(geometry, weight);
    convolve(device, &Plan::new(geometry, false), input, filter, bias, output)
}

/// The gradient of the input.
pub(super) fn backward_input<T: Float>(
    device: &Cpu,
    geometry: &Conv2dGeometry,
    grad_output: &[T],
    weight: &[T],
    grad_input: Output<'_, Cpu, T>,
) -> Result<()> {
    let filter = filters_backward(geometry, weight);
    convolve(device, &Plan::new(geometry, true), grad_output, filter, None, grad_input)
}

/// `filter(row, channel)` are the taps of a channel of the target, counted over all groups, and one of its
/// group's channels of the source.
fn convolve<'w, T: Float>(
    device: &Cpu,
    plan: &Plan,
    source: &[T],
    filter: impl Fn(usize, usize) -> &'w [T] + Sync,
    bias: Option<&[T]>,
    target: Output<'_, Cpu, T>,
) -> Result<()> {
    let ([channels, rows], [from, to]) = (plan.channels, plan.blocks());
    let (simd, groups) = (device.simd(), plan.groups());
    let of_block = PLACES * from * CHANNELS * CHANNELS;
    let mut filters = device.alloc(groups * to * of_block)?;
    filters.par_chunks_mut(of_block).enumerate().for_each(|(block, places)| {
        let (first, end) = (block % to * CHANNELS, rows.min((block % to + 1) * CHANNELS));
        for channel in 0..from * CHANNELS {
            let mut taps = [[T::zero(); CHANNELS]; TAPS];
            if channel < channels {
                for (o, row) in (first..end).enumerate() {
                    let filter = filter(block / to * rows + row, channel);
                    for (t, &value) in filter.iter().enumerate() {
                        taps[if plan.turned { TAPS - 1 - t } else { t }][o] = value;
                    }
                }
            }
            let places = &mut places[channel * CHANNELS..];
            simd.run(FilterToPlaces { taps: &taps, places, stride: of_block / PLACES });
        }
    });
    let mut biases = device.alloc(groups * to * CHANNELS)?;
    biases.fill(T::zero());
    if let Some(bias) = bias {
        for (biases, bias) in biases.chunks_mut(to * CHANNELS).zip(bias.chunks(rows)) {
            biases[..rows].copy_from_slice(bias);
        }
    }

    let Output { view: target, accumulate } = target;
    let units = by_unit(plan, target);
    units.into_par_iter().enumerate().try_for_each(|(i, mut targets)| {
        let unit = plan.unit(i);
        let mut scratch = Scratch::new(device, plan)?;
        for of in 0..groups {
            scratch.load(device, plan, source, &unit, of);
            let Scratch { source, target, source_tiles: tiles, target_tiles: output } =
                &mut scratch;
            let filters = &filters[of * to * of_block..];
            let bias = &biases[of * to * CHANNELS..];
            for chunk in &unit.chunks() {
                simd.run(ImageToTiles { chunk, blocks: from, plane: source, tiles });
                simd.run(FilterTiles { chunk, blocks: [from, to], tiles, filters, output });
                simd.run(TilesToOutput { chunk, blocks: to, tiles: output, bias, plane: target });
            }
            simd.vectorize(
                #[inline(always)]
                || {
                    let targets = (&mut targets[..], plan.target);
                    take_apart(target, &unit, (of, rows), targets, accumulate);
                },
            );
        }
        Ok(())
    })
}

/// The pixels of each unit of the target: by image and channel its rows.
fn by_unit<'a, T>(plan: &Plan, target: &'a mut [T]) -> Vec<Vec<&'a mut [T]>> {
    let Frame { channels, size: [_, width] } = plan.target;
    let of_unit = plan.images.min(plan.batch) * channels;
    let mut units: Vec<_> = (0..plan.units()).map(|_| Vec::with_capacity(of_unit)).collect();
    for (plane, pixels) in target.chunks_mut(plan.target.pixels()).enumerate() {
        let first = plane / channels / plan.images * plan.strips();
        for (strip, rows) in pixels.chunks_mut(2 * plan.rows * width).enumerate() {
            units[first + strip].push(rows);
        }
    }
    units
}

/// The gradient of the weight.
pub(super) fn backward_weight<T: Float>(
    device: &Cpu,
    geometry: &Conv2dGeometry,
    input: &[T],
    grad_output: &[T],
    grad_weight: Output<'_, Cpu, T>,
) -> Result<()> {
    let plan = Plan::new(geometry, false);
    let ([channels, rows], [from, to]) = (plan.channels, plan.blocks());
    let simd = device.simd();
    let elements = plan.target.channels * channels * TAPS;
    let of_place = to * from * CHANNELS * CHANNELS;
    let [units_of_partial, partials] = partial_sums(plan.units());
    let mut sums = device.alloc::<T>(partials * elements)?;
    let runs = sums.par_chunks_mut(elements).enumerate();
    runs.try_for_each(|(partial, sums)| -> Result<()> {
        let mut scratch = Scratch::new(device, &plan)?;
        let mut places = device.alloc::<T>(PLACES * of_place)?;
        let units =
            partial * units_of_partial..((partial + 1) * units_of_partial).min(plan.units());
        for (of, sums) in sums.chunks_mut(rows * channels * TAPS).enumerate() {
            places.fill(T::zero());
            for unit in units.clone().map(|unit| plan.unit(unit)) {
                scratch.load(device, &plan, input, &unit, of);
                scratch.load_target(device, &plan, grad_output, &unit, of);
                let Scratch { source, target, source_tiles: tiles, target_tiles: gradient } =
                    &mut scratch;
                for chunk in &unit.chunks() {
                    simd.run(ImageToTiles { chunk, blocks: from, plane: source, tiles });
                    simd.run(GradientToTiles { chunk, blocks: to, plane: target, tiles: gradient });
                    simd.run(CorrelateTiles {
                        chunk,
                        blocks: [from, to],
                        tiles,
                        gradient,
                        sums: &mut places,
                    });
                }
            }
            for (row, sums) in sums.chunks_mut(channels * TAPS).enumerate() {
                for (block, sums) in sums.chunks_mut(CHANNELS * TAPS).enumerate() {
                    let mut taps = [[T::zero(); CHANNELS]; TAPS];
                    let places = &places[(row * from + block) * CHANNELS..];
                    simd.run(PlacesToFilter { places, stride: of_place, taps: &mut taps });
                    for (i, sum) in sums.iter_mut().enumerate() {
                        *sum = taps[i % TAPS][i / TAPS];
                    }
                }
            }
        }
        Ok(())
    })?;
    add_up(&sums, elements, grad_weight);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Shape;
    use crate::device::cpu::SimdLevel;
    use crate::ops::conv2d::{Conv2dOptions, Padding};
    use proptest::prelude::*;

    /// Numbers from -1 to 1 in no order.
    fn numbers<T: Float>(len: usize, seed: usize) -> Vec<T> {
        (0..len).map(|i| T::of(((i * 7919 + seed * 104_729) as f64).sin())).collect()
    }

    /// A convolution of 3x3, and what goes in and comes out.
    struct Case<T> {
        geometry: Conv2dGeometry,
        input: Vec<T>,
        weight: Vec<T>,
        bias: Vec<T>,
        gradient: Vec<T>,
    }

    impl<T: Float> Case<T> {
        fn new(
            [batch, groups, inputs, outputs, height, width]: [usize; 6],
            padding: [[usize; 2]; 2],
        ) -> Self {
            let options = Conv2dOptions {
                groups,
                padding: Padding::Sides(padding),
                ..Conv2dOptions::default()
            };
            let input = Shape::from([batch, groups * inputs, height, width]);
            let weight = Shape::from([groups * outputs, inputs, 3, 3]);
            let geometry = Conv2dGeometry::new(&input, &weight, &options).unwrap();
            assert!(fits(&geometry));
            let [_, target] = Frame::of(&geometry);
            Self {
                geometry,
                input: numbers(input.numel(), 1),
                weight: numbers(weight.numel(), 2),
                bias: numbers(target.channels, 3),
                gradient: numbers(batch * target.channels * target.pixels(), 4),
            }
        }

        /// Calls `term(input, weight, output)` for each product of the convolution, with the places of what
        /// is multiplied and where it is added.
        fn terms(&self, mut term: impl FnMut(usize, usize, usize)) {
            let g = &self.geometry;
            let [source, target] = Frame::of(g);
            let [inputs, outputs] = [g.in_channels, g.out_channels].map(|n| n as usize);
            for image in 0..g.batch as usize {
                for o in 0..target.channels {
                    for c in 0..inputs {
                        for pixel in 0..target.pixels() {
                            for tap in 0..TAPS {
                                let [y, x] = [
                                    pixel / target.size[1] + tap / 3,
                                    pixel % target.size[1] + tap % 3,
                                ];
                                let y = y.wrapping_sub(g.padding[0] as usize);
                                let x = x.wrapping_sub(g.padding[1] as usize);
                                if y < source.size[0] && x < source.size[1] {
                                    let channel = o / outputs * inputs + c;
                                    let input = source.plane(image, channel).start;
                                    let output = target.plane(image, o).start + pixel;
                                    let weight = (o * inputs + c) * TAPS + tap;
                                    term(input + y * source.size[1] + x, weight, output);
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    fn everywhere(check: impl Fn(&Cpu)) {
        for level in SimdLevel::available() {
            check(&Cpu::new(Some(2)).unwrap().with_simd(level).unwrap());
        }
    }

    fn close(found: &[f64], expected: &[f64], what: &str) {
        assert_eq!(found.len(), expected.len());
        for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
            assert!((found - expected).abs() < 1e-10, "{what} {i}: {found}, not {expected}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn it_is_the_convolution(
            sizes in [1usize..5, 1..3, 1..40, 1..40, 1..12, 1..12],
            padding in [[0usize..3, 0..4], [0..3, 0..4]],
        ) {
            let [_, _, _, _, height, width] = sizes;
            prop_assume!(height + padding[0][0] + padding[0][1] >= 3);
            prop_assume!(width + padding[1][0] + padding[1][1] >= 3);
            let case = Case::<f64>::new(sizes, padding);
            let Case { geometry, input, weight, bias, gradient } = &case;
            let [_, target] = Frame::of(geometry);
            let mut output: Vec<_> = (0..gradient.len())
                .map(|i| bias[i / target.pixels() % target.channels])
                .collect();
            let (mut grad_input, mut grad_weight) = (vec![1.0; input.len()], vec![1.0; weight.len()]);
            case.terms(|i, w, o| {
                output[o] += input[i] * weight[w];
                grad_input[i] += gradient[o] * weight[w];
                grad_weight[w] += gradient[o] * input[i];
            });
            everywhere(|device| {
                let mut found = vec![f64::NAN; output.len()];
                forward(device, geometry, input, weight, Some(bias), &mut found).unwrap();
                close(&found, &output, "output");
                let mut found = vec![1.0; input.len()];
                let view = Output { view: &mut found[..], accumulate: true };
                backward_input(device, geometry, gradient, weight, view).unwrap();
                close(&found, &grad_input, "gradient of the input");
                let mut found = vec![1.0; weight.len()];
                let view = Output { view: &mut found[..], accumulate: true };
                backward_weight(device, geometry, input, gradient, view).unwrap();
                close(&found, &grad_weight, "gradient of the weight");
            });
        }
    }

    /// More tiles than a unit has, and more than a chunk.
    #[test]
    fn a_large_image_is_cut_into_strips() {
        for [height, width] in [[33, 70], [70, 33], [3, 600]] {
            let case = Case::<f64>::new([2, 1, 2, 3, height, width], [[1, 1], [1, 1]]);
            let Case { geometry, input, weight, gradient, .. } = &case;
            let (mut output, mut grad_weight) =
                (vec![0.0; gradient.len()], vec![0.0; weight.len()]);
            case.terms(|i, w, o| {
                output[o] += input[i] * weight[w];
                grad_weight[w] += gradient[o] * input[i];
            });
            let device = &Cpu::new(Some(2)).unwrap();
            let mut found = vec![f64::NAN; output.len()];
            forward(device, geometry, input, weight, None, &mut found).unwrap();
            close(&found, &output, "output");
            let mut found = vec![f64::NAN; weight.len()];
            let view = Output { view: &mut found[..], accumulate: false };
            backward_weight(device, geometry, input, gradient, view).unwrap();
            close(&found, &grad_weight, "gradient of the weight");
        }
    }

    /// `|A'| [ sum over c of (|G| |g| |G'|) x (|B'| |d| |B|) ] |A|` of an output pixel.
    fn magnitude(case: &Case<f32>, image: usize, o: usize, [y, x]: [usize; 2]) -> f64 {
        const B: [[f64; 4]; 4] =
            [[1., 0., 1., 0.], [0., 1., 1., 0.], [0., 1., 1., 0.], [0., 1., 0., 1.]];
        const G: [[f64; 3]; 4] = [[1., 0., 0.], [0.5, 0.5, 0.5], [0.5, 0.5, 0.5], [0., 0., 1.]];
        const A: [[f64; 4]; 2] = [[1., 1., 1., 0.], [0., 1., 1., 1.]];
        let g = &case.geometry;
        let [source, _] = Frame::of(g);
        let inputs = g.in_channels as usize;
        let mut total = 0.0;
        for c in 0..inputs {
            let plane = &case.input[source.plane(image, c)];
            let pixel = |i: usize, j: usize| {
                let [row, column] = [y / 2 * 2 + i, x / 2 * 2 + j];
                let row = row.wrapping_sub(g.padding[0] as usize);
                let column = column.wrapping_sub(g.padding[1] as usize);
                let inside = row < source.size[0] && column < source.size[1];
                if inside { f64::from(plane[row * source.size[1] + column]).abs() } else { 0.0 }
            };
            let filter = &case.weight[(o * inputs + c) * TAPS..][..TAPS];
            for i in 0..4 {
                for j in 0..4 {
                    let sixteen = || (0..16).map(|k| (k / 4, k % 4));
                    let d: f64 = sixteen().map(|(p, q)| B[i][p] * pixel(p, q) * B[j][q]).sum();
                    let nine = (0..9).map(|k| (k / 3, k % 3));
                    let f = |k: usize| f64::from(filter[k]).abs();
                    let f: f64 = nine.map(|(p, q)| G[i][p] * f(3 * p + q) * G[j][q]).sum();
                    total += A[y % 2][i] * d * f * A[x % 2][j];
                }
            }
        }
        total
    }

    #[test]
    fn the_error_is_within_its_bound() {
        let case = Case::<f32>::new([1, 1, 64, 5, 9, 9], [[1, 1], [1, 1]]);
        let Case { geometry, input, weight, gradient, .. } = &case;
        let mut exact = vec![0.0; gradient.len()];
        case.terms(|i, w, o| exact[o] += f64::from(input[i]) * f64::from(weight[w]));
        let [_, target] = Frame::of(geometry);
        let unit = f64::from(f32::EPSILON) / 2.0;
        everywhere(|device| {
            let mut found = vec![f32::NAN; exact.len()];
            forward(device, geometry, input, weight, None, &mut found).unwrap();
            for (i, (&found, exact)) in found.iter().zip(&exact).enumerate() {
                let (o, pixel) = (i / target.pixels(), i % target.pixels());
                let at = [pixel / target.size[1], pixel % target.size[1]];
                let bound = (64.0 + 10.0) * unit * magnitude(&case, 0, o, at);
                let error = (f64::from(found) - exact).abs();
                assert!(error <= bound, "{i}: off by {error:e}, at most {bound:e}");
                // A bound that says something: outputs are some units large.
                assert!(bound < 1e-2, "{bound:e}");
            }
        });
    }
}
