//! Dimensions as PyTorch counts them: from the end where they are negative.

use crate::{Error, Result, Shape};

/// Which dimension of `shape` `dim` is.
///
/// # Errors
/// [`Error::Shape`] in the name of `op` when there is no such one.
pub(crate) fn dim_of(op: &'static str, dim: isize, shape: &Shape) -> Result<usize> {
    place_of(op, dim, shape.rank(), shape)
}

/// Where `dim` is among `count` places of `shape`: its dimensions, or those and one more.
///
/// # Errors
/// [`Error::Shape`] in the name of `op` when there is no such one.
pub(crate) fn place_of(op: &'static str, dim: isize, count: usize, shape: &Shape) -> Result<usize> {
    // No shape in memory has so many dimensions that the sum wraps.
    let place = if dim < 0 { dim.wrapping_add(count as isize) } else { dim };
    match usize::try_from(place) {
        Ok(place) if place < count => Ok(place),
        _ => {
            let range = match count {
                0 => "it has none".to_string(),
                _ => format!("dim must be from -{count} to {}", count - 1),
            };
            Err(Error::shape(op, format!("dimension {dim} of {shape}: {range}")))
        }
    }
}

/// The dimensions of `shape` for which `padding` has two numbers, before and behind, the LAST dimension first.
///
/// # Errors
/// [`Error::Shape`] in the name of `op` for an odd number of them, or more than two a dimension.
pub(crate) fn padded(
    op: &'static str,
    padding: &[isize],
    shape: &Shape,
) -> Result<impl Iterator<Item = (usize, [isize; 2])>> {
    let rank = shape.rank();
    let (sides, rest) = padding.as_chunks::<2>();
    if !rest.is_empty() || sides.len() > rank {
        let message = format!(
            "{padding:?} for {shape}: expected two numbers for each of at most {rank} dimensions"
        );
        return Err(Error::shape(op, message));
    }
    Ok((0..rank).rev().zip(sides.iter().copied()))
}

/// Which of the dimensions of `shape` are among `dims`.
///
/// # Errors
/// [`Error::Shape`] in the name of `op` when one is not there, or named twice.
pub(crate) fn chosen(op: &'static str, dims: &[isize], shape: &Shape) -> Result<Vec<bool>> {
    let mut chosen = vec![false; shape.rank()];
    for &dim in dims {
        if std::mem::replace(&mut chosen[dim_of(op, dim, shape)?], true) {
            let message = format!("dimension {dim} of {shape} is there twice in {dims:?}");
            return Err(Error::shape(op, message));
        }
    }
    Ok(chosen)
}
