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
//! So no pixel is copied more than once, and nothing is computed but what an image has.

use crate::device::cpu::{BLOCK_COLUMNS, Lanes, Patches};
use crate::dtype::Float;
use crate::ops::conv2d::Conv2dGeometry;
use std::ops::Range;

/// Pixels that a group should have about: its channels then fill a part of the second cache.
const PIXELS: usize = 896;
/// The most images in a group: the batch must give work to several threads.
const MOST_IMAGES: usize = 8;
/// Elements of a cache line.
const LINE: usize = 16;
/// Taps of a filter.
pub(crate) const TAPS: usize = 9;

/// The sizes of the layout. Lengths are in elements.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    /// Images in all.
    pub(crate) batch: usize,
    /// Images of a group; the last may have fewer.
    pub(crate) images: usize,
    height: usize,
    width: usize,
    /// The positions of one channel, of all images of a group: a multiple of [`BLOCK_COLUMNS`].
    pub(crate) plane: usize,
    /// Before position 0 and behind the last: a tap may look there. Whole cache lines.
    margin: usize,
    /// Position 0 of channel 0 seen through each tap, row by row.
    offsets: [usize; TAPS],
}

impl Layout {
    pub(crate) fn new(conv: &Conv2dGeometry) -> Self {
        let [batch, height, width] = [conv.batch, conv.height, conv.width].map(|x| x as usize);
        let images = (PIXELS / (height * width)).clamp(1, MOST_IMAGES).min(batch.max(1));
        let plane = (images * height * width).next_multiple_of(BLOCK_COLUMNS);
        let margin = (width + 1).next_multiple_of(LINE);
        let offsets = std::array::from_fn(|tap| margin + tap / 3 * width + tap % 3 - (width + 1));
        Self { batch, images, height, width, plane, margin, offsets }
    }

    /// Groups of the batch.
    pub(crate) fn groups(&self) -> usize {
        self.batch.div_ceil(self.images)
    }

    /// Pixels of an image.
    pub(crate) fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// The images of a group.
    pub(crate) fn images_of(&self, group: usize) -> Range<usize> {
        group * self.images..((group + 1) * self.images).min(self.batch)
    }

    /// Positions to compute for so many images.
    pub(crate) fn columns(&self, images: usize) -> usize {
        (images * self.pixels()).next_multiple_of(BLOCK_COLUMNS)
    }

    /// The positions of the pixels of image `image` of a group.
    pub(crate) fn run(&self, image: usize) -> Range<usize> {
        image * self.pixels()..(image + 1) * self.pixels()
    }

    /// Elements of a group of `channels` channels, `[channels, plane]` with margins.
    pub(crate) fn group(&self, channels: usize) -> usize {
        self.margin + channels * self.plane + self.margin
    }

    /// Position 0 of channel 0 of a group.
    pub(crate) fn first(&self) -> usize {
        self.margin
    }

    /// Fills a channel: `write` gets where to write an image's pixels, and may write over their end
    /// by a few elements of the next.
    #[inline(always)]
    pub(crate) fn fill<T: Float>(
        &self,
        group: &mut [T],
        channel: usize,
        images: usize,
        mut write: impl FnMut(usize, &mut [T]),
    ) {
        let channel = &mut group[self.margin + channel * self.plane..];
        for image in 0..images {
            write(image, &mut channel[self.run(image).start..]);
        }
        // What is no pixel must be a number, for it is multiplied by 0.
        channel[images * self.pixels()..self.plane].fill(T::zero());
    }

    /// Lays `images [images, channels, H, W]` out as a group.
    #[inline(always)]
    pub(crate) fn load<T: Float>(&self, group: &mut [T], channels: usize, images: &[T]) {
        let pixels = self.pixels();
        let count = images.len() / (channels * pixels);
        for c in 0..channels {
            self.fill(
                group,
                c,
                count,
                #[inline(always)]
                |image, run| {
                    let plane = image * channels + c;
                    run[..pixels].copy_from_slice(&images[plane * pixels..][..pixels]);
                },
            );
        }
    }

    /// Writes the planes of a group's channels, without margins, as `output [images, channels, H, W]`.
    pub(crate) fn store<T: Float>(
        &self,
        planes: &[T],
        channels: usize,
        output: &mut [T],
        accumulate: bool,
    ) {
        let pixels = self.pixels();
        for (image, output) in output.chunks_exact_mut(channels * pixels).enumerate() {
            let planes = planes.chunks_exact(self.plane);
            for (target, plane) in output.chunks_exact_mut(pixels).zip(planes) {
                let run = &plane[self.run(image)];
                if accumulate {
                    target.iter_mut().zip(run).for_each(|(target, &x)| *target += x);
                } else {
                    target.copy_from_slice(run);
                }
            }
        }
    }

    /// Which taps see a pixel, and do not look over an edge: `[TAPS, plane]`.
    pub(crate) fn fill_masks<T: Float + Lanes>(&self, masks: &mut [T]) {
        let Self { height, width, .. } = *self;
        masks.fill(T::zero());
        for (tap, mask) in masks.chunks_exact_mut(self.plane).enumerate() {
            // Of the rows and columns of an image, those whose neighbour exists.
            let inside = |shift: usize, size: usize| match shift {
                0 => 1..size,
                1 => 0..size,
                _ => 0..size - 1,
            };
            let columns = inside(tap % 3, width);
            for image in 0..self.images {
                for row in inside(tap / 3, height) {
                    let row = (image * height + row) * width;
                    mask[row + columns.start..row + columns.end].fill(T::ALL);
                }
            }
        }
    }

    /// A group as the taps of a 3x3 filter see it.
    pub(crate) fn patches<'a, T>(
        &'a self,
        group: &'a [T],
        channels: usize,
        masks: &'a [T],
    ) -> Patches<'a, T> {
        Patches { pixels: group, plane: self.plane, channels, offsets: &self.offsets, masks }
    }
}
