//! From the bytes of a photograph to the network's grey 28x28 images.
//!
//! | file | subject |
//! |---|---|
//! | `decode.rs` | PNG, JPEG, WebP, GIF, BMP, TIFF to RGB, upright; refuses what is too large |
//! | `kind.rs` | names other kinds of files |
//! | `exif.rs` | how the camera was held |
//! | `grey.rs` | [`Photo`], [`Grey`], luma |
//! | `resize.rs` | antialiased bilinear, the bytes of PIL |
//! | `hand.rs` | finds the hand, squares it and evens the background |
//! | `error.rs` | [`PhotoError`] |
//!
//! Nothing here panics, whatever the bytes are.
#![forbid(unsafe_code)]

mod decode;
mod error;
mod exif;
mod grey;
mod hand;
mod kind;
mod resize;

pub use decode::{decode, is_animation};
pub use error::PhotoError;
pub use grey::{Grey, Photo};

use signet::data::Image;
use signet::data::SIDE;

/// The largest photograph that is read, in pixels: what the cameras of most telephones deliver.
pub const MAX_PIXELS: u64 = 50_000_000;

/// The largest file that is read: more than any photograph of [`MAX_PIXELS`] needs.
pub const MAX_BYTES: u64 = 200_000_000;

/// Which part of a photograph the network sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Crop {
    /// All of it, squeezed to a square
    None,
    /// The largest square in its middle
    Center,
    /// The hand, squared, before a background like that of the training images
    Auto,
}

impl Crop {
    /// What fits a model, unless the user says otherwise: [`Crop::Auto`], and [`Crop::None`] for one
    /// that learned from `whole_images`.
    pub fn fitting(whole_images: bool) -> Self {
        if whole_images { Self::None } else { Self::Auto }
    }

    /// What the network sees of `photo`.
    pub fn image(self, photo: &Photo) -> Image {
        match self {
            Self::None => squeezed(&photo.grey()),
            Self::Center => squeezed(&photo.centered().grey()),
            Self::Auto => hand::image(photo),
        }
    }
}

/// `grey` resized to 28x28, whatever its shape.
fn squeezed(grey: &Grey) -> Image {
    let mut image = [0; SIDE * SIDE];
    image.copy_from_slice(&grey.resize(SIDE, SIDE).pixels);
    image
}
