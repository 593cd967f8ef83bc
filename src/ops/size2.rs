//! Rows and columns.

/// A size for rows and columns: one number for both, or `[rows, columns]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size2(pub [usize; 2]);

impl From<usize> for Size2 {
    fn from(size: usize) -> Self {
        Self([size, size])
    }
}

impl From<[usize; 2]> for Size2 {
    fn from(sizes: [usize; 2]) -> Self {
        Self(sizes)
    }
}
