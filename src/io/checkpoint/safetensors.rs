//! Safetensors files, with PyTorch's keys.
//!
//! A file that `safetensors.torch.save_file(model.state_dict(), path)` wrote can be read, and
//! `load_file` reads ours.
//!
//! Our files carry a checksum of themselves, so that a byte that changed on a disk or on its way is
//! noticed. It stands among the metadata, which other readers of safetensors pass over:
//! `signet.sha256` is the sha256 of the whole file in which the 64 digits themselves are zeros.
//! (A file beside the file would not change at the same moment, and be forgotten in a copy.)
//! `signet.checksum` says that there is one: were it the only word, a changed letter in it would
//! make the file look like one that never had a checksum.

use super::{invalid, keys};
use crate::files::{write_atomic, write_keeping};
use crate::nn::{StateDict, Value, Values};
use crate::support::words::hex;
use crate::{Result, Shape};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Words beside the tensors of a file.
pub type Metadata = HashMap<String, String>;

/// The key of the checksum among the words.
const SHA256: &str = "signet.sha256";
/// The key that says that there is one.
const HAS_CHECKSUM: &str = "signet.checksum";
/// The word that says whose layout the tensors have, and its value for PyTorch's. Programs of the
/// Hugging Face family read no file without it.
const FORMAT: [&str; 2] = ["format", "pt"];
/// The checksum while it is not known.
const UNKNOWN: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// Bytes of a file before its header: the header's length.
const LENGTH: usize = size_of::<u64>();

/// Writes `dict` and `metadata` to `path`, whole or not at all.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io) when the file cannot be written; what was there stays then.
pub fn save(path: &Path, dict: &StateDict, metadata: Option<Metadata>) -> Result<()> {
    write_atomic(path, &serialize(path, dict, metadata.unwrap_or_default())?)
}

/// As [`save`], and what was there before becomes `previous`: at every moment one of both files is
/// there and whole.
///
/// # Errors
/// As [`save`].
pub(crate) fn save_keeping(
    path: &Path,
    previous: &Path,
    dict: &StateDict,
    metadata: Metadata,
) -> Result<()> {
    write_keeping(path, previous, &serialize(path, dict, metadata)?)
}

/// The bytes of a file. The crate `safetensors` writes words in any order; here they are sorted, so
/// that the same values are the same bytes.
fn serialize(path: &Path, dict: &StateDict, metadata: Metadata) -> Result<Vec<u8>> {
    let mut words: BTreeMap<String, String> = metadata.into_iter().collect();
    let [format, pytorch] = FORMAT;
    words.entry(format.into()).or_insert_with(|| pytorch.into());
    words.insert(SHA256.into(), UNKNOWN.into());
    words.insert(HAS_CHECKSUM.into(), "sha256".into());
    let mut header = serde_json::Map::from_iter([("__metadata__".into(), words_json(words))]);
    let mut tensors: Vec<_> = dict.iter().map(|(name, value)| (name, raw(value), value)).collect();
    // Larger elements first keep all of them aligned, as the format asks.
    tensors.sort_by_key(|(name, (dtype, _), _)| (std::cmp::Reverse(dtype.bitsize()), *name));
    let mut data = Vec::new();
    for (name, (dtype, bytes), value) in tensors {
        let start = data.len();
        data.extend_from_slice(bytes);
        let entry = serde_json::json!({
            "dtype": dtype.to_string(),
            "shape": value.shape.dims(),
            "data_offsets": [start, data.len()],
        });
        if header.insert(name.to_owned(), entry).is_some() {
            return Err(invalid(path, format!("two values are called {name}")));
        }
    }
    let mut header = serde_json::Value::Object(header).to_string();
    header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(LENGTH) - header.len()));
    let mut file = Vec::with_capacity(LENGTH + header.len() + data.len());
    file.extend_from_slice(&(header.len() as u64).to_le_bytes());
    file.extend_from_slice(header.as_bytes());
    file.extend_from_slice(&data);
    if let Some(at) = find_digits(&file, UNKNOWN) {
        let digits = checksum(&file, at);
        file[at..at + digits.len()].copy_from_slice(digits.as_bytes());
    }
    Ok(file)
}

fn words_json(words: BTreeMap<String, String>) -> serde_json::Value {
    words.into_iter().map(|(key, word)| (key, serde_json::Value::String(word))).collect()
}

/// The element type and the bytes of a value.
fn raw(value: &Value) -> (Dtype, &[u8]) {
    match &value.values {
        Values::F32(values) => (Dtype::F32, bytemuck::cast_slice(values)),
        Values::F64(values) => (Dtype::F64, bytemuck::cast_slice(values)),
        Values::I64(values) => (Dtype::I64, bytemuck::cast_slice(values)),
    }
}

/// Where in a file the checksum stands, if it is `digits`.
fn find_digits(file: &[u8], digits: &str) -> Option<usize> {
    let word = format!("\"{SHA256}\":\"{digits}\"");
    let at = memchr::memmem::find(file, word.as_bytes())?;
    Some(at + word.len() - 1 - digits.len())
}

/// The sha256 of a file whose checksum stands at `at`, as if that were zeros.
fn checksum(file: &[u8], at: usize) -> String {
    let mut hash = Sha256::new();
    hash.update(&file[..at]);
    hash.update(UNKNOWN);
    hash.update(&file[at + UNKNOWN.len()..]);
    hex(&hash.finalize())
}

/// Whether the bytes of a file are those that were written; files of others do not tell.
fn is_unchanged(file: &[u8], words: &Metadata) -> bool {
    match (words.get(SHA256), words.get(HAS_CHECKSUM)) {
        (None, None) => true,
        (Some(digits), Some(_)) if digits.len() == UNKNOWN.len() => {
            find_digits(file, digits).is_some_and(|at| checksum(file, at) == *digits)
        }
        _ => false,
    }
}

/// Whether a file begins as these do: with the length of a header, and its brace.
pub(super) fn is_likely(bytes: &[u8]) -> bool {
    // The header's length is a number of eight bytes, the upper of which are zeros.
    matches!(bytes, [_, _, _, _, 0, 0, 0, 0, b'{', ..])
}

/// Reads the bytes of a file; `path` is for messages.
///
/// # Errors
/// [`Error::Checkpoint`](crate::Error::Checkpoint) when it is damaged, no safetensors file, or holds
/// another element type.
pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<(StateDict, Metadata)> {
    let damaged = |e| {
        let message =
            format!("is no safetensors file, or a damaged one ({e}); was it copied whole?");
        invalid(path, message)
    };
    let file = SafeTensors::deserialize(bytes).map_err(damaged)?;
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
    let mut words = header.metadata().clone().unwrap_or_default();
    if !is_unchanged(bytes, &words) {
        let message = "is damaged: its sha256 is not the one that it was written with; copy it again \
                       from where it is whole";
        return Err(invalid(path, message));
    }
    let [format, pytorch] = FORMAT;
    words.retain(|key, word| {
        key != SHA256 && key != HAS_CHECKSUM && (key != format || word != pytorch)
    });
    let mut values = file
        .iter()
        .map(|(name, view)| Ok((name.to_string(), value(path, name, &view)?)))
        .collect::<Result<Vec<_>>>()?;
    // The order of the layers, as far as names tell: a file has one of its own.
    values.sort_by(|(a, _), (b, _)| keys::natural(a, b));
    Ok((values.into_iter().collect(), words))
}

fn value(path: &Path, name: &str, view: &TensorView<'_>) -> Result<Value> {
    // Not a cast: the bytes of a file need not be aligned.
    fn read<E: bytemuck::Pod, V>(bytes: &[u8], convert: impl Fn(E) -> V) -> Vec<V> {
        bytes.chunks_exact(size_of::<E>()).map(bytemuck::pod_read_unaligned).map(convert).collect()
    }
    let data = view.data();
    let values = match view.dtype() {
        Dtype::F32 => Values::F32(read::<f32, _>(data, |x| x)),
        Dtype::F64 => Values::F64(read::<f64, _>(data, |x| x)),
        Dtype::I64 => Values::I64(read::<i64, _>(data, |x| x)),
        Dtype::I32 => Values::I64(read(data, |x: i32| i64::from(x))),
        Dtype::F16 => Values::F32(read(data, half::f16::to_f32)),
        Dtype::BF16 => Values::F32(read(data, half::bf16::to_f32)),
        other => {
            let message = format!(
                "{name} is of type {other:?}; F32, F64, F16, BF16, I64 and I32 can be read"
            );
            return Err(invalid(path, message));
        }
    };
    Ok(Value { shape: Shape::from(view.shape()), values })
}

#[cfg(test)]
mod tests {
    use super::super::load;
    use super::*;
    use half::{bf16, f16};

    fn file(tensors: &[(&str, Dtype, Vec<usize>, Vec<u8>)]) -> tempfile::NamedTempFile {
        let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
            (*name, TensorView::new(*dtype, shape.clone(), bytes).unwrap())
        });
        let bytes = safetensors::serialize(views, None).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    /// Every number of both formats has a float32.
    #[test]
    fn half_precision_is_read_exactly() {
        let values = [1.0, -0.5, 3.140625, 0.0, f32::powi(2.0, -14), f32::powi(2.0, -24)];
        let f16s: Vec<u8> = values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect();
        let largest = f32::from_bits(0x7f7f_0000);
        let wide = [1.0, -0.5, 3.140625, 0.0, largest, 1e-40];
        let bf16s: Vec<u8> = wide.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes()).collect();
        let file = file(&[
            ("bf16", Dtype::BF16, vec![6], bf16s),
            ("f16", Dtype::F16, vec![2, 3], f16s),
            ("f32", Dtype::F32, vec![1], 0.1_f32.to_le_bytes().to_vec()),
        ]);
        let (dict, _) = load(file.path()).unwrap();
        let value = |name| dict.get(name).unwrap();
        assert_eq!(value("f16").shape, Shape::from([2, 3]));
        assert_eq!(value("f16").values, Values::F32(values.to_vec()));
        let wide = Values::F32([&wide[..5], &[bf16::from_f32(1e-40).to_f32()]].concat());
        assert_eq!(value("bf16").values, wide);
        assert_eq!(value("f32").values, Values::F32(vec![0.1]));
    }

    #[test]
    fn another_type_is_named_with_its_tensor() {
        for (dtype, name) in [(Dtype::U8, "U8"), (Dtype::I16, "I16"), (Dtype::F8_E4M3, "F8_E4M3")] {
            let bytes = vec![0; 2 * dtype.bitsize() / 8];
            let file = file(&[("layers.0.weight", dtype, vec![2], bytes)]);
            let message = load(file.path()).unwrap_err().to_string();
            for part in ["layers.0.weight", name, "F32, F64, F16, BF16, I64 and I32 can be read"] {
                assert!(message.contains(part), "{message}");
            }
        }
    }

    fn small() -> (StateDict, Metadata) {
        let value = |shape: &[usize], values| Value { shape: Shape::from(shape), values };
        let dict = [
            ("layer.weight".to_owned(), value(&[2, 3], Values::F32(vec![0.5; 6]))),
            ("count".to_owned(), value(&[], Values::I64(vec![7]))),
            ("wide".to_owned(), value(&[2], Values::F64(vec![-1.0, 1e300]))),
            ("none".to_owned(), value(&[0], Values::F32(vec![]))),
        ];
        let words = [("some.words", "{\"classes\":[\"A\"]}"), ("more", "")];
        let words = words.map(|(key, word)| (key.to_owned(), word.to_owned()));
        (dict.into_iter().collect(), words.into_iter().collect())
    }

    #[test]
    fn what_is_saved_comes_back_and_other_readers_understand_it() {
        let folder = tempfile::tempdir().unwrap();
        let [path, again] = ["a", "b"].map(|name| folder.path().join(name));
        let (dict, words) = small();
        save(&path, &dict, Some(words.clone())).unwrap();
        save(&again, &dict, Some(words.clone())).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes, std::fs::read(&again).unwrap(), "the same values, other bytes");
        let (read, read_words) = load(&path).unwrap();
        assert_eq!(read_words, words);
        assert_eq!(read.iter().count(), 4);
        for (name, value) in dict.iter() {
            assert_eq!(read.get(name), Some(value));
        }
        let (length, header) = SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(length % LENGTH, 0);
        assert_eq!(header.metadata().as_ref().unwrap()["more"], "");
        // Of each type as many bytes as the elements before it leave aligned.
        for (name, info) in header.tensors() {
            assert_eq!(8 * info.data_offsets.0 % info.dtype.bitsize(), 0, "{name}");
        }
        let twice = [&dict, &dict].into_iter().flat_map(StateDict::iter);
        let twice = twice.map(|(name, value)| (name.to_owned(), value.clone())).collect();
        assert!(save(&path, &twice, None).unwrap_err().to_string().contains("two values"));
    }

    /// Each bit of the file, and each length that it could be cut to.
    #[test]
    fn every_changed_bit_and_every_missing_byte_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let (dict, words) = small();
        save(&path, &dict, Some(words)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let refused = |what: &str, bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            let error = load(&path).expect_err(what).to_string();
            assert!(error.starts_with(&path.display().to_string()), "{what}: {error}");
            assert!(error.contains("damaged") || error.contains("can be read"), "{what}: {error}");
        };
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut changed = whole.clone();
                changed[at] ^= 1 << bit;
                refused(&format!("bit {bit} of byte {at}"), &changed);
            }
            refused(&format!("{at} bytes"), &whole[..at]);
        }
        refused("a byte too many", &[&whole[..], b" "].concat());
    }
}
