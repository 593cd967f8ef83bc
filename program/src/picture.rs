//! Pictures as PNG files, and as part of a page.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use signet::{Error, Result};

/// The pixels of a picture as a PNG file: `[height, width]` row-major, of one byte (grey) or three
/// (red, green, blue).
///
/// # Errors
/// When `pixels` holds too few or too many bytes.
pub fn png(
    [width, height]: [usize; 2],
    color: png::ColorType,
    pixels: &[u8],
) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
    encoder.set_color(color);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(bytes)
}

/// The same as the address of a picture that holds the picture itself.
pub fn data_uri(size: [usize; 2], color: png::ColorType, pixels: &[u8]) -> Result<String> {
    let bytes = png(size, color, pixels)
        .map_err(|e| Error::argument("report", format!("a picture cannot be written: {e}")))?;
    Ok(format!("data:image/png;base64,{}", STANDARD.encode(bytes)))
}

/// The pixels of the PNG in a page's `data:` address.
#[cfg(test)]
pub fn decode(uri: &str) -> (png::OutputInfo, Vec<u8>) {
    let bytes = STANDARD.decode(uri.strip_prefix("data:image/png;base64,").unwrap()).unwrap();
    let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    (info, pixels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_comes_back_as_it_was() {
        let (info, pixels) = decode(
            &data_uri([3, 2], png::ColorType::Grayscale, &[0, 50, 100, 150, 200, 255]).unwrap(),
        );
        assert_eq!((info.width, info.height), (3, 2));
        assert_eq!(pixels, [0, 50, 100, 150, 200, 255]);
        assert!(data_uri([3, 2], png::ColorType::Rgb, &[0; 6]).is_err());
    }
}
