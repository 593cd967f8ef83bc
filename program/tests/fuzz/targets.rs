//! The readers: files to begin with, and what keeps a changed file readable, so that changes get
//! past checksums to the code behind them.

use crate::common::photos::{bad_files, photo_cases};
use crate::common::pth::{self, Floats, Pickle, ordered_dict};
use crate::mutate::{below, changed};
use flate2::{Compression, Crc, write::GzEncoder};
use image::ImageFormat;
use signet::data::parse_csv;
use signet::device::cuda::KernelCache;
use signet::nn::{StateDict, Value, Values};
use signet::rng::Sequence;
use signet::train::TrainState;
use signet::{Shape, checkpoint};
use signet_cli::data::read_folder;
use signet_cli::photo::{Crop, decode, is_animation};
use std::io::{Cursor, Read, Write};
use std::path::Path;
use zip::{CompressionMethod, ZipArchive};

/// A reader of bytes from outside.
pub struct Target {
    /// Also the name of its folders.
    pub name: &'static str,
    /// Bytes of memory that a run may take.
    pub memory: usize,
    /// Files to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// A changed file, from those known.
    pub change: fn(&[Vec<u8>], &mut Sequence) -> Vec<u8>,
    /// Reads, and says what came of it.
    pub read: fn(&[u8]) -> String,
}

/// Says how much came of it, to a power of two, or the error.
fn outcome<E: std::fmt::Display>(read: Result<usize, E>) -> String {
    match read {
        // Letters, for digits are left out of a class.
        Ok(size) => format!("ok {}", "I".repeat((usize::BITS - size.leading_zeros()) as usize)),
        Err(error) => error.to_string(),
    }
}

// CSV, plain and packed: two blocks of 4 MB and the rows of 64 kB unpacked a thousandfold.

pub const CSV: Target = Target {
    name: "csv",
    memory: 96 << 20,
    seeds: || {
        let plain = text(&["3", "24"], "\n");
        let replaced =
            |old: &str, new: &str| String::from_utf8_lossy(&plain).replace(old, new).into_bytes();
        let plain_files =
            [text(&["0", "24", "7"], "\r\n"), text(&["9"], "\n"), b"\xef\xbb\xbflabel".into()];
        // As other programs write it: separators, quotes, numbers of rows, parts of numbers, CR.
        let others = [
            replaced(",", ";"),
            replaced(",", "\" \t\""),
            replaced("\n", "\r"),
            replaced("label", "Unnamed: 0,label"),
            [&b"index,"[..], &replaced("\n", "\n1,")].concat(),
            replaced(",7,", ",7.0,"),
            replaced("\n", ",\n"),
        ];
        plain_files.into_iter().chain(others).collect()
    },
    change: |pool, random| changed(pool, &CSV_WORDS, random),
    read: read_csv,
};

const CSV_WORDS: [&[u8]; 24] = [
    b";",
    b"\t",
    b" ",
    b"'",
    b".0",
    b",0",
    b"Unnamed: 0",
    b"1.07e+02",
    b"\0",
    b"\xff\xfe",
    b",",
    b"\n",
    b"\r\n",
    b"\r",
    b"\"",
    b"label",
    b"pixel1",
    b"256",
    b"-1",
    b"1e9",
    b"\xef\xbb\xbf",
    b"\xff",
    b"0,0,0,0,0,0,0,0",
    b"\x1f\x8b",
];

fn text(labels: &[&str], end: &str) -> Vec<u8> {
    let mut text = "label".to_owned();
    (1..=784).for_each(|pixel| text += &format!(",pixel{pixel}"));
    for label in labels {
        text += end;
        text += label;
        (0..784).for_each(|pixel| text += &format!(",{}", pixel * 7 % 256));
    }
    (text + end).into_bytes()
}

fn read_csv(bytes: &[u8]) -> String {
    let table = parse_csv(bytes, "t.csv");
    if let Ok(table) = &table {
        assert_eq!(table.pixels.len(), 784 * table.labels.len());
        assert!(table.labels.iter().all(|label| *label <= 24));
    }
    outcome(table.map(|table| table.labels.len()))
}

pub const GZIP: Target = Target {
    name: "gzip",
    memory: 96 << 20,
    seeds: || {
        let row = text(&["3"], "\n");
        // Many rows in few bytes.
        let bomb = [&row[..], &row[row.len() / 3..].repeat(4)].concat();
        vec![pack(&text(&["0", "24"], "\r\n"), 9), pack(&row, 0), pack(&bomb, 6), pack(b"", 1)]
    },
    change: |pool, random| match random.next_u32() % 16 {
        0..8 => changed(pool, &[b"\x1f\x8b\x08", b"\0\0\xff\xff", b"\x03\0"], random),
        // The text changed and packed again, in one member or several.
        8..15 => {
            let bytes = unpacked(&pool[below(random, pool.len())]);
            let bytes = changed(&[bytes], &CSV_WORDS, random);
            let (first, second) = bytes.split_at(below(random, bytes.len()));
            let level = random.next_u32() % 10;
            [pack(first, level), pack(second, level)].concat()
        }
        // As much as fits a small file.
        _ => {
            let unit = unpacked(&pool[below(random, pool.len())]);
            let unit = if unit.is_empty() { vec![below(random, 256) as u8] } else { unit };
            let times = below(random, (8 << 20) / unit.len());
            let mut bytes = pack(&unit.repeat(times), 1);
            if random.next_u32() % 2 == 0 {
                bytes = changed(&[bytes], &[], random);
            }
            bytes
        }
    },
    read: read_csv,
};

fn pack(bytes: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The beginning of what is in a packed file, as far as it can be read.
fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    // What is damaged ends early.
    _ = flate2::read::MultiGzDecoder::new(bytes).take(32 << 10).read_to_end(&mut text);
    text
}

pub const UTF16: Target = Target {
    name: "utf16",
    memory: 96 << 20,
    seeds: || {
        let text = text(&["0", "24"], "\r\n");
        let letters = "\u{feff}label,😀,\u{e9}\n".as_bytes();
        vec![utf16(&text, true), utf16(&text, false), utf16(letters, true), utf16(letters, false)]
    },
    change: |pool, random| match random.next_u32() % 4 {
        0 => changed(pool, &[b"\xff\xfe", b"\xfe\xff", b"\x00\xd8", b"\xdc\x00", b"\0"], random),
        // The text changed, and written as UTF-16 again.
        _ => {
            let bytes = &pool[below(random, pool.len())];
            let is_little = bytes.get(1).is_some_and(|byte| *byte == 0 || *byte == 0xfe);
            let units = bytes.chunks_exact(2).map(|unit| match is_little {
                true => u16::from_le_bytes([unit[0], unit[1]]),
                false => u16::from_be_bytes([unit[0], unit[1]]),
            });
            let text: String = char::decode_utf16(units).map(|c| c.unwrap_or('?')).collect();
            let text = changed(&[text.into_bytes()], &CSV_WORDS, random);
            utf16(&text, random.next_u32() % 2 == 0)
        }
    },
    read: read_csv,
};

fn utf16(text: &[u8], is_little: bool) -> Vec<u8> {
    let text = String::from_utf8_lossy(text);
    let bytes = |unit: u16| if is_little { unit.to_le_bytes() } else { unit.to_be_bytes() };
    text.encode_utf16().flat_map(bytes).collect()
}

// Archives: what a list of files says, and what is in them.

pub const ZIP: Target = Target {
    name: "zip",
    memory: 96 << 20,
    seeds: || {
        let (train, test) = (text(&["3", "24"], "\n"), text(&["0"], "\r\n"));
        vec![
            archive(&[("sign_mnist_train.csv", &train), ("sign_mnist_test.csv", &test)], true),
            archive(&[("a/sign_mnist_valid.csv", &test), ("sign_mnist_train.csv", &train)], false),
            archive(&[("sign_mnist_train.csv", &pack(&train, 6))], true),
            archive(&[("xl/workbook.xml", b""), ("A/1.png", b"x")], true),
            archive(&[("../x.csv", b"label")], false),
        ]
    },
    change: |pool, random| match random.next_u32() % 4 {
        0..2 => changed(pool, &ZIP_WORDS, random),
        // Files that were changed, in a whole archive.
        2 => {
            let train = changed(&[text(&["3", "24"], "\n")], &CSV_WORDS, random);
            let test = changed(&[text(&["1"], "\n")], &CSV_WORDS, random);
            let is_packed = random.next_u32() % 2 == 0;
            archive(&[("sign_mnist_train.csv", &train), ("sign_mnist_test.csv", &test)], is_packed)
        }
        // Names that were changed; and as much as fits a small file.
        _ => {
            let name = changed(&[b"sign_mnist_train.csv".to_vec()], &ZIP_WORDS, random);
            let unit = text(&["7"], "\n");
            let many = unit.repeat(below(random, (8 << 20) / unit.len()));
            let name = String::from_utf8_lossy(&name).into_owned();
            let name = if name == "sign_mnist_test.csv" { String::new() } else { name };
            archive(&[(&name, &many), ("sign_mnist_test.csv", &unit)], true)
        }
    },
    read: |bytes| {
        let file = temporary_file();
        std::fs::write(file.path(), bytes).unwrap();
        let name = file.path().display().to_string();
        let from_file = read_folder(file.path()).map(|split| split.train.len() + split.valid.len());
        // What cannot be sought in goes another way to the one file in it.
        let outcomes = [outcome(from_file).replace(&name, ""), read_csv(bytes)];
        if outcomes[0].starts_with("ok") { outcomes[0].clone() } else { outcomes.join(" ") }
    },
};

const ZIP_WORDS: [&[u8]; 12] = [
    b"PK\x01\x02",
    b"PK\x03\x04",
    b"PK\x05\x06",
    b"PK\x06\x06",
    b"PK\x07\x08",
    b"\x01\0\x10\0",
    b"sign_mnist_train.csv",
    b"../",
    b"/",
    b".gz",
    b"\0",
    b"\\",
];

fn archive(files: &[(&str, &[u8])], is_packed: bool) -> Vec<u8> {
    use zip::CompressionMethod::{Deflated, Stored};
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default()
        .compression_method(if is_packed { Deflated } else { Stored })
        .compression_level(is_packed.then_some(1));
    for (name, bytes) in files {
        // Names that the writer refuses make an archive without the file.
        if writer.start_file(*name, options).is_ok() {
            writer.write_all(bytes).unwrap();
        }
    }
    writer.finish().unwrap().into_inner()
}

// safetensors: a model's values; a state, whose words must get past the checksum.

pub const SAFETENSORS: Target = Target {
    name: "safetensors",
    memory: 8 << 20,
    seeds: || {
        let mut plain = saved(&dict(), None);
        // As PyTorch writes it: without a checksum, which would keep changes from going further.
        plain = rewritten(&plain, |header| _ = header.remove("__metadata__"));
        vec![plain, saved(&dict(), Some(("signet.model", "{\"classes\":[\"A\"]}")))]
    },
    change: |pool, random| {
        let bytes = changed(pool, &TENSOR_WORDS, random);
        // A header whose length is right again.
        if random.next_u32() % 4 == 0 { bytes } else { measured(bytes) }
    },
    read: read_model,
};

/// Reads a model's file of any format: each tensor has the values that its shape says.
fn read_model(bytes: &[u8]) -> String {
    let read = checkpoint::parse(Path::new("m"), bytes);
    outcome(read.map(|(dict, _)| {
        dict.iter().fold(0, |sum, (_, value)| {
            assert_eq!(value.shape.numel(), value.values.len());
            sum + value.values.len()
        })
    }))
}

const TENSOR_WORDS: [&[u8]; 19] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b":",
    b",",
    b"null",
    b"0",
    b"18446744073709551615",
    b"4294967296",
    b"\"F32\"",
    b"\"BF16\"",
    b"\"I64\"",
    b"\"F4\"",
    b"\"shape\":[",
    b"\"data_offsets\":[",
    b"\"__metadata__\":{",
    b"-1",
];

fn dict() -> StateDict {
    let value = |shape: &[usize], values| Value { shape: Shape::from(shape), values };
    let dict = [
        ("0.weight".to_owned(), value(&[2, 3], Values::F32(vec![0.5; 6]))),
        ("count".to_owned(), value(&[], Values::I64(vec![7]))),
        ("wide".to_owned(), value(&[2, 1], Values::F64(vec![-1.0, 1e300]))),
    ];
    dict.into_iter().collect()
}

fn saved(dict: &StateDict, word: Option<(&str, &str)>) -> Vec<u8> {
    let file = temporary_file();
    let words = word.map(|(key, word)| [(key.to_owned(), word.to_owned())].into());
    checkpoint::save(file.path(), dict, words).unwrap();
    std::fs::read(file.path()).unwrap()
}

/// In memory where there is such a folder: syncing to a disk would take most of the time.
fn temporary_file() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new_in("/dev/shm");
    file.or_else(|_| tempfile::NamedTempFile::new()).unwrap()
}

/// A file with another header.
fn rewritten(
    bytes: &[u8],
    edit: impl FnOnce(&mut serde_json::Map<String, serde_json::Value>),
) -> Vec<u8> {
    let end = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header = serde_json::from_slice(&bytes[8..end]).unwrap();
    edit(&mut header);
    let mut header = serde_json::to_string(&header).unwrap();
    while header.len() % 8 > 0 {
        header.push(' ');
    }
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &bytes[end..]].concat()
}

/// A file whose first eight bytes say where the header's braces close.
fn measured(mut bytes: Vec<u8>) -> Vec<u8> {
    let mut depth = 0;
    let end = bytes.iter().skip(8).position(|byte| {
        depth += i32::from(*byte == b'{') - i32::from(*byte == b'}');
        depth <= 0
    });
    if let Some(end) = end {
        bytes[..8].copy_from_slice(&(end as u64 + 1).to_le_bytes());
    }
    bytes
}

// What torch.save writes. An archive of 64 kB may unpack to 4 MB, of which a tensor takes as much
// again for each of its elements' places.

pub const PTH: Target = Target {
    name: "pth",
    memory: 96 << 20,
    seeds: || {
        let dict = pth::entries(&dict());
        let mut seeds =
            vec![module(), pth::zipped(&files_in(&module()), CompressionMethod::Deflated)];
        for floats in [Floats::F32, Floats::F16, Floats::BF16] {
            seeds.extend([false, true].map(|legacy| pth::state_dict(&dict, floats, legacy)));
        }
        let begin = Pickle::default().raw(b"}(").text("epoch").int(3).text("state_dict");
        let (pickle, storages) = ordered_dict(begin, &dict, Floats::F64, false);
        seeds.push(pth::archive(&pickle.raw(b"u").stop(), &storages));
        seeds
    },
    change: |pool, random| match random.next_u32() % 8 {
        0 => changed(pool, &PICKLE_WORDS, random),
        // The files in an archive changed one by one, in an archive that is whole.
        kind => {
            let file = &pool[below(random, pool.len())];
            let mut files = files_in(file);
            if files.is_empty() {
                // The pickles of the older format, and numbers behind them.
                return changed(std::slice::from_ref(file), &PICKLE_WORDS, random);
            }
            let which = if kind < 6 { 0 } else { below(random, files.len()) };
            let bytes = std::mem::take(&mut files[which].1);
            files[which].1 = changed(&[bytes], &PICKLE_WORDS, random);
            let packed = [CompressionMethod::Stored, CompressionMethod::Deflated];
            pth::zipped(&files, packed[usize::from(kind == 7)])
        }
    },
    read: read_model,
};

const PICKLE_WORDS: [&[u8]; 26] = [
    b"(",
    b"t",
    b"R",
    b"\x81",
    b"b",
    b"Q",
    b"u",
    b"s",
    b"e",
    b"a",
    b"}",
    b"]",
    b")",
    b"N",
    b"2",
    b"q\0",
    b"h\0",
    b"\x94",
    b"K\x02",
    b"J\xff\xff\xff\x7f",
    b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"ccollections\nOrderedDict\n",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ctorch.nn.modules.container\nSequential\n",
    b"X\x08\0\0\0_modules",
    b"X\x0b\0\0\0_parameters",
];

/// A whole module with a part.
fn module() -> Vec<u8> {
    let class = |pickle: Pickle| {
        pickle.global("torch.nn.modules.container", "Sequential").raw(b")\x81q\x01}(")
    };
    let begin = class(Pickle::default()).text("_modules").raw(b"}").text("0");
    let (pickle, storages) = {
        let begin = class(begin).text("_buffers").raw(b"}").text("_parameters");
        ordered_dict(begin, &pth::entries(&dict()), Floats::F32, false)
    };
    pth::archive(&pickle.raw(b"ubsub").stop(), &storages)
}

/// The names and bytes of the files in an archive, the pickle first, as far as they can be read.
fn files_in(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let Ok(mut archive) = ZipArchive::new(Cursor::new(archive)) else { return Vec::new() };
    let mut files = Vec::new();
    for index in 0..archive.len().min(16) {
        let Ok(file) = archive.by_index(index) else { continue };
        let Ok(name) = file.name().map(|name| name.trim_start_matches("model/").to_owned()) else {
            continue;
        };
        let mut bytes = Vec::new();
        if file.take(64 << 10).read_to_end(&mut bytes).is_ok()
            && files.iter().all(|(known, _)| *known != name)
            && name.len() < 99
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '/' | '_'))
            && !name.ends_with('/')
        {
            files.push((name, bytes));
        }
    }
    files
}

pub const STATE: Target = Target {
    name: "state",
    memory: 8 << 20,
    seeds: || {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/state-words.json");
        vec![std::fs::read(path).unwrap()]
    },
    // The words alone are changed; the file around them is whole.
    change: |pool, random| changed(pool, &STATE_WORDS, random),
    read: |bytes| {
        let Ok(words) = std::str::from_utf8(bytes) else { return "no text".into() };
        let flat = |length: usize| Value {
            shape: Shape::from([length]),
            values: Values::F32(vec![0.25; length]),
        };
        let names = ["model.0.weight", "best.0.weight", "optimizer.exp_avg", "epoch.losses"];
        let dict = names.map(|name| (name.to_owned(), flat(3))).into_iter().collect();
        let file = temporary_file();
        std::fs::write(file.path(), saved(&dict, Some(("signet.state", words)))).unwrap();
        let read = TrainState::load::<signet_cli::runs::Record>(file.path());
        let text = outcome(read.map(|(state, _)| state.history.len()));
        text.replace(&file.path().display().to_string(), "")
    },
};

const STATE_WORDS: [&[u8]; 15] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b":",
    b",",
    b"null",
    b"1e999",
    b"-1",
    b"18446744073709551616",
    b"\"exp_avg\"",
    b"\"history\":",
    b"true",
    b"\\u0000",
];

// Photographs: 50 million pixels of four 16-bit numbers are 400 MB, and as many bytes again are
// taken while they become 8-bit ones.

pub const PHOTO: Target = Target {
    name: "photo",
    memory: 1 << 30,
    seeds: || {
        let good = photo_cases().into_iter().map(|case| case.file);
        let bad = bad_files().into_iter().map(|(_, file)| file);
        let picture = image::RgbImage::from_fn(7, 5, |x, y| image::Rgb([30 * x as u8, y as u8, 9]));
        let others = [ImageFormat::Gif, ImageFormat::Bmp, ImageFormat::Tiff].map(|format| {
            let mut file = std::io::Cursor::new(Vec::new());
            picture.write_to(&mut file, format).unwrap();
            file.into_inner()
        });
        good.chain(bad).chain(others).filter(|file| file.len() < 16 << 10).collect()
    },
    change: |pool, random| {
        let bytes = changed(pool, &PHOTO_WORDS, random);
        if random.next_u32() % 4 == 0 { bytes } else { with_crcs(bytes) }
    },
    read: |bytes| {
        let photo = decode(bytes);
        std::hint::black_box(is_animation(bytes));
        if let Ok(photo) = &photo {
            assert_eq!(photo.rgb.len(), 3 * photo.width * photo.height);
            // What is done with it next; the larger ones take their time.
            if photo.width * photo.height < 1 << 16 {
                for crop in [Crop::None, Crop::Center, Crop::Auto] {
                    std::hint::black_box(crop.image(photo));
                }
            }
        }
        outcome(photo.map(|photo| photo.rgb.len()))
    },
};

const PHOTO_WORDS: [&[u8]; 23] = [
    b"GIF89a",
    b"\x21\xf9\x04",
    b"BM",
    b"II*\0",
    b"MM\0*",
    b"ftypheic",
    b"IHDR",
    b"IDAT",
    b"IEND",
    b"PLTE",
    b"tRNS",
    b"eXIf",
    b"acTL",
    b"fcTL",
    b"iCCP",
    b"VP8 ",
    b"VP8L",
    b"VP8X",
    b"ALPH",
    b"\xff\xc0",
    b"\xff\xda",
    b"\xff\xd9",
    b"\xff\xe1",
];

/// A PNG file whose chunks have the checksums of what is in them.
fn with_crcs(mut bytes: Vec<u8>) -> Vec<u8> {
    if !bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        return bytes;
    }
    let mut at = 8;
    while let Some(length) = bytes.get(at..at + 4) {
        let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
        let Some(end) = at.checked_add(8 + length).filter(|end| end + 4 <= bytes.len()) else {
            break;
        };
        let mut crc = Crc::new();
        crc.update(&bytes[at + 4..end]);
        bytes[end..end + 4].copy_from_slice(&crc.sum().to_be_bytes());
        at = end + 4;
    }
    bytes
}

// Compiled kernels on disk.

pub const KERNEL: Target = Target {
    name: "kernel",
    memory: 1 << 20,
    seeds: || vec![entry(b"code"), entry(b"")],
    change: |pool, random| {
        let bytes = changed(pool, &[b"signet-kernel-1\n", b"signet-kernel-2\n"], random);
        // Whole again, as often as not.
        if random.next_u32() % 2 == 0 || bytes.len() < 48 { bytes } else { entry(&bytes[48..]) }
    },
    read: |bytes| match KernelCache::code(bytes) {
        Some(code) => {
            assert_eq!(entry(code), bytes, "another entry is taken for this");
            outcome(Ok::<_, String>(code.len()))
        }
        None => "not whole".into(),
    },
};

/// An entry of the cache: its mark, the sha256 of the code, the code.
fn entry(code: &[u8]) -> Vec<u8> {
    use sha2::{Digest, Sha256};
    [b"signet-kernel-1\n", &Sha256::digest(code)[..], code].concat()
}
