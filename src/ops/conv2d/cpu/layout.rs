//! Where the pixels lie.
//!
//! The planes of one channel, of all images of a group, lie one after the other. Here two images of
//! 3 x 4, image `a` and image `b`:
//!
//! ```text
//!   margin | a0 a1 a2 a3 | a4 a5 a6 a7 | a8 a9 aa ab | b0 b1 b2 b3 | .. | 0 .. | channel 1 ..
//!          position 0                                  position 12
//! ```
//!
//! A filter tap is then an offset: the pixel above lies 4 elements before, the one to the right 1
//! behind, for all pixels alike. Where a tap looks over the edge of an image, it meets a pixel of
//! another row, image or channel, and has to see 0 instead. Each tap has a mask for this, of all
//! positions of a group; the tap above, say:
//!
//! ```text
//!            0  0  0  0    1  1  1  1    1  1  1  1    0  0  0  0   ..
//! ```
//!
//! So no pixel is copied more than once. A stride of 2 makes four images of one, by rows and columns that
//! are even or odd: its *phases*. Each tap looks at one of them, and there with a stride of 1:
//!
//! ```text
//!   a0 a1 a2 a3        a0 a2     a1 a3     a4 a6     a5 a7
//!   a4 a5 a6 a7   ──►  a8 aa     a9 ab
//!   a8 a9 aa ab
//! ```

use crate::Result;
use crate::device::cpu::{BLOCK_COLUMNS, CpuBuffer, Patches, put};
use crate::device::{Backend, Cpu};
use crate::dtype::Float;
use crate::ops::conv2d::Conv2dGeometry;
use std::ops::Range;

/// Positions that a group should have about: its channels then fill a part of the second cache.
const POSITIONS: usize = 896;
/// The most images in a group: the batch must give work to several threads.
const MOST_IMAGES: usize = 8;
/// Elements of a cache line.
const LINE: usize = 16;

/// The sizes of the layout. Lengths are in elements.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    /// Images in all.
    pub(crate) batch: usize,
    /// Images of a group; the last may have fewer.
    pub(crate) images: usize,
    /// Rows of an image, the most that a phase of the input or the output has.
    rows: usize,
    /// From one row to the next.
    pitch: usize,
    /// The positions of one channel, of all images of a group: a multiple of [`BLOCK_COLUMNS`].
    pub(crate) plane: usize,
    /// Before position 0 and behind the last: a tap may look there. Whole cache lines.
    margin: usize,
}

/// From one plane of so many positions to the next: an odd number of blocks, for planes a power of two apart
/// would push each other out of the cache.
fn spread(positions: usize) -> usize {
    (positions.div_ceil(BLOCK_COLUMNS) | 1) * BLOCK_COLUMNS
}

impl Layout {
    pub(crate) fn new(conv: &Conv2dGeometry) -> Self {
        let batch = conv.batch as usize;
        let [rows, pitch] = [0, 1].map(|axis| {
            let [size, out, stride] =
                [conv.size(axis), conv.out_size(axis), conv.stride[axis] as usize];
            size.div_ceil(stride).max(out)
        });
        let reach = [0, 1].map(|axis| {
            let shifts = (0..conv.kernel_size[axis]).map(|tap| Look::axis(conv, axis, tap).1);
            shifts.map(isize::unsigned_abs).max().unwrap_or(0)
        });
        let images = (POSITIONS / (rows * pitch)).clamp(1, MOST_IMAGES).min(batch.max(1));
        let plane = spread(images * rows * pitch);
        let margin = (reach[0] * pitch + reach[1]).next_multiple_of(LINE);
        Self { batch, images, rows, pitch, plane, margin }
    }

    /// One image a group, if its positions fill vectors: its planes may then lie as images do, and need no
    /// copy.
    pub(crate) fn of_single_images(self) -> Self {
        if !self.positions().is_multiple_of(BLOCK_COLUMNS) {
            return self;
        }
        let plane = match self.margin {
            0 => self.positions(),
            _ => spread(self.positions()),
        };
        Self { images: 1, plane, ..self }
    }

    /// Whether a group of planes of this size is an image.
    pub(crate) fn is_image(&self, size: [usize; 2]) -> bool {
        self.margin == 0
            && self.images == 1
            && self.is_whole(&Phase::all(size))
            && self.plane == self.positions()
    }

    /// Whether a phase is a whole image and fills its positions.
    fn is_whole(&self, phase: &Phase) -> bool {
        phase.is_all() && phase.size == [self.rows, self.pitch]
    }

    /// Groups of the batch.
    pub(crate) fn groups(&self) -> usize {
        self.batch.div_ceil(self.images)
    }

    /// Positions of an image.
    pub(crate) fn positions(&self) -> usize {
        self.rows * self.pitch
    }

    /// The images of a group.
    pub(crate) fn images_of(&self, group: usize) -> Range<usize> {
        group * self.images..((group + 1) * self.images).min(self.batch)
    }

    /// Positions to compute for so many images, at least one, of which so many rows are wanted.
    pub(crate) fn columns(&self, images: usize, rows: usize) -> usize {
        ((images - 1) * self.positions() + rows * self.pitch).next_multiple_of(BLOCK_COLUMNS)
    }

    /// The positions of image `image` of a group.
    pub(crate) fn run(&self, image: usize) -> Range<usize> {
        image * self.positions()..(image + 1) * self.positions()
    }

    /// Elements of a group of `planes` planes, `[planes, plane]` with margins.
    pub(crate) fn group(&self, planes: usize) -> usize {
        self.margin + planes * self.plane + self.margin
    }

    /// Position 0 of the first plane of a group.
    pub(crate) fn first(&self) -> usize {
        self.margin
    }

    /// Fills a plane: `write` gets where to write an image's pixels, and may write over their end
    /// by a few elements of the next.
    #[inline(always)]
    pub(crate) fn fill<T: Float>(
        &self,
        group: &mut [T],
        plane: usize,
        images: usize,
        mut write: impl FnMut(usize, &mut [T]),
    ) {
        let plane = &mut group[self.margin + plane * self.plane..];
        for image in 0..images {
            write(image, &mut plane[self.run(image).start..]);
        }
        // What is no pixel must be a number, for it is multiplied by 0.
        plane[images * self.positions()..self.plane].fill(T::zero());
    }

    /// Lays a phase of `channels` of `images` out as the planes of a group from `plane` on.
    #[inline(always)]
    pub(crate) fn load<T: Float>(
        &self,
        group: &mut [T],
        plane: usize,
        (images, frame): (&[T], Frame),
        channels: Range<usize>,
        phase: &Phase,
    ) {
        let whole = self.is_whole(phase);
        for (c, channel) in channels.enumerate() {
            self.fill(
                group,
                plane + c,
                frame.count(images),
                #[inline(always)]
                |image, run| {
                    let source = &images[frame.plane(image, channel)];
                    let run = &mut run[..self.positions()];
                    if whole {
                        return run.copy_from_slice(source);
                    }
                    run[phase.size[0] * self.pitch..].fill(T::zero());
                    let rows = run.chunks_exact_mut(self.pitch).take(phase.size[0]).enumerate();
                    for (row, target) in rows {
                        let source = &source[phase.row(row, frame.size[1])..];
                        let (target, beyond) = target.split_at_mut(phase.size[1]);
                        beyond.fill(T::zero());
                        if phase.step[1] == 1 {
                            target.copy_from_slice(&source[..target.len()]);
                        } else {
                            let source = source.iter().step_by(phase.step[1]);
                            for (target, &x) in target.iter_mut().zip(source) {
                                *target = x;
                            }
                        }
                    }
                },
            );
        }
    }

    /// Writes planes of a group, without margins, as a phase of the channels of `images` from `channel` on.
    pub(crate) fn store<T: Float>(
        &self,
        planes: &[T],
        (images, frame): (&mut [T], Frame),
        channel: usize,
        phase: &Phase,
        accumulate: bool,
    ) {
        let whole = self.is_whole(phase) && !accumulate;
        for (c, plane) in planes.chunks_exact(self.plane).enumerate() {
            for image in 0..frame.count(images) {
                let target = &mut images[frame.plane(image, channel + c)];
                if whole {
                    target.copy_from_slice(&plane[self.run(image)]);
                    continue;
                }
                let rows = plane[self.run(image)].chunks_exact(self.pitch).take(phase.size[0]);
                for (row, source) in rows.enumerate() {
                    let target = &mut target[phase.row(row, frame.size[1])..];
                    let source = &source[..phase.size[1]];
                    if phase.step[1] == 1 && !accumulate {
                        target[..source.len()].copy_from_slice(source);
                        continue;
                    }
                    let target = target.iter_mut().step_by(phase.step[1]).zip(source);
                    target.for_each(|(target, &x)| put(target, x, accumulate));
                }
            }
        }
    }

    /// What the taps of a convolution's filter see of its input from the pixels of its output, and the phases
    /// of the input that they look at.
    pub(crate) fn sight_of_input<T: Float>(
        &self,
        device: &Cpu,
        conv: &Conv2dGeometry,
    ) -> Result<(Vec<Phase>, Sight<T>)> {
        let (phases, looks) = Look::of_taps(conv);
        let target = [0, 1].map(|axis| conv.out_size(axis));
        let sizes: Vec<_> = phases.iter().map(|phase| phase.size).collect();
        let sight = self.sight(device, &looks, target, &sizes, conv.in_channels as usize)?;
        Ok((phases, sight))
    }

    /// What the taps of a filter see, each by its look, from the pixels of a plane of `target` size:
    /// planes of `sources` sizes, of so many channels each.
    pub(crate) fn sight<T: Float>(
        &self,
        device: &Cpu,
        looks: &[Look],
        target: [usize; 2],
        sources: &[[usize; 2]],
        channels: usize,
    ) -> Result<Sight<T>> {
        let mut masks = device.alloc(looks.len() * self.plane)?;
        masks.fill(T::zero());
        for (look, mask) in looks.iter().zip(masks.chunks_exact_mut(self.plane)) {
            let [rows, columns] = [0, 1]
                .map(|axis| seen_from(look.shift[axis], sources[look.source][axis], target[axis]));
            for image in 0..self.images {
                for row in rows.clone() {
                    let row = (image * self.rows + row) * self.pitch;
                    mask[row + columns.start..row + columns.end].fill(T::ALL);
                }
            }
        }
        let offset = |look: &Look| {
            let first = self.margin + look.source * channels * self.plane;
            // Within the margin.
            (first as isize + look.shift[0] * self.pitch as isize + look.shift[1]) as usize
        };
        Ok(Sight { offsets: looks.iter().map(offset).collect(), masks, plane: self.plane })
    }
}

/// What images `[images, channels, H, W]` have alike.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) channels: usize,
    /// Height and width.
    pub(crate) size: [usize; 2],
}

impl Frame {
    /// Of input and output of a convolution.
    pub(crate) fn of(conv: &Conv2dGeometry) -> [Self; 2] {
        let groups = conv.groups as usize;
        let [input, output] = [conv.in_channels, conv.out_channels].map(|n| n as usize);
        [
            Self { channels: groups * input, size: [0, 1].map(|axis| conv.size(axis)) },
            Self { channels: groups * output, size: [0, 1].map(|axis| conv.out_size(axis)) },
        ]
    }

    /// Elements of a plane.
    pub(crate) fn pixels(&self) -> usize {
        self.size[0] * self.size[1]
    }

    /// How many images there are.
    pub(crate) fn count<T>(&self, images: &[T]) -> usize {
        images.len() / (self.channels * self.pixels())
    }

    /// Where a channel of an image lies.
    pub(crate) fn plane(&self, image: usize, channel: usize) -> Range<usize> {
        let start = (image * self.channels + channel) * self.pixels();
        start..start + self.pixels()
    }
}

/// The pixels of an image that lie at `first + step i` of both axes; how many they are is its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Phase {
    pub(crate) first: [usize; 2],
    pub(crate) step: [usize; 2],
    pub(crate) size: [usize; 2],
}

impl Phase {
    /// Of all pixels of an image of this size.
    pub(crate) fn all(size: [usize; 2]) -> Self {
        Self { first: [0, 0], step: [1, 1], size }
    }

    /// The phase of a convolution's input that the tap at `[row, column]` looks at.
    pub(crate) fn of_tap(conv: &Conv2dGeometry, tap: [u32; 2]) -> Self {
        let step = conv.stride.map(|stride| stride as usize);
        let first = [0, 1].map(|axis| Look::axis(conv, axis, tap[axis]).0);
        let size = [0, 1].map(|axis| Self::size_along(conv, axis, first[axis]));
        // Without columns it has no rows either.
        let size = if size.contains(&0) { [0, 0] } else { size };
        Self { first, step, size }
    }

    /// Pixels along one axis of the phase that begins with `first` there.
    pub(crate) fn size_along(conv: &Conv2dGeometry, axis: usize, first: usize) -> usize {
        conv.size(axis).saturating_sub(first).div_ceil(conv.stride[axis] as usize)
    }

    /// Whether no pixel lies between.
    pub(crate) fn is_all(&self) -> bool {
        self.first == [0, 0] && self.step == [1, 1]
    }

    /// Where its row begins in an image of this width.
    fn row(&self, row: usize, width: usize) -> usize {
        (self.first[0] + row * self.step[0]) * width + self.first[1]
    }
}

/// Where a tap looks: from position `(y, x)` to `(y, x) + shift` of a plane of its source.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    /// Which of the phases that were loaded.
    pub(crate) source: usize,
    pub(crate) shift: [isize; 2],
}

impl Look {
    /// Where each tap of a filter looks, and the phases of the input that are looked at.
    pub(crate) fn of_taps(conv: &Conv2dGeometry) -> (Vec<Phase>, Vec<Self>) {
        let [rows, columns] = conv.kernel_size;
        let mut phases = Vec::new();
        let taps = (0..rows).flat_map(|y| (0..columns).map(move |x| [y, x]));
        let looks = taps.map(|tap| {
            let phase = Phase::of_tap(conv, tap);
            let source = phases.iter().position(|known| *known == phase).unwrap_or_else(|| {
                phases.push(phase);
                phases.len() - 1
            });
            Self { source, shift: [0, 1].map(|axis| Self::axis(conv, axis, tap[axis]).1) }
        });
        let looks = looks.collect();
        (phases, looks)
    }

    /// Along one axis, the first pixel of the phase that the tap looks at, and its shift there: output `o`
    /// sees input `o stride + tap dilation - padding`, which is `first + (o + shift) stride`.
    pub(crate) fn axis(conv: &Conv2dGeometry, axis: usize, tap: u32) -> (usize, isize) {
        let [tap, stride] = [tap, conv.stride[axis]].map(i64::from);
        let at = tap * i64::from(conv.dilation[axis]) - i64::from(conv.padding[axis]);
        (at.rem_euclid(stride) as usize, at.div_euclid(stride) as isize)
    }
}

/// Of `target` positions along an axis those from which a look so far stays within `source` positions.
pub(crate) fn seen_from(shift: isize, source: usize, target: usize) -> Range<usize> {
    let bound = |at: usize| at.saturating_add_signed(-shift).min(target);
    bound(0)..bound(source)
}

/// The [`Patches`] of any group: see [`Layout::sight`].
pub(crate) struct Sight<T: Float> {
    /// Position 0 of channel 0 seen through each tap.
    offsets: Vec<usize>,
    /// `[taps, plane]`.
    masks: CpuBuffer<T>,
    plane: usize,
}

impl<T: Float> Sight<T> {
    /// Of `channels` channels of each source.
    pub(crate) fn patches<'a>(&'a self, group: &'a [T], channels: usize) -> Patches<'a, T> {
        let Self { offsets, masks, plane } = self;
        Patches { pixels: group, plane: *plane, channels, offsets, masks }
    }
}
