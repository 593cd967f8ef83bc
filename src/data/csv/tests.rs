use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

/// A file with these labels; pixel p of row r is (r + p) % 256.
fn text(labels: &[&str], end: &str) -> String {
    let mut text: String = (1..=PIXELS).fold("label".to_owned(), |s, p| s + &format!(",pixel{p}"));
    text += end;
    for (row, label) in labels.iter().enumerate() {
        text += label;
        (0..PIXELS).for_each(|pixel| text += &format!(",{}", (row + pixel) % 256));
        text += end;
    }
    text
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn read(bytes: impl AsRef<[u8]>) -> Result<Table, DataError> {
    parse_csv(bytes.as_ref(), "t.csv")
}

fn message(bytes: impl AsRef<[u8]>) -> String {
    read(bytes).unwrap_err().to_string()
}

#[test]
fn line_ends_gzip_and_byte_order_mark_do_not_matter() {
    let plain = read(text(&["3", "24", "0"], "\n")).unwrap();
    assert_eq!(plain.labels, [3, 24, 0]);
    assert_eq!(plain.pixels.len(), 3 * PIXELS);
    assert_eq!(plain.pixels[PIXELS..PIXELS + 3], [1, 2, 3]);
    assert_eq!((plain.first_nine, plain.first_twenty_four), (None, Some(3)));

    let crlf = text(&["3", "24", "0"], "\r\n");
    let marked = format!("\u{feff}{crlf}");
    let no_last_end = crlf.trim_end().to_owned();
    let blank_end = format!("{crlf}\r\n\r\n");
    for same in [&crlf, &marked, &no_last_end, &blank_end] {
        assert_eq!(read(same).unwrap(), plain);
        assert_eq!(read(gzip(same.as_bytes())).unwrap(), plain);
    }
    // Two members, as `cat a.gz b.gz` makes them.
    let (first, second) = crlf.split_at(5000);
    let joined = [gzip(first.as_bytes()), gzip(second.as_bytes())].concat();
    assert_eq!(read(joined).unwrap(), plain);
}

/// Blocks and pieces end in the middle of lines, and line numbers go on through them.
#[test]
fn large_files_are_whole_and_their_lines_are_counted() {
    let rows = 2 * BLOCK / 2500;
    let mut labels = vec!["1"; rows];
    labels[rows - 2] = "9";
    let whole = text(&labels, "\r\n");
    assert!(whole.len() > 2 * BLOCK);
    let table = read(&whole).unwrap();
    assert_eq!(table.labels.len(), rows);
    assert_eq!(table.first_nine, Some(rows as u64));
    for (row, pixels) in table.pixels.chunks(PIXELS).enumerate() {
        assert!((0..PIXELS).all(|pixel| usize::from(pixels[pixel]) == (row + pixel) % 256));
    }
    labels[rows - 1] = "x";
    let error = read(text(&labels, "\r\n")).unwrap_err();
    assert_eq!((error.line(), error.column()), (Some(rows as u64 + 1), Some(1)));
    assert_eq!(read(gzip(whole.as_bytes())).unwrap(), table);
}

#[test]
fn wrong_values_are_named_with_line_and_column() {
    let good = text(&["1", "2"], "\r\n");
    let with = |old: &str, new: &str| message(good.replacen(old, new, 1));
    assert_eq!(with("\r\n2,1,2,", "\r\n2,1,256,"), range("256"));
    assert_eq!(with("\r\n2,1,2,", "\r\n2,1,-1,"), range("-1"));
    assert_eq!(with("\r\n2,1,2,", "\r\n2,1,1000,"), range("1000"));
    let whole = "that is not a whole number";
    assert_eq!(with("\r\n2,1,2,", "\r\n2,1,x,"), format!("t.csv:3:3: pixel2 is \"x\": {whole}"));
    let divided = "were the pixels, 0 to 255, divided by 255?";
    assert_eq!(
        with("\r\n2,1,2,", "\r\n2,1,.5,"),
        format!("t.csv:3:3: pixel2 is \".5\": {whole}; {divided}")
    );
    assert_eq!(
        with("\r\n2,1,2,", "\r\n2,1,,"),
        "t.csv:3:3: pixel2 is \"\": there must be a number"
    );
    assert!(
        with("\r\n2,1,", "\r\n25,1,").starts_with("t.csv:3:1: label is \"25\": labels are 0 to 24")
    );
    // Empty lines count.
    assert_eq!(with("\r\n2,1,2,", "\r\n\r\n2,1,256,"), range("256").replace(":3:3", ":4:3"));

    let mut bytes = good.clone().into_bytes();
    let at = good.find("\r\n2,1,2,").unwrap() + 6;
    bytes[at] = 0xff;
    assert_eq!(message(bytes), "t.csv:3:3: pixel2 is \"\u{fffd}\": that is not UTF-8 text");

    fn range(value: &str) -> String {
        format!("t.csv:3:3: pixel2 is \"{value}\": pixel values are 0 to 255")
    }
}

#[test]
fn rows_of_the_wrong_length_are_named() {
    let good = text(&["1", "2"], "\n");
    let longer = good.replacen("\n2,", "\n2,0,", 1);
    assert_eq!(message(longer), "t.csv:3: the row has 786 columns, not 785 (label and 784 pixels)");
    let cut = &good[..good.len() - 10];
    assert!(message(cut).starts_with("t.csv:3: the row has 78"), "{}", message(cut));
    assert!(message(format!("{good}1\n")).starts_with("t.csv:4: the row has 1 column, not 785"));
}

#[test]
fn a_wrong_header_is_named() {
    let good = text(&["1"], "\n");
    assert_eq!(message(""), "t.csv: the file is empty");
    assert_eq!(message("\u{feff}"), "t.csv: the file is empty");
    assert_eq!(message("\n \n"), "t.csv:2: the header is missing: the first line is empty");
    assert_eq!(message(text(&[], "\n")), "t.csv:1: there is a header but no row of data");
    let row = good.split_once('\n').unwrap().1;
    assert_eq!(message(row), "t.csv:1: the header is missing: the first line is numbers");
    assert_eq!(
        message(good.replacen("pixel7,", "pixel8,", 1)),
        "t.csv:1:8: the header has \"pixel8\" where pixel7 must be"
    );
    assert_eq!(
        message(good.replacen(",pixel784", "", 1)),
        "t.csv:1: the header has 784 columns, not 785"
    );
    assert_eq!(
        message(good.replacen(",pixel784", ",pixel784,more", 1)),
        "t.csv:1: the header has 786 columns, not 785"
    );
    let html = message("<!DOCTYPE html>\n<html>");
    assert_eq!(html, "t.csv: it is a web page, not CSV text");
}

#[test]
fn broken_gzip_and_endless_lines_are_errors() {
    let packed = gzip(text(&["1"; 50], "\n").as_bytes());
    let cut = message(&packed[..packed.len() / 2]);
    assert!(cut.contains("the gzip data ends too early"), "{cut}");
    let mut damaged = packed.clone();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 20].fill(0xff);
    let damage = message(&damaged);
    assert!(damage.contains("gzip data"), "{damage}");
    assert!(message(vec![b'x'; 2 * BLOCK]).contains("the line is longer than 256 kB"));
    // Also where a line does end, before it is taken apart.
    let long = ",".repeat(BLOCK / 2) + "\n";
    assert!(message(&long).starts_with("t.csv:1: the line is longer"), "{}", message(&long));
    let good = text(&["1", "2"], "\n");
    let error = message(format!("{good}{long}"));
    assert!(error.starts_with("t.csv:4: the line is longer"), "{error}");
}
