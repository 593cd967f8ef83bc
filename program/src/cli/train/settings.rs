//! The settings of a run as `signet train` says them before it begins.

use crate::recipes::Recipe;
use crate::report::words::count;
use crate::words::counted;
use signet::train::{Config, OptimizerKind, ScheduleKind};

/// A line each for the recipe, the sizes, the optimizer, and what is changed at random. A run that
/// goes on has no recipe: its settings are those that it began with.
pub fn settings(config: &Config, recipe: Option<Recipe>) -> String {
    let mut lines = Vec::new();
    if let Some(recipe) = recipe {
        let name = clap::ValueEnum::to_possible_value(&recipe);
        lines.push(format!("recipe: {}", name.as_ref().map_or("", |name| name.get_name())));
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

    #[test]
    fn what_a_recipe_chose_is_said() {
        assert_eq!(
            settings(&Recipe::Notebook.config(), Some(Recipe::Notebook)),
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
