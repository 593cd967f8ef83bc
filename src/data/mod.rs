//! Data sets.

/// What is wrong with a data set.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DataError(pub String);
