//! The fused ops, forward and backward on a tape: the layers of the ASL network as the model runs them.

use super::kernels::random;
use super::training::CLASSES;
use super::{Case, Effort, Plan, plan};
use crate::device::Device;
use crate::nn::{Forward, Sequential, asl};
use crate::ops::cross_entropy::CrossEntropyOptions;
use crate::{Result, Shape, Tensor};
use std::ops::Range;
use std::rc::Rc;

/// A run of layers that one op computes.
#[derive(Clone)]
struct Part {
    op: &'static str,
    layer: &'static str,
    /// Which of the network's layers.
    layers: Range<usize>,
    /// Its input, without the batch.
    input: &'static [usize],
}

const PARTS: [Part; 4] = [
    Part { op: "conv_block", layer: "conv1", layers: 0..4, input: &[1, 28, 28] },
    Part { op: "conv_block", layer: "conv2", layers: 4..9, input: &[25, 14, 14] },
    Part { op: "conv_block", layer: "conv3", layers: 9..13, input: &[50, 7, 7] },
    Part { op: "linear_relu", layer: "linear1", layers: 14..17, input: &[675] },
];

/// The last layer with the loss.
const LAST: Part =
    Part { op: "linear_cross_entropy", layer: "linear2", layers: 17..18, input: &[512] };

/// The rows of fused ops.
pub(super) fn plans(effort: Effort) -> Vec<Plan> {
    let mut plans = Vec::new();
    for &batch in effort.batches() {
        for part in PARTS.into_iter().chain([LAST]) {
            for backward in [false, true] {
                let pass = if backward { "backward" } else { "forward" };
                let name = format!("{}_{pass}/{}/{batch}", part.op, part.layer);
                let part = part.clone();
                plans.push(plan(name, move |device: &Device| case(device, &part, batch, backward)));
            }
        }
    }
    plans
}

/// One pass of a part. The first convolution's input needs no gradient, as in training.
fn case(device: &Device, part: &Part, batch: usize, backward: bool) -> Result<Case> {
    let layers = asl(CLASSES)[part.layers.clone()].to_vec();
    let model = Rc::new(Sequential::new(device, 0, layers)?);
    let shape = Shape::from([&[batch], part.input].concat());
    let input = random(device, shape)?;
    let target: Vec<i32> = (0..batch).map(|row| (row % CLASSES) as i32).collect();
    let target = Tensor::from_slice(device, &target, [batch])?;
    let first = part.layers.start == 0;
    let loss = part.op == LAST.op;
    let forward = {
        let model = Rc::clone(&model);
        Rc::new(move || {
            let input = input.detach().requires_grad(!first)?;
            if !loss {
                return model.forward(&input);
            }
            let options = CrossEntropyOptions::default();
            model.cross_entropy(&input, &target, &options).map(|(loss, _correct)| loss)
        })
    };
    if !backward {
        return Ok(Box::new(move || {
            let forward = Rc::clone(&forward);
            Ok(Box::new(move || forward().map(drop)))
        }));
    }
    let gradient = random(device, forward()?.shape().clone())?;
    Ok(Box::new(move || {
        model.arena().zero_grad();
        let (output, gradient) = (forward()?, gradient.clone());
        Ok(Box::new(move || output.backward_with(&gradient)))
    }))
}
