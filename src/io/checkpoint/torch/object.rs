//! What a pickle makes: plain values that name each other by number, so that no chain of them is
//! too long to drop and none is kept twice.

use super::globals::Global;

/// The number of an object.
pub(super) type Id = usize;

/// A value that a pickle made.
#[derive(Debug, Clone)]
pub(super) enum Object {
    None,
    Bool(bool),
    Int(i64),
    Text(String),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    Storage(Storage),
    Tensor(Tensor),
    /// A module, and what its `__dict__` holds once that is known.
    Module(Option<Id>),
    /// Something whose value nobody asks for: a float, bytes, a device.
    Other,
}

/// The elements that tensors look at, by the name that they have in the file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Storage {
    pub key: String,
    pub element: Element,
    pub numel: usize,
    /// Of a view of another storage, as old files have them: where it begins in that.
    pub start: usize,
}

/// A view of a storage.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tensor {
    pub storage: Storage,
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

/// The type of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    F32,
    F64,
    F16,
    BF16,
    I64,
    I32,
    /// One that no value of the network has, by its name and its bytes.
    Other(&'static str, usize),
}

impl Element {
    /// Bytes of one.
    pub fn size(self) -> usize {
        match self {
            Self::F16 | Self::BF16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::F64 | Self::I64 => 8,
            Self::Other(_, size) => size,
        }
    }
}

/// All objects of a pickle.
#[derive(Debug)]
pub(super) struct Graph {
    pub objects: Vec<Object>,
    /// The one that the pickle is of.
    pub root: Id,
}

impl Graph {
    pub fn get(&self, id: Id) -> &Object {
        self.objects.get(id).unwrap_or(&Object::None)
    }

    /// What a dict has under a text.
    pub fn entry(&self, dict: Id, key: &str) -> Option<Id> {
        let Object::Dict(entries) = self.get(dict) else { return None };
        let is_key = |id: Id| matches!(self.get(id), Object::Text(text) if text == key);
        // Of two that are equal, Python keeps the last.
        entries.iter().rev().find(|(known, _)| is_key(*known)).map(|(_, value)| *value)
    }
}
