//! The nodes of a graph that is a chain, as layers add them.

use super::{proto, unsupported};
use crate::Result;
use crate::nn::StateDict;

/// Nodes one after the other, and the values they use.
pub struct Nodes<'a> {
    dict: &'a StateDict,
    nodes: Vec<proto::Node>,
    initializers: Vec<proto::Tensor>,
    /// The output of the last node.
    last: String,
    layer: CurrentLayer,
}

#[derive(Default)]
struct CurrentLayer {
    place: String,
    name: &'static str,
    /// Nodes that it has so far.
    nodes: usize,
}

/// An attribute of whole numbers.
pub fn ints(name: &str, values: impl IntoIterator<Item = usize>) -> proto::Attribute {
    proto::Attribute {
        name: name.into(),
        ints: values.into_iter().map(|value| value as i64).collect(),
        kind: proto::AttributeType::Ints.into(),
        ..Default::default()
    }
}

/// An attribute of one whole number.
pub fn int(name: &str, value: usize) -> proto::Attribute {
    proto::Attribute {
        name: name.into(),
        i: Some(value as i64),
        kind: proto::AttributeType::Int.into(),
        ..Default::default()
    }
}

/// An attribute of one real number.
pub fn float(name: &str, value: f64) -> proto::Attribute {
    proto::Attribute {
        name: name.into(),
        f: Some(value as f32),
        kind: proto::AttributeType::Float.into(),
        ..Default::default()
    }
}

impl<'a> Nodes<'a> {
    /// No nodes; the first will read `input`.
    pub(super) fn new(dict: &'a StateDict, input: &str) -> Self {
        let (nodes, initializers) = (Vec::new(), Vec::new());
        Self { dict, nodes, initializers, last: input.into(), layer: CurrentLayer::default() }
    }

    /// The nodes to come are of this layer, whose values have keys that begin with `place`.
    pub(super) fn start_layer(&mut self, place: &str, name: &'static str) {
        self.layer = CurrentLayer { place: place.to_owned(), name, nodes: 0 };
    }

    /// A value of the current layer, `weight` for `0.weight`, if the model has it.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) when its elements do not fill its shape.
    pub fn value(&mut self, name: &str) -> Result<Option<String>> {
        let key = format!("{}.{name}", self.layer.place);
        let Some(value) = self.dict.get(&key) else { return Ok(None) };
        let values: Vec<f32> = value.values.to_float();
        if values.len() != value.shape.numel() {
            return Err(unsupported(format!("{key} {} has {} values", value.shape, values.len())));
        }
        Ok(Some(self.initializer(key, value.shape.dims(), &values)))
    }

    /// [`Nodes::value`] that must be there.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) when it is not.
    pub fn required(&mut self, name: &str) -> Result<String> {
        let value = self.value(name)?;
        let CurrentLayer { place, name: layer, .. } = &self.layer;
        value.ok_or_else(|| unsupported(format!("{layer} needs {place}.{name}, which is missing")))
    }

    /// [`Nodes::required`], a matrix of these sizes.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) when it is not there or has other sizes.
    pub fn table(&mut self, name: &str, sizes: [usize; 2]) -> Result<String> {
        let key = self.required(name)?;
        match self.dict.get(&key).map(|value| &value.shape) {
            Some(shape) if *shape.dims() != sizes => {
                Err(unsupported(format!("{key} is {shape}, expected {sizes:?}")))
            }
            _ => Ok(key),
        }
    }

    /// The transpose of a matrix of the current layer.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) when the model has it not.
    pub fn transposed(&mut self, name: &str) -> Result<String> {
        let matrix = self.required(name)?;
        let found = self.initializers.iter_mut().find(|tensor| tensor.name == matrix);
        if let Some(proto::Tensor { dims, raw_data, .. }) = found
            && let [rows, columns] = dims[..]
        {
            let (elements, columns_here) = (raw_data.as_chunks::<4>().0, columns as usize);
            let column = |c: usize| elements.iter().skip(c).step_by(columns_here.max(1));
            let turned = (0..columns_here).flat_map(column).flatten().copied().collect();
            (*dims, *raw_data) = (vec![columns, rows], turned);
        }
        Ok(matrix)
    }

    /// A tensor full of `value`, for a value that the layer has not.
    pub fn constant(&mut self, name: &str, value: f32, dims: &[usize]) -> String {
        let key = format!("{}.{name}", self.layer.place);
        self.initializer(key, dims, &vec![value; dims.iter().product()])
    }

    /// A shape for `Reshape`; 0 keeps a size, and -1 is what remains.
    pub fn shape(&mut self, name: &str, sizes: &[i64]) -> String {
        let name = format!("{}.{name}", self.layer.place);
        self.initializers.push(proto::Tensor {
            dims: vec![sizes.len() as i64],
            data_type: proto::INT64,
            name: name.clone(),
            raw_data: sizes.iter().flat_map(|size| size.to_le_bytes()).collect(),
        });
        name
    }

    /// [`Nodes::value`] under other dimensions.
    ///
    /// # Errors
    /// As [`Nodes::value`].
    pub fn reshaped(&mut self, name: &str, dims: &[usize]) -> Result<Option<String>> {
        let value = self.value(name)?;
        if let Some(tensor) = self.initializers.last_mut().filter(|_| value.is_some()) {
            tensor.dims = dims.iter().map(|&size| size as i64).collect();
        }
        Ok(value)
    }

    /// A number that is no list of one.
    pub fn scalar(&mut self, name: &str, value: f32) -> String {
        let key = format!("{}.{name}", self.layer.place);
        self.initializer(key, &[], &[value])
    }

    fn initializer(&mut self, name: String, dims: &[usize], values: &[f32]) -> String {
        self.initializers.push(proto::Tensor {
            dims: dims.iter().map(|&size| size as i64).collect(),
            data_type: proto::FLOAT,
            name: name.clone(),
            raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        });
        name
    }

    /// Adds a node that reads the last one's output, and `values` after it.
    pub fn push(
        &mut self,
        op_type: &str,
        values: impl IntoIterator<Item = String>,
        attribute: impl Into<Vec<proto::Attribute>>,
    ) {
        let CurrentLayer { place, nodes, .. } = &mut self.layer;
        // What a layer of several nodes hands on between them has a number behind it.
        let output = match *nodes {
            0 => format!("{place}.output"),
            n => format!("{place}.output.{n}"),
        };
        *nodes += 1;
        let input = std::mem::replace(&mut self.last, output.clone());
        self.nodes.push(proto::Node {
            input: std::iter::once(input).chain(values).collect(),
            output: vec![output.clone()],
            name: output.replace("output", self.layer.name),
            op_type: op_type.into(),
            attribute: attribute.into(),
        });
    }

    /// Adds a node that takes the rows of `table` whose numbers are the last one's output.
    pub fn gather(&mut self, table: String) {
        self.push("Gather", [table], [int("axis", 0)]);
        // Alone among nodes, it reads what it is given second.
        if let Some(node) = self.nodes.last_mut() {
            node.input.reverse();
        }
    }

    /// Adds nodes without attributes, one behind the other.
    pub fn chain<const N: usize>(&mut self, op_types: [&str; N]) {
        op_types.into_iter().for_each(|op_type| self.push(op_type, [], []));
    }

    /// Adds nodes that read one another's output, the last of which is multiplied by what the first reads.
    pub fn gate(&mut self, inner: impl FnOnce(&mut Self)) {
        let input = self.last.clone();
        inner(self);
        self.push("Mul", [input], []);
    }

    /// Adds a node that combines the last one's output with a constant.
    pub fn push_with(&mut self, op_type: &str, value: f64) {
        let constant = self.scalar(&format!("constant.{}", self.layer.nodes), value as f32);
        self.push(op_type, [constant], []);
    }

    /// The nodes and the values, the last output called `output`.
    pub(super) fn finish(mut self, output: &str) -> (Vec<proto::Node>, Vec<proto::Tensor>) {
        if let Some(last) = self.nodes.last_mut() {
            last.output = vec![output.into()];
        }
        (self.nodes, self.initializers)
    }
}
