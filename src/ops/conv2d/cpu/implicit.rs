//! Matrix products with patches that are nowhere in memory, in the layout of `layout.rs`: groups of images
//! that stay in a core's cache. A thread takes whole groups, and where there are few, some of the output's
//! channels.
//!
//! With a stride the input is taken apart into its phases. Forward, each tap looks at one of them; backward,
//! each is a convolution of the output's gradient with the taps that look at it.

use super::layout::{Frame, Layout, Look, Phase, Sight};
use super::{add_up, filters_backward, filters_forward, partial_sums};
use crate::Result;
use crate::device::cpu::{Correlate, ImplicitGemm, PackedRows};
use crate::device::{Backend, Cpu, Output};
use crate::dtype::Float;
use crate::ops::conv2d::Conv2dGeometry;
use rayon::prelude::*;

/// Groups below which their channels are split, and into how many parts.
const FEW_GROUPS: usize = 8;
const PARTS_OF_FEW: usize = 4;

/// A convolution of planes, with its sizes.
struct Plan<T: Float> {
    layout: Layout,
    /// Of the images that are read and written.
    source: Frame,
    target: Frame,
    /// What is read of the source.
    phases: Vec<Phase>,
    passes: Vec<Pass<T>>,
    /// Channels of one group of the convolution.
    rows: usize,
    channels: usize,
    /// Whether some pixels of the target see nothing.
    gaps: bool,
}

/// The pixels of a target that the same taps compute.
struct Pass<T: Float> {
    phase: Phase,
    /// In the order in which their products are added.
    taps: Vec<usize>,
    sight: Sight<T>,
}

impl<T: Float> Plan<T> {
    /// The output from the input.
    fn forward(device: &Cpu, geometry: &Conv2dGeometry, layout: Layout) -> Result<Self> {
        let [source, target] = Frame::of(geometry);
        let [rows, channels] = [geometry.out_channels, geometry.in_channels].map(|n| n as usize);
        let (phases, sight) = layout.sight_of_input(device, geometry)?;
        let taps = (0..geometry.filter_taps()).collect();
        let passes = vec![Pass { phase: Phase::all(target.size), taps, sight }];
        Ok(Self { layout, source, target, phases, passes, rows, channels, gaps: false })
    }

    /// The input's gradient from the output's.
    fn backward(device: &Cpu, geometry: &Conv2dGeometry) -> Result<Self> {
        let layout = Layout::new(geometry).of_single_images();
        let [target, source] = Frame::of(geometry);
        let [channels, rows] = [geometry.out_channels, geometry.in_channels].map(|n| n as usize);
        let (phases, looks) = Look::of_taps(geometry);
        let seen = phases.iter().map(|phase| phase.size[0] * phase.size[1]).sum::<usize>();
        let passes = phases.iter().enumerate().map(|(i, &phase)| {
            let taps: Vec<_> =
                (0..looks.len()).rev().filter(|&tap| looks[tap].source == i).collect();
            let back =
                |&tap: &usize| Look { source: 0, shift: looks[tap].shift.map(|shift| -shift) };
            let back: Vec<_> = taps.iter().map(back).collect();
            let sight = layout.sight(device, &back, phase.size, &[source.size], channels)?;
            Ok(Pass { phase, taps, sight })
        });
        let passes = passes.collect::<Result<_>>()?;
        let (phases, gaps) = (vec![Phase::all(source.size)], seen < target.pixels());
        Ok(Self { layout, source, target, phases, passes, rows, channels, gaps })
    }

    /// Whether images are planes as they are.
    fn in_place(&self) -> bool {
        self.phases.len() == 1 && self.layout.is_image(self.source.size)
    }

    /// Elements that [`Plan::load`] needs.
    fn group(&self) -> usize {
        match self.in_place() {
            true => 0,
            false => self.layout.group(self.phases.len() * self.channels),
        }
    }

    /// One group of channels of some images as planes: themselves, or laid out in `group`.
    fn load<'a>(&self, device: &Cpu, group: &'a mut [T], images: &'a [T], of: usize) -> &'a [T] {
        let channels = of * self.channels..(of + 1) * self.channels;
        if self.in_place() {
            let pixels = self.source.pixels();
            return &images[channels.start * pixels..channels.end * pixels];
        }
        device.simd().vectorize(
            #[inline(always)]
            || {
                for (i, phase) in self.phases.iter().enumerate() {
                    let (plane, images) = (i * self.channels, (images, self.source));
                    self.layout.load(group, plane, images, channels.clone(), phase);
                }
            },
        );
        group
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
    let plan = Plan::forward(device, geometry, Layout::new(geometry).of_single_images())?;
    let output = Output { view: output, accumulate: false };
    convolve(device, &plan, input, filters_forward(geometry, weight), bias, output)
}

/// The gradient of the input.
pub(super) fn backward_input<T: Float>(
    device: &Cpu,
    geometry: &Conv2dGeometry,
    grad_output: &[T],
    weight: &[T],
    grad_input: Output<'_, Cpu, T>,
) -> Result<()> {
    let plan = Plan::backward(device, geometry)?;
    let filter = filters_backward(geometry, weight);
    convolve(device, &plan, grad_output, filter, None, grad_input)
}

/// `filter(row, channel)` are the taps of a channel of the target, counted over all groups, and one of its
/// group's channels of the source.
fn convolve<'w, T: Float>(
    device: &Cpu,
    plan: &Plan<T>,
    source: &[T],
    filter: impl Fn(usize, usize) -> &'w [T] + Sync,
    bias: Option<&[T]>,
    target: Output<'_, Cpu, T>,
) -> Result<()> {
    let &Plan { layout, rows, channels, .. } = plan;
    let simd = device.simd();
    let parts = if layout.groups() < FEW_GROUPS { PARTS_OF_FEW.min(rows) } else { 1 };
    let rows_of_part = rows.div_ceil(parts);
    let parts = rows.div_ceil(rows_of_part);
    let groups = plan.target.channels / rows;
    // Of each group, pass and part.
    let mut packed = Vec::new();
    for group in 0..groups {
        for pass in &plan.passes {
            for first in (0..rows).step_by(rows_of_part) {
                let here = rows_of_part.min(rows - first);
                let values = device.alloc(here * channels * pass.taps.len())?;
                let first = group * rows + first;
                packed.push(PackedRows::new(
                    simd,
                    values,
                    [here, channels],
                    &pass.taps,
                    |row, c| filter(first + row, c),
                ));
            }
        }
    }

    let Output { view: target, accumulate } = target;
    let targets =
        target.par_chunks_mut(layout.images * plan.target.channels * plan.target.pixels());
    let sources = source.par_chunks(layout.images * plan.source.channels * plan.source.pixels());
    targets.zip(sources).try_for_each(|(target, source)| {
        let images = plan.source.count(source);
        let mut group = device.alloc(plan.group())?;
        if plan.gaps && !accumulate {
            target.fill(T::zero());
        }
        let mut packed = packed.chunks_exact(parts);
        for of in 0..groups {
            let group = plan.load(device, &mut group, source, of);
            let bias = bias.map(|bias| &bias[of * rows..]);
            for (pass, packed) in plan.passes.iter().zip(&mut packed) {
                let columns = layout.columns(images, pass.phase.size[0]);
                let product = |planes: &mut [T], stride: usize| {
                    let parts = planes.par_chunks_mut(rows_of_part * stride).zip(packed);
                    parts.enumerate().for_each(|(part, (planes, weights))| {
                        simd.run(ImplicitGemm {
                            weights,
                            bias: bias.map(|bias| &bias[part * rows_of_part..]),
                            patches: pass.sight.patches(group, channels),
                            output: planes,
                            stride,
                            columns,
                        });
                    });
                };
                let pixels = plan.target.pixels();
                // One image, whose rows of whole vectors lie as they are computed, needs no other planes.
                if images == 1 && columns == pixels && pass.phase.is_all() && !accumulate {
                    product(&mut target[of * rows * pixels..][..rows * pixels], pixels);
                } else {
                    let mut planes = device.alloc(rows * layout.plane)?;
                    product(&mut planes, layout.plane);
                    let target = (&mut *target, plan.target);
                    layout.store(&planes, target, of * rows, &pass.phase, accumulate);
                }
            }
        }
        Ok(())
    })
}

/// The gradient of the weight: the output's gradient seen by the input's pixels through each tap.
pub(super) fn backward_weight<T: Float>(
    device: &Cpu,
    geometry: &Conv2dGeometry,
    input: &[T],
    grad_output: &[T],
    grad_weight: Output<'_, Cpu, T>,
) -> Result<()> {
    // Several images: the more is added up, the less there is to sum across lanes.
    let layout = Layout::new(geometry);
    let plan = Plan::forward(device, geometry, layout)?;
    let Plan { source, target, rows, channels, .. } = plan;
    let [Pass { phase, sight, .. }] = &plan.passes[..] else { unreachable!("one pass forward") };
    let of_filter = channels * geometry.filter_taps();
    let (groups, elements) = (target.channels / rows, target.channels * of_filter);
    let [groups_of_partial, partials] = partial_sums(layout.groups());
    let mut sums = device.alloc::<T>(partials * elements)?;
    let images = layout.images;
    let [of_source, of_target] =
        [source, target].map(|frame| images * frame.channels * frame.pixels());
    let inputs = input.par_chunks(groups_of_partial * of_source);
    let gradients = grad_output.par_chunks(groups_of_partial * of_target);
    let runs = sums.par_chunks_mut(elements).zip(inputs.zip(gradients));
    runs.try_for_each(|(sums, (input, gradient))| -> Result<()> {
        sums.fill(T::zero());
        let mut input_group = device.alloc(plan.group())?;
        let mut gradient_group = device.alloc(layout.group(rows))?;
        for (input, gradient) in input.chunks(of_source).zip(gradient.chunks(of_target)) {
            for (of, sums) in sums.chunks_exact_mut(rows * of_filter).enumerate().take(groups) {
                let input_group = plan.load(device, &mut input_group, input, of);
                let filters = of * rows..(of + 1) * rows;
                device.simd().vectorize(
                    #[inline(always)]
                    || {
                        let gradient = (gradient, target);
                        layout.load(&mut gradient_group, 0, gradient, filters, phase);
                    },
                );
                device.simd().run(Correlate {
                    left: &gradient_group[layout.first()..],
                    stride: layout.plane,
                    rows,
                    patches: sight.patches(input_group, channels),
                    columns: layout.columns(source.count(input), phase.size[0]),
                    put: |row, first, more: &[T]| {
                        let sums = &mut sums[row * of_filter + first..][..more.len()];
                        sums.iter_mut().zip(more).for_each(|(sum, &more)| *sum += more);
                    },
                });
            }
        }
        Ok(())
    })?;
    add_up(&sums, elements, grad_weight);
    Ok(())
}
