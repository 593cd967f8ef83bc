//! Finds the hand before an even background and shows it as the training images show hands: filling
//! the frame, before a light grey.
//!
//! 1. The background is the median colour of the photograph's border.
//! 2. What differs from it by more than the border itself does, and hangs together most, is the hand.
//! 3. An arm that comes from below is cut off under the wrist: two palm radii below the middle of the
//!    palm, which is the largest circle in the hand.
//! 4. The background is replaced by the training images' typical grey; at the hand's edge, as far as
//!    the edge is mixed with it. A hand that is darker or lighter than theirs is given more or less
//!    light.
//! 5. A square around the hand, a little larger, is what the network sees.
//!
//! A photograph whose border is not even has no background that could be told from a hand: then the
//! largest square in its middle is taken as it is.

use std::ops::RangeInclusive;

use super::{Grey, Photo, squeezed};
use signet::data::Image;
use signet::support::flood_fill;

/// The longer side of the photograph that the hand is looked for in: enough for 28 pixels of a hand
/// that is a tenth of it.
const WORKING_SIDE: usize = 320;

/// What the square is larger than the hand, on each side, in parts of the hand's longer side.
const MARGIN: f64 = 0.05;

/// How far the wrist is below the middle of the palm, in radii of the palm.
const WRIST: f64 = 2.0;

/// The grey that replaces a background: between the training images' median and their upper
/// quartile.
const BACKGROUND: u8 = 180;

/// Mean greys of hands that are left as they are: nine tenths of the training images'.
const HANDS: RangeInclusive<f64> = 95.0..=192.0;

/// The background is even when nine tenths of the border differ from its median by no more than
/// this.
const EVEN: u8 = 40;

/// What differs from the background by less is none of the hand, however even the border is.
const THRESHOLD: u8 = 20;

/// The hand in `photo` as the network sees it.
pub(super) fn image(photo: &Photo) -> Image {
    let small = photo.reduced(WORKING_SIDE);
    match Hand::find(&small) {
        Some(hand) => squeezed(&hand.square(&small)),
        None => squeezed(&photo.centered().grey()),
    }
}

/// Where the hand is, and what is around it.
struct Hand {
    /// How much each pixel differs from the background: the greatest of the three channels.
    difference: Vec<u8>,
    threshold: u8,
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
        let threshold = unevenness.max(THRESHOLD);
        let mask: Vec<bool> = difference.iter().map(|&d| d > threshold).collect();
        let mut hand = largest_part(&mask, photo.width)?;
        cut_arm(&mut hand, photo.width, photo.height);
        let (columns, rows) = extent(&hand, photo.width)?;
        Some(Self { difference, threshold, columns, rows })
    }

    /// The square around the hand, grey, lit and before a background as in the training images.
    fn square(&self, photo: &Photo) -> Grey {
        let mut grey = photo.grey();
        let light = self.light(&grey);
        for (value, &difference) in grey.pixels.iter_mut().zip(&self.difference) {
            let hand = (f64::from(*value) * light).min(255.0);
            *value = self.before_background(hand, difference);
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
        let pixels = places.map(|(x, y)| pixel(x, y).unwrap_or(BACKGROUND)).collect();
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
    fn before_background(&self, hand: f64, difference: u8) -> u8 {
        let half = f64::from(self.threshold) / 2.0;
        let part = ((f64::from(difference) - half) / half).clamp(0.0, 1.0);
        (part * hand + (1.0 - part) * f64::from(BACKGROUND)).round() as u8
    }
}

/// The value below which `part` of `values` lie; 0 without any.
fn quantile(values: &mut [u8], part: f64) -> u8 {
    values.sort_unstable();
    let last = values.len().saturating_sub(1);
    values.get((last as f64 * part) as usize).copied().unwrap_or(0)
}

/// The largest part of `mask` whose pixels touch side by side; none without a pixel.
fn largest_part(mask: &[bool], width: usize) -> Option<Vec<bool>> {
    let mut seen = vec![false; mask.len()];
    let (mut part, mut largest) = (Vec::new(), Vec::new());
    for start in 0..mask.len() {
        if !mask[start] || seen[start] {
            continue;
        }
        flood_fill([start], &mut part, &mut seen, width, |_, near| mask[near]);
        if part.len() > largest.len() {
            largest.clone_from(&part);
        }
    }
    let mut only = vec![false; mask.len()];
    largest.iter().for_each(|&at| only[at] = true);
    (!largest.is_empty()).then_some(only)
}

/// Clears what is more than [`WRIST`] radii below the middle of the palm, if `hand` goes on to the
/// last row of the photograph.
fn cut_arm(hand: &mut [bool], width: usize, height: usize) {
    if !hand[(height - 1) * width..].contains(&true) {
        return;
    }
    let depth = depth(hand, width, height);
    // Of equal ones the topmost.
    let Some(palm) = (0..depth.len()).rev().max_by_key(|&at| depth[at]) else { return };
    let radius = f64::from(depth[palm]) / f64::from(STEP);
    let wrist = palm / width + (WRIST * radius).round() as usize;
    hand.iter_mut().skip((wrist + 1) * width).for_each(|pixel| *pixel = false);
}

/// The lengths of a step to the side and of a diagonal one, as integers: 4 / 3 for the root of 2.
const STEP: u32 = 3;
const DIAGONAL: u32 = 4;

/// The distance of each pixel from the nearest one outside `mask`, in thirds of a pixel (chamfer 3-4,
/// G. Borgefors, 1986). Beyond the edges of the photograph, the hand goes on.
fn depth(mask: &[bool], width: usize, height: usize) -> Vec<u32> {
    let far = DIAGONAL * (width + height) as u32;
    let mut depth: Vec<u32> = mask.iter().map(|&inside| if inside { far } else { 0 }).collect();
    // What was already passed on the way down: the left and the three above; then the way back.
    let passed = [(-1, 0, STEP), (-1, -1, DIAGONAL), (0, -1, STEP), (1, -1, DIAGONAL)];
    for back in [false, true] {
        for step in 0..mask.len() {
            let at = if back { mask.len() - 1 - step } else { step };
            for (dx, dy, length) in passed {
                let (dx, dy) = if back { (-dx, -dy) } else { (dx, dy) };
                let x = (at % width).checked_add_signed(dx).filter(|&x| x < width);
                let y = (at / width).checked_add_signed(dy).filter(|&y| y < height);
                if let (Some(x), Some(y)) = (x, y) {
                    depth[at] = depth[at].min(depth[y * width + x] + length);
                }
            }
        }
    }
    depth
}

/// First and last column and row of `mask`; none without a pixel.
fn extent(mask: &[bool], width: usize) -> Option<((usize, usize), (usize, usize))> {
    let inside = || (0..mask.len()).filter(|&at| mask[at]);
    let range =
        |of: &dyn Fn(usize) -> usize| Some((inside().map(of).min()?, inside().map(of).max()?));
    Some((range(&|at| at % width)?, range(&|at| at / width)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use signet::data::SIDE;

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
    fn a_light_background_is_evened_too() {
        // A wall that is darker to the right and grainy.
        let wall = |x: usize, y: usize| (210 - x / 10 + (x * 7 + y * 13) % 5) as u8;
        let hand = |x, y| (50..80).contains(&x) && (20..100).contains(&y);
        let photo = photo(200, 150, |x, y| [if hand(x, y) { 110 } else { wall(x, y) }; 3]);
        let image = image(&photo);
        let at = |x: usize, y: usize| image[y * SIDE + x];
        for corner in [at(0, 0), at(27, 0), at(3, 20), at(24, 20)] {
            assert!(corner.abs_diff(BACKGROUND) <= 3, "{corner}");
        }
        assert_eq!(at(14, 14), 110);
        assert_eq!((0..SIDE).filter(|&y| at(14, y) < 145).count(), 26, "and the hand is enlarged");
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

    fn mask(rows: &[&str]) -> Vec<bool> {
        rows.concat().bytes().map(|b| b == b'#').collect()
    }

    #[test]
    fn the_largest_part_is_the_hand() {
        let parts = mask(&["##...", "#....", "...#.", "..###", "#...."]);
        let hand = largest_part(&parts, 5).unwrap();
        assert_eq!(hand, mask(&[".....", ".....", "...#.", "..###", "....."]));
        assert_eq!(extent(&hand, 5), Some(((2, 4), (2, 3))));
        assert_eq!(largest_part(&[false; 4], 2), None);
        // A row's end and the next row's beginning do not touch, either way.
        let corners = mask(&[".#", "#."]);
        assert_eq!(largest_part(&corners, 2), Some(mask(&[".#", ".."])));
        let corners = mask(&["#.#", "#.."]);
        assert_eq!(largest_part(&corners, 3), Some(mask(&["#..", "#.."])));
    }

    #[test]
    fn the_depth_is_the_distance_from_outside() {
        let rows = [".......", ".#####.", ".#####.", ".#####.", ".#####.", ".......", "......."];
        let depth = depth(&mask(&rows), 7, 7);
        assert_eq!(depth[7..14], [0, 3, 3, 3, 3, 3, 0]);
        assert_eq!(depth[14..21], [0, 3, 6, 6, 6, 3, 0]);
        // The nearest outside is two steps, or a diagonal and a step, away.
        assert_eq!(depth[24], 6);
    }

    #[test]
    fn an_arm_from_below_is_cut_under_the_wrist_and_fingers_are_not() {
        // A palm of radius 20 around (60, 50), a finger up to row 5, an arm of half its width.
        let hand = |x: usize, y: usize| {
            let palm = (x as f64 - 60.0).hypot(y as f64 - 50.0) <= 20.0;
            let finger = (56..64).contains(&x) && (5..50).contains(&y);
            palm || finger || ((50..70).contains(&x) && y >= 50)
        };
        let shown = |height: usize| {
            let photo = photo(120, height, |x, y| if hand(x, y) { [150; 3] } else { [0; 3] });
            Hand::find(&photo).unwrap().rows
        };
        let (top, bottom) = shown(200);
        assert_eq!(top, 5);
        assert!((88..=94).contains(&bottom), "{bottom}");
        assert_eq!(shown(80), (5, 79), "an arm that ends before stays");
        // Fingers that point down and end above the border.
        let down = photo(120, 200, |x, y| if y < 190 && hand(x, y) { [150; 3] } else { [0; 3] });
        assert_eq!(Hand::find(&down).unwrap().rows, (5, 189));
    }
}
