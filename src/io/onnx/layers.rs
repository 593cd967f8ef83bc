//! Which nodes each layer becomes.

use super::nodes::{Nodes, float, int, ints};
use super::unsupported;
use crate::Result;
use crate::nn::{AvgPool2d, BatchNorm2d, Conv2d, Layer};

/// Adds the nodes of `layer`.
pub(super) fn push(layer: &Layer, nodes: &mut Nodes<'_>) -> Result<()> {
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
        Layer::Linear(_) => return gemm(nodes),
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
    }
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
