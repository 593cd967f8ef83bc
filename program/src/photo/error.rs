use super::MAX_PIXELS;

/// Why bytes are no photograph that can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PhotoError {
    /// There are no bytes.
    #[error("the file is empty")]
    Empty,
    /// Nothing that is known, whatever its name says.
    #[error("it is no PNG, JPEG, WebP, GIF, BMP or TIFF image")]
    Format,
    /// Another kind of file, whatever its name says.
    #[error("it is {name}, which is not read: {help}")]
    Kind {
        /// The kind, with its article.
        name: &'static str,
        /// What to do.
        help: &'static str,
    },
    /// A header that claims more than [`MAX_PIXELS`].
    #[error(
        "it is {width} x {height} pixels; at most {} million are read: make it smaller",
        MAX_PIXELS / 1_000_000
    )]
    TooLarge {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// The end is missing.
    #[error("the {0} data ends too early; was it copied whole?")]
    Truncated(&'static str),
    /// The decoder's reason.
    #[error("it is damaged, or of a kind that is not read: {0}")]
    Damaged(String),
}

impl PhotoError {
    /// What to do about it, where the message does not say so.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Empty => Some("copy it again from where it is whole"),
            Self::Format => Some("open it in another program, and save it as PNG or JPEG"),
            Self::Truncated(_) => Some("copy it again, or open it elsewhere and save it as PNG"),
            Self::Damaged(_) => Some("open it in another program, and save it as PNG"),
            Self::Kind { .. } | Self::TooLarge { .. } => None,
        }
    }
}
