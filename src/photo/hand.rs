//! Finds the hand before an even background and shows it as the training images show hands: filling
//! the frame, before a light grey.
//!
//! 1. The background is the median colour of the photograph's border.
//! 2. What differs from it by more than a threshold (Otsu's) and hangs together most is the hand.
//! 3. A square around it, a little larger, is what the network sees.
//! 4. A background that is darker or lighter than those of the training images is replaced by their
//!    typical grey; at the hand's edge, as far as the edge is mixed with it. A hand that is darker
//!    or lighter than theirs is then given more or less light.
//!
//! Two kinds of photographs keep the largest square in their middle, as it is: those whose border
//! is not even, for they have no background that could be told from a hand; and those that look
//! like a training image already.

use std::ops::RangeInclusive;

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

/// Backgrounds that are left as they are: nine tenths of the training images'.
const BACKGROUNDS: RangeInclusive<u8> = 135..=216;

/// Mean greys of hands that are left as they are: nine tenths of the training images'.
const HANDS: RangeInclusive<f64> = 95.0..=192.0;

/// A square of at least this part of the photograph's shorter side means that the hand fills the
/// frame.
const FRAMED: f64 = 0.7;

/// The least and the greatest difference, of 255, that makes a pixel part of the hand.
const THRESHOLD: (u8, u8) = (16, 40);

/// The background is even when nine tenths of the border differ less than this from its median.
const EVEN: u8 = 40;

/// The hand in `photo` as the network sees it.
pub(super) fn image(photo: &Photo) -> Image {
    let small = photo.reduced(WORKING_SIDE);
    match Hand::find(&small) {
        Some(hand) if !hand.is_like_training(&small) => squeezed(&hand.square(&small)),
        _ => squeezed(&photo.centered().grey()),
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

    /// The side of the square around it.
    fn side(&self) -> usize {
        let ((left, right), (top, bottom)) = (self.columns, self.rows);
        let longer = (right - left + 1).max(bottom - top + 1);
        (longer as f64 * (1.0 + 2.0 * MARGIN)).round() as usize
    }

    /// Whether the hand fills the frame, before a background as the training images have.
    fn is_like_training(&self, photo: &Photo) -> bool {
        let shorter = photo.width.min(photo.height) as f64;
        BACKGROUNDS.contains(&self.background) && self.side() as f64 >= FRAMED * shorter
    }

    /// The square around the hand, grey, lit and before a background as in the training images.
    fn square(&self, photo: &Photo) -> Grey {
        let mut grey = photo.grey();
        let mut fill = self.background;
        if !BACKGROUNDS.contains(&self.background) {
            fill = BACKGROUND;
            let light = self.light(&grey);
            for (value, &difference) in grey.pixels.iter_mut().zip(&self.difference) {
                let hand = (f64::from(*value) * light).min(255.0);
                *value = self.mixed(hand, difference, fill);
            }
        }
        let ((left, right), (top, bottom)) = (self.columns, self.rows);
        let side = self.side();
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

    /// What the hand's greys must be multiplied with for their mean to be one of [`HANDS`].
    fn light(&self, grey: &Grey) -> f64 {
        let pixels = grey.pixels.iter().zip(&self.difference);
        let hand = pixels.filter(|&(_, &difference)| difference > self.threshold);
        let (sum, count) = hand
            .fold((0.0, 0.0), |(sum, count), (&value, _)| (sum + f64::from(value), count + 1.0));
        // A hand has a pixel, or it would not have been found.
        let mean = (sum / f64::max(count, 1.0)).max(1.0);
        mean.clamp(*HANDS.start(), *HANDS.end()) / mean
    }

    /// `hand` with the background in it replaced: all of it where the difference is below half the
    /// threshold, none where it is above the threshold, and in between in proportion.
    fn mixed(&self, hand: f64, difference: u8, fill: u8) -> u8 {
        let half = f64::from(self.threshold) / 2.0;
        let part = ((f64::from(difference) - half) / half).clamp(0.0, 1.0);
        (part * hand + (1.0 - part) * f64::from(fill)).round() as u8
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::SIDE;

    /// A photograph whose pixels are `pixel(x, y)`.
    fn photo(width: usize, height: usize, pixel: impl Fn(usize, usize) -> [u8; 3]) -> Photo {
        let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        Photo { width, height, rgb: places.flat_map(|(x, y)| pixel(x, y)).collect() }
    }

    /// An upright rectangle of `ink` in columns 50 to 79 and rows 20 to 99, before `paper`.
    fn rectangle(ink: [u8; 3], paper: [u8; 3]) -> Photo {
        let inside = |x, y| (50..80).contains(&x) && (20..100).contains(&y);
        photo(200, 150, |x, y| if inside(x, y) { ink } else { paper })
    }

    #[test]
    fn a_hand_before_black_fills_the_frame_before_light_grey() {
        let image = image(&rectangle([150; 3], [0; 3]));
        let at = |x: usize, y: usize| image[y * SIDE + x];
        assert_eq!(at(0, 0), BACKGROUND);
        assert_eq!(at(14, 14), 150);
        // 80 of 88 rows, and 30 of 88 columns in the middle.
        let rows: Vec<usize> = (0..SIDE).filter(|&y| at(14, y) < 165).collect();
        assert_eq!((rows[0], rows[rows.len() - 1]), (1, 26), "{rows:?}");
        let columns: Vec<usize> = (0..SIDE).filter(|&x| at(x, 14) < 165).collect();
        assert_eq!((columns[0], columns[columns.len() - 1]), (9, 18), "{columns:?}");
    }

    #[test]
    fn a_background_as_in_the_training_images_stays() {
        let image = image(&rectangle([90; 3], [200; 3]));
        assert_eq!((image[0], image[14 * SIDE + 14]), (200, 90));
        let rows = (0..SIDE).filter(|y| image[y * SIDE + 14] < 145).count();
        assert_eq!(rows, 26, "but the hand is enlarged");
    }

    #[test]
    fn what_looks_like_a_training_image_is_taken_as_it_is() {
        let hand = |x: usize, y: usize| (30..80).contains(&x) && (20..98).contains(&y);
        let photo = photo(100, 100, |x, y| if hand(x, y) { [90; 3] } else { [180; 3] });
        assert_eq!(image(&photo), squeezed(&photo.grey()));
    }

    #[test]
    fn a_border_that_is_not_even_leaves_the_middle() {
        let photo = photo(120, 80, |x, y| [(x * 37 + y * 91) as u8, (x * y) as u8, x as u8]);
        assert!(Hand::find(&photo).is_none());
        assert_eq!(image(&photo), squeezed(&photo.centered().grey()));
        let plain = rectangle([90; 3], [90; 3]);
        assert_eq!(image(&plain), [90; SIDE * SIDE], "nothing but background");
    }

    #[test]
    fn a_colour_is_told_from_a_background_of_the_same_grey() {
        // Both have luma 100.
        let (red, blue) = ([214, 50, 61], [60, 108, 167]);
        let photo = rectangle(red, blue);
        assert!(photo.grey().pixels.iter().all(|&grey| grey.abs_diff(100) <= 1));
        let image = image(&photo);
        assert_eq!((image[0], image[14 * SIDE + 14]), (BACKGROUND, 100));
    }

    #[test]
    fn a_dark_hand_is_given_light_and_a_bright_one_less() {
        let of = |ink: u8| image(&rectangle([ink; 3], [0; 3]))[14 * SIDE + 14];
        assert_eq!((of(60), of(150), of(250)), (95, 150, 192));
    }

    #[test]
    fn the_largest_part_is_the_hand() {
        let rows = ["##...", "#....", "...#.", "..###", "#...."].concat();
        let mask: Vec<bool> = rows.bytes().map(|b| b == b'#').collect();
        assert_eq!(largest_part(&mask, 5), Some(((2, 4), (2, 3))));
        assert_eq!(largest_part(&[false; 4], 2), None);
        // A row's end and the next row's beginning do not touch.
        let mask = [false, true, true, false];
        assert_eq!(largest_part(&mask, 2), Some(((1, 1), (0, 0))));
    }

    #[test]
    fn otsus_threshold_lies_between_two_heaps() {
        let heaps = [&[10; 50][..], &[12; 50], &[200; 20], &[210; 20]].concat();
        let threshold = otsu(&heaps);
        assert!((12..200).contains(&threshold), "{threshold}");
        assert_eq!(otsu(&[7; 9]), 0, "one value has nothing to divide");
    }
}
