//! From the bytes of an image file to what the network sees, against PIL; and that no bytes panic.

use crate::common;

use common::photos::{bad_files, photo_cases, photo_file};
use image::ImageFormat;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use signet_cli::photo::{Crop, Grey, MAX_PIXELS, Photo, PhotoError, decode, is_animation};

/// The greatest difference of two pictures.
fn furthest(a: &[u8], b: &[u8]) -> u8 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

#[test]
fn decoding_luma_and_resizing_give_what_pil_gives() {
    let cases = photo_cases();
    assert_eq!(cases.len(), 32);
    for case in cases {
        let name = &case.name;
        // Another JPEG decoder rounds elsewhere and enlarges the colours otherwise.
        let near = match name.split('_').next().unwrap() {
            "exact" => 0,
            "near" => 1,
            _ => 6,
        };
        let photo = decode(&case.file).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!([photo.height, photo.width], case.shape[..], "{name}");
        let grey = photo.grey();
        let off = furthest(&grey.pixels, &case.grey);
        assert!(off <= near, "{name}: luma differs by {off}");
        let off = furthest(&Crop::None.image(&photo), &case.small);
        assert!(off <= near, "{name}: 28x28 differs by {off}");
        // From PIL's own luma, resizing has nothing left to differ by.
        let pil = Grey { width: photo.width, height: photo.height, pixels: case.grey };
        assert_eq!(pil.resize(28, 28).pixels, case.small, "{name}");
    }
}

#[test]
fn what_cannot_be_read_is_an_error_that_says_why() {
    let expected = |name: &str| match name {
        "empty.png" => "the file is empty",
        "text.png" => "it is no PNG, JPEG, WebP, GIF, BMP or TIFF image",
        "gif.png" => "the GIF data ends too early; was it copied whole?",
        "truncated.jpg" | "header.jpg" => "the JPEG data ends too early; was it copied whole?",
        "truncated.png" | "header.png" => "the PNG data ends too early; was it copied whole?",
        "truncated.webp" => "the WebP data ends too early; was it copied whole?",
        "damaged.png" => "it is damaged, or of a kind that is not read: ",
        "huge.png" | "huge.jpg" => {
            "it is 50000 x 50000 pixels; at most 50 million are read: make it smaller"
        }
        _ => panic!("what should {name} say?"),
    };
    let files = bad_files();
    assert_eq!(files.len(), 11);
    for (name, bytes) in files {
        let error = decode(&bytes).expect_err(&name).to_string();
        assert!(error.starts_with(expected(&name)), "{name}: {error}");
        assert!(!error.contains('\n'), "{name}: {error}");
    }
    let (width, height) = (50_000, 50_000);
    assert!(u64::from(width) * u64::from(height) > MAX_PIXELS);
    let huge = bad_files().into_iter().find(|(name, _)| name == "huge.jpg").unwrap().1;
    assert_eq!(decode(&huge), Err(PhotoError::TooLarge { width, height }));
}

#[test]
fn a_jpeg_may_carry_a_preview_and_something_behind_its_end() {
    let whole = photo_file("lossy_jpeg");
    let photo = decode(&whole).unwrap();
    // An application segment with a JPEG of its own, whose end is not the file's.
    let length = u16::try_from(whole.len() + 2).unwrap().to_be_bytes();
    let segment = [&[0xff, 0xe4], &length[..], &whole].concat();
    let with_preview = [&whole[..2], &segment, &whole[2..]].concat();
    assert_eq!(decode(&with_preview), Ok(photo.clone()));
    let cut = &with_preview[..with_preview.len() - 20];
    assert_eq!(decode(cut), Err(PhotoError::Truncated("JPEG")));
    assert_eq!(decode(&[&whole[..], b"trailer"].concat()), Ok(photo));
}

/// A picture of 5 x 4 pixels, no two alike, as a file of `format`.
fn encoded(format: ImageFormat) -> (image::RgbImage, Vec<u8>) {
    let pixel = |x, y| image::Rgb([40 * x as u8, 60 * y as u8, 128]);
    let picture = image::RgbImage::from_fn(5, 4, pixel);
    let mut file = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut file, format).unwrap();
    (picture, file.into_inner())
}

#[test]
fn gif_bmp_and_tiff_are_read_and_say_when_their_end_is_missing() {
    for format in [ImageFormat::Gif, ImageFormat::Bmp, ImageFormat::Tiff] {
        let (picture, file) = encoded(format);
        let photo = decode(&file).unwrap_or_else(|e| panic!("{format:?}: {e}"));
        assert_eq!((photo.width, photo.height), (5, 4));
        assert_eq!(photo.rgb, picture.into_raw(), "{format:?}");
        assert!(!is_animation(&file));
        // Without its half, and without all but the beginning; TIFF's list is at the end.
        for end in [file.len() / 2, 20] {
            let error = decode(&file[..end]).expect_err(&format!("{format:?} {end}"));
            let is_named = matches!(error, PhotoError::Truncated(_) | PhotoError::Damaged(_));
            assert!(is_named, "{format:?} {end}: {error}");
        }
    }
}

#[test]
fn of_an_animation_the_first_frame_is_read() {
    let frame = |grey: u8| {
        let picture = image::RgbaImage::from_pixel(6, 6, image::Rgba([grey, grey, grey, 255]));
        image::Frame::new(picture)
    };
    let gif = |greys: &[u8]| {
        let mut file = Vec::new();
        let mut encoder = image::codecs::gif::GifEncoder::new(&mut file);
        greys.iter().for_each(|grey| encoder.encode_frame(frame(*grey)).unwrap());
        drop(encoder);
        file
    };
    for (greys, is_several) in [(&[70][..], false), (&[70, 200], true), (&[70, 9, 9], true)] {
        let file = gif(greys);
        assert_eq!(is_animation(&file), is_several);
        assert_eq!(decode(&file).unwrap().rgb, vec![70; 6 * 6 * 3]);
        (0..file.len()).for_each(|end| _ = is_animation(&file[..end]));
    }
    let mut png = Vec::new();
    let mut encoder = png::Encoder::new(&mut png, 2, 1);
    encoder.set_animated(2, 0).unwrap();
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&[70, 70]).unwrap();
    writer.write_image_data(&[9, 9]).unwrap();
    writer.finish().unwrap();
    assert!(is_animation(&png));
    assert_eq!(decode(&png).unwrap().rgb, [70; 6]);
    assert!(!is_animation(&photo_file("exact_rgb_28x28")) && !is_animation(b""));
}

/// As cameras, and programs that do not know the standard, write it.
#[test]
fn the_orientation_may_be_a_number_of_any_width() {
    let (_, file) = encoded(ImageFormat::Png);
    let exif = |kind: u16, value: &[u8; 4]| {
        let entry = [&[0x12, 1][..], &kind.to_le_bytes(), &1_u32.to_le_bytes(), value].concat();
        [&b"II*\0\x08\0\0\0\x01\0"[..], &entry, &[0; 4]].concat()
    };
    let with = |exif: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(&[&b"eXIf"[..], exif].concat());
        let length = (exif.len() as u32).to_be_bytes();
        let chunk = [&length[..], b"eXIf", exif, &crc.sum().to_be_bytes()].concat();
        // Behind the first chunk, which says the size.
        [&file[..33], &chunk, &file[33..]].concat()
    };
    let plain = decode(&file).unwrap();
    let turned = decode(&with(&exif(3, &[6, 0, 0, 0]))).unwrap();
    assert_eq!((turned.width, turned.height), (4, 5));
    // Turned clockwise, the lower left corner is at the upper left.
    assert_eq!(turned.rgb[..3], plain.rgb[3 * 5 * 3..][..3]);
    for kind in [4, 1] {
        assert_eq!(decode(&with(&exif(kind, &[6, 0, 0, 0]))).unwrap(), turned, "{kind}");
    }
    for value in [[0, 0, 0, 0], [9, 0, 0, 0], [6, 1, 0, 0], [6, 0, 0, 1]] {
        assert_eq!(decode(&with(&exif(4, &value))).unwrap(), plain, "{value:?}");
    }
    assert_eq!(decode(&with(b"II*\0\xff\xff\xff\xff")).unwrap(), plain);
    // A TIFF file is laid out as EXIF data is.
    let (_, mut tiff) = encoded(ImageFormat::Tiff);
    let list = u32::from_le_bytes(tiff[4..8].try_into().unwrap()) as usize;
    let entries = tiff.split_off(list);
    let count = u16::from_le_bytes([entries[0], entries[1]]);
    // Sorted by tag: before the first that is greater.
    let tag = |at: usize| u16::from_le_bytes([entries[at], entries[at + 1]]);
    let places = (0..usize::from(count)).map(|entry| 2 + 12 * entry);
    let at = places.clone().find(|&at| tag(at) > 0x112).unwrap();
    tiff.extend((count + 1).to_le_bytes());
    tiff.extend(&entries[2..at]);
    tiff.extend([0x12, 1, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0]);
    tiff.extend(&entries[at..]);
    assert_eq!(decode(&tiff).unwrap(), turned);
}

#[test]
fn kinds_that_are_not_read_are_named_by_their_bytes() {
    let ftyp = |main: &[u8], listed: &[u8]| {
        let size = (16 + listed.len() as u32).to_be_bytes();
        [&size[..], b"ftyp", main, &[0; 4], listed, &[0; 300]].concat()
    };
    let kinds: [(Vec<u8>, &str); 16] = [
        (ftyp(b"heic", b"mif1heic"), "a HEIC image"),
        (ftyp(b"mif1", b"mif1heic"), "a HEIC image"),
        (ftyp(b"avif", b"mif1avif"), "an AVIF image"),
        (ftyp(b"mif1", b"miafavif"), "an AVIF image"),
        (ftyp(b"mif1", b""), "a HEIF image"),
        (ftyp(b"qt  ", b""), "a QuickTime video"),
        (b"%PDF-1.7\n".to_vec(), "a PDF document"),
        (b"\0\0\0\x0cJXL \r\n\x87\n".to_vec(), "a JPEG XL image"),
        (b"\0\0\0\x0cjP  \r\n\x87\n".to_vec(), "a JPEG 2000 image"),
        (b"\0\0\x01\0\x01\0".to_vec(), "an icon (ICO)"),
        (b"P6\n5 4\n255\n".to_vec(), "a Netpbm image (PBM, PGM, PPM or PAM)"),
        (b"<?xml version=\"1.0\"?>\n<svg/>".to_vec(), "an SVG drawing"),
        (b"<!DOCTYPE html><html>404</html>".to_vec(), "a web page"),
        (
            b"version https://git-lfs.github.com/".to_vec(),
            "a pointer of Git LFS, not the file itself",
        ),
        (b"/9j/4AAQSkZJRg".to_vec(), "a JPEG image as base64 text"),
        (b"II*\0\x10\0\0\0CR\x02\0".to_vec(), "a raw photograph (CR2)"),
    ];
    for (bytes, name) in kinds {
        let error = decode(&bytes).unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, PhotoError::Kind { .. }), "{message}");
        assert!(message.starts_with(&format!("it is {name}, which is not read: ")), "{message}");
        (0..bytes.len()).for_each(|end| _ = decode(&bytes[..end]));
    }
}

#[test]
fn the_center_is_a_square_in_the_middle() {
    let pixel = |value: u8| [value; 3];
    let rgb = [9, 1, 2, 9, 9, 9, 3, 4, 9, 9].into_iter().flat_map(pixel).collect();
    let photo = Photo { width: 5, height: 2, rgb };
    let square = photo.centered();
    assert_eq!((square.width, square.height), (2, 2));
    assert_eq!(square.grey().pixels, [1, 2, 3, 4]);
    assert_eq!(Crop::Center.image(&photo), Crop::None.image(&square));
    let tall = Photo { width: 1, height: 3, rgb: [1, 2, 3].into_iter().flat_map(pixel).collect() };
    assert_eq!(tall.centered().grey().pixels, [2]);
}

/// Every crop of what can be decoded.
fn show(bytes: &[u8]) {
    if let Ok(photo) = decode(bytes) {
        for crop in [Crop::None, Crop::Center, Crop::Auto] {
            crop.image(&photo);
        }
    }
}

#[test]
fn no_bytes_make_it_panic() {
    let mut files: Vec<Vec<u8>> = photo_cases().into_iter().map(|case| case.file).collect();
    files.extend(bad_files().into_iter().map(|(_, bytes)| bytes));
    files.iter().for_each(|file| show(file));
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6);
    // Half of the edits fall on the first bytes, where the headers are.
    let mutation = (prop::sample::select(files), edits, any::<bool>(), any::<(u8, u16)>());
    let mut runner = TestRunner::new(Config { cases: 600, ..Config::default() });
    let check = |(mut file, edits, at_start, (cut, to)): (Vec<u8>, Vec<_>, bool, (u8, u16))| {
        let reach = if at_start { file.len().min(200) } else { file.len() };
        for (at, value) in edits {
            let at: prop::sample::Index = at;
            if reach > 0 {
                file[at.index(reach)] = value;
            }
        }
        if cut < 64 {
            file.truncate(usize::from(to) % (file.len() + 1));
        }
        show(&file);
        Ok(())
    };
    runner.run(&mutation, check).unwrap_or_else(|e| panic!("{e}"));
}
