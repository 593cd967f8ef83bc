//! Which nodes each layer becomes.

use super::nodes::{Nodes, float, int, ints};
use super::unsupported;
use crate::Result;
use crate::nn::{BatchNorm2d, Conv2d, Layer};

/// Adds the nodes of `layer`.
pub(super) fn push(layer: &Layer, nodes: &mut Nodes<'_>) -> Result<()> {
    match layer {
        Layer::BatchNorm2d(norm) => return batch_norm2d(norm, nodes),
        Layer::Conv2d(conv) => return conv2d(conv, nodes),
        // A graph is for inference.
        Layer::Dropout(_) => {}
        Layer::Flatten(_) => nodes.push("Flatten", [], [int("axis", 1)]),
        Layer::Linear(_) => return gemm(nodes),
        Layer::MaxPool2d(pool) => {
            let attributes = [
                ints("kernel_shape", pool.kernel_size),
                ints("strides", pool.stride),
                ints("pads", [pool.padding, pool.padding].concat()),
                int("ceil_mode", usize::from(pool.ceil_mode)),
            ];
            nodes.push("MaxPool", [], attributes);
        }
        Layer::ReLU(_) => nodes.push("Relu", [], []),
    }
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
        let constant = |nodes: &mut Nodes<'_>| nodes.constant(name, otherwise, norm.num_features);
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

fn gemm(nodes: &mut Nodes<'_>) -> Result<()> {
    let mut values = vec![nodes.required("weight")?];
    values.extend(nodes.value("bias")?);
    nodes.push("Gemm", values, [int("transB", 1)]);
    Ok(())
}
