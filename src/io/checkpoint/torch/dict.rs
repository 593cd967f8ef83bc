//! From what a pickle made to a state dict.

use super::container::Container;
use super::object::{Element, Graph, Id, Object, Tensor};
use crate::Shape;
use crate::nn::{StateDict, Value, Values};
use std::collections::HashSet;

/// Under which names checkpoints keep the model, the likeliest first.
const NAMES: [&str; 9] = [
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net_state_dict",
    "net",
    "network",
    "module",
    "weights",
];

/// How deep modules, and checkpoints in checkpoints, may lie in each other.
const MAX_DEPTH: usize = 32;

/// How many tensors there may be. The network has 25.
const MAX_TENSORS: usize = 10_000;

/// How long the name of a tensor may be.
const MAX_NAME: usize = 512;

/// How many entries of dicts are looked at. A module has twenty, and may be named more than once.
const MAX_ENTRIES: usize = 4 << 20;

/// The values of a file, in its order.
pub(super) fn state_dict(
    graph: &Graph,
    container: &mut Container<'_>,
) -> Result<StateDict, String> {
    let mut search = Search { graph, found: Vec::new(), left: MAX_ENTRIES };
    search.model(graph.root, 0)?;
    let mut names = HashSet::new();
    if let Some(name) = search.found.iter().map(|(name, _)| name).find(|name| !names.insert(*name))
    {
        return Err(format!("has two values that are called {name:?}"));
    }
    let mut left = container.most_elements();
    let mut values: Vec<(String, Value)> = Vec::with_capacity(search.found.len());
    for (name, tensor) in search.found {
        let value = read(tensor, container, &mut left).map_err(|why| format!("{name:?} {why}"))?;
        values.push((name, value));
    }
    Ok(values.into_iter().collect())
}

/// The tensors of a model, as they are found.
struct Search<'a> {
    graph: &'a Graph,
    found: Vec<(String, &'a Tensor)>,
    /// Entries of dicts that may yet be looked at.
    left: usize,
}

impl<'a> Search<'a> {
    /// The tensors of the model in `id`.
    fn model(&mut self, id: Id, depth: usize) -> Result<(), String> {
        let graph = self.graph;
        let is_tensor = |id: Id| matches!(graph.get(id), Object::Tensor(_));
        match graph.get(id) {
            Object::Module(Some(state)) => self.module(*state, "", depth),
            Object::Dict(entries) if entries.iter().any(|(_, value)| is_tensor(*value)) => {
                self.tensors(entries, "")
            }
            Object::Dict(entries) if depth < MAX_DEPTH => {
                let inner = NAMES.iter().find_map(|name| {
                    let inner = graph.entry(id, name)?;
                    let is_model = matches!(graph.get(inner), Object::Dict(_) | Object::Module(_));
                    is_model.then_some(inner)
                });
                match inner {
                    Some(inner) => self.model(inner, depth + 1),
                    None => Err(self.without_model(entries)),
                }
            }
            Object::Tensor(_) => Err("holds one tensor, not the values of a model".into()),
            Object::List(_) | Object::Tuple(_) => {
                Err("holds a list; in Python, save the model in it alone: torch.save".into())
            }
            _ => {
                Err("holds no model; in Python: torch.save(model.state_dict(), \"model.pth\")"
                    .into())
            }
        }
    }

    fn without_model(&self, entries: &[(Id, Id)]) -> String {
        let keys = entries.iter().filter_map(|(key, _)| match self.graph.get(*key) {
            Object::Text(key) => Some(format!("{:?}", key.chars().take(40).collect::<String>())),
            _ => None,
        });
        let keys: Vec<String> = keys.take(8).collect();
        let keys = if keys.is_empty() { "no text".into() } else { keys.join(", ") };
        format!(
            "holds a dict without tensors, and none of its entries is a model. Its keys: {keys}. A \
             model is looked for under {}",
            NAMES.join(", ")
        )
    }

    /// Those that are values of a dict.
    fn tensors(&mut self, entries: &'a [(Id, Id)], prefix: &str) -> Result<(), String> {
        for (key, value) in entries {
            if let (Object::Text(key), Object::Tensor(tensor)) =
                (self.graph.get(*key), self.graph.get(*value))
            {
                self.add(prefix, key, tensor)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, prefix: &str, name: &str, tensor: &'a Tensor) -> Result<(), String> {
        if self.found.len() == MAX_TENSORS {
            return Err(format!("holds more than {MAX_TENSORS} tensors; this network has 25"));
        }
        if prefix.len() + name.len() > MAX_NAME {
            return Err(format!("has a tensor whose name is longer than {MAX_NAME} bytes"));
        }
        self.found.push((format!("{prefix}{name}"), tensor));
        Ok(())
    }

    /// What a dict among a module's attributes has.
    fn attribute(&mut self, state: Id, name: &str) -> Result<&'a [(Id, Id)], String> {
        let graph = self.graph;
        let entries = |id: Id| match graph.get(id) {
            Object::Dict(entries) => &entries[..],
            _ => &[],
        };
        let found = graph.entry(state, name).map_or(&[][..], entries);
        let looked_at = entries(state).len() + found.len() + 1;
        self.left = self.left.checked_sub(looked_at).ok_or("has modules without end")?;
        Ok(found)
    }

    /// The parameters and buffers of a module whose `__dict__` is `state`, then those of its parts, as
    /// `state_dict()` gives them.
    fn module(&mut self, state: Id, prefix: &str, depth: usize) -> Result<(), String> {
        if depth == MAX_DEPTH || prefix.len() > MAX_NAME {
            return Err(format!("has modules in each other, more than {MAX_DEPTH} deep"));
        }
        let parameters = self.attribute(state, "_parameters")?;
        self.tensors(parameters, prefix)?;
        let buffers = self.attribute(state, "_buffers")?;
        self.tensors(buffers, prefix)?;
        for (key, value) in self.attribute(state, "_modules")? {
            if let (Object::Text(name), Object::Module(Some(state))) =
                (self.graph.get(*key), self.graph.get(*value))
            {
                self.module(*state, &format!("{prefix}{name}."), depth + 1)?;
            }
        }
        Ok(())
    }
}

/// The elements of a tensor, row-major.
fn read(tensor: &Tensor, container: &mut Container<'_>, left: &mut usize) -> Result<Value, String> {
    let Tensor { storage, offset, shape, strides } = tensor;
    let shape = Shape::from(&shape[..]);
    let numel = shape.numel();
    let element = storage.element;
    if let Element::Other(name, _) = element {
        return Err(format!(
            "is of type {name}; float32, float64, float16, bfloat16, int64 and int32 can be read"
        ));
    }
    if numel > *left || numel > storage.numel {
        return Err(format!("is {shape}, more than its storage holds"));
    }
    *left -= numel;
    let bytes = container.storage(storage)?;
    let places = places(shape.dims(), strides, *offset, storage.numel)
        .ok_or_else(|| format!("is {shape} with strides {strides:?}, beyond its storage"))?;
    fn gather<const N: usize, T>(
        bytes: &[u8],
        places: &[usize],
        convert: impl Fn([u8; N]) -> T,
    ) -> Vec<T> {
        let (elements, _) = bytes.as_chunks::<N>();
        places.iter().filter_map(|&place| elements.get(place).copied().map(&convert)).collect()
    }
    let values = match element {
        Element::F32 => Values::F32(gather(bytes, &places, f32::from_le_bytes)),
        Element::F64 => Values::F64(gather(bytes, &places, f64::from_le_bytes)),
        Element::F16 => {
            let convert = |bytes| half::f16::from_le_bytes(bytes).to_f32();
            Values::F32(gather(bytes, &places, convert))
        }
        Element::BF16 => {
            let convert = |bytes| half::bf16::from_le_bytes(bytes).to_f32();
            Values::F32(gather(bytes, &places, convert))
        }
        Element::I64 => Values::I64(gather(bytes, &places, i64::from_le_bytes)),
        Element::I32 => {
            Values::I64(gather(bytes, &places, |bytes| i32::from_le_bytes(bytes).into()))
        }
        Element::Other(..) => Values::F32(Vec::new()),
    };
    Ok(Value { shape, values })
}

/// Where in its storage of `numel` elements each element of a tensor lies; `None` where one lies
/// beyond.
fn places(dims: &[usize], strides: &[usize], offset: usize, numel: usize) -> Option<Vec<usize>> {
    if dims.contains(&0) {
        return Some(Vec::new());
    }
    let last = dims.iter().zip(strides).try_fold(offset, |last, (&size, &stride)| {
        last.checked_add((size - 1).checked_mul(stride)?)
    })?;
    if last >= numel {
        return None;
    }
    let mut places = vec![offset];
    for (&size, &stride) in dims.iter().zip(strides) {
        let steps = |&place: &usize| (0..size).map(move |step| place + step * stride);
        places = places.iter().flat_map(steps).collect();
    }
    Some(places)
}
