//! Files that are no image of a kind that is read, named for what their bytes say they are.

use super::PhotoError;

const HEIC: &str = "save it as JPEG (`heif-convert FILE hand.jpg`; on an iPhone: Settings, Camera, \
                    Formats, Most Compatible)";
const CONVERT: &str = "save it as PNG or JPEG (`magick FILE hand.png`)";
const FRAME: &str = "save one picture of it (`ffmpeg -i FILE -frames:v 1 hand.png`)";
const AGAIN: &str = "get the picture itself";

/// Bytes at a place, what a file is that has them, and what to do.
const MAGIC: [(usize, &[u8], &str, &str); 26] = [
    (0, b"%PDF", "a PDF document", "save its page as an image (`pdftoppm -png FILE hand`)"),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL image", CONVERT),
    (0, b"\xff\x0a", "a JPEG XL image", CONVERT),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 image", CONVERT),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 image", CONVERT),
    (0, b"\0\0\x01\0", "an icon (ICO)", CONVERT),
    (0, b"8BPS", "a Photoshop document", CONVERT),
    (0, b"gimp xcf", "a document of GIMP", CONVERT),
    (0, b"qoif", "a QOI image", CONVERT),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR image", CONVERT),
    (0, b"DDS ", "a DDS texture", CONVERT),
    (0, b"FUJIFILMCCD-RAW", "a raw photograph", CONVERT),
    (8, b"CR\x02\0", "a raw photograph (CR2)", CONVERT),
    (8, b"AVI ", "an AVI video", FRAME),
    (0, b"\x1a\x45\xdf\xa3", "a Matroska or WebM video", FRAME),
    (0, b"PK\x03\x04", "a zip archive", "unpack it: `unzip FILE`"),
    (0, b"\x1f\x8b", "a gzip file", "unpack it: `gunzip FILE`"),
    (0, b"\0\x05\x16\x07", "what macOS keeps beside a picture (AppleDouble)", "remove it"),
    (4, b"Bud1", "a folder's settings (.DS_Store)", "remove it"),
    (
        0,
        b"version https://git-lfs",
        "a pointer of Git LFS, not the picture itself",
        "fetch the picture: `git lfs pull`",
    ),
    (0, b"/9j/", "a JPEG image as base64 text", "turn it back: `base64 -d FILE > hand.jpg`"),
    (0, b"iVBORw0K", "a PNG image as base64 text", "turn it back: `base64 -d FILE > hand.png`"),
    (0, b"data:image/", "a data URL", "what follows its comma is the picture: `base64 -d`"),
    (
        0,
        b"\x93NUMPY",
        "a NumPy array",
        "save it with PIL: Image.fromarray(array).save(\"hand.png\")",
    ),
    (0, b"\x89HDF\r\n", "an HDF5 file", AGAIN),
    (0, b"\xff\xfe<\0", "a web page", AGAIN),
];

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
    let has = |at: usize, magic: &[u8]| bytes.get(at..).is_some_and(|rest| rest.starts_with(magic));
    let found = || {
        if has(4, b"ftyp") {
            return Some(brand(bytes));
        }
        let magic = MAGIC.iter().find(|(at, magic, ..)| has(*at, magic));
        magic
            .map(|&(_, _, name, help)| (name, help))
            .or_else(|| markup(bytes))
            .or_else(|| pnm(bytes))
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
