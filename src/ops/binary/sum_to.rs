//! The gradient of an operand that was repeated: the sum over where it was.

use super::BinaryKernels;
use crate::device::{AnyView, Backend, Device, Output};
use crate::dtype::Float;
use crate::ops::index32;
use crate::ops::sum::{ChannelGeometry, SumKernels};
use crate::{Result, Shape};

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
        push(&mut runs, Run { summed, size });
    }
    runs
}

fn push(runs: &mut Vec<Run>, run: Run) {
    match runs.last_mut() {
        Some(last) if last.summed == run.summed => last.size = last.size.saturating_mul(run.size),
        _ => runs.push(run),
    }
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

/// `sums = scale * ` the sum of `x` of `shape` over the dimensions along which `own` was repeated to it,
/// in an order that depends on the shapes alone.
pub(crate) fn sum_to<T: Float>(
    device: &Device,
    shape: &Shape,
    own: &Shape,
    scale: T,
    x: AnyView<'_, T>,
    sums: Output<'_, Device, T>,
) -> Result<()> {
    let mut runs = runs(shape, own);
    let mut partial = None;
    loop {
        let x = partial.as_ref().map_or(x, Device::view);
        if let Some(geometry) = channels(&runs) {
            return device.channel_sum(&geometry?, scale, x, sums);
        }
        // The last run that is summed, whose neighbours then are one.
        let at = runs.iter().rposition(|run| run.summed).unwrap_or(0);
        let (outer, inner) = (product(&runs[..at])?, product(&runs[at + 1..])?);
        let geometry = ChannelGeometry { outer, channels: product(&runs[at..=at])?, inner };
        let mut left = device.alloc(outer as usize * inner as usize)?;
        device.sum_middle(&geometry, x, Device::view_mut(&mut left))?;
        partial = Some(left);
        let mut rest = Vec::new();
        runs.remove(at);
        runs.into_iter().for_each(|run| push(&mut rest, run));
        runs = rest;
    }
}
