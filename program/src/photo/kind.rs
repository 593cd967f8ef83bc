//! Files that are no image of a kind that is read, named for what their bytes say they are.

use super::PhotoError;
use signet::support::FileKind;

const HEIC: &str = "save it as JPEG (`heif-convert FILE hand.jpg`; on an iPhone: Settings, Camera, \
                    Formats, Most Compatible)";
const CONVERT: &str = "save it as PNG or JPEG (`magick FILE hand.png`)";
const FRAME: &str = "save one picture of it (`ffmpeg -i FILE -frames:v 1 hand.png`)";
const AGAIN: &str = "get the picture itself";

/// What makes a picture that is read of a file of this kind; none where nothing is known to.
fn help(kind: FileKind) -> Option<&'static str> {
    Some(match kind {
        FileKind::Pdf => "save its page as an image (`pdftoppm -png FILE hand`)",
        FileKind::JpegXl
        | FileKind::Jpeg2000
        | FileKind::Icon
        | FileKind::Photoshop
        | FileKind::Gimp
        | FileKind::Qoi
        | FileKind::OpenExr
        | FileKind::Dds
        | FileKind::RawFuji
        | FileKind::RawCr2 => CONVERT,
        FileKind::Avi | FileKind::Matroska => FRAME,
        FileKind::Zip => "unpack it: `unzip FILE`",
        FileKind::Gzip => "unpack it: `gunzip FILE`",
        FileKind::AppleDouble | FileKind::DsStore => "remove it",
        FileKind::LfsPointer => "fetch the picture: `git lfs pull`",
        FileKind::Base64Jpeg => "turn it back: `base64 -d FILE > hand.jpg`",
        FileKind::Base64Png => "turn it back: `base64 -d FILE > hand.png`",
        FileKind::DataUrl => "what follows its comma is the picture: `base64 -d`",
        FileKind::NumPy => "save it with PIL: Image.fromarray(array).save(\"hand.png\")",
        FileKind::Hdf5 | FileKind::Utf16Page => AGAIN,
        _ => return None,
    })
}

/// The brands of files in the ISO container, which HEIC, AVIF and most videos are in.
const BRANDS: [(&[u8], &str, &str); 14] = [
    (b"avif", "an AVIF image", CONVERT),
    (b"avis", "an AVIF image", CONVERT),
    (b"heic", "a HEIC image", HEIC),
    (b"heix", "a HEIC image", HEIC),
    (b"heim", "a HEIC image", HEIC),
    (b"heis", "a HEIC image", HEIC),
    (b"hevc", "a HEIC image", HEIC),
    (b"hevx", "a HEIC image", HEIC),
    (b"mif1", "a HEIF image", HEIC),
    (b"msf1", "a HEIF image", HEIC),
    (b"crx ", "a raw photograph (CR3)", CONVERT),
    (b"qt  ", "a QuickTime video", FRAME),
    (b"isom", "an MP4 video", FRAME),
    (b"mp42", "an MP4 video", FRAME),
];

/// The error for bytes that are no image of a kind that is read.
pub(super) fn refuse(bytes: &[u8]) -> PhotoError {
    let found = || {
        if bytes.get(4..8) == Some(b"ftyp") {
            return Some(brand(bytes));
        }
        let known = FileKind::of(bytes).and_then(|kind| Some((kind.name(), help(kind)?)));
        known.or_else(|| markup(bytes)).or_else(|| pnm(bytes))
    };
    match found() {
        Some((name, help)) => PhotoError::Kind { name, help },
        None => PhotoError::Format,
    }
}

/// The kind of a file in the ISO container: by its main brand, else by the first known among those
/// it is compatible with.
fn brand(bytes: &[u8]) -> (&'static str, &'static str) {
    // The first four bytes are the box's size; a brand takes four, and after the main one comes its
    // version.
    let size = bytes.first_chunk().map_or(0, |size| u32::from_be_bytes(*size) as usize);
    let listed = bytes.get(16..size.clamp(16, bytes.len().max(16))).unwrap_or_default();
    let main = bytes.get(8..12).unwrap_or_default();
    let known = |brand: &[u8]| BRANDS.iter().find(|(known, ..)| *known == brand);
    // Of a HEIF image, which codec it has is said further on.
    let is_general = |brand: &[u8]| brand == b"mif1" || brand == b"msf1";
    let listed_kind = || listed.chunks_exact(4).filter(|brand| !is_general(brand)).find_map(known);
    let kind = if is_general(main) { None } else { known(main) };
    let kind = kind.or_else(listed_kind).or_else(|| known(main));
    kind.map_or(
        ("a video, or an image of another kind (ISO media)", CONVERT),
        |&(_, name, help)| (name, help),
    )
}

/// SVG and web pages.
fn markup(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    let text = &text[..text.len().min(1024)];
    if !text.starts_with(b"<") {
        return None;
    }
    let lower = text.to_ascii_lowercase();
    let has = |tag: &[u8]| memchr::memmem::find(&lower, tag).is_some();
    if has(b"<svg") {
        return Some(("an SVG drawing", "save it as PNG (`rsvg-convert FILE > hand.png`)"));
    }
    let is_page = has(b"<!doctype html") || has(b"<html") || has(b"<head");
    is_page.then_some(("a web page", "save the picture itself, not the page around it"))
}

/// Netpbm: a letter, a digit, white space.
fn pnm(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    match bytes {
        [b'P', b'1'..=b'7', space, ..] if space.is_ascii_whitespace() => {
            Some(("a Netpbm image (PBM, PGM, PPM or PAM)", CONVERT))
        }
        _ => None,
    }
}
