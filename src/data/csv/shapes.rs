//! CSV files as programs write them: those that say the same give the same table, and what is
//! refused is called what it is.

use std::io::Write;

use super::*;

/// A file of three rows: columns separated by `separator`, each field as `field` writes it.
fn file(separator: &str, field: impl Fn(&str) -> String) -> String {
    let names = (1..=PIXELS).map(|pixel| format!("pixel{pixel}"));
    let mut lines = vec![["label".to_owned()].into_iter().chain(names).collect::<Vec<_>>()];
    for (row, label) in ["3", "24", "0"].iter().enumerate() {
        let pixels = (0..PIXELS).map(|pixel| ((row + pixel) % 256).to_string());
        lines.push([(*label).to_owned()].into_iter().chain(pixels).collect());
    }
    lines
        .iter()
        .map(|line| line.iter().map(|text| field(text)).collect::<Vec<_>>().join(separator) + "\n")
        .collect()
}

fn plain() -> String {
    file(",", str::to_owned)
}

/// Each line changed.
fn lines(text: &str, change: impl Fn(usize, &str) -> String) -> String {
    text.lines().enumerate().map(|(number, line)| change(number, line) + "\n").collect()
}

fn is_number(text: &str) -> bool {
    text.parse::<f64>().is_ok()
}

fn read(bytes: impl AsRef<[u8]>) -> Result<Table, DataError> {
    parse_csv(bytes.as_ref(), "t.csv")
}

#[track_caller]
fn same(bytes: impl AsRef<[u8]>) {
    let table = read(bytes).unwrap_or_else(|error| panic!("{error} ({:?})", error.help()));
    assert_eq!(table, read(plain()).unwrap());
}

/// The message, which comes with help.
#[track_caller]
fn refused(bytes: impl AsRef<[u8]>) -> String {
    let error = read(bytes).unwrap_err();
    assert!(error.help().is_some(), "{error}");
    error.to_string()
}

#[test]
fn separators_quotes_and_spaces_do_not_matter() {
    for separator in [",", ";", "\t", "|", " ", ", ", "; ", " , ", "\t "] {
        same(file(separator, str::to_owned));
    }
    same(file(",", |text| format!("\"{text}\"")));
    same(file(";", |text| format!(" \"{text}\"")));
    same(file(",", |text| format!("'{text}'")));
    same(file(",", |text| if is_number(text) { text.to_owned() } else { format!("\"{text}\"") }));
    same(plain().replace("label", "Label").replace("pixel", "PIXEL"));
    // Empty lines count.
    for (blank, line) in
        [(format!("\n \n{}", plain()), 5), (plain().replace("\n24,", "\n  \n24,"), 4)]
    {
        let table = read(blank).unwrap();
        assert_eq!(table.pixels, read(plain()).unwrap().pixels);
        assert_eq!((&table.labels[..], table.first_twenty_four), (&[3, 24, 0][..], Some(line)));
    }
}

#[test]
fn whole_numbers_may_be_written_as_others() {
    let numbers = |change: &dyn Fn(&str) -> String| {
        file(",", |text| if is_number(text) { change(text) } else { text.to_owned() })
    };
    same(numbers(&|text| format!("{text}.0")));
    same(numbers(&|text| format!("{:.18e}", text.parse::<f64>().unwrap())));
    same(numbers(&|text| format!("{text:0>3}")));
    same(numbers(&|text| format!("+{text}")));
    // A decimal comma, where it does not separate.
    same(file(";", |text| if is_number(text) { format!("{text},0") } else { text.to_owned() }));
    // One row alone, among those that are read the fast way.
    same(lines(&plain(), |number, line| match number {
        2 => line.replace(',', ".0,"),
        _ => line.to_owned(),
    }));
}

#[test]
fn columns_that_number_the_rows_are_passed_over() {
    let before = |name: &str, number: &dyn Fn(usize) -> String| {
        lines(&plain(), |line, text| match line {
            0 => format!("{name},{text}"),
            _ => format!("{},{text}", number(line - 1)),
        })
    };
    for name in ["", "Unnamed: 0", "\"\"", "index"] {
        same(before(name, &|row| row.to_string()));
    }
    // R quotes and counts from 1; what was saved twice has two.
    same(before("", &|row| format!("\"{}\"", row + 1)));
    same(before("Unnamed: 0.1,Unnamed: 0", &|row| format!("{row},{row}")));
    let error = before("", &|row| if row == 1 { "1,1".into() } else { row.to_string() });
    let error = read(error).unwrap_err().to_string();
    assert_eq!(error, "t.csv:3: the row has 787 columns, not 786, as the header has");
    let error = before("", &|row| row.to_string()).replacen(",24,1,", ",24,x,", 1);
    let error = read(error).unwrap_err().to_string();
    assert_eq!(error, "t.csv:3:3: pixel1 is \"x\": that is not a whole number");
    let error = refused(before("file", &|row| row.to_string()));
    assert_eq!(error, "t.csv:1:1: the header has \"file\" where label must be");
}

#[test]
fn the_label_may_be_last_and_empty_columns_may_follow() {
    let last = lines(&plain(), |_, line| {
        let (label, pixels) = line.split_once(',').unwrap();
        format!("{pixels},{label}")
    });
    same(&last);
    let error = read(last.replacen(",24\n", ",25\n", 1)).unwrap_err();
    assert!(error.to_string().starts_with("t.csv:3:785: label is \"25\""), "{error}");
    same(lines(&plain(), |_, line| format!("{line},")));
    same(lines(&plain(), |_, line| format!("{line}, ,")));
    let error = lines(&plain(), |number, line| match number {
        2 => format!("{line},7"),
        _ => format!("{line},"),
    });
    let error = read(error).unwrap_err().to_string();
    assert_eq!(error, "t.csv:3:786: there is \"7\" in a column without a name");
}

#[test]
fn rows_with_more_columns_are_refused_whatever_the_surplus_is() {
    for surplus in [",", ",x", ",junk,\u{e9}", ", ", ",NaN,", ",\"\"", ",256", ",1"] {
        let columns = 785 + surplus.matches(',').count();
        for row in 1..=3 {
            let text = lines(&plain(), |number, line| match number {
                number if number == row => line.to_owned() + surplus,
                _ => line.to_owned(),
            });
            let error = read(text).unwrap_err();
            let message = format!(
                "t.csv:{}: the row has {columns} columns, not 785 (label and 784 pixels)",
                row + 1
            );
            assert_eq!(error.to_string(), message, "{surplus:?}");
        }
    }
    // Two rows in one line: a line end is lost, or a number and the next row's label are one.
    let glued = |between: &str| {
        let text = plain();
        let at = text.match_indices('\n').nth(1).unwrap().0;
        format!("{}{between}{}", &text[..at], &text[at + 1..])
    };
    let error = refused(glued(","));
    assert!(error.starts_with("t.csv:2: the row has 1570 columns, not 785"), "{error}");
    for between in ["", " ", "\0"] {
        let error = refused(glued(between));
        assert!(error.starts_with("t.csv:2: the row has 1569 columns, not 785"), "{error}");
    }
}

#[test]
fn encodings_and_line_ends_do_not_matter() {
    let text = plain();
    let units = |text: &str| text.encode_utf16().collect::<Vec<_>>();
    let little = |text: &str| units(text).iter().flat_map(|unit| unit.to_le_bytes()).collect();
    let big = |text: &str| units(text).iter().flat_map(|unit| unit.to_be_bytes()).collect();
    let utf8 = |text: &str| text.as_bytes().to_vec();
    type Encode<'a> = &'a dyn Fn(&str) -> Vec<u8>;
    let encodings: [Encode<'_>; 3] = [&utf8, &little, &big];
    for encode in encodings {
        for mark in ["", "\u{feff}"] {
            for end in ["\n", "\r\n", "\r"] {
                same(encode(&(mark.to_owned() + &text.replace('\n', end))));
            }
        }
    }
    same(text.replacen('\n', "\r\n", 2));
    // Lines are counted the same.
    let wrong = text.replacen("\n24,1,", "\n24,x,", 1).replace('\n', "\r");
    for encode in encodings {
        let error = read(encode(&wrong)).unwrap_err().to_string();
        assert_eq!(error, "t.csv:3:2: pixel1 is \"x\": that is not a whole number");
    }
    let mut cut: Vec<u8> = little(&text);
    cut.pop();
    assert_eq!(refused(cut), "t.csv:4: the UTF-16 text ends in the middle of a character");
    let wide: Vec<u8> = text.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
    assert_eq!(refused([&[0xff, 0xfe, 0, 0][..], &wide].concat()), "t.csv: it is UTF-32 text");
}

#[test]
fn headers_of_other_data_are_called_so() {
    let digits = |from: usize| {
        lines(&plain(), |number, line| match number {
            0 => (from..from + PIXELS)
                .fold("label".to_owned(), |line, p| line + &format!(",pixel{p}")),
            _ => line.to_owned(),
        })
    };
    same(digits(1));
    assert!(refused(digits(0)).contains("counts the pixels from 0, as Kaggle's Digit Recognizer"));
    let mnist = lines(&plain(), |number, line| match number {
        0 => (0..PIXELS)
            .fold("label".to_owned(), |line, p| line + &format!(",{}x{}", p / 28 + 1, p % 28 + 1)),
        _ => line.to_owned(),
    });
    assert!(refused(mnist).contains("that of MNIST's digits"));
    let without = plain().split_once('\n').unwrap().1.to_owned();
    assert_eq!(refused(without), "t.csv:1: the header is missing: the first line is numbers");
    let remark = refused(format!("# from Kaggle\n{}", plain()));
    assert_eq!(remark, "t.csv:1: the first line is a remark, not the header");
}

#[test]
fn values_that_are_wrong_in_a_known_way_come_with_what_mends_them() {
    let twice = plain() + &plain();
    let error = refused(&twice);
    assert!(error.starts_with("t.csv:5:1: label is \"label\": the line of names is here again"));
    let letters = refused(plain().replacen("\n24,", "\nY,", 1));
    assert_eq!(letters, "t.csv:3:1: label is \"Y\": labels are numbers, A = 0 to Y = 24");
    let divided = lines(&plain(), |number, line| match number {
        0 => line.to_owned(),
        _ => line.replacen(",7,", ",0.027451,", 1),
    });
    assert!(refused(divided).contains("were the pixels, 0 to 255, divided by 255?"));
    let error = |value: &str| {
        read(plain().replacen("\n24,1,", &format!("\n24,{value},"), 1)).unwrap_err().to_string()
    };
    assert!(
        error("NaN").ends_with("pixel1 is \"NaN\": the value is missing, there must be a number")
    );
    assert!(error("256.0").ends_with("pixel1 is \"256.0\": pixel values are 0 to 255"));
    assert!(error("16.5").ends_with("pixel1 is \"16.5\": that is not a whole number"));
    assert!(error("\"").ends_with("that is not a whole number"), "a stray quote joins no lines");
    let mixed = lines(&plain(), |number, line| match number {
        0 => line.to_owned(),
        _ => line.replace(',', ";"),
    });
    assert_eq!(refused(mixed), "t.csv:2: the row has 1 column, not 785 (label and 784 pixels)");
}

#[test]
fn other_kinds_of_files_are_named() {
    let kinds: [(&[u8], &str); 12] = [
        (b"BZh91AY&SY", "a bzip2 file"),
        (b"\xfd7zXZ\0\0", "an xz file"),
        (b"\x28\xb5\x2f\xfd\x04", "a Zstandard file"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
        (b"PAR1\x15", "a Parquet file"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook"),
        (b"\x93NUMPY\x01", "a NumPy array"),
        (b"\0\0\x08\x03\0\0\xea\x60", "an IDX file as of the digits of MNIST"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "a pointer of Git LFS, not the file itself",
        ),
        (b"\x89PNG\r\n\x1a\n", "a PNG image"),
        (b" \n<html lang=\"en\">", "a web page"),
        (b"[{\"label\": 3}]", "JSON"),
    ];
    for (bytes, name) in kinds {
        assert_eq!(refused(bytes), format!("t.csv: it is {name}, not CSV text"));
        // Packed as well.
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(bytes).unwrap();
        let packed = packed.finish().unwrap();
        assert_eq!(refused(packed), format!("t.csv: it is {name}, not CSV text"));
    }
    let mut tar = vec![0; 512];
    tar[..8].copy_from_slice(b"data.csv");
    tar[257..262].copy_from_slice(b"ustar");
    assert_eq!(refused(tar), "t.csv: it is a tar archive, not CSV text");
}
