//! The flags of augmentation, which `train` and `data show` share.

use super::numbers::number;
use signet::Result;
use signet::ops::augment::AugmentOptions;

/// How images are changed at random before a step trains on them.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Augmentation (any of these switches it on)")]
pub struct AugmentArgs {
    /// Change the images at random, each anew in every epoch
    #[arg(long, value_enum, value_name = "PRESET", num_args = 0..=1, default_missing_value = "course")]
    augment: Option<Preset>,

    /// Rotate by up to so many degrees
    #[arg(long, value_name = "DEGREES", value_parser = number)]
    rotation: Option<f64>,

    /// Shift by up to this share of the width and the height
    #[arg(long, value_name = "SHARE", value_parser = number)]
    shift: Option<f64>,

    /// Magnify by a factor between these two
    #[arg(long, num_args = 2, value_names = ["LEAST", "MOST"], value_parser = number)]
    zoom: Option<Vec<f64>>,

    /// Mirror left to right with this probability
    #[arg(long, value_name = "P", value_parser = number)]
    flip: Option<f64>,

    /// Multiply brightness by up to 1 plus or minus this
    #[arg(long, value_name = "X", value_parser = number)]
    brightness: Option<f64>,

    /// Multiply contrast by up to 1 plus or minus this
    #[arg(long, value_name = "X", value_parser = number)]
    contrast: Option<f64>,

    /// Light one edge by up to this share more, and the opposite one less
    #[arg(long, value_name = "X", value_parser = number)]
    light: Option<f64>,

    /// Slant upright lines by up to so many degrees
    #[arg(long, value_name = "DEGREES", value_parser = number)]
    shear: Option<f64>,

    /// Multiply the width by up to 1 plus or minus this, and divide the height by as much
    #[arg(long, value_name = "X", value_parser = number)]
    aspect: Option<f64>,

    /// Put another background behind the hand with this probability
    #[arg(long, value_name = "P", value_parser = number)]
    background: Option<f64>,

    /// Blur, sharpen or turn the greys towards their negative with this probability
    #[arg(long, value_name = "P", value_parser = number)]
    filter: Option<f64>,
}

/// Ranges by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Preset {
    /// What the course's augmentation notebook does
    Course,
    /// Stronger, for photographs of other hands
    Photo,
}

impl AugmentArgs {
    /// Whether any of the flags was given.
    pub fn is_given(&self) -> bool {
        let Self { augment, zoom, .. } = self;
        let single = [
            self.rotation,
            self.shift,
            self.flip,
            self.brightness,
            self.contrast,
            self.light,
            self.shear,
            self.aspect,
            self.background,
            self.filter,
        ];
        augment.is_some() || zoom.is_some() || single.iter().any(Option::is_some)
    }

    /// What was asked for, if anything: single ranges go before those of the preset, and without one
    /// nothing else is changed. `base` is what holds without any flag.
    ///
    /// # Errors
    /// [`Error::Argument`](signet::Error::Argument) for a range that makes no sense.
    pub fn options(&self, base: Option<AugmentOptions>) -> Result<Option<AugmentOptions>> {
        let preset = match self.augment {
            Some(Preset::Course) => Some(AugmentOptions::course()),
            Some(Preset::Photo) => Some(AugmentOptions::photo()),
            None => base,
        };
        let mut options = preset.unwrap_or(AugmentOptions::NONE);
        let single = [
            (&mut options.rotation, self.rotation),
            (&mut options.shift, self.shift),
            (&mut options.flip, self.flip),
            (&mut options.brightness, self.brightness),
            (&mut options.contrast, self.contrast),
            (&mut options.light, self.light),
            (&mut options.shear, self.shear),
            (&mut options.aspect, self.aspect),
            (&mut options.background, self.background),
            (&mut options.filter, self.filter),
        ];
        for (range, asked) in single {
            *range = asked.unwrap_or(*range);
        }
        if let Some([least, most]) = self.zoom.as_deref() {
            options.zoom = [*least, *most];
        }
        options.check()?;
        Ok((options != AugmentOptions::NONE).then_some(options))
    }
}
