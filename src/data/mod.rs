//! The data: Sign Language MNIST from CSV files, or synthetic hands drawn from a seed.
//!
//! | file | what it holds |
//! |---|---|
//! | `dataset.rs` | [`Dataset`] and [`Split`]: images and labels in memory, as bytes |
//! | `csv/` | one CSV file to a [`Table`] |
//! | `text/` | the text of a file, unpacked, whatever its encoding and line ends |
//! | `labels.rs` | the two numberings of the letters that are in use |
//! | `folder.rs` | a folder or a zip archive with both files to a [`Split`] |
//! | `cifar10.rs` | the binary files of CIFAR-10 to a [`Split`] |
//! | `synthetic/` | the built-in set: hand shapes as capsules, and the pose of each letter |
//! | `loader.rs` | [`DataLoader`]: batches on a device |
//!
//! Pixels stay `u8` until a device gathers a batch: the whole set is 27 MB that way and fits any
//! memory, and turning bytes into floats costs nothing beside the first convolution.
#![forbid(unsafe_code)]

mod cifar10;
mod csv;
mod dataset;
mod folder;
mod labels;
mod loader;
mod synthetic;
mod text;

pub use crate::error::DataError;
pub use cifar10::read_cifar10;
pub use csv::{Table, parse_csv, read_csv};
pub use dataset::{Dataset, Source, Split, are_letters, letters};
pub use folder::{FolderFiles, read_folder};
pub use labels::{Convention, split_from_tables};
pub use loader::{Batch, Batches, DataLoader};
pub use synthetic::{TRAIN_IMAGES, VALID_IMAGES, hand_shape, synthetic};
pub use text::text_sha256;

/// Height and width of an image, in pixels.
pub const SIDE: usize = 28;

/// Pixels of an image.
pub const PIXELS: usize = SIDE * SIDE;

/// One grey image of [`SIDE`] x [`SIDE`], row-major; 0 is black.
pub type Image = [u8; PIXELS];

/// Classes: the letters of the alphabet without J and Z, which are drawn in the air.
pub const CLASSES: usize = 24;
