use super::{BatchedGeometry, MatmulGeometry, MatmulKernels};
use crate::Result;
use crate::device::cpu::{Matrix, MatrixMut, gemm, gemm_by_columns};
use crate::device::{Cpu, Output};
use crate::dtype::Float;
use rayon::prelude::*;

/// Multiplications that one task must have to be worth a hand-over to another thread.
const WORK_PER_TASK: usize = 1 << 21;
/// Rows or columns that one task must have: each rearranges for itself all that it reads of the other
/// matrix, which costs as much as some tens of them; twice of that if that matrix is a transpose.
const SIDE_PER_TASK: usize = 128;
/// The most tasks that one product is split into.
const MAX_TASKS: usize = 16;
/// Columns of a task are a multiple of this: a cache line of them.
const COLUMNS: usize = 16;

impl<T: Float> MatmulKernels<T> for Cpu {
    fn matmul(
        &self,
        geometry: &MatmulGeometry,
        a: &[T],
        b: &[T],
        bias: Option<&[T]>,
        c: Output<'_, Self, T>,
    ) -> Result<()> {
        let Output { view: c, accumulate } = c;
        let [m, n, k] = [geometry.m, geometry.n, geometry.k].map(|size| size as usize);
        let a =
            if geometry.transpose_a == 1 { Matrix::new(a, k, m).t() } else { Matrix::new(a, m, k) };
        let b =
            if geometry.transpose_b == 1 { Matrix::new(b, n, k).t() } else { Matrix::new(b, k, n) };
        self.kernel("matmul", geometry.cost::<T>(), || {
            if let Some(bias) = bias {
                for row in c.chunks_exact_mut(n.max(1)) {
                    if accumulate {
                        row.iter_mut().zip(bias).for_each(|(c, &bias)| *c += bias);
                    } else {
                        row.copy_from_slice(bias);
                    }
                }
            }
            let accumulate = accumulate || bias.is_some();
            // Tasks are split by the shape alone, and a sum never is: same bits on any number of
            // threads. The longer side is split, so that a task reads little that another reads too.
            let side = SIDE_PER_TASK << geometry.transpose_b;
            let tasks = (m * n * k / WORK_PER_TASK).min(m.max(n) / side).clamp(1, MAX_TASKS);
            let tasks = 1 << tasks.ilog2();
            if n > m {
                let width = n.div_ceil(tasks).next_multiple_of(COLUMNS);
                gemm_by_columns(MatrixMut::new(c, m, n), a, b, accumulate, width);
                return;
            }
            let rows = m.div_ceil(tasks).max(1);
            c.par_chunks_mut((rows * n).max(1)).enumerate().for_each(|(task, c)| {
                let rows_here = c.len() / n;
                let a = a.rows(task * rows, rows_here);
                gemm(MatrixMut::new(c, rows_here, n), a, b, accumulate);
            });
        });
        Ok(())
    }
    fn batched_matmul(
        &self,
        geometry: &BatchedGeometry,
        a: &[T],
        b: &[T],
        c: Output<'_, Self, T>,
    ) -> Result<()> {
        let Output { view: c, accumulate } = c;
        let &BatchedGeometry { product, terms, .. } = geometry;
        let [m, n, k] = [product.m, product.n, product.k].map(|size| size as usize);
        let terms = terms as usize;
        // Of some rows of one matrix, term by term.
        let rows_become = |batch: usize, first: usize, c: &mut [T]| {
            if terms == 0 && !accumulate {
                c.fill(T::zero());
            }
            let (batch_a, batch_b) = geometry.batch.offsets(batch);
            for term in 0..terms {
                let (term_a, term_b) = geometry.sum.offsets(term);
                let (a, b) = (&a[batch_a + term_a..], &b[batch_b + term_b..]);
                let a = if product.transpose_a == 1 {
                    Matrix::new(a, k, m).t()
                } else {
                    Matrix::new(a, m, k)
                };
                let b = if product.transpose_b == 1 {
                    Matrix::new(b, n, k).t()
                } else {
                    Matrix::new(b, k, n)
                };
                let rows = c.len() / n;
                let c = MatrixMut::new(c, rows, n);
                gemm(c, a.rows(first, rows), b, accumulate || term > 0);
            }
        };
        self.kernel("batched_matmul", geometry.cost::<T>(), || {
            if c.is_empty() {
                return;
            }
            // Tasks are split by the shape alone, and a sum never is: same bits on any number of
            // threads. A task has several small matrices, or some rows of a large one.
            let work = (m * n * k).saturating_mul(terms).max(1);
            let rows = m.div_ceil((work / WORK_PER_TASK).clamp(1, MAX_TASKS));
            let matrices = c.par_chunks_mut(m * n).with_min_len(WORK_PER_TASK.div_ceil(work));
            matrices.enumerate().for_each(|(batch, c)| {
                let tasks = c.par_chunks_mut(rows * n).enumerate();
                tasks.for_each(|(task, c)| rows_become(batch, task * rows, c));
            });
        });
        Ok(())
    }
}
