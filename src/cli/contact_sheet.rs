//! A contact sheet: images in rows, enlarged, each with its letter below.

use std::io;
use std::path::Path;

use font8x8::UnicodeFonts;

use super::write_file;
use crate::report::picture::png;
use crate::{Error, Result};

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
    /// Lays out images of `width` by `height` pixels, each with its name, at most `columns` side by
    /// side. Of an image with several channels, the first is shown.
    pub fn of(cells: &[(&[u8], &str)], [width, height]: [usize; 2], columns: usize) -> Self {
        let columns = columns.min(cells.len()).max(1);
        let cell_width = width * ENLARGE + GAP;
        let cell_height = height * ENLARGE + CAPTION + GAP + GAP / 2;
        let rows = cells.len().div_ceil(columns);
        let size = [columns * cell_width + GAP, rows * cell_height + GAP];
        let mut sheet =
            Self { width: size[0], height: size[1], pixels: vec![PAPER; size[0] * size[1]] };
        for (cell, (image, name)) in cells.iter().enumerate() {
            let left = GAP + cell % columns * cell_width;
            let top = GAP + cell / columns * cell_height;
            for y in 0..height {
                for x in 0..width {
                    let value = image[y * width + x];
                    sheet.square(left + x * ENLARGE, top + y * ENLARGE, ENLARGE, value);
                }
            }
            // As much of the name as fits below its image.
            let name: String = name.chars().take(width * ENLARGE / CAPTION).collect();
            let text_width = name.chars().count() * CAPTION;
            let indent = (width * ENLARGE).saturating_sub(text_width) / 2;
            sheet.text(left + indent, top + height * ENLARGE + GAP / 2, &name);
        }
        sheet
    }

    /// Writes the picture as a PNG file.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let png = self.png().map_err(|error| Error::io("encode", path)(io::Error::other(error)))?;
        write_file(path, &png)
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

    fn png(&self) -> Result<Vec<u8>, png::EncodingError> {
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
        let cells = [2, 0, 1].map(|i| (train.image(i), train.class_name(i)));
        let sheet = Picture::of(&cells, [28, 28], 2);
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
