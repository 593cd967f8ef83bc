use super::member::{is_tie, one_if, sign, with_derivative, with_term};
use super::{Extreme, Member, ReduceGeometry, ReduceKernels};
use crate::Result;
use crate::device::cpu::{BLOCK, lane_sum, put};
use crate::device::{Cpu, Output};
use crate::dtype::Float;
use rayon::prelude::*;

/// Elements of one result that one task takes; of more they are cut, by the shape alone.
const RUN: usize = 4 * BLOCK;
/// Results of one task, where neighbouring elements belong to neighbouring results.
const COLUMNS: usize = 128;
/// Elements side by side from which on several sums are worth their set-up.
const LANES: usize = 16;

impl<T: Float> ReduceKernels<T> for Cpu {
    fn reduce_sum(
        &self,
        geometry: &ReduceGeometry,
        member: Member,
        x: &[T],
        c: Option<&[T]>,
        y: Output<'_, Self, T>,
    ) -> Result<()> {
        let Output { view, accumulate } = y;
        let (count, beside) = (geometry.length(), matches!(member, Member::Variance { .. }));
        self.kernel(member.kernels()[0], geometry.cost::<T>(member.flops()), || {
            let own = |i| c.map_or(T::zero(), |c| member.own(c[i]));
            let c: Vec<T> = (0..geometry.results()).map(own).collect();
            let totals = with_term!(member, term => fold(geometry, x, &c, &Sums { term, beside }));
            let results = view.par_iter_mut().zip(totals).zip(c).with_min_len(BLOCK);
            results.for_each(|((y, [sum, beside]), c)| {
                put(y, member.finish(c, sum, beside, count), accumulate);
            });
        });
        Ok(())
    }

    fn reduce_sum_backward(
        &self,
        geometry: &ReduceGeometry,
        member: Member,
        x: Option<&[T]>,
        c: Option<&[T]>,
        shares: Option<&[T]>,
        grad_y: &[T],
        grad_x: Output<'_, Self, T>,
    ) -> Result<()> {
        let moved = 1 + u64::from(x.is_some()) + u64::from(grad_x.accumulate);
        let cost = geometry.backward_cost::<T>(moved, member.flops_backward());
        self.kernel(member.kernels()[1], cost, || {
            with_derivative!(member, derivative => {
                spread(geometry, x, grad_x, |result| {
                    let (gradient, c) = (grad_y[result], c.map_or(T::zero(), |c| c[result]));
                    let share = shares.map(|shares| shares[result]);
                    move |x, _| {
                        let gradient = gradient * derivative(x, c);
                        share.map_or(gradient, |share| gradient / share)
                    }
                });
            });
        });
        Ok(())
    }

    fn reduce_extreme(
        &self,
        geometry: &ReduceGeometry,
        extreme: Extreme,
        x: &[T],
        values: &mut [T],
        indices: &mut [i32],
    ) -> Result<()> {
        self.kernel("reduce_extreme", geometry.cost::<T>(3), || {
            let c = vec![T::zero(); geometry.results()];
            let found = fold(geometry, x, &c, &extreme);
            let results = values.par_iter_mut().zip(indices).zip(found).with_min_len(BLOCK);
            results.for_each(|((value, index), First { key, at })| {
                *value = extreme.value(key);
                *index = at as i32;
            });
        });
        Ok(())
    }

    fn reduce_pick_backward(
        &self,
        geometry: &ReduceGeometry,
        indices: &[i32],
        grad_y: &[T],
        grad_x: Output<'_, Self, T>,
    ) -> Result<()> {
        let cost = geometry.backward_cost::<T>(1 + u64::from(grad_x.accumulate), 0);
        self.kernel("reduce_pick_backward", cost, || {
            spread(geometry, None, grad_x, |result| {
                let (index, gradient) = (indices[result] as usize, grad_y[result]);
                move |_, element| if element == index { gradient } else { T::zero() }
            });
        });
        Ok(())
    }
}

/// What is gathered from the elements of a result.
trait Fold<T: Float>: Sync {
    type Total: Copy + Send + Sync;

    /// Of no element.
    fn none(&self) -> Self::Total;

    /// Takes element number `at`.
    fn one(&self, total: &mut Self::Total, x: T, at: usize, c: T);

    /// Takes neighbouring elements, from number `first` on.
    fn run(&self, total: &mut Self::Total, run: &[T], first: usize, c: T) {
        run.iter().enumerate().for_each(|(i, &x)| self.one(total, x, first + i, c));
    }

    /// Takes what another task has.
    fn take(&self, total: &mut Self::Total, other: Self::Total);
}

/// The sum of a term, and of `x - c` beside it.
struct Sums<F> {
    term: F,
    beside: bool,
}

impl<T: Float, F: Fn(T, T) -> T + Sync> Fold<T> for Sums<F> {
    type Total = [f64; 2];

    fn none(&self) -> [f64; 2] {
        [0.0; 2]
    }

    #[inline(always)]
    fn one(&self, total: &mut [f64; 2], x: T, _: usize, c: T) {
        total[0] += (self.term)(x, c).as_f64();
        if self.beside {
            total[1] += (x - c).as_f64();
        }
    }

    #[inline(always)]
    fn run(&self, total: &mut [f64; 2], run: &[T], first: usize, c: T) {
        if run.len() < LANES {
            return run.iter().for_each(|&x| self.one(total, x, first, c));
        }
        total[0] += lane_sum(run, run, |x, _| (self.term)(x, c));
        if self.beside {
            total[1] += lane_sum(run, run, |x, _| x - c);
        }
    }

    fn take(&self, total: &mut [f64; 2], other: [f64; 2]) {
        *total = [total[0] + other[0], total[1] + other[1]];
    }
}

/// The first element with the largest key.
#[derive(Clone, Copy)]
struct First<T> {
    key: T,
    /// `usize::MAX`: there is none yet.
    at: usize,
}

/// In the order of their numbers, so that a tie stays with the first.
impl<T: Float> Fold<T> for Extreme {
    type Total = First<T>;

    fn none(&self) -> First<T> {
        First { key: T::neg_infinity(), at: usize::MAX }
    }

    #[inline(always)]
    fn one(&self, total: &mut First<T>, x: T, at: usize, _: T) {
        let key = self.key(x);
        if key > total.key || total.at == usize::MAX || (key.is_nan() && !total.key.is_nan()) {
            *total = First { key, at };
        }
    }

    fn take(&self, total: &mut First<T>, First { key, at }: First<T>) {
        if key > total.key || (key.is_nan() && !total.key.is_nan()) {
            *total = First { key, at };
        }
    }
}

/// What `fold` gathers for each result, which has a value of `c`.
fn fold<T: Float, F: Fold<T>>(g: &ReduceGeometry, x: &[T], c: &[T], fold: &F) -> Vec<F::Total> {
    let (results, length) = (g.results(), g.length());
    let [k1, r1, k2, r2] = [g.k1, g.r1, g.k2, g.r2].map(|size| size as usize);
    if results == 0 {
        return Vec::new();
    }
    // Piece by piece, the totals of all results.
    let pieces = length.div_ceil(RUN).max(1);
    let mut totals = vec![fold.none(); pieces * results];
    let elements = |piece: usize| piece * RUN..length.min((piece + 1) * RUN);
    let enough = (BLOCK / length.clamp(1, RUN)).max(1);
    if r2 == 1 {
        let rows = totals.par_chunks_mut(k2).with_min_len((enough / k2).max(1)).enumerate();
        rows.for_each(|(row, totals)| {
            let (piece, a) = (row / k1, row % k1);
            let blocks = totals.par_chunks_mut(COLUMNS).with_min_len((enough / COLUMNS).max(1));
            blocks.enumerate().for_each(|(block, totals)| {
                let first = block * COLUMNS;
                let c = &c[a * k2 + first..][..totals.len()];
                for i in elements(piece) {
                    let x = &x[(a * r1 + i) * k2 + first..][..totals.len()];
                    for ((total, &x), &c) in totals.iter_mut().zip(x).zip(c) {
                        fold.one(total, x, i, c);
                    }
                }
            });
        });
    } else {
        totals.par_iter_mut().with_min_len(enough).enumerate().for_each(|(i, total)| {
            let (piece, result) = (i / results, i % results);
            let (a, b) = (result / k2, result % k2);
            let mut elements = elements(piece);
            while !elements.is_empty() {
                let at = elements.start;
                let (i, j) = (at / r2, at % r2);
                let run = &x[((a * r1 + i) * k2 + b) * r2 + j..][..elements.len().min(r2 - j)];
                fold.run(total, run, at, c[result]);
                elements.start += run.len();
            }
        });
    }
    let (sums, others) = totals.split_at_mut(results);
    for others in others.chunks_exact(results) {
        sums.iter_mut().zip(others).for_each(|(sum, &other)| fold.take(sum, other));
    }
    totals.truncate(results);
    totals
}

/// Writes a value for each element: a function of it and its number among the elements of its result, one
/// for each result.
fn spread<T: Float, D: Fn(T, usize) -> T>(
    g: &ReduceGeometry,
    x: Option<&[T]>,
    grad_x: Output<'_, Cpu, T>,
    of_result: impl Fn(usize) -> D + Sync,
) {
    let Output { view, accumulate } = grad_x;
    let [r1, k2, r2] = [g.r1, g.k2, g.r2].map(|size| size as usize);
    view.par_chunks_mut(BLOCK).enumerate().for_each(|(block, mut rest)| {
        let mut at = block * BLOCK;
        while !rest.is_empty() {
            let (row, b, j) = (at / r2 / k2, at / r2 % k2, at % r2);
            let (result, element) = (row / r1 * k2 + b, row % r1 * r2 + j);
            // To the end of a run, or of a row of runs of one.
            let left = if r2 > 1 { r2 - j } else { k2 - b };
            let now = rest.split_off_mut(..left.min(rest.len())).unwrap_or_default();
            let x = |i: usize| x.map_or(T::zero(), |x| x[at + i]);
            if r2 > 1 {
                let value = of_result(result);
                let slots = now.iter_mut().enumerate();
                slots.for_each(|(i, slot)| put(slot, value(x(i), element + i), accumulate));
            } else {
                let slots = now.iter_mut().enumerate();
                slots.for_each(|(i, slot)| {
                    put(slot, of_result(result + i)(x(i), element), accumulate);
                });
            }
            at += now.len();
        }
    });
}
