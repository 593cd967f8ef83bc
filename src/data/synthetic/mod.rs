//! The built-in data set: the 24 static hand shapes of the ASL alphabet, drawn from a seed.
//!
//! For a first run without a network, for tests, and for benchmarks. The hands are capsules in
//! simple light, far easier to tell apart than photographs: an accuracy on them says that training
//! works, and nothing about how well the network reads real hands.
//!
//! - `pose.rs`: the joint angles of each letter;
//! - `render.rs`: from a pose to 28x28 grey pixels.

mod pose;
mod render;

use rayon::prelude::*;

use super::{CLASSES, Dataset, PIXELS, Source, Split};
use crate::rng::{Philox, stream};

/// Training images of the real set, and of the synthetic one unless asked otherwise.
pub const TRAIN_IMAGES: usize = 27_455;

/// Validation images of the real set, and of the synthetic one unless asked otherwise.
pub const VALID_IMAGES: usize = 7_172;

/// Draws `train` and `valid` images of hands, as many of each letter (to within one).
///
/// An image is a function of seed, part and index alone: the same bits for any number of threads,
/// and the same images at the beginning of a smaller or larger set.
pub fn synthetic(seed: u64, train: usize, valid: usize) -> Split {
    // Far beyond any training image, so that no validation image is ever seen in training.
    const FIRST_VALID: u64 = 1 << 40;
    Split {
        train: draw(seed, 0, train, "synthetic hands, train"),
        valid: draw(seed, FIRST_VALID, valid, "synthetic hands, valid"),
        source: Source::Synthetic { seed },
        notice: None,
    }
}

/// The hand shape of class `class` of the alphabet, as [`letters`](super::letters) numbers them: a
/// right hand, its palm to the viewer, grey, `[side, side]` row-major. `None` for no such class.
pub fn hand_shape(class: usize, side: usize) -> Option<Vec<u8>> {
    pose::POSES.get(class).map(|pose| render::portrait(pose, side))
}

fn draw(seed: u64, first: u64, images: usize, name: &str) -> Dataset {
    let class = |index: usize| index % CLASSES;
    let mut pixels = vec![0; images * PIXELS];
    pixels.par_chunks_exact_mut(PIXELS).enumerate().for_each(|(index, image)| {
        let mut random = Philox::new(seed).sequence(stream::SYNTHETIC, first + index as u64);
        render::render(&pose::POSES[class(index)], &mut random, image);
    });
    Dataset::of_letters(name, (0..images).map(|index| class(index) as u8).collect(), pixels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bits_on_any_number_of_threads() {
        let draw_on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| synthetic(5, 200, 100))
        };
        let one = draw_on(1);
        assert_eq!(one, draw_on(2));
        assert_eq!(one, draw_on(3));
    }

    #[test]
    fn seeds_parts_and_images_differ_but_sizes_do_not_matter() {
        let split = synthetic(0, 48, 48);
        assert_ne!(split.train.pixels, split.valid.pixels);
        assert_ne!(split.train.pixels, synthetic(1, 48, 48).train.pixels);
        assert_ne!(split.train.image(0), split.train.image(24), "two images of A");
        assert_eq!(split.train.pixels[..], synthetic(0, 96, 0).train.pixels[..48 * PIXELS]);
    }

    #[test]
    fn each_letter_has_a_shape_of_its_own_without_chance() {
        let shapes: Vec<_> = (0..CLASSES).map(|class| hand_shape(class, 64).unwrap()).collect();
        assert_eq!(hand_shape(CLASSES, 64), None);
        for (class, shape) in shapes.iter().enumerate() {
            assert_eq!(shape.len(), 64 * 64);
            assert_eq!(Some(shape), hand_shape(class, 64).as_ref());
            assert!(!shapes[..class].contains(shape), "class {class} looks like another");
            let dark = shape.iter().filter(|&&grey| grey < 200).count();
            assert!((400..3500).contains(&dark), "class {class}: {dark} pixels of hand");
        }
    }

    #[test]
    fn letters_are_balanced_and_images_have_contrast() {
        let split = synthetic(3, 240, 50);
        assert_eq!(split.train.class_counts(), [10; CLASSES]);
        assert_eq!((split.valid.len(), split.train.class_name(23)), (50, "Y"));
        for index in 0..split.train.len() {
            let image = split.train.image(index);
            let (low, high) = (image.iter().min().unwrap(), image.iter().max().unwrap());
            assert!(high - low > 40, "image {index} is flat: {low} to {high}");
        }
    }
}
