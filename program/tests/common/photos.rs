//! Reading `tests/fixtures/photos.safetensors`: image files, and what PIL makes of them.

use super::root::root;
use safetensors::SafeTensors;

/// A tensor of bytes: its key, its shape, its elements.
pub type Bytes = (String, Vec<usize>, Vec<u8>);

/// All tensors, sorted by key.
fn tensors() -> Vec<Bytes> {
    let path = root().join("tests/fixtures/photos.safetensors");
    let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = |(key, view): (&str, safetensors::tensor::TensorView<'_>)| {
        (key.to_owned(), view.shape().to_vec(), view.data().to_vec())
    };
    let mut tensors: Vec<Bytes> = file.iter().map(tensor).collect();
    tensors.sort();
    tensors
}

/// An image file, and what PIL makes of it.
pub struct PhotoCase {
    /// Its name, which begins with how near one must come: `exact`, `near` or `lossy`.
    pub name: String,
    /// The file.
    pub file: Vec<u8>,
    /// Rows and columns of the picture.
    pub shape: Vec<usize>,
    /// The picture, grey.
    pub grey: Vec<u8>,
    /// That, 28x28.
    pub small: Vec<u8>,
}

/// The files that can be read.
pub fn photo_cases() -> Vec<PhotoCase> {
    let tensors = tensors();
    let find = |name: &str, part: &str| {
        let key = format!("{name}/{part}");
        tensors.iter().find(|(known, ..)| *known == key).unwrap_or_else(|| panic!("no {key}"))
    };
    let names = tensors.iter().filter_map(|(key, ..)| key.strip_suffix("/file"));
    let case = |name: &str| {
        let (_, shape, grey) = find(name, "grey").clone();
        let [file, small] = ["file", "small"].map(|part| find(name, part).2.clone());
        PhotoCase { name: name.to_owned(), file, shape, grey, small }
    };
    names.map(case).collect()
}

/// The bytes of the case `name`.
pub fn photo_file(name: &str) -> Vec<u8> {
    photo_cases().into_iter().find(|case| case.name == name).expect("such a case").file
}

/// The files that cannot be read: name and bytes.
pub fn bad_files() -> Vec<(String, Vec<u8>)> {
    let bad =
        |(key, _, bytes): Bytes| Some((key.strip_prefix("bad/")?.to_owned(), bytes[1..].to_vec()));
    let (mut files, gif): (Vec<_>, Vec<_>) =
        tensors().into_iter().filter_map(bad).partition(|(name, _)| name != "gif.png");
    // A GIF file can be read; without its last half it cannot.
    files.extend(gif.into_iter().map(|(name, bytes)| (name, bytes[..bytes.len() / 2].to_vec())));
    files
}
