//! Models as ONNX files, for inference elsewhere.
//!
//! `layers.rs` says which nodes each layer becomes; here is what they are added to (`nodes.rs`), and what
//! makes a file of it ([`export`]). Dropout becomes nothing, batch
//! normalisation uses its running statistics and can be folded into the convolution before it.
#![forbid(unsafe_code)]

mod fold;
mod layers;
mod nodes;
pub mod proto;

pub use fold::fold_batch_norms;
use nodes::Nodes;

use crate::nn::{Layer, StateDict};
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
    let [channels, height, width] = image;
    let mut shape = Shape::from([1, channels, height, width]);
    let mut nodes = Nodes::new(&dict, "images");
    for (place, layer) in &named {
        nodes.start_layer(place, layer.name());
        layers::push(layer, &shape, &mut nodes)?;
        shape = layer.output_shape(&shape)?;
    }
    let (node, initializer) = nodes.finish("logits");
    let graph = proto::Graph {
        node,
        name: "signet".into(),
        initializer,
        input: vec![value_info("images", &[channels, height, width])],
        output: vec![value_info("logits", &shape.dims()[1..])],
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

/// A float tensor `[batch, dims..]`.
fn value_info(name: &str, dims: &[usize]) -> proto::ValueInfo {
    let sizes = dims.iter().map(|&size| Size::Size(size as i64));
    let dim = std::iter::once(Size::Name("batch".into()))
        .chain(sizes)
        .map(|value| proto::Dimension { value: Some(value) })
        .collect();
    let shape = Some(proto::TensorShape { dim });
    let tensor_type = Some(proto::TensorType { elem_type: proto::FLOAT, shape });
    proto::ValueInfo { name: name.into(), r#type: Some(proto::Type { tensor_type }) }
}

/// The error for what ONNX's inference has no node for.
pub(crate) fn unsupported(message: impl Into<String>) -> Error {
    Error::argument("onnx", message)
}
