use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader};

use super::{MAX_PIXELS, Photo, PhotoError};

/// Decodes a PNG, JPEG or WebP file: turned upright (EXIF), 16 bits cut to 8, transparency over
/// white, CMYK turned into RGB; of an animation the first frame.
///
/// White, because most viewers show it so, and because the training images have light backgrounds.
///
/// # Errors
/// When the bytes are no such image, or one that is damaged or larger than [`MAX_PIXELS`]: that is
/// seen in the header, before memory is taken for the pixels.
pub fn decode(bytes: &[u8]) -> Result<Photo, PhotoError> {
    let format = match image::guess_format(bytes) {
        Ok(format @ (ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::WebP)) => format,
        _ if bytes.is_empty() => return Err(PhotoError::Empty),
        _ => return Err(PhotoError::Format),
    };
    // These two decoders do not say that the end is missing.
    match format {
        ImageFormat::Jpeg if !has_jpeg_end(bytes) => return Err(PhotoError::Truncated("JPEG")),
        ImageFormat::WebP if !has_webp_end(bytes) => return Err(PhotoError::Truncated("WebP")),
        _ => {}
    }
    let failed = |error| reason(error, format);
    let reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut decoder = reader.into_decoder().map_err(failed)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(PhotoError::TooLarge { width, height });
    }
    let orientation = decoder.orientation().map_err(failed)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(failed)?;
    image.apply_orientation(orientation);
    let (width, height) = (image.width() as usize, image.height() as usize);
    if width == 0 || height == 0 {
        return Err(PhotoError::Damaged("it has no pixels".into()));
    }
    Ok(Photo { width, height, rgb: over_white(image) })
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

fn reason(error: ImageError, format: ImageFormat) -> PhotoError {
    let name = match format {
        ImageFormat::Png => "PNG",
        ImageFormat::WebP => "WebP",
        _ => "JPEG",
    };
    // Decoders wrap a missing end into an error of their own, whose words are all that is left.
    let text = error.to_string();
    let early = ["unexpected end", "unexpected eof", "failed to fill whole buffer"];
    let lower = text.to_ascii_lowercase();
    if early.iter().any(|words| lower.contains(words)) {
        return PhotoError::Truncated(name);
    }
    // One line, whatever the decoder says.
    PhotoError::Damaged(text.split_whitespace().collect::<Vec<_>>().join(" "))
}
