//! How a camera was held, as EXIF data and TIFF files say it.

use image::metadata::Orientation;

/// The tag of the orientation.
const ORIENTATION: u16 = 0x112;

/// The orientation in `exif`, which is laid out as a TIFF file is; `NoTransforms` if it says none
/// that there is.
///
/// The standard asks for a SHORT; programs also write a LONG or a BYTE.
pub(super) fn orientation(exif: &[u8]) -> Orientation {
    read(exif).and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms)
}

fn read(exif: &[u8]) -> Option<u8> {
    // JPEG's segment has a name before it, which some programs copy into other files as well.
    let exif = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    let is_little = match exif.first_chunk()? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let u16_at = |at: usize| {
        let bytes = *exif.get(at..)?.first_chunk()?;
        Some(if is_little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let u32_at = |at: usize| {
        let bytes = *exif.get(at..)?.first_chunk()?;
        Some(if is_little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    };
    let list = u32_at(4)? as usize;
    let count = usize::from(u16_at(list)?);
    let entries = (0..count).map_while(|entry| list.checked_add(2 + 12 * entry));
    for at in entries {
        // The list may be cut.
        if u16_at(at)? != ORIENTATION {
            continue;
        }
        let value = match u16_at(at + 2)? {
            1 => u32::from(*exif.get(at + 8)?),
            3 => u32::from(u16_at(at + 8)?),
            4 => u32_at(at + 8)?,
            _ => return None,
        };
        return u8::try_from(value).ok();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// EXIF data with one entry.
    fn exif(is_little: bool, kind: u16, value: u32) -> Vec<u8> {
        let two = |value: u16| if is_little { value.to_le_bytes() } else { value.to_be_bytes() };
        let four = |value: u32| if is_little { value.to_le_bytes() } else { value.to_be_bytes() };
        let value = match kind {
            1 => [value as u8, 0, 0, 0],
            3 => [two(value as u16), [0; 2]].concat().try_into().unwrap(),
            _ => four(value),
        };
        let mark = if is_little { b"II*\0" } else { b"MM\0*" };
        let entry = [&two(ORIENTATION)[..], &two(kind), &four(1), &value].concat();
        [&mark[..], &four(8), &two(1), &entry, &four(0)].concat()
    }

    #[test]
    fn numbers_of_each_width_and_order_are_read() {
        for is_little in [true, false] {
            for kind in [1, 3, 4] {
                let bytes = exif(is_little, kind, 6);
                assert_eq!(orientation(&bytes), Orientation::Rotate90, "{is_little} {kind}");
                let named = [b"Exif\0\0", &bytes[..]].concat();
                assert_eq!(orientation(&named), Orientation::Rotate90);
                for end in 0..bytes.len() - 4 {
                    // Whatever is missing, it is no panic.
                    orientation(&bytes[..end]);
                }
            }
            for (kind, value) in [(3, 0), (3, 9), (4, 262), (5, 6)] {
                let bytes = exif(is_little, kind, value);
                assert_eq!(orientation(&bytes), Orientation::NoTransforms, "{kind} {value}");
            }
        }
        assert_eq!(orientation(b"II*\0\xff\xff\xff\xff"), Orientation::NoTransforms);
    }
}
