//! A contact sheet: images in rows, enlarged, each with its letter below.

use font8x8::UnicodeFonts;

use crate::data::Dataset;
use crate::report::picture::png;

/// Screen pixels per image pixel.
const ENLARGE: usize = 4;

/// Screen pixels per pixel of the 8x8 font.
const ENLARGE_FONT: usize = 2;

/// Free pixels around each image.
const GAP: usize = 12;

const CAPTION: usize = 8 * ENLARGE_FONT;
const PAPER: u8 = 255;
const INK: u8 = 32;

/// A grey picture, `[height, width]` row-major.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Picture {
    pub width: usize,
    pub height: usize,
    pub pixels: Vec<u8>,
}

impl Picture {
    /// Lays out the images of `dataset` at `indices`, at most `columns` side by side.
    ///
    /// Of images with several channels, the first is shown.
    pub fn of(dataset: &Dataset, indices: &[usize], columns: usize) -> Self {
        let columns = columns.min(indices.len()).max(1);
        let cell_width = dataset.width * ENLARGE + GAP;
        let cell_height = dataset.height * ENLARGE + CAPTION + GAP + GAP / 2;
        let rows = indices.len().div_ceil(columns);
        let (width, height) = (columns * cell_width + GAP, rows * cell_height + GAP);
        let mut sheet = Self { width, height, pixels: vec![PAPER; width * height] };
        for (cell, &index) in indices.iter().enumerate() {
            let left = GAP + cell % columns * cell_width;
            let top = GAP + cell / columns * cell_height;
            let image = dataset.image(index);
            for y in 0..dataset.height {
                for x in 0..dataset.width {
                    let value = image[y * dataset.width + x];
                    sheet.square(left + x * ENLARGE, top + y * ENLARGE, ENLARGE, value);
                }
            }
            // As much of the name as fits below its image.
            let fits = dataset.width * ENLARGE / CAPTION;
            let name: String = dataset.class_name(index).chars().take(fits).collect();
            let text_width = name.chars().count() * CAPTION;
            let indent = (dataset.width * ENLARGE).saturating_sub(text_width) / 2;
            sheet.text(left + indent, top + dataset.height * ENLARGE + GAP / 2, &name);
        }
        sheet
    }

    fn square(&mut self, left: usize, top: usize, size: usize, value: u8) {
        for y in top..(top + size).min(self.height) {
            for x in left..(left + size).min(self.width) {
                self.pixels[y * self.width + x] = value;
            }
        }
    }

    fn text(&mut self, left: usize, top: usize, text: &str) {
        for (place, letter) in text.chars().enumerate() {
            // Each byte is a row of the glyph, its lowest bit the leftmost pixel.
            let glyph = font8x8::BASIC_FONTS.get(letter).unwrap_or_default();
            for (y, row) in glyph.iter().enumerate() {
                for x in (0..8).filter(|x| row >> x & 1 == 1) {
                    let column = left + place * CAPTION + x * ENLARGE_FONT;
                    self.square(column, top + y * ENLARGE_FONT, ENLARGE_FONT, INK);
                }
            }
        }
    }

    /// The picture as a PNG file.
    pub fn png(&self) -> Result<Vec<u8>, png::EncodingError> {
        png([self.width, self.height], png::ColorType::Grayscale, &self.pixels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::synthetic;

    #[test]
    fn images_and_letters_are_where_they_belong() {
        let train = synthetic(0, 3, 0).train;
        let sheet = Picture::of(&train, &[2, 0, 1], 2);
        assert_eq!((sheet.width, sheet.height), (2 * 124 + 12, 2 * 146 + 12));
        let at = |x: usize, y: usize| sheet.pixels[y * sheet.width + x];
        assert_eq!(at(GAP, GAP), train.image(2)[0]);
        assert_eq!(at(GAP + 124 + 4 * 27 + 3, GAP + 4 * 27 + 3), train.image(0)[27 * 28 + 27]);
        assert_eq!(at(GAP + 124, GAP + 146), PAPER, "no fourth image");
        let caption = |cell: usize| {
            let rows = GAP + 28 * ENLARGE + 6..GAP + 28 * ENLARGE + 6 + CAPTION;
            let columns = GAP + cell * 124..GAP + cell * 124 + 112;
            rows.flat_map(|y| columns.clone().map(move |x| (x, y)))
                .filter(|&(x, y)| at(x, y) == INK)
                .count()
        };
        assert!(caption(0) > 50 && caption(1) > 50 && caption(0) != caption(1), "C and A");
    }
}
