//! Which nodes each layer becomes.

use super::nodes::{Nodes, float, int, ints};
use super::{proto, unsupported};
use crate::nn::{
    Approximate, AvgPool2d, BatchNorm2d, Conv2d, Embedding, GroupNorm, Layer, LayerNorm,
};
use crate::{Result, Shape};

/// The operator set that the nodes of `layer` need: those of ONNX 1.8, which every runtime knows,
/// but for what came later.
pub(super) fn opset(layer: &Layer) -> i64 {
    match layer {
        Layer::LayerNorm(_) => 17,
        _ => 13,
    }
}

/// Adds the nodes of `layer`, which is given an `input` of that shape.
pub(super) fn push(layer: &Layer, input: &Shape, nodes: &mut Nodes<'_>) -> Result<()> {
    match layer {
        Layer::AdaptiveAvgPool2d(pool) if pool.output_size == [Some(1); 2] => {
            nodes.push("GlobalAveragePool", [], []);
        }
        Layer::AdaptiveAvgPool2d(pool) => {
            let message =
                format!("an AdaptiveAvgPool2d to {:?}; ONNX has it to 1 alone", pool.output_size);
            return Err(unsupported(message));
        }
        Layer::AvgPool2d(pool) => return avg_pool2d(pool, nodes),
        Layer::BatchNorm2d(norm) => return batch_norm2d(norm, nodes),
        Layer::Conv2d(conv) => return conv2d(conv, nodes),
        // A graph is for inference.
        Layer::Dropout(_) => {}
        Layer::Flatten(_) => nodes.push("Flatten", [], [int("axis", 1)]),
        Layer::GroupNorm(norm) => return group_norm(norm, input, nodes),
        Layer::LayerNorm(norm) => return layer_norm(norm, input, nodes),
        Layer::Linear(_) => return linear(input, nodes),
        Layer::LogSoftmax(softmax) => nodes.push("LogSoftmax", [], [axis(softmax.dim, input)]),
        Layer::MaxPool2d(pool) => {
            let attributes = [
                ints("kernel_shape", pool.kernel_size),
                ints("strides", pool.stride),
                ints("pads", [pool.padding, pool.padding].concat()),
                ints("dilations", pool.dilation),
                int("ceil_mode", usize::from(pool.ceil_mode)),
            ];
            nodes.push("MaxPool", [], attributes);
        }
        Layer::ReLU(_) => nodes.push("Relu", [], []),
        Layer::ReLU6(_) => clip(0.0, 6.0, nodes),
        Layer::Hardtanh(layer) => clip(layer.min_val, layer.max_val, nodes),
        Layer::Sigmoid(_) => nodes.push("Sigmoid", [], []),
        // `log(sigmoid(x))` is `-softplus(-x)`, which does not overflow.
        Layer::LogSigmoid(_) => nodes.chain(["Neg", "Softplus", "Neg"]),
        Layer::Tanh(_) => nodes.push("Tanh", [], []),
        Layer::SiLU(_) => nodes.gate(|nodes| nodes.chain(["Sigmoid"])),
        Layer::Hardsigmoid(_) => hard_sigmoid(nodes),
        Layer::Hardswish(_) => nodes.gate(hard_sigmoid),
        Layer::GELU(layer) => gelu(layer.approximate, nodes),
        Layer::LeakyReLU(layer) => {
            nodes.push("LeakyRelu", [], [float("alpha", layer.negative_slope)])
        }
        Layer::ELU(layer) => nodes.push("Elu", [], [float("alpha", layer.alpha)]),
        Layer::Softplus(layer) => softplus(layer.beta, nodes),
        Layer::Sequential(_) => return Err(unsupported("a Sequential's layers go one by one")),
        Layer::Softmax(softmax) => nodes.push("Softmax", [], [axis(softmax.dim, input)]),
    }
    Ok(())
}

/// Adds the node of an embedding, which is no [`Layer`], for ids. A row for padding is one like any other here.
pub(super) fn embedding(embedding: &Embedding, nodes: &mut Nodes<'_>) -> Result<()> {
    let table = nodes.table("weight", [embedding.num_embeddings, embedding.embedding_dim])?;
    nodes.gather(table);
    Ok(())
}

fn avg_pool2d(pool: &AvgPool2d, nodes: &mut Nodes<'_>) -> Result<()> {
    if let Some(divisor) = pool.divisor_override {
        let message = format!("an AvgPool2d that divides by {divisor} instead of its window");
        return Err(unsupported(message));
    }
    let attributes = [
        ints("kernel_shape", pool.kernel_size),
        ints("strides", pool.stride),
        ints("pads", [pool.padding, pool.padding].concat()),
        int("ceil_mode", usize::from(pool.ceil_mode)),
        int("count_include_pad", usize::from(pool.count_include_pad)),
    ];
    nodes.push("AveragePool", [], attributes);
    Ok(())
}

fn batch_norm2d(norm: &BatchNorm2d, nodes: &mut Nodes<'_>) -> Result<()> {
    if !norm.track_running_stats {
        let message = "a BatchNorm2d without running statistics normalises by each batch";
        return Err(unsupported(message));
    }
    let mut values = Vec::new();
    for (name, otherwise) in [("weight", 1.0), ("bias", 0.0)] {
        let known = nodes.value(name)?;
        let constant =
            |nodes: &mut Nodes<'_>| nodes.constant(name, otherwise, &[norm.num_features]);
        values.push(known.unwrap_or_else(|| constant(nodes)));
    }
    values.extend([nodes.required("running_mean")?, nodes.required("running_var")?]);
    nodes.push("BatchNormalization", values, [float("epsilon", norm.eps)]);
    Ok(())
}

fn conv2d(conv: &Conv2d, nodes: &mut Nodes<'_>) -> Result<()> {
    let mut values = vec![nodes.required("weight")?];
    values.extend(nodes.value("bias")?);
    let options = &conv.options;
    let [[top, bottom], [left, right]] = options.sides(conv.kernel_size)?;
    let attributes = [
        ints("kernel_shape", conv.kernel_size),
        ints("strides", options.stride),
        ints("pads", [top, left, bottom, right]),
        ints("dilations", options.dilation),
        int("group", options.groups),
    ];
    nodes.push("Conv", values, attributes);
    Ok(())
}

fn clip(min: f64, max: f64, nodes: &mut Nodes<'_>) {
    let bounds = [nodes.scalar("min", min as f32), nodes.scalar("max", max as f32)];
    nodes.push("Clip", bounds, []);
}

fn hard_sigmoid(nodes: &mut Nodes<'_>) {
    nodes.push("HardSigmoid", [], [float("alpha", 1.0 / 6.0), float("beta", 0.5)]);
}

/// The threshold is left out: beyond it, softplus is x but for its last bits.
fn softplus(beta: f64, nodes: &mut Nodes<'_>) {
    nodes.push_with("Mul", beta);
    nodes.push("Softplus", [], []);
    nodes.push_with("Div", beta);
}

/// Its definition: the node of this name is younger than the operator set.
fn gelu(approximate: Approximate, nodes: &mut Nodes<'_>) {
    nodes.gate(|nodes| {
        match approximate {
            Approximate::None => {
                nodes.push_with("Mul", std::f64::consts::FRAC_1_SQRT_2);
                nodes.push("Erf", [], []);
            }
            // sqrt(2 / pi) (x + 0.044715 x^3) = x (0.0356774 x^2 + 0.7978846)
            Approximate::Tanh => {
                nodes.gate(|nodes| {
                    nodes.push_with("Pow", 2.0);
                    nodes.push_with("Mul", 0.035677408136300125);
                    nodes.push_with("Add", 0.7978845608028654);
                });
                nodes.push("Tanh", [], []);
            }
        }
        nodes.push_with("Mul", 0.5);
        nodes.push_with("Add", 0.5);
    });
}

/// One matrix product; more dimensions than two need a product that knows them.
fn linear(input: &Shape, nodes: &mut Nodes<'_>) -> Result<()> {
    if input.rank() == 2 {
        let mut values = vec![nodes.required("weight")?];
        values.extend(nodes.value("bias")?);
        nodes.push("Gemm", values, [int("transB", 1)]);
        return Ok(());
    }
    let weight = nodes.transposed("weight")?;
    nodes.push("MatMul", [weight], []);
    if let Some(bias) = nodes.value("bias")? {
        nodes.push("Add", [bias], []);
    }
    Ok(())
}

fn layer_norm(norm: &LayerNorm, input: &Shape, nodes: &mut Nodes<'_>) -> Result<()> {
    let dims = norm.normalized_shape.dims();
    let weight = match nodes.value("weight")? {
        Some(weight) => weight,
        None => nodes.constant("weight", 1.0, dims),
    };
    let values = [weight].into_iter().chain(nodes.value("bias")?).collect::<Vec<_>>();
    // A wrong shape is an error of the layer's, a moment later.
    let first = input.rank().saturating_sub(dims.len());
    nodes.push("LayerNormalization", values, [int("axis", first), float("epsilon", norm.eps)]);
    Ok(())
}

/// Each group as a channel of `InstanceNormalization`, as PyTorch exports it: a node of its own came
/// late to ONNX, and few runtimes have it.
fn group_norm(norm: &GroupNorm, input: &Shape, nodes: &mut Nodes<'_>) -> Result<()> {
    let groups = norm.num_groups;
    let grouped = nodes.shape("grouped", &[0, groups as i64, -1]);
    nodes.push("Reshape", [grouped], []);
    let unit = [("ones", 1.0), ("zeros", 0.0)];
    let unit = unit.map(|(name, value)| nodes.constant(name, value, &[groups]));
    nodes.push("InstanceNormalization", unit, [float("epsilon", norm.eps)]);
    let sizes = input.dims().iter().skip(1).map(|&size| size as i64);
    let whole = nodes.shape("whole", &std::iter::once(0).chain(sizes).collect::<Vec<_>>());
    nodes.push("Reshape", [whole], []);
    let mut by_channel = vec![1; input.rank().saturating_sub(1)];
    by_channel.iter_mut().take(1).for_each(|size| *size = norm.num_channels);
    for (name, op) in [("weight", "Mul"), ("bias", "Add")] {
        if let Some(value) = nodes.reshaped(name, &by_channel)? {
            nodes.push(op, [value], []);
        }
    }
    Ok(())
}

/// A dimension that may count from the end.
fn axis(dim: isize, input: &Shape) -> proto::Attribute {
    // What is no dimension is an error of the layer's, a moment later.
    int("axis", if dim < 0 { input.rank().saturating_add_signed(dim) } else { dim as usize })
}
