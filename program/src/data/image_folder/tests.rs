use std::fs::{self, File};
use std::path::Path;

use image::{Rgb, RgbImage};

use super::*;

/// Writes a picture of one grey, in the format of its ending; `.jfif` is JPEG.
fn write(folder: &Path, name: &str, grey: u8) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let format = match path.extension().and_then(|ending| ending.to_str()) {
        Some("jfif" | "jpe") => image::ImageFormat::Jpeg,
        _ => image::ImageFormat::from_path(&path).unwrap_or(image::ImageFormat::Png),
    };
    let image = RgbImage::from_pixel(9, 7, Rgb([grey; 3]));
    image.save_with_format(path, format).unwrap();
}

/// Two classes with so many images each.
fn classes_in(folder: &Path, images: u8) {
    for (class, grey) in [("a", 40), ("b", 190)] {
        for number in 0..images {
            write(folder, &format!("{class}/{number}.png"), grey + number);
        }
    }
}

fn notice(folder: &Path) -> String {
    read_image_folder(folder).unwrap().notice.unwrap_or_default()
}

#[test]
fn all_kinds_of_images_are_read() {
    let root = tempfile::tempdir().unwrap();
    let endings = ["png", "PNG", "jpg", "jpeg", "jpe", "jfif", "webp", "gif", "bmp", "tif", "tiff"];
    for class in ["a", "b"] {
        for (number, ending) in (0..).zip(endings) {
            write(root.path(), &format!("{class}/{number}.{ending}"), 10 * number);
        }
    }
    let split = read_image_folder(root.path()).unwrap();
    assert_eq!(split.train.len() + split.valid.len(), 2 * endings.len());
    assert_eq!(split.notice, None);
    let mut greys: Vec<u8> =
        split.train.pixels.chunks(SIDE * SIDE).map(|image| image[400]).collect();
    greys.extend(split.valid.pixels.chunks(SIDE * SIDE).map(|image| image[400]));
    greys.sort_unstable();
    let expected = (0..endings.len() as u8).flat_map(|number| [10 * number; 2]);
    for (grey, expected) in greys.into_iter().zip(expected) {
        assert!(grey.abs_diff(expected) < 3, "{grey} {expected}");
    }
}

#[test]
fn what_is_passed_over_is_counted_in_one_line() {
    let root = tempfile::tempdir().unwrap();
    classes_in(root.path(), 3);
    assert_eq!(notice(root.path()), "");
    for name in ["a/.DS_Store", "a/._0.png", "a/Thumbs.db", "__MACOSX/a/0.png", ".cache/x.png"] {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }
    assert_eq!(notice(root.path()), "", "what systems leave behind");
    for name in ["a/1.HEIC", "a/2.heic", "b/notes.txt", "labels.csv", "a/raw", "b/x.with a space"] {
        fs::write(root.path().join(name), "x").unwrap();
    }
    write(root.path(), "montage.png", 9);
    let place = root.path().display();
    assert_eq!(
        notice(root.path()),
        format!(
            "not read in {place}: 1 .csv, 2 .heic, 1 .txt, 2 files without an ending, 1 image \
             outside of a class's folder; images are PNG, JPEG, WebP, GIF, BMP or TIFF"
        )
    );
}

#[test]
fn folders_in_a_class_belong_to_it() {
    let root = tempfile::tempdir().unwrap();
    classes_in(root.path(), 5);
    for number in 0..5 {
        write(root.path(), &format!("a/subject/deeper/{number}.png"), 100);
    }
    let split = read_image_folder(root.path()).unwrap();
    assert_eq!(split.train.class_counts(), [8, 4]);
    assert_eq!(split.valid.class_counts(), [2, 1]);
    // Around the folder of the classes there may be another.
    let outer = tempfile::tempdir().unwrap();
    classes_in(&outer.path().join("hands"), 2);
    let error = read_image_folder(outer.path()).unwrap_err();
    assert!(error.to_string().contains("it has one sub-folder, \"hands\", which has some itself"));
    assert!(error.help().unwrap().contains("/hands\""), "{:?}", error.help());
}

#[test]
fn a_split_of_the_folders_own_is_taken_whatever_lies_beside_it() {
    for (train, valid) in [("train", "val"), ("train", "test"), ("Train", "Validation")] {
        let root = tempfile::tempdir().unwrap();
        for part in [train, valid] {
            classes_in(&root.path().join(part), 3);
            write(root.path(), &format!("{part}/montage.png"), 1);
        }
        fs::create_dir(root.path().join("models")).unwrap();
        fs::write(root.path().join("README.md"), "").unwrap();
        let split = read_image_folder(root.path()).unwrap();
        assert_eq!((split.train.len(), split.valid.len()), (6, 6));
        assert_eq!(split.train.classes, ["a", "b"]);
        let place = root.path().display();
        let notice = split.notice.unwrap();
        let lines: Vec<&str> = notice.lines().collect();
        assert_eq!(lines[0], format!("not read in {place}: models/"));
        let counts = format!("not read in {place}: 1 .md, 2 images outside of a class's folder; ");
        assert!(lines[1].starts_with(&counts), "{notice}");
    }
}

#[test]
fn a_part_without_classes_is_named_and_a_fifth_of_the_other_is_kept() {
    let root = tempfile::tempdir().unwrap();
    classes_in(&root.path().join("asl_alphabet_train"), 5);
    write(root.path(), "asl_alphabet_test/a_test.jpg", 40);
    let split = read_image_folder(root.path()).unwrap();
    assert_eq!((split.train.len(), split.valid.len()), (8, 2));
    assert!(split.notice.unwrap().contains("asl_alphabet_test/ (it has no sub-folder per class"));
}

#[test]
fn composed_and_decomposed_names_are_one_class() {
    // é as one letter and as two; and a letter of Korean, which takes three.
    for (composed, decomposed) in [("\u{e9}", "e\u{301}"), ("\u{ac01}", "\u{1100}\u{1161}\u{11a8}")]
    {
        let root = tempfile::tempdir().unwrap();
        for (part, name) in [("train", composed), ("valid", decomposed)] {
            for number in 0..2 {
                write(root.path(), &format!("{part}/{name}/{number}.png"), 30);
                write(root.path(), &format!("{part}/f/{number}.png"), 90);
            }
        }
        let split = read_image_folder(root.path()).unwrap();
        assert_eq!(split.train.classes, ["f", composed]);
        assert_eq!(split.train.classes, split.valid.classes);
        // Both in one folder, which macOS does not allow and Linux does.
        for number in 2..5 {
            write(root.path(), &format!("train/{decomposed}/{number}.png"), 30);
        }
        assert_eq!(read_image_folder(root.path()).unwrap().train.class_counts(), [2, 5]);
    }
}

#[test]
fn classes_that_differ_in_case_are_two_and_it_says_so() {
    let root = tempfile::tempdir().unwrap();
    classes_in(&root.path().join("train"), 2);
    classes_in(&root.path().join("valid"), 2);
    fs::rename(root.path().join("valid/a"), root.path().join("valid/A")).unwrap();
    let error = read_image_folder(root.path()).unwrap_err().to_string();
    assert!(
        error.ends_with("there is no class a in it, but A; train/ and valid/ must have the same")
    );
}

#[test]
fn of_an_animation_the_first_frame_is_read_and_it_says_so() {
    let root = tempfile::tempdir().unwrap();
    classes_in(root.path(), 3);
    let file = File::create(root.path().join("a/waving.gif")).unwrap();
    let mut encoder = image::codecs::gif::GifEncoder::new(file);
    for grey in [60, 250] {
        let frame = image::RgbaImage::from_pixel(8, 8, image::Rgba([grey, grey, grey, 255]));
        encoder.encode_frame(image::Frame::new(frame)).unwrap();
    }
    drop(encoder);
    write(root.path(), "a/still.gif", 60);
    let split = read_image_folder(root.path()).unwrap();
    assert_eq!(split.notice.as_deref(), Some("of 1 animation the first frame is read"));
    let brightest = [&split.train, &split.valid].map(|part| {
        part.pixels
            .chunks(SIDE * SIDE)
            .zip(&part.labels)
            .filter(|(_, label)| **label == 0)
            .map(|(image, _)| image[0])
            .max()
    });
    assert_eq!(brightest.into_iter().flatten().max(), Some(60));
}

#[test]
fn images_that_cannot_be_read_are_called_what_they_are() {
    let root = tempfile::tempdir().unwrap();
    classes_in(root.path(), 3);
    let heic = [b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", &[0; 500][..]].concat();
    fs::write(root.path().join("a/photo.jpg"), heic).unwrap();
    let error = read_image_folder(root.path()).unwrap_err().to_string();
    assert!(
        error.contains("a/photo.jpg (it is a HEIC image, which is not read: save it"),
        "{error}"
    );
}

#[cfg(unix)]
mod unix {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    use std::process::Command;

    #[test]
    fn links_are_followed_but_not_in_circles() {
        let root = tempfile::tempdir().unwrap();
        classes_in(root.path(), 3);
        let other = tempfile::tempdir().unwrap();
        write(other.path(), "more/9.png", 9);
        symlink(other.path().join("more"), root.path().join("a/linked")).unwrap();
        symlink(".", root.path().join("self")).unwrap();
        symlink("..", root.path().join("b/up")).unwrap();
        symlink("/nowhere/x.png", root.path().join("b/dead.png")).unwrap();
        let split = read_image_folder(root.path()).unwrap();
        assert_eq!(split.train.len() + split.valid.len(), 7);
        let notice = split.notice.unwrap();
        assert!(notice.contains(": 1 broken link, 2 links to a folder above; "), "{notice}");
    }

    #[test]
    fn pipes_and_sockets_do_not_hang() {
        let root = tempfile::tempdir().unwrap();
        classes_in(root.path(), 3);
        let made = Command::new("mkfifo").arg(root.path().join("a/pipe.png")).status().unwrap();
        assert!(made.success());
        let _socket =
            std::os::unix::net::UnixListener::bind(root.path().join("b/socket.png")).unwrap();
        let split = read_image_folder(root.path()).unwrap();
        assert_eq!(split.train.len() + split.valid.len(), 6);
        let notice = split.notice.unwrap();
        assert!(notice.contains(": 2 special files (pipe, socket or device); "), "{notice}");
    }

    #[test]
    fn classes_whose_names_are_no_utf8_stay_apart() {
        let root = tempfile::tempdir().unwrap();
        for byte in [0xfe, 0xff] {
            let class = root.path().join(OsStr::from_bytes(&[b'x', byte]));
            fs::create_dir(&class).unwrap();
            (0..3).for_each(|number| write(&class, &format!("{number}.png"), byte));
        }
        let split = read_image_folder(root.path()).unwrap();
        assert_eq!(split.train.classes, ["x\\xFE", "x\\xFF"]);
    }
}
