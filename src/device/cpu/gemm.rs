//! The matrix product, by crate `gemm`, behind one function.

use crate::dtype::Float;
use rayon::prelude::*;
use std::ops::Range;

/// A matrix to read: `rows x cols`, element `(i, j)` at `i * row_stride + j * col_stride`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a, T> {
    data: &'a [T],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// A contiguous row-major matrix.
    pub(crate) fn new(data: &'a [T], rows: usize, cols: usize) -> Self {
        assert!(data.len() >= rows * cols, "{} elements for {rows}x{cols}", data.len());
        Self { data, rows, cols, row_stride: cols, col_stride: 1 }
    }

    /// The `count` rows from `first` on.
    pub(crate) fn rows(self, first: usize, count: usize) -> Self {
        assert!(first + count <= self.rows, "rows {first} + {count} of {}", self.rows);
        // An empty matrix has no element to start from.
        let start = (first * self.row_stride).min(self.data.len());
        Self { data: &self.data[start..], rows: count, ..self }
    }

    /// The transpose, without moving anything.
    pub(crate) fn t(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }
}

/// A contiguous row-major matrix to write.
pub(crate) struct MatrixMut<'a, T> {
    data: &'a mut [T],
    rows: usize,
    cols: usize,
}

impl<'a, T> MatrixMut<'a, T> {
    pub(crate) fn new(data: &'a mut [T], rows: usize, cols: usize) -> Self {
        assert!(data.len() >= rows * cols, "{} elements for {rows}x{cols}", data.len());
        Self { data, rows, cols }
    }
}

/// `c = a b`, or `c += a b` with `accumulate`. Runs on the calling thread: threads split the batch
/// outside, never inside a small product.
pub(crate) fn gemm<T: Float>(
    c: MatrixMut<'_, T>,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    accumulate: bool,
) {
    assert!(c.rows == a.rows, "gemm of unfit matrices");
    let columns = 0..c.cols;
    let c = Columns { data: c.data.as_mut_ptr(), stride: c.cols, rows: c.rows, cols: c.cols };
    // SAFETY: `c` borrows its slice mutably, and `new` checked that all its elements lie there.
    unsafe { c.columns_become(columns, a, b, accumulate) }
}

/// [`gemm`], `width` columns a task: for few rows, where a split of the rows would make every task
/// read all of `b`.
pub(crate) fn gemm_by_columns<T: Float>(
    c: MatrixMut<'_, T>,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    accumulate: bool,
    width: usize,
) {
    assert!(c.rows == a.rows, "gemm of unfit matrices");
    let c = Columns { data: c.data.as_mut_ptr(), stride: c.cols, rows: c.rows, cols: c.cols };
    (0..c.cols.div_ceil(width)).into_par_iter().for_each(|task| {
        let columns = task * width..((task + 1) * width).min(c.cols);
        // SAFETY: as in `gemm`, and no two tasks have a column in common.
        unsafe { c.columns_become(columns, a, b, accumulate) }
    });
}

/// A contiguous row-major matrix of which several threads write different columns.
#[derive(Clone, Copy)]
struct Columns<T> {
    data: *mut T,
    rows: usize,
    cols: usize,
    stride: usize,
}

// SAFETY: a pointer to numbers; who uses it says why no two threads write the same.
unsafe impl<T: Float> Sync for Columns<T> {}

impl<T: Float> Columns<T> {
    /// `columns` of it become those of `a b`.
    ///
    /// # Safety
    /// `rows` rows of `stride` elements lie at `data`, and nobody else uses those columns.
    unsafe fn columns_become(
        &self,
        columns: Range<usize>,
        a: Matrix<'_, T>,
        b: Matrix<'_, T>,
        accumulate: bool,
    ) {
        assert!(columns.end <= self.cols && self.cols == b.cols, "gemm of unfit matrices");
        assert!(self.rows == a.rows && a.cols == b.rows, "gemm of unfit matrices");
        // SAFETY: `Matrix::new` checked that every element of a matrix lies inside its slice, `rows`
        // and `t` keep to those elements, and so do `columns` of `b` and, by the caller, of `c`.
        unsafe {
            gemm::gemm(
                self.rows,
                columns.len(),
                a.cols,
                // Without rows there is no element to point at.
                self.data.wrapping_add(columns.start),
                1,
                self.stride as isize,
                accumulate,
                a.data.as_ptr(),
                a.col_stride as isize,
                a.row_stride as isize,
                b.data.as_ptr().wrapping_add(columns.start * b.col_stride),
                b.col_stride as isize,
                b.row_stride as isize,
                T::one(),
                T::one(),
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: [[usize; 3]; 7] =
        [[1, 1, 1], [3, 4, 5], [7, 2, 9], [9, 5, 3], [0, 2, 7], [2, 0, 7], [2, 3, 0]];

    /// Small whole numbers, whose products are exact.
    fn numbers(count: usize) -> Vec<f32> {
        (0..count).map(|i| (i * 7 % 5) as f32 - 2.0).collect()
    }

    /// `b` is given as the transpose of what lies in memory. Small enough for Miri.
    #[test]
    fn a_product_is_its_definition_of_any_size_whole_or_by_columns() {
        for [rows, inner, cols] in SIZES {
            let (a, b) = (numbers(rows * inner), numbers(cols * inner));
            let at = |i: usize, j: usize| -> f32 {
                (0..inner).map(|k| a[i * inner + k] * b[j * inner + k]).sum()
            };
            for accumulate in [false, true] {
                let before = if accumulate { 3.0 } else { 0.0 };
                let expected: Vec<f32> =
                    (0..rows * cols).map(|i| before + at(i / cols, i % cols)).collect();
                for width in [None, Some(2)] {
                    let mut c = vec![3.0; rows * cols];
                    let target = MatrixMut::new(&mut c, rows, cols);
                    let a = Matrix::new(&a, rows, inner);
                    let b = Matrix::new(&b, cols, inner).t();
                    match width {
                        None => gemm(target, a, b, accumulate),
                        Some(width) => gemm_by_columns(target, a, b, accumulate, width),
                    }
                    assert_eq!(c, expected, "{rows}x{inner}x{cols} {accumulate} {width:?}");
                }
            }
        }
    }
}
