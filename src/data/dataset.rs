//! Images and labels in memory.

use std::fmt;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::{CLASSES, Convention, SIDE};
use crate::support::words::{self, hex};

/// Labelled images of one size, as bytes, of at most 256 classes. Any other numbers and labels are for
/// [`DataLoader::from_values`](super::DataLoader::from_values).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// The images, one after the other, each `[channels, height, width]` row-major; 0 is black.
    pub pixels: Vec<u8>,
    /// The class of each image, an index into `classes`.
    pub labels: Vec<u8>,
    /// Channels of an image; 1 is grey.
    pub channels: usize,
    /// Rows of an image.
    pub height: usize,
    /// Columns of an image.
    pub width: usize,
    /// The name of each class.
    pub classes: Vec<String>,
    /// What people call these images.
    pub name: String,
}

impl Dataset {
    /// Grey 28x28 images of the 24 letters.
    ///
    /// `pixels` holds 784 bytes for each of `labels`.
    pub(super) fn of_letters(name: &str, labels: Vec<u8>, pixels: Vec<u8>) -> Self {
        debug_assert_eq!(pixels.len(), labels.len() * SIDE * SIDE);
        Self {
            pixels,
            labels,
            channels: 1,
            height: SIDE,
            width: SIDE,
            classes: letters(),
            name: name.to_owned(),
        }
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Bytes of one image: `channels * height * width`.
    pub fn image_len(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// The bytes of image `index`, `[channels, height, width]`.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn image(&self, index: usize) -> &[u8] {
        let size = self.image_len();
        &self.pixels[index * size..(index + 1) * size]
    }

    /// The name of the class of image `index`.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn class_name(&self, index: usize) -> &str {
        &self.classes[usize::from(self.labels[index])]
    }

    /// How many images each class has.
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        for &label in &self.labels {
            counts[usize::from(label)] += 1;
        }
        counts
    }

    /// Mean and standard deviation (population) of all pixels, 0 to 255; NaN without images.
    pub fn pixel_mean_std(&self) -> (f64, f64) {
        let (mut sum, mut squares) = (0u64, 0u64);
        for &pixel in &self.pixels {
            sum += u64::from(pixel);
            squares += u64::from(pixel) * u64::from(pixel);
        }
        // Integer sums are exact, so the textbook formula loses nothing here.
        let n = self.pixels.len() as f64;
        let mean = sum as f64 / n;
        (mean, (squares as f64 / n - mean * mean).max(0.0).sqrt())
    }

    fn add_to(&self, hash: &mut Sha256) {
        for size in [self.len(), self.channels, self.height, self.width] {
            hash.update((size as u64).to_le_bytes());
        }
        hash.update(&self.labels);
        hash.update(&self.pixels);
    }
}

/// What a training run needs: images to learn from, and others to measure it on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// The images to learn from.
    pub train: Dataset,
    /// The images to measure on.
    pub valid: Dataset,
    /// Where both came from.
    pub source: Source,
    /// What the user should know, such as an assumption that reading them rested on, a line each.
    pub notice: Option<String>,
}

impl Split {
    /// Adds a line to the notice.
    pub fn add_notice(&mut self, line: Option<String>) {
        self.notice = match (self.notice.take(), line) {
            (Some(first), Some(second)) => Some(format!("{first}\n{second}")),
            (first, second) => first.or(second),
        };
    }

    /// sha256, in hexadecimal, of the class indices and pixels of both parts.
    ///
    /// It says whether two runs saw the same data, whatever the files looked like: line ends,
    /// compression and label convention do not matter. About 20 ms for the real set.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        self.train.add_to(&mut hash);
        self.valid.add_to(&mut hash);
        hex(&hash.finalize())
    }
}

/// Where a [`Split`] came from; displayed as the name that summaries and records use.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// Sign Language MNIST, from CSV files in a folder.
    Folder {
        /// The folder.
        path: PathBuf,
        /// How its files number the letters.
        convention: Convention,
    },
    /// Image files, in a folder with a sub-folder for each class.
    Images {
        /// The folder.
        path: PathBuf,
        /// The files of the images to measure on, in their order, as paths below it.
        valid: Vec<PathBuf>,
    },
    /// CIFAR-10, from its binary files in a folder.
    Cifar10 {
        /// The folder.
        path: PathBuf,
    },
    /// The built-in synthetic hands.
    Synthetic {
        /// The seed they were drawn from.
        seed: u64,
    },
}

impl Source {
    /// Whether the images are drawn, not photographed: no accuracy on them is the real one.
    pub fn is_synthetic(&self) -> bool {
        matches!(self, Self::Synthetic { .. })
    }

    /// The files of the images to measure on, in their order, as paths below the folder of the data; none
    /// where an image is not a file of its own.
    pub fn validation_files(&self) -> &[PathBuf] {
        match self {
            Self::Images { valid, .. } => valid,
            Self::Folder { .. } | Self::Cifar10 { .. } | Self::Synthetic { .. } => &[],
        }
    }

    /// Whether the images are whole photographs, squeezed to the network's size.
    pub fn is_whole_images(&self) -> bool {
        matches!(self, Self::Images { .. })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder { path, .. } => write!(f, "Sign Language MNIST ({})", words::path(path)),
            Self::Images { path, .. } => write!(f, "images ({})", words::path(path)),
            Self::Cifar10 { path } => write!(f, "CIFAR-10 ({})", words::path(path)),
            Self::Synthetic { seed } => write!(f, "synthetic hands (seed {seed})"),
        }
    }
}

/// The names of the classes: A to Y without J.
pub fn letters() -> Vec<String> {
    let names: Vec<String> = ('A'..='Y').filter(|&c| c != 'J').map(String::from).collect();
    debug_assert_eq!(names.len(), CLASSES);
    names
}

/// Whether classes of these names are letters of the alphabet, one each: then people call them so.
pub fn are_letters(classes: &[String]) -> bool {
    let is_letter = |name: &String| matches!(name.as_bytes(), [b'A'..=b'Z']);
    !classes.is_empty() && classes.iter().all(is_letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_told_from_other_classes() {
        let are = |names: &[&str]| {
            are_letters(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
        };
        assert!(are_letters(&letters()) && are(&["A", "C"]));
        assert!(!are(&[]) && !are(&["A", "cat"]) && !are(&["a", "b"]) && !are(&["0", "1"]));
    }
}
