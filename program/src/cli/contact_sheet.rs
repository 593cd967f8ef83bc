//! A contact sheet: images in rows, enlarged, each with its letter below.

use std::io;
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder, ImageResult};
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

use super::output::{can_write, write_file};
use crate::picture::png;
use signet::data::DataError;
use signet::{Error, Result};

/// Screen pixels per image pixel.
const ENLARGE: usize = 4;

/// Free pixels around each image.
const GAP: usize = 12;

/// Of 100: edges of letters stay clean.
const JPEG_QUALITY: u8 = 95;

/// The type: Noto Sans Mono, drawn already, a byte of ink a pixel.
const FONT: (FontWeight, RasterHeight) = (FontWeight::Regular, RasterHeight::Size16);

/// Height of a caption, and the width of a letter of it.
const CAPTION: usize = FONT.1.val();
const LETTER: usize = get_raster_width(FONT.0, FONT.1);

/// What stands for a letter that the type does not have.
const UNKNOWN: char = '?';

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
            let name = cut(name, width * ENLARGE / LETTER);
            let text_width = name.chars().count() * LETTER;
            let indent = (width * ENLARGE).saturating_sub(text_width) / 2;
            sheet.text(left + indent, top + height * ENLARGE + GAP / 2, &name);
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
        let glyph = |letter: char| get_raster(letter, FONT.0, FONT.1);
        // It has no ellipsis.
        for (place, letter) in text.chars().map(|c| if c == '…' { '.' } else { c }).enumerate() {
            let Some(glyph) = glyph(letter).or_else(|| glyph(UNKNOWN)) else { continue };
            for (y, row) in glyph.rows().enumerate() {
                for (x, &ink) in row.iter().enumerate().filter(|(_, ink)| **ink > 0) {
                    let grey = u32::from(PAPER) - u32::from(PAPER - INK) * u32::from(ink) / 255;
                    self.square(left + place * LETTER + x, top + y, 1, grey as u8);
                }
            }
        }
    }
}

/// What a picture is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Png,
    Jpeg,
}

/// A file for a picture.
#[derive(Debug)]
pub(super) struct PictureFile<'a> {
    path: &'a Path,
    kind: Kind,
}

impl<'a> PictureFile<'a> {
    /// The file `path`, of the kind that its name says; a name without an ending is a PNG file's.
    ///
    /// # Errors
    /// [`Error::Data`] for another ending, [`Error::Io`] when it cannot be written: before the work
    /// whose picture it is for.
    pub fn new(path: &'a Path) -> Result<Self> {
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
        let kind = match ending.as_deref() {
            None | Some("png") => Kind::Png,
            Some("jpg" | "jpeg" | "jpe" | "jfif") => Kind::Jpeg,
            Some(_) => {
                let error = DataError::new("pictures are written as PNG or JPEG").in_file(path);
                return Err(error.with_help("let its name end in .png or .jpg").into());
            }
        };
        can_write(path)?;
        Ok(Self { path, kind })
    }

    /// Writes it.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be written.
    pub fn write(&self, picture: &Picture) -> Result<()> {
        let Picture { width, height, pixels } = picture;
        let encoded = match self.kind {
            Kind::Png => {
                png([*width, *height], png::ColorType::Grayscale, pixels).map_err(io::Error::other)
            }
            Kind::Jpeg => jpeg(*width, *height, pixels).map_err(io::Error::other),
        };
        write_file(self.path, &encoded.map_err(Error::io("encode", self.path))?)
    }
}

/// The greys as a JPEG file.
fn jpeg(width: usize, height: usize, pixels: &[u8]) -> ImageResult<Vec<u8>> {
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY);
    encoder.write_image(pixels, width as u32, height as u32, ExtendedColorType::L8)?;
    Ok(bytes)
}

/// `text`, cut to `width` letters where it has more. The type of a sheet has one width for all letters.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    kept + "…"
}

#[cfg(test)]
mod tests {
    use super::*;
    use signet::data::synthetic;

    #[test]
    fn a_file_is_of_the_kind_that_its_name_says() {
        let folder = tempfile::tempdir().unwrap();
        let train = synthetic(0, 3, 0).train;
        let cells = [0, 1, 2].map(|i| (train.image(i), train.class_name(i)));
        let sheet = Picture::of(&cells, [28, 28], 3);
        let endings = [
            ("a", image::ImageFormat::Png),
            ("a.png", image::ImageFormat::Png),
            ("a.PNG", image::ImageFormat::Png),
            ("a.jpg", image::ImageFormat::Jpeg),
            ("a.b.JPEG", image::ImageFormat::Jpeg),
        ];
        for (name, format) in endings {
            let path = folder.path().join(name);
            PictureFile::new(&path).unwrap().write(&sheet).unwrap();
            let bytes = std::fs::read(path).unwrap();
            assert_eq!(image::guess_format(&bytes).unwrap(), format, "{name}");
            let picture = image::load_from_memory(&bytes).unwrap().into_luma8();
            assert_eq!(picture.dimensions(), (sheet.width as u32, sheet.height as u32), "{name}");
            let apart = picture.iter().zip(&sheet.pixels).map(|(a, b)| a.abs_diff(*b)).max();
            let most = if format == image::ImageFormat::Png { 0 } else { 40 };
            assert!(apart.unwrap() <= most, "{name}: {apart:?}");
        }
        for wrong in ["a.gif", "a.webp", "missing/a.png"] {
            let path = folder.path().join(wrong);
            assert!(PictureFile::new(&path).is_err(), "{wrong}");
            assert!(!path.exists());
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), endings.len());
    }

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
                .map(|(x, y)| usize::from(PAPER - at(x, y)))
                .sum::<usize>()
        };
        assert!(caption(0) > 2000 && caption(1) > 2000 && caption(0) != caption(1), "C and A");
    }

    /// Type is smooth: its rims have greys between ink and paper.
    #[test]
    fn names_are_cut_to_their_image_and_unknown_letters_are_to_be_seen() {
        let image = [0; 28 * 28];
        let cells = [(&image[..], "a name that is longer than its image"), (&image[..], "手")];
        let sheet = Picture::of(&cells, [28, 28], 2);
        let column = |x: usize| {
            let rows = GAP + 28 * ENLARGE + GAP / 2..GAP + 28 * ENLARGE + GAP / 2 + CAPTION;
            rows.map(|y| sheet.pixels[y * sheet.width + x]).collect::<Vec<_>>()
        };
        let greys: std::collections::BTreeSet<u8> = (GAP..GAP + 112).flat_map(column).collect();
        assert!(greys.len() > 8, "{greys:?}");
        let free = GAP + 28 * ENLARGE..GAP + 28 * ENLARGE + GAP;
        assert!(free.flat_map(column).all(|grey| grey == PAPER), "between the names");
        let second = GAP + 124..GAP + 124 + 112;
        assert!(second.flat_map(column).any(|grey| grey < 128), "a question mark");
    }
}
