//! The settings of a run as `signet train` says them before it begins.

use crate::report::words::count;
use crate::words::{self, counted};
use signet::data::{Split, are_letters};
use signet::train::{Config, OptimizerKind, ScheduleKind};

/// With so many classes at most, they are named.
const FEW: usize = 8;

/// How many images there are, and of which classes.
pub fn images(split: &Split) -> String {
    let [train, valid] = [&split.train, &split.valid].map(|part| count(part.len() as u64));
    let classes = &split.train.classes;
    let number = format!("{} classes", count(classes.len() as u64));
    let classes = match classes.len() {
        _ if are_letters(classes) => format!("{number}, letters of the alphabet"),
        ..=FEW => {
            let names: Vec<_> = classes.iter().map(|class| words::line(class)).collect();
            format!("{number}: {}", names.join(", "))
        }
        _ => number,
    };
    format!("images: {train} to train on, {valid} to validate with; {classes}")
}

/// A line each for the recipe, the sizes, the optimizer, and what is changed at random. Of a run of an
/// older version the recipe is not known.
pub fn settings(config: &Config, recipe: Option<&str>) -> String {
    let mut lines = Vec::new();
    if let Some(recipe) = recipe {
        lines.push(format!("recipe: {}", words::line(recipe)));
    }
    lines.push(format!(
        "settings: {}, batch size {}, seed {}",
        counted(config.epochs, "epoch"),
        count(config.batch_size as u64),
        config.seed
    ));
    lines.push(format!("optimizer: {}, {}", optimizer(config), rate(config)));
    if let Some(augment) = changes(config) {
        lines.push(format!("augmentation: {augment}"));
    }
    lines.join("\n")
}

fn optimizer(config: &Config) -> String {
    let name = match config.optimizer {
        OptimizerKind::Adam => "adam".to_owned(),
        OptimizerKind::AdamW => "adamw".to_owned(),
        OptimizerKind::Sgd => format!("sgd with momentum {}", config.momentum),
    };
    match config.weight_decay {
        Some(decay) => format!("{name}, weight decay {decay}"),
        None => name,
    }
}

fn rate(config: &Config) -> String {
    let lr = config.lr;
    match config.schedule {
        ScheduleKind::Constant => format!("learning rate {lr}"),
        ScheduleKind::Step => {
            let every = counted(config.step_size, "epoch");
            format!("learning rate {lr}, times {} every {every}", config.gamma)
        }
        ScheduleKind::Cosine if config.warmup > 0 => {
            let warmup = counted(config.warmup, "epoch");
            format!("learning rate up to {lr} in {warmup}, then falling along a cosine")
        }
        ScheduleKind::Cosine => format!("learning rate {lr}, falling along a cosine"),
    }
}

/// What is changed at random, by the names of the flags.
fn changes(config: &Config) -> Option<String> {
    let augment = config.augment.as_ref()?;
    let [least, most] = augment.zoom;
    let zoom = (least != 1.0 || most != 1.0).then(|| format!("zoom {least} to {most}"));
    let ranges = [
        ("rotation", augment.rotation),
        ("shift", augment.shift),
        ("flip", augment.flip),
        ("brightness", augment.brightness),
        ("contrast", augment.contrast),
        ("light", augment.light),
        ("shear", augment.shear),
        ("aspect", augment.aspect),
        ("background", augment.background),
        ("filter", augment.filter),
    ];
    let ranges = ranges.into_iter().filter(|(_, value)| *value != 0.0);
    let ranges = ranges.map(|(name, value)| format!("{name} {value}"));
    Some(ranges.chain(zoom).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipes::Recipe;

    #[test]
    fn what_a_recipe_chose_is_said() {
        assert_eq!(
            settings(&Recipe::Notebook.config(), Some("notebook")),
            "recipe: notebook\nsettings: 20 epochs, batch size 32, seed 0\n\
             optimizer: adam, learning rate 0.001"
        );
        let best = settings(&Recipe::Best.config(), None);
        assert_eq!(
            best,
            "settings: 20 epochs, batch size 32, seed 0\n\
             optimizer: adam, learning rate 0.002, falling along a cosine\n\
             augmentation: rotation 10, shift 0.07, flip 0.5, brightness 0.2, contrast 0.3, \
             shear 12, aspect 0.12, background 0.8, filter 0.4, zoom 0.9 to 1.1"
        );
        let config = Config {
            epochs: 1,
            optimizer: OptimizerKind::Sgd,
            weight_decay: Some(0.01),
            schedule: ScheduleKind::Step,
            ..Config::default()
        };
        assert_eq!(
            settings(&config, None).lines().nth(1),
            Some(
                "optimizer: sgd with momentum 0.9, weight decay 0.01, learning rate 0.001, times \
                 0.1 every 10 epochs"
            )
        );
    }
}
