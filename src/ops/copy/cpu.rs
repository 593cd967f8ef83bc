use super::{CopyGeometry, CopyKernels};
use crate::Result;
use crate::device::cpu::{BLOCK, put};
use crate::device::{Cost, Cpu, Output};
use crate::dtype::Float;
use rayon::prelude::*;

impl<T: Float> CopyKernels<T> for Cpu {
    fn copy_strided(
        &self,
        geometry: &CopyGeometry,
        from: &[T],
        to: Output<'_, Self, T>,
    ) -> Result<()> {
        let Output { view, accumulate } = to;
        self.kernel("copy_strided", geometry.cost::<T>(accumulate), || {
            if geometry.numel() > 0 {
                let (at, to) = (geometry.from as usize, &mut view[geometry.to as usize..]);
                copy(&Rest { geometry, accumulate, from }, 0, geometry.numel(), at, to);
            }
        });
        Ok(())
    }

    fn fill(&self, value: T, to: &mut [T]) -> Result<()> {
        self.kernel("fill", Cost::elementwise::<T>(to.len(), 1, 0), || {
            to.par_chunks_mut(BLOCK).for_each(|to| to.fill(value));
        });
        Ok(())
    }
}

/// What is the same for all parts of a copy.
struct Rest<'a, T> {
    geometry: &'a CopyGeometry,
    accumulate: bool,
    from: &'a [T],
}

/// Copies the `numel` elements of the dimensions from `d` on, of which the first comes from `at` and goes
/// to the beginning of `to`. What is many elements is cut along the outer dimension, whose indices lie
/// apart in the target.
fn copy<T: Float>(rest: &Rest<'_, T>, d: usize, numel: usize, at: usize, to: &mut [T]) {
    let g = rest.geometry;
    let (size, stride) = (g.sizes[d] as usize, g.to_strides[d] as usize);
    let step = g.from_strides[d] as isize;
    let source = |i: usize| at.wrapping_add_signed(i as isize * step);
    if d + 1 == g.rank as usize {
        let run = |first: usize, count: usize, to: &mut [T]| row(rest, source(first), count, to);
        if size <= BLOCK {
            return run(0, size, to);
        }
        to.par_chunks_mut(BLOCK * stride)
            .take(size.div_ceil(BLOCK))
            .enumerate()
            .for_each(|(block, to)| run(block * BLOCK, BLOCK.min(size - block * BLOCK), to));
        return;
    }
    let inner = numel / size;
    let one = |(i, to): (usize, &mut [T])| copy(rest, d + 1, inner, source(i), to);
    if numel <= BLOCK {
        to.chunks_mut(stride).take(size).enumerate().for_each(one);
    } else {
        let at_least = (BLOCK / inner).max(1);
        to.par_chunks_mut(stride).take(size).with_min_len(at_least).enumerate().for_each(one);
    }
}

/// Copies `count` elements of the innermost dimension.
fn row<T: Float>(rest: &Rest<'_, T>, at: usize, count: usize, to: &mut [T]) {
    let (g, from, accumulate) = (rest.geometry, rest.from, rest.accumulate);
    let d = g.rank as usize - 1;
    let (step, stride) = (g.from_strides[d] as isize, g.to_strides[d] as usize);
    match (step, stride, accumulate) {
        (1, 1, false) => to[..count].copy_from_slice(&from[at..at + count]),
        (1, 1, true) => to.iter_mut().zip(&from[at..at + count]).for_each(|(to, &x)| *to += x),
        _ => {
            let slots = to.iter_mut().step_by(stride).take(count).enumerate();
            slots.for_each(|(i, to)| {
                put(to, from[at.wrapping_add_signed(i as isize * step)], accumulate);
            });
        }
    }
}
