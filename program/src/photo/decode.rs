use std::io::Cursor;

use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader};

use super::{MAX_PIXELS, Photo, PhotoError, exif, kind};

/// Decodes a PNG, JPEG, WebP, GIF, BMP or TIFF file: turned upright (EXIF), 16 bits cut to 8,
/// transparency over white, CMYK turned into RGB; of an animation the first frame (see
/// [`is_animation`]), of a document its first page.
///
/// White, because most viewers show it so, and because the training images have light backgrounds.
///
/// # Errors
/// When the bytes are no such image, with the kind that they are where it is known; or one that is
/// damaged or larger than [`MAX_PIXELS`]: that is seen in the header, before memory is taken for the
/// pixels.
pub fn decode(bytes: &[u8]) -> Result<Photo, PhotoError> {
    if bytes.is_empty() {
        return Err(PhotoError::Empty);
    }
    let format = format(bytes).ok_or_else(|| kind::refuse(bytes))?;
    let has_end = match format {
        // These decoders do not say that the end is missing.
        ImageFormat::Jpeg => has_jpeg_end(bytes),
        ImageFormat::WebP => has_webp_end(bytes),
        _ => true,
    };
    if !has_end {
        return Err(PhotoError::Truncated(name(format)));
    }
    let failed = |error| reason(error, format);
    let reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut decoder = reader.into_decoder().map_err(failed)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(PhotoError::TooLarge { width, height });
    }
    let orientation = match format {
        ImageFormat::Tiff => exif::orientation(bytes),
        _ => match decoder.exif_metadata().map_err(failed)? {
            Some(exif) => exif::orientation(&exif),
            None => Orientation::NoTransforms,
        },
    };
    let mut image = DynamicImage::from_decoder(decoder).map_err(failed)?;
    image.apply_orientation(orientation);
    let (width, height) = (image.width() as usize, image.height() as usize);
    if width == 0 || height == 0 {
        return Err(PhotoError::Damaged("it has no pixels".into()));
    }
    Ok(Photo { width, height, rgb: over_white(image) })
}

/// The kind of an image that is read; none of any other.
fn format(bytes: &[u8]) -> Option<ImageFormat> {
    // CR2, NEF and DNG begin like TIFF, and what a TIFF reader finds in them is a thumbnail.
    let is_raw = bytes.get(8..12) == Some(b"CR\x02\0");
    match image::guess_format(bytes).ok()? {
        ImageFormat::Tiff if is_raw => None,
        format @ (ImageFormat::Png
        | ImageFormat::Jpeg
        | ImageFormat::WebP
        | ImageFormat::Gif
        | ImageFormat::Bmp
        | ImageFormat::Tiff) => Some(format),
        _ => None,
    }
}

/// Whether the bytes are an animation, of which [`decode`] reads the first frame: a GIF, PNG or WebP
/// file with more than one.
pub fn is_animation(bytes: &[u8]) -> bool {
    let from = || Cursor::new(bytes);
    match format(bytes) {
        Some(ImageFormat::Png) => {
            PngDecoder::new(from()).and_then(|decoder| decoder.is_apng()).unwrap_or(false)
        }
        Some(ImageFormat::WebP) => {
            WebPDecoder::new(from()).is_ok_and(|decoder| decoder.has_animation())
        }
        Some(ImageFormat::Gif) => gif_images(bytes) > 1,
        _ => false,
    }
}

/// How many images are in a GIF file, up to two.
fn gif_images(bytes: &[u8]) -> usize {
    /// Bytes of the table of colours that a byte of flags says.
    fn colours(flags: u8) -> usize {
        if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) }
    }
    // The header, and what is said of the whole screen.
    let Some(&flags) = bytes.get(10) else { return 0 };
    let (mut at, mut images) = (13 + colours(flags), 0);
    while images < 2 {
        let data = match bytes.get(at) {
            // An extension, and its kind.
            Some(0x21) => at + 2,
            // An image: its place, flags, colours, and the least width of its codes.
            Some(0x2c) => {
                let Some(&flags) = bytes.get(at + 9) else { break };
                images += 1;
                at + 10 + colours(flags) + 1
            }
            _ => break,
        };
        at = data;
        // Both are followed by blocks, of which an empty one is the last.
        while let Some(&length) = bytes.get(at) {
            at += 1 + usize::from(length);
            if length == 0 {
                break;
            }
        }
    }
    images
}

/// The pixels as RGB, what is transparent over white.
fn over_white(image: DynamicImage) -> Vec<u8> {
    if !image.color().has_alpha() {
        return image.into_rgb8().into_raw();
    }
    let over = |pixel: &[u8]| {
        let alpha = u32::from(pixel[3]);
        [pixel[0], pixel[1], pixel[2]]
            .map(|value| ((u32::from(value) * alpha + 255 * (255 - alpha) + 127) / 255) as u8)
    };
    image.into_rgba8().chunks_exact(4).flat_map(over).collect()
}

/// Whether a WebP file is as long as its header says: that many bytes after the first eight.
fn has_webp_end(bytes: &[u8]) -> bool {
    let Some(&[a, b, c, d]) = bytes.get(4..8) else { return false };
    u64::from(u32::from_le_bytes([a, b, c, d])) <= bytes.len() as u64 - 8
}

/// Whether the end of a JPEG image is there: the decoder fills what is missing with grey.
///
/// Looks for the marker EOI behind the first scan's header; before that, an EXIF preview has one
/// of its own. In compressed data the two bytes do not occur.
fn has_jpeg_end(bytes: &[u8]) -> bool {
    const EOI: [u8; 2] = [0xff, 0xd9];
    const SOS: u8 = 0xda;
    let mut at = 2;
    while let Some(&[0xff, marker, high, low]) = bytes.get(at..at + 4) {
        if marker == 0xff {
            // Segments may be padded.
            at += 1;
            continue;
        }
        at += 2 + usize::from(u16::from_be_bytes([high, low]));
        if marker == SOS {
            break;
        }
    }
    bytes.get(at..).is_some_and(|rest| memchr::memmem::find(rest, &EOI).is_some())
}

fn name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Png => "PNG",
        ImageFormat::WebP => "WebP",
        ImageFormat::Gif => "GIF",
        ImageFormat::Bmp => "BMP",
        ImageFormat::Tiff => "TIFF",
        _ => "JPEG",
    }
}

fn reason(error: ImageError, format: ImageFormat) -> PhotoError {
    // Decoders wrap a missing end into an error of their own, whose words are all that is left.
    let text = error.to_string();
    let early = ["unexpected end", "unexpected eof", "failed to fill whole buffer"];
    let lower = text.to_ascii_lowercase();
    if early.iter().any(|words| lower.contains(words)) {
        return PhotoError::Truncated(name(format));
    }
    // One line, whatever the decoder says.
    PhotoError::Damaged(text.split_whitespace().collect::<Vec<_>>().join(" "))
}
