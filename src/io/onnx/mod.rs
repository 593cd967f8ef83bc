//! Models as ONNX files, for inference elsewhere.
//!
//! `layers.rs` says which nodes each layer becomes; here is what they are added to (`nodes.rs`), and what
//! makes a file of it ([`export`], [`export_ids`]). Dropout becomes nothing, batch
//! normalisation uses its running statistics and can be folded into the convolution before it.
#![forbid(unsafe_code)]

mod fold;
mod layers;
mod nodes;
pub mod proto;

pub use fold::fold_batch_norms;
use nodes::Nodes;

use crate::nn::{Embedding, Layer, StateDict};
use crate::{Error, Result, Shape};
use prost::Message;
use proto::dimension::Value as Size;

/// The file format that goes with the operator set `opset`.
fn ir_version(opset: i64) -> i64 {
    if opset > 14 { 8 } else { 7 }
}

/// The model of `layers` with the values of `dict` (keys `0.weight`, …) as an ONNX file, for images
/// `[batch, C, H, W]` where `image` is `[C, H, W]`. Its input is called `images` (pixels from 0 to
/// 1), its output `logits`, `[batch, classes]`; `classes` are kept beside it as metadata, one a
/// line, control characters and backslashes written as JSON does (`\n`, `\\`).
///
/// # Errors
/// [`Error::Shape`] when layers and image do not fit; [`Error::Argument`] when a value is missing,
/// or a layer cannot be expressed.
pub fn export(
    layers: &[Layer],
    dict: &StateDict,
    image: [usize; 3],
    classes: &[String],
    fold: bool,
) -> Result<Vec<u8>> {
    let mut named = Vec::new();
    add_layers(layers, "", &mut named);
    let (named, dict) = if fold { fold_batch_norms(&named, dict)? } else { (named, dict.clone()) };
    let nodes = Nodes::new(&dict, "images");
    finish(nodes, value_info("images", proto::FLOAT, &image), &image, &named, classes)
}

/// The model of ids that go through `embedding` and then `layers`, as an ONNX file. Each has the name with which
/// its keys in `dict` begin, as the fields of a struct have. The input is called `ids` (int64, `[batch, length]`),
/// `length` numbers below `num_embeddings`; the rest is as in [`export`].
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::nn::{Embedding, EmbeddingModule, Flatten, Layer, Linear, Model, Module, Sequential};
/// use signet::{Device, layers, onnx};
///
/// #[derive(Module)]
/// struct Words {
///     words: EmbeddingModule,
///     head: Sequential,
/// }
///
/// let words = Embedding::new(1000, 8);
/// let head = layers![Flatten, Linear::new(5 * 8, 3)];
/// let model = Model::new(&Device::cpu()?, 0, |init| {
///     let layers = head.iter().map(|layer| layer.build(init)).collect::<signet::Result<_>>()?;
///     Ok(Words { words: words.build(init)?, head: Sequential::of(init, layers) })
/// })?;
/// let classes = ["good", "bad", "neither"].map(String::from);
/// let dict = model.state_dict()?;
/// let file = onnx::export_ids(("words", &words), ("head", &head), &dict, 5, &classes)?;
/// assert!(!file.is_empty());
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::Shape`] when the embedding and the layers do not fit; [`Error::Argument`] when a value is missing or of
/// another shape, or a layer cannot be expressed.
pub fn export_ids(
    (place, embedding): (&str, &Embedding),
    (prefix, layers): (&str, &[Layer]),
    dict: &StateDict,
    length: usize,
    classes: &[String],
) -> Result<Vec<u8>> {
    let mut named = Vec::new();
    add_layers(layers, &format!("{prefix}."), &mut named);
    let mut nodes = Nodes::new(dict, "ids");
    nodes.start_layer(place, "Embedding");
    layers::embedding(embedding, &mut nodes)?;
    let ids = value_info("ids", proto::INT64, &[length]);
    finish(nodes, ids, &[length, embedding.embedding_dim], &named, classes)
}

/// The file of `nodes` and those of the layers `named`, which are given `[batch, sizes..]`, for the model's `input`.
fn finish(
    mut nodes: Nodes<'_>,
    input: proto::ValueInfo,
    sizes: &[usize],
    named: &[(String, Layer)],
    classes: &[String],
) -> Result<Vec<u8>> {
    let mut shape = Shape::from([&[1], sizes].concat());
    for (place, layer) in named {
        nodes.start_layer(place, layer.name());
        layers::push(layer, &shape, &mut nodes)?;
        shape = layer.output_shape(&shape)?;
    }
    let (node, initializer) = nodes.finish("logits");
    let graph = proto::Graph {
        node,
        name: "signet".into(),
        initializer,
        input: vec![input],
        output: vec![value_info("logits", proto::FLOAT, &shape.dims()[1..])],
    };
    let opset = named.iter().map(|(_, layer)| layers::opset(layer)).max().unwrap_or(13);
    let model = proto::Model {
        ir_version: ir_version(opset),
        producer_name: "signet".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(graph),
        opset_import: vec![proto::OperatorSet { domain: String::new(), version: opset }],
        metadata_props: vec![proto::Entry { key: "classes".into(), value: lines(classes) }],
    };
    Ok(model.encode_to_vec())
}

/// Adds `layers` with their places, which begin with `prefix`: those of a [`Layer::Sequential`] one by one.
fn add_layers(layers: &[Layer], prefix: &str, named: &mut Vec<(String, Layer)>) {
    for (i, layer) in layers.iter().enumerate() {
        let place = format!("{prefix}{i}");
        match layer {
            Layer::Sequential(layers) => add_layers(layers, &format!("{place}."), named),
            layer => named.push((place, layer.clone())),
        }
    }
}

/// The names one a line, and each on one line.
fn lines(names: &[String]) -> String {
    let line = |name: &String| {
        let escaped = |c: char| match c {
            '\\' => "\\\\".to_owned(),
            '\n' => "\\n".to_owned(),
            '\r' => "\\r".to_owned(),
            '\t' => "\\t".to_owned(),
            // Line ends of Unicode beside the control characters.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                format!("\\u{:04x}", u32::from(c))
            }
            c => c.to_string(),
        };
        name.chars().map(escaped).collect::<String>()
    };
    names.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A tensor `[batch, dims..]` of one of the types of `proto`.
fn value_info(name: &str, elem_type: i32, dims: &[usize]) -> proto::ValueInfo {
    let sizes = dims.iter().map(|&size| Size::Size(size as i64));
    let dim = std::iter::once(Size::Name("batch".into()))
        .chain(sizes)
        .map(|value| proto::Dimension { value: Some(value) })
        .collect();
    let shape = Some(proto::TensorShape { dim });
    let tensor_type = Some(proto::TensorType { elem_type, shape });
    proto::ValueInfo { name: name.into(), r#type: Some(proto::Type { tensor_type }) }
}

/// The error for what ONNX's inference has no node for.
pub(crate) fn unsupported(message: impl Into<String>) -> Error {
    Error::argument("onnx", message)
}
