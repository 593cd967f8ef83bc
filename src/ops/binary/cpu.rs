use super::{Binary, BinaryKernels, Broadcast, Comparison, Operand};
use crate::Result;
use crate::device::cpu::{BLOCK, put};
use crate::device::{Cost, Cpu, Output};
use crate::dtype::Float;
use rayon::prelude::*;

/// Calls `run` for each run of the result along its innermost dimension, with the places of the
/// operands' elements at its beginning.
fn each_run<R: Send>(g: &Broadcast, y: &mut [R], run: impl Fn(&mut [R], [usize; 3]) + Sync) {
    let innermost = g.rank as usize - 1;
    let inner = g.sizes[innermost] as usize;
    y.par_chunks_mut(BLOCK).enumerate().for_each(|(chunk, mut rest)| {
        let (mut index, mut at, mut outside) = ([0; 8], [0; 3], chunk * BLOCK);
        for d in (0..=innermost).rev() {
            let size = g.sizes[d] as usize;
            index[d] = outside % size;
            outside /= size;
            (0..3).for_each(|k| at[k] += index[d] * g.strides[k][d] as usize);
        }
        let mut inside = index[innermost];
        loop {
            let (now, later) = rest.split_at_mut(rest.len().min(inner - inside));
            run(now, at);
            if later.is_empty() {
                return;
            }
            rest = later;
            // Back to the beginning of this row, and on to the next.
            (0..3).for_each(|k| at[k] -= inside * g.strides[k][innermost] as usize);
            inside = 0;
            for d in (0..innermost).rev() {
                let size = g.sizes[d] as usize;
                index[d] += 1;
                (0..3).for_each(|k| at[k] += g.strides[k][d] as usize);
                if index[d] < size {
                    break;
                }
                index[d] = 0;
                (0..3).for_each(|k| at[k] -= size * g.strides[k][d] as usize);
            }
        }
    });
}

/// One run: `y = f(a, b, c)`, where an operand goes along or not, by its stride of 1 or 0.
#[inline(always)]
fn one_run<const A: usize, const B: usize, const C: usize, T: Copy, M: Copy, R>(
    y: &mut [R],
    (a, b, c): (&[T], &[T], &[M]),
    f: impl Fn(&mut R, T, T, M),
) {
    let n = y.len();
    let (a, b, c) = (&a[..1 + A * (n - 1)], &b[..1 + B * (n - 1)], &c[..1 + C * (n - 1)]);
    for (i, y) in y.iter_mut().enumerate() {
        f(y, a[A * i], b[B * i], c[C * i]);
    }
}

/// `f` with each element of the result and those of the operands, the third of which goes along the
/// innermost dimension where `C` is 1.
fn combine<const C: usize, T: Float, M: Copy + Sync, R: Send>(
    g: &Broadcast,
    (a, b, c): (&[T], &[T], &[M]),
    y: &mut [R],
    f: impl Fn(&mut R, T, T, M) + Sync,
) {
    let innermost = g.rank as usize - 1;
    let along = [g.strides[0][innermost], g.strides[1][innermost]];
    each_run(g, y, |y, at| {
        let operands = (&a[at[0]..], &b[at[1]..], &c[at[2]..]);
        match along {
            [0, 0] => one_run::<0, 0, C, _, _, _>(y, operands, &f),
            [0, _] => one_run::<0, 1, C, _, _, _>(y, operands, &f),
            [_, 0] => one_run::<1, 0, C, _, _, _>(y, operands, &f),
            _ => one_run::<1, 1, C, _, _, _>(y, operands, &f),
        }
    });
}

/// `y = f(a, b)`.
fn map<T: Float, R: Send>(
    g: &Broadcast,
    a: &[T],
    b: &[T],
    y: &mut [R],
    f: impl Fn(T, T) -> R + Sync,
) {
    // As long as the result, and of no size.
    let nothing = vec![(); y.len()];
    combine::<1, _, _, _>(g, (a, b, &nothing), y, |y, a, b, ()| *y = f(a, b));
}

/// `grad = f(a, b, grad_y)`.
fn map_backward<T: Float>(
    g: &Broadcast,
    operands: (&[T], &[T], &[T]),
    Output { view, accumulate }: Output<'_, Cpu, T>,
    f: impl Fn(T, T, T) -> T + Sync,
) {
    let put = |y: &mut T, a, b, dy| put(y, f(a, b, dy), accumulate);
    combine::<1, _, _, _>(g, operands, view, put);
}

/// The kernels of the lines of the table: the value in terms of a and b, and for those whose gradients
/// are no constants, these, by a and by b, in terms of a, b and the gradient dy.
macro_rules! table {
    (
        $a:ident $b:ident $dy:ident:
        functions { $($name:ident: $value:expr $(, $by_a:expr, $by_b:expr)?;)* }
        comparisons { $($comparison:ident: $condition:expr;)* }
    ) => {
        impl<T: Float> BinaryKernels<T> for Cpu {
            fn binary_forward(
                &self,
                function: Binary,
                geometry: &Broadcast,
                a: &[T],
                b: &[T],
                y: &mut [T],
            ) -> Result<()> {
                let cost = function.forward_cost::<T>(geometry);
                self.kernel(function.kernels()[0], cost, || match function {
                    $(Binary::$name => map(geometry, a, b, y, |$a, $b| $value),)*
                });
                Ok(())
            }

            #[allow(unused_variables)]
            fn binary_backward(
                &self,
                function: Binary,
                by: Operand,
                geometry: &Broadcast,
                a: &[T],
                b: &[T],
                grad_y: &[T],
                grad: Output<'_, Self, T>,
            ) -> Result<()> {
                let cost = function.backward_cost::<T>(by, geometry, grad.accumulate);
                let operands = (a, b, grad_y);
                self.kernel(function.kernels()[1 + by as usize], cost, || match (function, by) {
                    $($(
                        (Binary::$name, Operand::A) => {
                            map_backward(geometry, operands, grad, |$a, $b, $dy| $by_a);
                        }
                        (Binary::$name, Operand::B) => {
                            map_backward(geometry, operands, grad, |$a, $b, $dy| $by_b);
                        }
                    )?)*
                    // Gradients that are constants need no kernel.
                    _ => unreachable!("{function:?} has no such kernel"),
                });
                Ok(())
            }

            fn compare(
                &self,
                comparison: Comparison,
                geometry: &Broadcast,
                a: &[T],
                b: &[T],
                y: &mut [u8],
            ) -> Result<()> {
                let cost = geometry.comparison_cost::<T>();
                self.kernel(comparison.kernel(), cost, || match comparison {
                    $(Comparison::$comparison => {
                        map(geometry, a, b, y, |$a: T, $b: T| u8::from($condition));
                    })*
                });
                Ok(())
            }

            fn where_forward(
                &self,
                geometry: &Broadcast,
                mask: &[u8],
                a: &[T],
                b: &[T],
                y: &mut [T],
            ) -> Result<()> {
                let choose = |y: &mut T, a, b, is_a| *y = if is_a != 0 { a } else { b };
                self.kernel("where_forward", geometry.where_cost::<T>(), || {
                    if geometry.goes_along(2) {
                        combine::<1, _, _, _>(geometry, (a, b, mask), y, choose);
                    } else {
                        combine::<0, _, _, _>(geometry, (a, b, mask), y, choose);
                    }
                });
                Ok(())
            }

            fn where_backward(
                &self,
                by: Operand,
                geometry: &Broadcast,
                mask: &[u8],
                grad_y: &[T],
                grad: Output<'_, Self, T>,
            ) -> Result<()> {
                let Output { view, accumulate } = grad;
                let choose = |y: &mut T, dy, _, is_a| {
                    let chosen = (is_a != 0) == (by == Operand::A);
                    put(y, if chosen { dy } else { T::zero() }, accumulate);
                };
                let operands = (grad_y, grad_y, mask);
                self.kernel("where_backward", geometry.where_cost::<T>(), || {
                    if geometry.goes_along(2) {
                        combine::<1, _, _, _>(geometry, operands, view, choose);
                    } else {
                        combine::<0, _, _, _>(geometry, operands, view, choose);
                    }
                });
                Ok(())
            }

            fn accumulate(&self, x: &[T], y: Output<'_, Self, T>) -> Result<()> {
                let Output { view, accumulate } = y;
                let cost = Cost::elementwise::<T>(x.len(), 2 + u64::from(accumulate), 0);
                self.kernel("accumulate", cost, || {
                    view.par_iter_mut()
                        .zip(x)
                        .with_min_len(BLOCK)
                        .for_each(|(y, &x)| put(y, x, accumulate));
                });
                Ok(())
            }
        }
    };
}

table! { a b dy:
    functions {
        add: a + b;
        sub: a - b;
        mul: a * b, dy * b, dy * a;
        div: a / b, dy / b, -dy * (a / b) / b;
        pow_tensor: a.powf(b), power_by_base(dy, a, b), power_by_exponent(dy, a, b);
        maximum: larger(a, b), share(dy, a, b), share(dy, b, a);
        minimum: smaller(a, b), share(dy, b, a), share(dy, a, b);
    }
    comparisons {
        eq: a == b;
        ne: a != b;
        lt: a < b;
        le: a <= b;
        gt: a > b;
        ge: a >= b;
    }
}

/// Where the exponent is 0, so is the gradient, of NaN and infinity too.
fn power_by_base<T: Float>(dy: T, a: T, b: T) -> T {
    if b == T::zero() { T::zero() } else { dy * (b * a.powf(b - T::one())) }
}

/// At a base of 0, whose logarithm is infinite, a power of 0 stays 0 for larger exponents.
fn power_by_exponent<T: Float>(dy: T, a: T, b: T) -> T {
    if a == T::zero() && b >= T::zero() { T::zero() } else { dy * (a.powf(b) * a.ln()) }
}

/// NaN with anything is NaN.
fn larger<T: Float>(a: T, b: T) -> T {
    if a > b || a.is_nan() { a } else { b }
}

fn smaller<T: Float>(a: T, b: T) -> T {
    if a < b || a.is_nan() { a } else { b }
}

/// The gradient of the larger of two numbers by `own`: equal ones share it.
fn share<T: Float>(dy: T, own: T, other: T) -> T {
    if own < other {
        T::zero()
    } else if own == other {
        dy / T::of(2.0)
    } else {
        dy
    }
}
