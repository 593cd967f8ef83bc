//! Settings that are known to be good, by name.

use signet::ops::augment::AugmentOptions;
use signet::train::{Config, ScheduleKind};

/// Settings by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Recipe {
    /// The course notebook's
    Notebook,
    /// The best that is known within the same 20 epochs: images changed at random, mirrored ones
    /// among them (`--flip 0` where a mirrored image is of another class), and a learning rate that
    /// falls
    Best,
}

impl Recipe {
    /// Its name, as flags and records have it.
    pub fn name(self) -> String {
        let name = clap::ValueEnum::to_possible_value(&self);
        name.map_or_else(String::new, |name| name.get_name().to_owned())
    }

    /// Its settings.
    pub fn config(self) -> Config {
        match self {
            Self::Notebook => Config::default(),
            Self::Best => Config {
                lr: 2e-3,
                schedule: ScheduleKind::Cosine,
                augment: Some(AugmentOptions::photo()),
                ..Config::default()
            },
        }
    }
}
