//! Models as safetensors files, with PyTorch's keys.
//!
//! A file that `safetensors.torch.save_file(model.state_dict(), path)` wrote can be read, and
//! `load_file` reads ours.

use crate::files::write_atomic;
use crate::nn::{StateDict, Value, Values};
use crate::{Error, Result, Shape};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::HashMap;
use std::path::Path;

/// Words beside the tensors of a file.
pub type Metadata = HashMap<String, String>;

/// Writes `dict` and `metadata` to `path`, whole or not at all.
///
/// # Errors
/// [`Error::Io`] when the file cannot be written; what was there stays then.
pub fn save(path: &Path, dict: &StateDict, metadata: Option<Metadata>) -> Result<()> {
    let views = dict
        .iter()
        .map(|(name, value)| {
            let (dtype, bytes): (_, &[u8]) = match &value.values {
                Values::F32(values) => (Dtype::F32, bytemuck::cast_slice(values)),
                Values::F64(values) => (Dtype::F64, bytemuck::cast_slice(values)),
                Values::I64(values) => (Dtype::I64, bytemuck::cast_slice(values)),
            };
            Ok((name, TensorView::new(dtype, value.shape.dims().to_vec(), bytes)?))
        })
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>();
    let bytes = views
        .and_then(|views| safetensors::serialize(views, metadata))
        .map_err(|e| invalid(path, format!("cannot be written as safetensors: {e}")))?;
    write_atomic(path, &bytes)
}

/// Reads a safetensors file: its tensors (F32, F64, F16, BF16 and I64) and its metadata.
///
/// # Errors
/// [`Error::Io`] when it cannot be read, [`Error::Checkpoint`] when it is damaged, no safetensors
/// file, or holds another element type.
pub fn load(path: &Path) -> Result<(StateDict, Metadata)> {
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    let damaged = |e| {
        let message =
            format!("is no safetensors file, or a damaged one ({e}); was it copied whole?");
        invalid(path, message)
    };
    let file = SafeTensors::deserialize(&bytes).map_err(damaged)?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(damaged)?;
    let mut values = file
        .iter()
        .map(|(name, view)| Ok((name.to_string(), value(path, name, &view)?)))
        .collect::<Result<Vec<_>>>()?;
    values.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok((values.into_iter().collect(), header.metadata().clone().unwrap_or_default()))
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
        Dtype::F16 => Values::F32(read(data, half::f16::to_f32)),
        Dtype::BF16 => Values::F32(read(data, half::bf16::to_f32)),
        other => {
            let message =
                format!("{name} is of type {other:?}; F32, F64, F16, BF16 and I64 can be read");
            return Err(invalid(path, message));
        }
    };
    Ok(Value { shape: Shape::from(view.shape()), values })
}

/// A [`Error::Checkpoint`].
pub(crate) fn invalid(path: &Path, message: impl Into<String>) -> Error {
    Error::Checkpoint { path: path.to_path_buf(), message: message.into() }
}

#[cfg(test)]
mod tests {
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
        for (dtype, name) in [(Dtype::U8, "U8"), (Dtype::I32, "I32"), (Dtype::F8_E4M3, "F8_E4M3")] {
            let bytes = vec![0; 2 * dtype.bitsize() / 8];
            let file = file(&[("layers.0.weight", dtype, vec![2], bytes)]);
            let message = load(file.path()).unwrap_err().to_string();
            for part in ["layers.0.weight", name, "F32, F64, F16, BF16 and I64 can be read"] {
                assert!(message.contains(part), "{message}");
            }
        }
    }
}
