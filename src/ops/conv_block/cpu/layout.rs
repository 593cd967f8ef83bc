//! Where the pixels lie.
//!
//! The planes of one channel, of all images of a group, lie one after the other with a row of zeros
//! between them. Here two images of 3 x 4, image `a` and image `b`:
//!
//! ```text
//!    lead                                               position 0 is a0
//!   . 0 0 0 0 | a0 a1 a2 a3 | a4 a5 a6 a7 | a8 a9 aa ab |  row by row, one run of memory
//!             |  0  0  0  0 | b0 b1 b2 b3 | b4 b5 b6 b7 | b8 b9 ba bb | 0 0 0 0 ... 0
//! ```
//!
//! The tap above a pixel is then 4 elements before it, and the one below 4 behind, for all pixels of
//! the group alike: over the edge of an image they meet zeros. So that this holds to the left and to
//! the right too, a channel has three copies, shifted by a column, with zeros where a column came
//! from the row before or behind:
//!
//! ```text
//!   copy 0, one to the right:   0 a0 a1 a2 |  0 a4 a5 a6 | ...
//!   copy 1, as it is:          a0 a1 a2 a3 | a4 a5 a6 a7 | ...
//!   copy 2, one to the left:   a1 a2 a3  0 | a5 a6 a7  0 | ...
//! ```
//!
//! A filter tap `(row, column)` is thus an offset: to copy `column`, `row - 1` rows on. What is
//! computed in the rows between images means nothing, is one row in `height + 1`, and spares every
//! edge case.

use crate::device::cpu::BLOCK_COLUMNS;
use crate::dtype::Float;
use crate::ops::conv2d::Conv2dGeometry;
use std::ops::Range;

/// Pixels that a group should have about: its channels then fill the second cache and no more.
const PIXELS: usize = 896;
/// The most images in a group: the batch must give work to several threads.
const MOST_IMAGES: usize = 8;
/// Elements of a cache line.
const LINE: usize = 16;

/// The sizes of the layout. Lengths are in elements.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// Images in all.
    pub(super) batch: usize,
    /// Images of a group; the last may have fewer.
    pub(super) images: usize,
    height: usize,
    width: usize,
    /// Zeros before position 0: at least a row, and whole cache lines.
    lead: usize,
    /// The positions of one channel, of all images of a group: a multiple of [`BLOCK_COLUMNS`].
    pub(super) plane: usize,
    /// One copy of one channel, with the zeros around it.
    copy: usize,
}

impl Layout {
    pub(super) fn new(conv: &Conv2dGeometry) -> Self {
        let [batch, height, width] = [conv.batch, conv.height, conv.width].map(|x| x as usize);
        let images = (PIXELS / ((height + 1) * width)).clamp(1, MOST_IMAGES).min(batch.max(1));
        let plane = (((height + 1) * images - 1) * width).next_multiple_of(BLOCK_COLUMNS);
        let lead = width.next_multiple_of(LINE);
        let copy = (lead + plane + width).next_multiple_of(LINE);
        Self { batch, images, height, width, lead, plane, copy }
    }

    /// Groups of the batch.
    pub(super) fn groups(&self) -> usize {
        self.batch.div_ceil(self.images)
    }

    /// Pixels of an image.
    pub(super) fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// The images of a group.
    pub(super) fn images_of(&self, group: usize) -> Range<usize> {
        group * self.images..((group + 1) * self.images).min(self.batch)
    }

    /// Positions to compute for so many images.
    pub(super) fn columns(&self, images: usize) -> usize {
        (((self.height + 1) * images - 1) * self.width).next_multiple_of(BLOCK_COLUMNS)
    }

    /// The positions of the pixels of image `image` of a group.
    pub(super) fn run(&self, image: usize) -> Range<usize> {
        let start = image * (self.height + 1) * self.width;
        start..start + self.pixels()
    }

    /// Elements of a group of `channels` channels in three shifted copies, `[3, channels, copy]`.
    pub(super) fn shifted(&self, channels: usize) -> usize {
        3 * channels * self.copy
    }

    /// Where the taps of a 3x3 filter over `channels` shifted channels begin, in the order of a
    /// weight `[channels, 3, 3]`.
    pub(super) fn taps(&self, channels: usize) -> Vec<usize> {
        let tap = |channel, row, column| {
            (column * channels + channel) * self.copy + self.lead - self.width + row * self.width
        };
        let mut taps = Vec::with_capacity(9 * channels);
        for channel in 0..channels {
            taps.extend((0..9).map(|i| tap(channel, i / 3, i % 3)));
        }
        taps
    }

    /// The tap in the filter's upper row and column `column`, of each of `channels` channels.
    pub(super) fn upper_taps(&self, channels: usize) -> Vec<usize> {
        let tap = |i| i * self.copy + self.lead - self.width;
        // Channel by channel, and of each the three copies.
        (0..3 * channels).map(|i| tap(i % 3 * channels + i / 3)).collect()
    }

    /// Elements from one row of pixels to the next.
    pub(super) fn row(&self) -> usize {
        self.width
    }

    /// Position 0 of the unshifted channel 0, and the distance between channels.
    pub(super) fn unshifted(&self, channels: usize) -> (usize, usize) {
        (channels * self.copy + self.lead, self.copy)
    }

    /// Fills the three copies of a channel: `write` gets where to write an image's pixels in the
    /// unshifted one, and may write over their end by [`SLACK`](super::pool::SLACK). With `all` false the other two are left as they are.
    #[inline(always)]
    pub(super) fn fill<T: Float>(
        &self,
        group: &mut [T],
        (channel, channels): (usize, usize),
        images: usize,
        all: bool,
        mut write: impl FnMut(usize, &mut [T]),
    ) {
        let (left, rest) = group.split_at_mut(channels * self.copy);
        let (middle, right) = rest.split_at_mut(channels * self.copy);
        let here = channel * self.copy..(channel + 1) * self.copy;
        let middle = &mut middle[here.clone()];
        middle[..self.lead].fill(T::zero());
        let mut end = self.lead;
        for image in 0..images {
            let run = self.run(image);
            let run = self.lead + run.start..self.lead + run.end;
            middle[end..run.start].fill(T::zero());
            write(image, &mut middle[run.start..]);
            end = run.end;
        }
        middle[end..].fill(T::zero());
        if !all {
            return;
        }
        let (left, right) = (&mut left[here.clone()], &mut right[here]);
        let last = self.copy - 1;
        left[0] = T::zero();
        left[1..].copy_from_slice(&middle[..last]);
        right[..last].copy_from_slice(&middle[1..]);
        right[last] = T::zero();
        // The first column has no left neighbour, the last no right one, in the rows of zeros above
        // and below too.
        for row in (self.lead - self.width..=end).step_by(self.width) {
            left[row] = T::zero();
            right[row + self.width - 1] = T::zero();
        }
    }
}
