//! Finds the hand before an even background and shows it as the training images show hands: filling
//! the frame, before a light grey.
//!
//! 1. The background is the median colour of the photograph's border.
//! 2. What differs from it by more than a threshold (Otsu's) and hangs together most is the hand.
//! 3. A square around it, a little larger, is what the network sees.
//! 4. A background that is darker or lighter than those of the training images is replaced by their
//!    typical grey. It shows through at the hand's edge as far as the edge is mixed with it.
//!
//! A photograph whose border is not even has no background that could be told from a hand: then the
//! largest square in the middle is taken as it is.

use super::{Grey, Photo, squeezed};
use crate::predict::Image;

/// The longer side of the photograph that the hand is looked for in: enough for 28 pixels of a hand
/// that is a tenth of it.
const WORKING_SIDE: usize = 320;

/// What the square is larger than the hand, on each side, in parts of the hand's longer side.
const MARGIN: f64 = 0.05;

/// The grey that replaces a background: between the training images' median and their upper
/// quartile.
const BACKGROUND: u8 = 180;

/// Backgrounds left as they are: the middle 80 % of the training images' are in here.
const LIKE_TRAINING: std::ops::RangeInclusive<u8> = 130..=215;

/// The least and the greatest difference, of 255, that makes a pixel part of the hand.
const THRESHOLD: (u8, u8) = (16, 40);

/// The background is even when nine tenths of the border differ less than this from its median.
const EVEN: u8 = 40;

/// The network's views of the hand in `photo`.
pub(super) fn views(photo: &Photo) -> Vec<Image> {
    let small = photo.reduced(WORKING_SIDE);
    match Hand::find(&small) {
        Some(hand) => vec![squeezed(&hand.square(&small))],
        None => vec![squeezed(&photo.centered().grey())],
    }
}

/// Where the hand is, and what is around it.
struct Hand {
    /// How much each pixel differs from the background: the greatest of the three channels.
    difference: Vec<u8>,
    threshold: u8,
    background: u8,
    /// First and last column and row.
    columns: (usize, usize),
    rows: (usize, usize),
}

impl Hand {
    /// None when the border is not even, or nothing differs from it.
    fn find(photo: &Photo) -> Option<Self> {
        let border: Vec<&[u8]> = photo.border().collect();
        let median = |channel: usize| {
            let mut values: Vec<u8> = border.iter().map(|pixel| pixel[channel]).collect();
            quantile(&mut values, 0.5)
        };
        let background = [median(0), median(1), median(2)];
        let difference = |pixel: &[u8]| {
            let channels = pixel.iter().zip(background);
            channels.map(|(&value, of)| value.abs_diff(of)).max().unwrap_or(0)
        };
        let mut at_border: Vec<u8> = border.iter().map(|pixel| difference(pixel)).collect();
        let unevenness = quantile(&mut at_border, 0.9);
        if unevenness > EVEN {
            return None;
        }
        let difference: Vec<u8> = photo.rgb.chunks_exact(3).map(difference).collect();
        let threshold = otsu(&difference).clamp(THRESHOLD.0, THRESHOLD.1).max(unevenness);
        let mask: Vec<bool> = difference.iter().map(|&d| d > threshold).collect();
        let (columns, rows) = largest_part(&mask, photo.width)?;
        let one = Photo { width: 1, height: 1, rgb: background.to_vec() };
        let background = one.grey().pixels[0];
        Some(Self { difference, threshold, background, columns, rows })
    }

    /// The square around the hand, grey, before a background as in the training images.
    fn square(&self, photo: &Photo) -> Grey {
        let mut grey = photo.grey();
        let mut fill = self.background;
        if !LIKE_TRAINING.contains(&self.background) {
            fill = BACKGROUND;
            for (value, &difference) in grey.pixels.iter_mut().zip(&self.difference) {
                *value = self.mixed(*value, difference, fill);
            }
        }
        let ((left, right), (top, bottom)) = (self.columns, self.rows);
        let longer = (right - left + 1).max(bottom - top + 1);
        let side = (longer as f64 * (1.0 + 2.0 * MARGIN)).round() as usize;
        // The middle of the hand is the middle of the square; what lies outside is background.
        let pixel = |x: usize, y: usize| {
            let x = (x + (left + right).div_ceil(2)).checked_sub(side / 2)?;
            let y = (y + (top + bottom).div_ceil(2)).checked_sub(side / 2)?;
            (x < grey.width && y < grey.height).then(|| grey.pixels[y * grey.width + x])
        };
        let places = (0..side).flat_map(|y| (0..side).map(move |x| (x, y)));
        let pixels = places.map(|(x, y)| pixel(x, y).unwrap_or(fill)).collect();
        Grey { width: side, height: side, pixels }
    }

    /// `value` with the background in it replaced: all of it below half the threshold, none above
    /// the threshold, and in between in proportion.
    fn mixed(&self, value: u8, difference: u8, fill: u8) -> u8 {
        let half = f64::from(self.threshold) / 2.0;
        let hand = ((f64::from(difference) - half) / half).clamp(0.0, 1.0);
        (hand * f64::from(value) + (1.0 - hand) * f64::from(fill)).round() as u8
    }
}

/// The value below which `part` of `values` lie; 0 without any.
fn quantile(values: &mut [u8], part: f64) -> u8 {
    values.sort_unstable();
    let last = values.len().saturating_sub(1);
    values.get((last as f64 * part) as usize).copied().unwrap_or(0)
}

/// The threshold that divides `values` into two classes with the greatest variance between them
/// (N. Otsu, 1979): values above it are the upper class.
fn otsu(values: &[u8]) -> u8 {
    let mut histogram = [0u64; 256];
    values.iter().for_each(|&value| histogram[usize::from(value)] += 1);
    let sum = |range: &[u64], first: usize| -> (f64, f64) {
        let count: u64 = range.iter().sum();
        let total: u64 = (first as u64..).zip(range).map(|(value, count)| value * count).sum();
        (count as f64, total as f64)
    };
    let between = |threshold: &usize| {
        let (below, above) = histogram.split_at(threshold + 1);
        let ((n, a), (m, b)) = (sum(below, 0), sum(above, threshold + 1));
        if n == 0.0 || m == 0.0 { 0.0 } else { n * m * (a / n - b / m).powi(2) }
    };
    let best = (0..255).map(|t| (t, between(&t))).reduce(
        |best, next| {
            if next.1 > best.1 { next } else { best }
        },
    );
    best.map_or(0, |(threshold, _)| threshold as u8)
}

/// First and last column and row of the largest part of `mask` whose pixels touch side by side;
/// none without a pixel.
fn largest_part(mask: &[bool], width: usize) -> Option<((usize, usize), (usize, usize))> {
    let mut seen = vec![false; mask.len()];
    let mut largest = (0, None);
    let mut stack = Vec::new();
    for start in 0..mask.len() {
        if !mask[start] || seen[start] {
            continue;
        }
        let (mut columns, mut rows) = ((usize::MAX, 0), (usize::MAX, 0));
        let mut size = 0;
        seen[start] = true;
        stack.push(start);
        while let Some(at) = stack.pop() {
            let (x, y) = (at % width, at / width);
            size += 1;
            columns = (columns.0.min(x), columns.1.max(x));
            rows = (rows.0.min(y), rows.1.max(y));
            let beside = [
                (x > 0).then(|| at - 1),
                (x + 1 < width).then_some(at + 1),
                at.checked_sub(width),
                (at + width < mask.len()).then_some(at + width),
            ];
            for next in beside.into_iter().flatten() {
                if mask[next] && !seen[next] {
                    seen[next] = true;
                    stack.push(next);
                }
            }
        }
        if size > largest.0 {
            largest = (size, Some((columns, rows)));
        }
    }
    largest.1
}
