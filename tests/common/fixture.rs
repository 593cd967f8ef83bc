//! Reading `tests/fixtures`, whose README says what every file, key and attribute is.

use super::host::HostTensor;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value as Json;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

/// One file.
pub struct Fixture {
    metadata: HashMap<String, String>,
    tensors: BTreeMap<String, HostTensor>,
}

/// One case of a file of ops.
pub struct FixtureCase {
    /// `<file>/<case>`.
    pub name: String,
    attributes: Json,
    tensors: BTreeMap<String, HostTensor>,
}

impl Fixture {
    /// Reads `tests/fixtures/<name>.safetensors`.
    pub fn load(name: &str) -> Self {
        let path = path(name);
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let (_, header) = SafeTensors::read_metadata(&bytes).expect("a safetensors header");
        let file = SafeTensors::deserialize(&bytes).expect("a safetensors file");
        let tensors =
            file.iter().map(|(key, view)| (key.to_string(), host_tensor(&view))).collect();
        Self { metadata: header.metadata().clone().unwrap_or_default(), tensors }
    }

    /// The tensor of `key`.
    #[track_caller]
    pub fn tensor(&self, key: &str) -> &HostTensor {
        self.tensors.get(key).unwrap_or_else(|| panic!("the fixture has no {key}"))
    }

    /// The tensors under `<prefix>/`, by the rest of their key.
    pub fn group(&self, prefix: &str) -> BTreeMap<&str, &HostTensor> {
        let strip = |key| str::strip_prefix(key, prefix)?.strip_prefix('/');
        self.tensors.iter().filter_map(|(key, t)| Some((strip(key)?, t))).collect()
    }

    /// All tensors, by key.
    pub fn tensors(&self) -> &BTreeMap<String, HostTensor> {
        &self.tensors
    }

    /// A value of the metadata.
    #[track_caller]
    pub fn metadata(&self, key: &str) -> Json {
        serde_json::from_str(&self.metadata[key]).expect("metadata values are JSON")
    }

    /// The cases of a file of ops; at least one.
    pub fn cases(file: &str) -> Vec<FixtureCase> {
        let fixture = Self::load(file);
        let Json::Object(cases) = fixture.metadata("cases") else { panic!("{file}: no cases") };
        assert!(!cases.is_empty(), "{file} has no cases");
        let case = |(name, attributes): (String, Json)| {
            let tensors = fixture.group(&name).into_iter();
            let tensors = tensors.map(|(key, tensor)| (key.to_string(), tensor.clone())).collect();
            FixtureCase { name: format!("{file}/{name}"), attributes, tensors }
        };
        cases.into_iter().map(case).collect()
    }
}

impl FixtureCase {
    /// The tensor `name`, which the case may lack.
    pub fn get(&self, name: &str) -> Option<&HostTensor> {
        self.tensors.get(name)
    }

    /// The tensor `name`, which the case must have.
    #[track_caller]
    pub fn tensor(&self, name: &str) -> &HostTensor {
        self.get(name).unwrap_or_else(|| panic!("{} has no {name}", self.name))
    }

    /// An attribute as it stands.
    #[track_caller]
    pub fn attribute(&self, name: &str) -> &Json {
        let value = self.attributes.get(name);
        value.unwrap_or_else(|| panic!("{} has no attribute {name}", self.name))
    }

    /// A number.
    #[track_caller]
    pub fn number(&self, name: &str) -> f64 {
        self.attribute(name).as_f64().unwrap_or_else(|| panic!("{}: {name}", self.name))
    }

    /// A number that a case of another kind lacks.
    pub fn number_or(&self, name: &str, default: f64) -> f64 {
        self.attributes.get(name).and_then(Json::as_f64).unwrap_or(default)
    }

    /// A flag.
    #[track_caller]
    pub fn flag(&self, name: &str) -> bool {
        self.attribute(name).as_bool().unwrap_or_else(|| panic!("{}: {name}", self.name))
    }

    /// A word.
    #[track_caller]
    pub fn word(&self, name: &str) -> &str {
        self.attribute(name).as_str().unwrap_or_else(|| panic!("{}: {name}", self.name))
    }

    /// Sizes.
    #[track_caller]
    pub fn sizes(&self, name: &str) -> Vec<usize> {
        serde_json::from_value(self.attribute(name).clone()).expect("a list of sizes")
    }

    /// `[rows, columns]`.
    #[track_caller]
    pub fn pair(&self, name: &str) -> [usize; 2] {
        self.sizes(name).try_into().expect("a pair")
    }
}

/// Where a fixture lies.
pub fn path(name: &str) -> PathBuf {
    folder().join(format!("{name}.safetensors"))
}

/// Where the files are: `$SIGNET_TEST_FIXTURES` where set, for a test binary that runs on another
/// machine than it was built on; else in the repository.
fn folder() -> PathBuf {
    match std::env::var_os("SIGNET_TEST_FIXTURES") {
        Some(folder) => folder.into(),
        None => [env!("CARGO_MANIFEST_DIR"), "tests", "fixtures"].iter().collect(),
    }
}

fn host_tensor(view: &TensorView<'_>) -> HostTensor {
    fn elements<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> f64) -> Vec<f64> {
        bytes.as_chunks().0.iter().map(|&bytes| read(bytes)).collect()
    }
    let bytes = view.data();
    let values = match view.dtype() {
        Dtype::F64 => elements(bytes, f64::from_le_bytes),
        Dtype::F32 => elements(bytes, |b| f64::from(f32::from_le_bytes(b))),
        Dtype::I64 => elements(bytes, |b| i64::from_le_bytes(b) as f64),
        Dtype::U8 => elements(bytes, |[b]: [u8; 1]| f64::from(b)),
        other => panic!("no fixture holds {other:?}"),
    };
    HostTensor { shape: view.shape().to_vec(), values }
}
