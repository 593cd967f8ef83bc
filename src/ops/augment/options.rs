use crate::{Error, Result};

/// The ranges of [`augment`](super::augment); all zero changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct AugmentOptions {
    /// Degrees, to either side.
    pub rotation: f64,
    /// A share of width and height, to either side.
    pub shift: f64,
    /// The least and the greatest magnification.
    pub zoom: [f64; 2],
    /// The probability that an image is mirrored left to right.
    pub flip: f64,
    /// Brightness is multiplied by `1 ± brightness` at most.
    pub brightness: f64,
    /// Contrast is multiplied by `1 ± contrast` at most.
    pub contrast: f64,
    /// One edge is lit by up to `light` more, the opposite one by as much less.
    pub light: f64,
    /// Degrees by which upright lines are slanted, to either side.
    #[serde(default)]
    pub shear: f64,
    /// The width is multiplied by `1 ± aspect` at most, and the height divided by as much.
    #[serde(default)]
    pub aspect: f64,
    /// The probability that the hand gets another background, see
    /// [`background`](crate::ops::background::background).
    #[serde(default)]
    pub background: f64,
    /// The probability that the image goes through a random filter, see
    /// [`random_filter`](crate::ops::random_filter::random_filter).
    #[serde(default)]
    pub filter: f64,
}

impl AugmentOptions {
    /// Changes nothing.
    pub const NONE: Self = Self {
        rotation: 0.0,
        shift: 0.0,
        zoom: [1.0, 1.0],
        flip: 0.0,
        brightness: 0.0,
        contrast: 0.0,
        light: 0.0,
        shear: 0.0,
        aspect: 0.0,
        background: 0.0,
        filter: 0.0,
    };

    /// What the course's augmentation notebook does: `RandomRotation(5)`,
    /// `RandomResizedCrop(scale=(.9, 1), ratio=(1, 1))` (a square of 0.9 to 1 of the area, so a zoom
    /// of 1 to 1 / sqrt(0.9), anywhere), `RandomHorizontalFlip()`, `ColorJitter(brightness=.2,
    /// contrast=.5)`.
    pub fn course() -> Self {
        Self {
            rotation: 5.0,
            shift: 0.025,
            zoom: [1.0, 1.054],
            flip: 0.5,
            brightness: 0.2,
            contrast: 0.5,
            ..Self::NONE
        }
    }

    /// For photographs of other hands: other cameras frame, light and tilt them differently, other
    /// walls are behind them, and some are left hands.
    pub fn photo() -> Self {
        Self {
            rotation: 10.0,
            shift: 0.07,
            zoom: [0.9, 1.1],
            flip: 0.5,
            brightness: 0.2,
            contrast: 0.3,
            light: 0.0,
            shear: 12.0,
            aspect: 0.12,
            background: 0.8,
            filter: 0.4,
        }
    }

    /// Whether every range makes sense.
    ///
    /// # Errors
    /// [`Error::Argument`] naming the first that does not.
    pub fn check(&self) -> Result<()> {
        let Self {
            rotation,
            shift,
            zoom,
            flip,
            brightness,
            contrast,
            light,
            shear,
            aspect,
            background,
            filter,
        } = *self;
        let in_range = [
            ("rotation", rotation, 180.0),
            ("shift", shift, 1.0),
            ("flip", flip, 1.0),
            ("brightness", brightness, 1.0),
            ("contrast", contrast, 1.0),
            ("light", light, 1.0),
            // Beyond, lines lie down, and widths become nothing.
            ("shear", shear, 60.0),
            ("aspect", aspect, 0.5),
            ("background", background, 1.0),
            ("filter", filter, 1.0),
        ];
        for (name, value, most) in in_range {
            if !(0.0..=most).contains(&value) {
                let message = format!("must be from 0 to {most}, got {value}");
                return Err(Error::argument(name, message));
            }
        }
        let [least, most] = zoom;
        if !(0.1..=10.0).contains(&least) || !(least..=10.0).contains(&most) {
            let message = format!("must rise from 0.1 to 10, got {least} to {most}");
            return Err(Error::argument("zoom", message));
        }
        Ok(())
    }
}
