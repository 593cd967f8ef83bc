//! Files as `torch.save` writes them, made by hand: instructions of a pickle, and what is around them.

use half::{bf16, f16};
use signet::nn::{StateDict, Value, Values};
use std::io::{Cursor, Write};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// A pickle of protocol 2 under way.
#[derive(Debug, Clone)]
pub struct Pickle(pub Vec<u8>);

impl Default for Pickle {
    fn default() -> Self {
        Self(vec![0x80, 2])
    }
}

impl Pickle {
    /// Instructions as they are.
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// BINUNICODE
    pub fn text(self, text: &str) -> Self {
        self.raw(b"X").raw(&(text.len() as u32).to_le_bytes()).raw(text.as_bytes())
    }

    /// BININT
    pub fn int(self, number: i32) -> Self {
        self.raw(b"J").raw(&number.to_le_bytes())
    }

    /// GLOBAL
    pub fn global(self, module: &str, name: &str) -> Self {
        self.raw(format!("c{module}\n{name}\n").as_bytes())
    }

    /// A tuple of numbers.
    pub fn tuple(self, numbers: &[usize]) -> Self {
        numbers.iter().fold(self.raw(b"("), |pickle, &n| pickle.int(n as i32)).raw(b"t")
    }

    /// `_rebuild_tensor_v2` of a view of a storage; `legacy` storages say of what they are a view.
    pub fn tensor(self, storage: &Storage, view: &View, legacy: bool) -> Self {
        let pickle = self.global("torch._utils", "_rebuild_tensor_v2").raw(b"((");
        let pickle = pickle.text("storage").global("torch", storage.class).text(&storage.key);
        let pickle = pickle.text("cpu").int(storage.numel as i32);
        let pickle = if legacy { pickle.raw(b"N") } else { pickle };
        let pickle = pickle.raw(b"tQ").int(view.offset as i32);
        let pickle = pickle.tuple(&view.shape).tuple(&view.strides).raw(b"\x89");
        pickle.global("collections", "OrderedDict").raw(b")RtR")
    }

    /// STOP
    pub fn stop(self) -> Vec<u8> {
        self.raw(b".").0
    }
}

/// Numbers in a file.
#[derive(Debug, Clone)]
pub struct Storage {
    pub key: String,
    /// `FloatStorage`, …
    pub class: &'static str,
    pub numel: usize,
    pub bytes: Vec<u8>,
}

/// What a tensor sees of them.
#[derive(Debug, Clone)]
pub struct View {
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

/// The type in which floats are written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Floats {
    F32,
    F64,
    F16,
    BF16,
}

impl Storage {
    pub fn of(key: usize, values: &Values, floats: Floats) -> Self {
        fn bytes<const N: usize>(x: &[f64], convert: impl Fn(f64) -> [u8; N]) -> Vec<u8> {
            x.iter().flat_map(|&x| convert(x)).collect()
        }
        let x: Vec<f64> = values.to_float();
        let (class, bytes) = match (values, floats) {
            (Values::I64(x), _) => {
                ("LongStorage", x.iter().flat_map(|x| x.to_le_bytes()).collect())
            }
            (_, Floats::F32) => ("FloatStorage", bytes(&x, |x| (x as f32).to_le_bytes())),
            (_, Floats::F64) => ("DoubleStorage", bytes(&x, f64::to_le_bytes)),
            (_, Floats::F16) => ("HalfStorage", bytes(&x, |x| f16::from_f64(x).to_le_bytes())),
            (_, Floats::BF16) => {
                ("BFloat16Storage", bytes(&x, |x| bf16::from_f64(x).to_le_bytes()))
            }
        };
        Self { key: key.to_string(), class, numel: values.len(), bytes }
    }
}

/// The strides of a tensor without gaps.
pub fn contiguous(shape: &[usize]) -> Vec<usize> {
    (0..shape.len()).map(|i| shape[i + 1..].iter().product()).collect()
}

/// An archive of today's format.
pub fn archive(pickle: &[u8], storages: &[Storage]) -> Vec<u8> {
    let mut files = vec![("data.pkl".to_owned(), pickle), ("byteorder".to_owned(), &b"little"[..])];
    files.extend(storages.iter().map(|s| (format!("data/{}", s.key), &s.bytes[..])));
    files.push(("version".to_owned(), b"3\n"));
    zipped(&files, CompressionMethod::Stored)
}

/// A zip archive with files in a folder `model`.
pub fn zipped<B: AsRef<[u8]>>(files: &[(String, B)], method: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        let options = SimpleFileOptions::default().compression_method(method);
        zip.start_file(format!("model/{name}"), options).unwrap();
        zip.write_all(bytes.as_ref()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// What stands before the pickle of the object in the format before PyTorch 1.6.
pub fn legacy_head() -> Vec<u8> {
    let magic = Pickle::default().raw(b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19").stop();
    let machine = Pickle::default().raw(b"}").text("little_endian").raw(b"\x88s").stop();
    [magic, Pickle::default().int(1001).stop(), machine].concat()
}

/// A file of that format.
pub fn legacy(pickle: &[u8], storages: &[Storage]) -> Vec<u8> {
    let keys = storages.iter().fold(Pickle::default().raw(b"]("), |keys, s| keys.text(&s.key));
    let mut file = [legacy_head(), pickle.to_vec(), keys.raw(b"e").stop()].concat();
    for storage in storages {
        file.extend_from_slice(&(storage.numel as u64).to_le_bytes());
        file.extend_from_slice(&storage.bytes);
    }
    file
}

/// The instructions for an OrderedDict of these values, and their storages.
pub fn ordered_dict(
    begin: Pickle,
    dict: &[(String, Value)],
    floats: Floats,
    legacy: bool,
) -> (Pickle, Vec<Storage>) {
    let mut pickle = begin.global("collections", "OrderedDict").raw(b")R(");
    let mut storages = Vec::new();
    for (name, value) in dict {
        let storage = Storage::of(storages.len(), &value.values, floats);
        let shape = value.shape.dims().to_vec();
        let view = View { offset: 0, strides: contiguous(&shape), shape };
        pickle = pickle.text(name).tensor(&storage, &view, legacy);
        storages.push(storage);
    }
    (pickle.raw(b"u"), storages)
}

/// A file of a state dict.
pub fn state_dict(dict: &[(String, Value)], floats: Floats, is_legacy: bool) -> Vec<u8> {
    let (pickle, storages) = ordered_dict(Pickle::default(), dict, floats, is_legacy);
    let pickle = pickle.stop();
    if is_legacy { legacy(&pickle, &storages) } else { archive(&pickle, &storages) }
}

/// The entries of a dict, which can be changed.
pub fn entries(dict: &StateDict) -> Vec<(String, Value)> {
    dict.iter().map(|(name, value)| (name.to_owned(), value.clone())).collect()
}
