use super::{IndexGeometry, IndexKernels};
use crate::device::cpu::{BLOCK, put};
use crate::device::{Cpu, Output};
use crate::dtype::Float;
use crate::{Error, Result};
use rayon::prelude::*;

/// Columns that are summed at once.
const COLUMNS: usize = 64;

impl<T: Float> IndexKernels<T> for Cpu {
    fn index_pick(
        &self,
        geometry: &IndexGeometry,
        x: &[T],
        index: &[i32],
        y: &mut [T],
    ) -> Result<()> {
        let [size, count, inner] = sizes(geometry);
        let is_outside = |&i: &i32| usize::try_from(i).map_or(true, |i| i >= size);
        if let Some(place) = index.iter().position(is_outside) {
            let wrong = index[place];
            let message = format!("{wrong} at place {place} is not one of the {size} indices");
            return Err(Error::argument("index", message));
        }
        self.kernel("index_pick", geometry.cost::<T>(), || {
            let rows = y.par_chunks_mut(inner.max(1)).with_min_len((BLOCK / inner.max(1)).max(1));
            rows.enumerate().for_each(|(row, y)| {
                let x = &x[row / count * size * inner..];
                if geometry.by_row == 1 {
                    let at = index[row % count] as usize;
                    y.copy_from_slice(&x[at * inner..][..inner]);
                } else {
                    let index = &index[row * inner..][..inner];
                    for (i, (y, &at)) in y.iter_mut().zip(index).enumerate() {
                        *y = x[at as usize * inner + i];
                    }
                }
            });
        });
        Ok(())
    }

    fn index_add(
        &self,
        geometry: &IndexGeometry,
        index: &[i32],
        skipped: Option<usize>,
        grad_y: &[T],
        grad_x: Output<'_, Self, T>,
    ) -> Result<()> {
        self.kernel("index_add", geometry.cost_of_add::<T>(grad_x.accumulate), || {
            match (geometry.numel(), geometry.by_row) {
                (0, _) => {}
                (_, 1) => add_rows(geometry, index, skipped, grad_y, grad_x),
                _ => add_elements(geometry, index, grad_y, grad_x),
            }
        });
        Ok(())
    }
}

fn sizes(geometry: &IndexGeometry) -> [usize; 3] {
    [geometry.size, geometry.count, geometry.inner].map(|size| size as usize)
}

/// Sorts the places of the index by what it says there, so that each row of the gradient finds its own.
fn add_rows<T: Float>(
    geometry: &IndexGeometry,
    index: &[i32],
    skipped: Option<usize>,
    grad_y: &[T],
    grad_x: Output<'_, Cpu, T>,
) {
    let Output { view, accumulate } = grad_x;
    let [size, count, inner] = sizes(geometry);
    let mut ends = vec![0_usize; size + 1];
    for &at in index {
        ends[at as usize + 1] += 1;
    }
    for s in 0..size {
        ends[s + 1] += ends[s];
    }
    // From the first place of each row on; at last where the next one begins.
    let mut places = vec![0; index.len()];
    for (place, &at) in index.iter().enumerate() {
        places[ends[at as usize]] = place;
        ends[at as usize] += 1;
    }
    let rows = view.par_chunks_mut(inner).with_min_len((BLOCK / inner).max(1)).enumerate();
    rows.for_each(|(row, grad_x)| {
        let (o, s) = (row / size, row % size);
        let first = if s == 0 { 0 } else { ends[s - 1] };
        let own = if skipped == Some(s) { &[] } else { &places[first..ends[s]] };
        for (block, grad_x) in grad_x.chunks_mut(COLUMNS).enumerate() {
            let mut sums = [0.0; COLUMNS];
            for &place in own {
                let from = &grad_y[(o * count + place) * inner + block * COLUMNS..][..grad_x.len()];
                sums.iter_mut().zip(from).for_each(|(sum, x)| *sum += x.as_f64());
            }
            for (slot, sum) in grad_x.iter_mut().zip(sums) {
                put(slot, T::of(sum), accumulate);
            }
        }
    });
}

/// Each task has some rows of the gradient, and looks at all indices that could mean one of them.
fn add_elements<T: Float>(
    geometry: &IndexGeometry,
    index: &[i32],
    grad_y: &[T],
    grad_x: Output<'_, Cpu, T>,
) {
    let Output { view, accumulate } = grad_x;
    let [size, count, inner] = sizes(geometry);
    let rows = (BLOCK / inner).max(1);
    view.par_chunks_mut(size * inner).enumerate().for_each(|(o, grad_x)| {
        let all = o * count * inner..(o + 1) * count * inner;
        grad_x.par_chunks_mut(rows * inner).enumerate().for_each(|(part, grad_x)| {
            let mut sums = vec![0.0; grad_x.len()];
            let lines = index[all.clone()].chunks_exact(inner);
            for (index, grad_y) in lines.zip(grad_y[all.clone()].chunks_exact(inner)) {
                for (i, (&at, x)) in index.iter().zip(grad_y).enumerate() {
                    let row = (at as usize).wrapping_sub(part * rows);
                    if row < grad_x.len() / inner {
                        sums[row * inner + i] += x.as_f64();
                    }
                }
            }
            for (slot, sum) in grad_x.iter_mut().zip(sums) {
                put(slot, T::of(sum), accumulate);
            }
        });
    });
}
