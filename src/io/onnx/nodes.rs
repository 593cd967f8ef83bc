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
    index: usize,
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

    /// The nodes to come are of this layer, whose values have keys that begin with `index`.
    pub(super) fn start_layer(&mut self, index: usize, name: &'static str) {
        self.layer = CurrentLayer { index, name, nodes: 0 };
    }

    /// A value of the current layer, `weight` for `0.weight`, if the model has it.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) when its elements do not fill its shape.
    pub fn value(&mut self, name: &str) -> Result<Option<String>> {
        let key = format!("{}.{name}", self.layer.index);
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
        let CurrentLayer { index, name: layer, .. } = self.layer;
        let missing = || unsupported(format!("{layer} needs {index}.{name}, which is missing"));
        self.value(name)?.ok_or_else(missing)
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
        let key = format!("{}.{name}", self.layer.index);
        self.initializer(key, dims, &vec![value; dims.iter().product()])
    }

    /// A shape for `Reshape`; 0 keeps a size, and -1 is what remains.
    pub fn shape(&mut self, name: &str, sizes: &[i64]) -> String {
        let name = format!("{}.{name}", self.layer.index);
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
        // The first node of a layer needs no number, and most layers have one.
        let number = match self.layer.nodes {
            0 => String::new(),
            nodes => format!(".{nodes}"),
        };
        self.layer.nodes += 1;
        let output = format!("{}.output{number}", self.layer.index);
        let input = std::mem::replace(&mut self.last, output.clone());
        self.nodes.push(proto::Node {
            input: std::iter::once(input).chain(values).collect(),
            output: vec![output],
            name: format!("{}.{}{number}", self.layer.index, self.layer.name),
            op_type: op_type.into(),
            attribute: attribute.into(),
        });
    }

    /// The nodes and the values, the last output called `output`.
    pub(super) fn finish(mut self, output: &str) -> (Vec<proto::Node>, Vec<proto::Tensor>) {
        if let Some(last) = self.nodes.last_mut() {
            last.output = vec![output.into()];
        }
        (self.nodes, self.initializers)
    }
}
