//! From the bytes of an image file to what the network sees, against PIL; and that no bytes panic.
#![cfg(feature = "cli")]

use crate::common;

use common::photos::{bad_files, photo_cases, photo_file};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use signet::photo::{Crop, Grey, MAX_PIXELS, Photo, PhotoError, decode};

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
        "text.png" | "gif.png" => "it is no PNG, JPEG or WebP image",
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
