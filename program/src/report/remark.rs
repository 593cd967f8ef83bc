//! What losses that do not fall say about the learning rate.

use super::words::{loss, rate};
use signet::train::{Config, OptimizerKind, ScheduleKind};

/// A remark on an epoch that shows no learning, if `epoch` does: its mean training loss is `mean`, and
/// the run has these settings and so many classes.
pub(crate) fn remark(config: &Config, classes: usize, epoch: u64, mean: f64) -> Option<String> {
    let guessing = (classes as f64).ln();
    // A network begins near what guessing has, and a first epoch of a few steps may end there.
    let diverges = !mean.is_finite() || mean > 2.0 * guessing.max(0.1);
    // With a rate that others learn with, few images may need some more epochs.
    let patience = if is_usual(config) { 3 } else { 1 };
    let stays = epoch >= patience && mean > 0.97 * guessing && classes > 1;
    let advice = if diverges {
        too_large(config, epoch)
    } else if stays && reached(config, epoch) >= config.lr {
        no_learning(config)
    } else {
        // It learns, or its rate is still on the way up.
        return None;
    };
    Some(format!(
        "the mean training loss of epoch {epoch} is {}, where guessing has {}: {advice}",
        loss(mean),
        loss(guessing)
    ))
}

/// What to do about a training that came to no finite number in `epoch`; `None` where the rate was none
/// of those that are known to be too large.
pub(crate) fn remark_on_no_number(config: &Config, epoch: u64) -> Option<String> {
    (reached(config, epoch) > usual(config)).then(|| too_large(config, epoch))
}

/// The highest learning rate up to `epoch`, which is that of `--lr` or less, unless it grows.
fn reached(config: &Config, epoch: u64) -> f64 {
    let rates = (0..=epoch.min(config.epochs)).map(|at| config.schedule().lr(config.lr, at));
    rates.fold(0.0, f64::max)
}

/// A learning rate that this network learns with.
fn usual(config: &Config) -> f64 {
    match config.optimizer {
        OptimizerKind::Adam | OptimizerKind::AdamW => 1e-3,
        OptimizerKind::Sgd => 1e-2,
    }
}

/// Whether the run has a rate near that one.
fn is_usual(config: &Config) -> bool {
    (usual(config) / 3.0..=3.0 * usual(config)).contains(&config.lr)
}

fn too_large(config: &Config, epoch: u64) -> String {
    let (reached, full, usual) = (reached(config, epoch), config.lr, usual(config));
    if reached > full && config.schedule == ScheduleKind::Step {
        return format!(
            "the learning rate has grown to {}, which is too large; try --gamma 0.1",
            rate(reached)
        );
    }
    let found = if reached < full {
        format!(
            "the learning rate is too large at {}, on its way up to {}",
            rate(reached),
            rate(full)
        )
    } else {
        format!("the learning rate {} is too large", rate(full))
    };
    let next = if reached > usual { usual } else { tenth(reached) };
    format!("{found}; try --lr {}", rate(next))
}

fn no_learning(config: &Config) -> String {
    let (full, usual) = (config.lr, usual(config));
    if full > 3.0 * usual {
        return format!("the learning rate {} is too large; try --lr {}", rate(full), rate(usual));
    }
    let next = if is_usual(config) {
        "try another --lr, and look at the images: `signet data show`".to_owned()
    } else {
        format!("try --lr {}", rate(usual))
    };
    format!("it does not learn with the learning rate {}; {next}", rate(full))
}

/// A tenth, without the digits that a division adds.
fn tenth(lr: f64) -> f64 {
    format!("{:.2e}", lr / 10.0).parse().unwrap_or(lr / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(lr: f64) -> Config {
        Config { lr, ..Config::default() }
    }

    #[test]
    fn a_run_that_learns_gets_no_remark() {
        let remark = |epoch, mean| remark(&config(0.001), 24, epoch, mean);
        assert_eq!(remark(0, 3.3), None, "a first epoch of a few steps");
        assert_eq!(remark(0, 0.3), None);
        assert_eq!(remark(7, 3.0), None, "slow, and learning");
        assert_eq!(super::remark(&config(0.001), 1, 5, 0.0), None, "one class is no riddle");
    }

    #[test]
    fn a_rate_that_is_too_large_is_told_a_good_one_at_once() {
        let text = remark(&config(3.0), 24, 0, 45.25).unwrap();
        assert_eq!(
            text,
            "the mean training loss of epoch 0 is 45.2500, where guessing has 3.1781: the learning \
             rate 3 is too large; try --lr 0.001"
        );
        let sgd = Config { optimizer: OptimizerKind::Sgd, ..config(3.0) };
        assert!(remark(&sgd, 24, 0, 45.25).unwrap().ends_with("; try --lr 0.01"));
        assert!(remark(&sgd, 24, 1, f64::NAN).unwrap().contains(" is not a number, where"));
        // A rate that should be good: then a smaller one.
        let text = remark(&config(0.0005), 24, 0, 45.25).unwrap();
        assert!(text.ends_with("rate 0.0005 is too large; try --lr 5e-5"), "{text}");
        // A loss that stays where guessing is.
        let text = remark(&config(0.1), 24, 1, 3.2).unwrap();
        assert!(text.ends_with("rate 0.1 is too large; try --lr 0.001"), "{text}");
    }

    #[test]
    fn of_a_rate_on_its_way_up_the_one_that_was_reached_counts() {
        let warm = Config { schedule: ScheduleKind::Cosine, warmup: 5, ..config(3.0) };
        let text = remark(&warm, 24, 0, 45.25).unwrap();
        assert!(
            text.ends_with("rate is too large at 0.5, on its way up to 3; try --lr 0.001"),
            "{text}"
        );
        let text = remark(&warm, 24, 8, 45.25).unwrap();
        assert!(text.ends_with("the learning rate 3 is too large; try --lr 0.001"), "{text}");
        assert_eq!(remark(&warm, 24, 2, 3.2), None, "it may learn at its full rate");
        let grows =
            Config { schedule: ScheduleKind::Step, step_size: 1, gamma: 1e4, ..config(0.001) };
        let text = remark(&grows, 24, 1, 45.25).unwrap();
        assert!(text.ends_with("has grown to 10, which is too large; try --gamma 0.1"), "{text}");
    }

    #[test]
    fn a_rate_that_is_too_small_is_told_a_larger_one() {
        let text = remark(&config(1e-12), 24, 1, 3.18).unwrap();
        assert!(text.ends_with("with the learning rate 1e-12; try --lr 0.001"), "{text}");
        assert_eq!(remark(&config(0.001), 24, 2, 3.18), None, "with few images it takes a while");
        let text = remark(&config(0.001), 24, 3, 3.18).unwrap();
        assert!(text.ends_with("try another --lr, and look at the images: `signet data show`"));
    }

    #[test]
    fn what_ends_in_no_number_is_told_too() {
        let text = remark_on_no_number(&config(3.0), 0).unwrap();
        assert_eq!(text, "the learning rate 3 is too large; try --lr 0.001");
        assert_eq!(remark_on_no_number(&config(0.001), 0), None, "that is not known");
    }
}
