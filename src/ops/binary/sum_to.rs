//! The gradient of an operand that was repeated: the sum over where it was.

use crate::dtype::Float;
use crate::ops::index32;
use crate::ops::reduce::reduce_to;
use crate::ops::sum::{ChannelGeometry, SumKernels};
use crate::{Gradients, NodeId, Result, Shape, Tensor};

/// Neighbouring dimensions that are summed, or kept, together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    summed: bool,
    size: usize,
}

/// The dimensions of `shape`, of which those are summed that were made by repeating `own`.
fn runs(shape: &Shape, own: &Shape) -> Vec<Run> {
    let missing = shape.rank() - own.rank();
    let mut runs: Vec<Run> = Vec::new();
    for (d, &size) in shape.dims().iter().enumerate().filter(|(_, size)| **size != 1) {
        let summed = d < missing || own.dims()[d - missing] == 1;
        match runs.last_mut() {
            Some(last) if last.summed == summed => last.size = last.size.saturating_mul(size),
            _ => runs.push(Run { summed, size }),
        }
    }
    runs
}

fn product(runs: &[Run]) -> Result<u32> {
    index32("sum", runs.iter().fold(1, |all, run| all.saturating_mul(run.size)))
}

/// The runs as `channel_sum` takes them, if they are `[summed, kept, summed]` or parts of it.
fn channels(runs: &[Run]) -> Option<Result<ChannelGeometry>> {
    let kept = match runs {
        [] => return Some(Ok(ChannelGeometry { outer: 1, channels: 1, inner: 1 })),
        [one] if one.summed => {
            let inner = product(&[*one]);
            return Some(inner.map(|inner| ChannelGeometry { outer: 1, channels: 1, inner }));
        }
        [first, ..] => usize::from(first.summed),
    };
    if runs.len() > kept + 2 {
        return None;
    }
    let geometry = |runs: [&[Run]; 3]| {
        let [outer, channels, inner] = [product(runs[0])?, product(runs[1])?, product(runs[2])?];
        Ok(ChannelGeometry { outer, channels, inner })
    };
    Some(geometry([&runs[..kept], &runs[kept..=kept], &runs[kept + 1..]]))
}

/// Hands on `scale` times the sum of `x` over the dimensions along which an operand of shape `own` was
/// repeated, in an order that depends on the shapes alone.
pub(super) fn sum_to<T: Float>(
    x: &Tensor<T>,
    own: &Shape,
    scale: T,
    node: Option<NodeId>,
    gradients: &mut Gradients<'_, T>,
) -> Result<()> {
    // The most usual ones need no more than sums of channels.
    if let Some(geometry) = channels(&runs(x.shape(), own)) {
        let Some(sums) = gradients.output(node, own.numel())? else { return Ok(()) };
        return x.device().channel_sum(&geometry?, scale, x.read().view(), sums);
    }
    let sums = reduce_to(x, own)?;
    gradients.pass(node, if scale == T::one() { sums } else { sums.mul_scalar(scale.as_f64())? })
}
