//! Where an axis of a chart begins and ends, and where its ticks are.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

use super::words::rate;

/// How values lie along an axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scale {
    /// Equal differences are equally far apart.
    Linear,
    /// Equal factors are.
    Log,
    /// Of a share, equal factors of what is missing to 1 are: 0.9, 0.99 and 0.999 are equally far
    /// apart. This much is added to it, so that 1 has a place too.
    Missing(f64),
}

/// An axis that holds all its values.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    scale: Scale,
    /// Values, ascending; the first and the last are its ends.
    ends: [f64; 2],
    ticks: Vec<f64>,
}

impl Axis {
    /// A linear axis from `least` to `most` or somewhat beyond, with at most `ticks` steps, none of
    /// them smaller than `smallest`.
    pub fn linear([least, most]: [f64; 2], ticks: f64, smallest: f64) -> Self {
        let span = (most - least).max(smallest);
        let steps = (-9..=12).flat_map(|power| [1, 2, 5].map(|m| nice(m, power)));
        let step = (steps.filter(|&step| step >= smallest))
            .find(|step| span / step <= ticks)
            .unwrap_or(span);
        // What should be a whole number of steps is one, whatever was lost in the division.
        let steps_to = |value: f64, round: fn(f64) -> f64| {
            let steps = value / step;
            if (steps - steps.round()).abs() < 1e-6 { steps.round() } else { round(steps) }
        };
        let first = steps_to(least, f64::floor);
        let last = steps_to(most, f64::ceil).max(first + 1.0);
        let ticks = (0..=(last - first) as usize).map(|i| (first + i as f64) * step).collect();
        Self { scale: Scale::Linear, ends: [first * step, last * step], ticks }
    }

    /// A logarithmic axis that holds `least` to `most`, both above 0; its ticks are 1, 2 and 5 times
    /// powers of ten where there is room, else the powers.
    pub fn log([least, most]: [f64; 2]) -> Self {
        let all: Vec<f64> =
            (-45..=45).flat_map(|power| [1, 2, 5].map(|m| nice(m, power))).collect();
        let first = all.partition_point(|&tick| tick <= least).saturating_sub(1);
        let last = all.partition_point(|&tick| tick < most).max(first + 1).min(all.len() - 1);
        let between = &all[first..=last];
        let powers = || between.iter().copied().filter(|tick| is_power_of_ten(*tick));
        let ticks = match powers().count() {
            _ if between.len() <= 6 => between.to_vec(),
            0..=7 => powers().collect(),
            many => powers().step_by(many.div_ceil(6)).collect(),
        };
        Self { scale: Scale::Log, ends: [all[first], all[last]], ticks }
    }

    /// An axis of whole numbers that begins at 0 and ends at `last`, and not beyond; both are ticks.
    pub fn counting(last: f64) -> Self {
        if last < 1.0 {
            return Self { scale: Scale::Linear, ends: [0.0, 1.0], ticks: vec![0.0] };
        }
        let mut axis = Self::linear([0.0, last], 10.0, 1.0);
        let step = axis.ticks[1] - axis.ticks[0];
        // A tick too close to the last number would stand in its way.
        axis.ticks.retain(|&tick| tick == 0.0 || last - tick > 0.6 * step);
        axis.ticks.push(last);
        axis.ends = [0.0, last];
        axis
    }

    /// An axis of shares from `least` to `most` that shows how much is missing to 1; among so many
    /// things that are counted, if that is known.
    pub fn missing([least, most]: [f64; 2], of: Option<usize>) -> Self {
        let floor = 0.5 / of.unwrap_or(10_000).max(1) as f64;
        let powers = (-9..=0).rev().flat_map(|power| [10, 5, 2].map(|m| nice(m, power - 1)));
        let shares = powers.filter(|&missing| missing >= 2.0 * floor).map(share_without);
        let all: Vec<f64> = shares.chain([1.0]).collect();
        let least = least.clamp(0.0, 1.0);
        let last = all.partition_point(|&tick| tick < most).clamp(1, all.len() - 1);
        let first = all.partition_point(|&tick| tick <= least).saturating_sub(1).min(last - 1);
        let between = &all[first..=last];
        let is_round = |tick: f64| tick == 1.0 || is_power_of_ten(share_without(tick));
        let ticks = match between.len() {
            0..=7 => between.to_vec(),
            _ => between.iter().copied().filter(|&tick| is_round(tick)).collect(),
        };
        Self { scale: Scale::Missing(floor), ends: [all[first], all[last]], ticks }
    }

    /// Where `value` lies between two ends in whole units of a drawing.
    pub fn at(&self, value: f64, ends: (i32, i32)) -> i32 {
        self.map(&value, ends)
    }

    /// Whether `value` has a place on it: whatever is no number has none, nor, where equal factors are
    /// equally far apart, what is not above 0.
    pub fn holds(&self, value: f64) -> bool {
        self.place(value).is_finite()
    }

    fn place(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => value,
            Scale::Log => value.log10(),
            Scale::Missing(_) if value.is_nan() => value,
            Scale::Missing(floor) => -((1.0 - value).max(0.0) + floor).log10(),
        }
    }

    /// How many ticks it has.
    pub fn ticks(&self) -> usize {
        self.ticks.len()
    }

    /// What stands at a tick.
    pub fn label(&self, tick: f64) -> String {
        match self.scale {
            Scale::Linear => {
                let step = self.ticks.get(1).map_or(1.0, |second| second - self.ticks[0]);
                let decimals = (-step.log10().floor()).max(0.0) as usize;
                let text = format!("{tick:.decimals$}");
                // As the values on the lines are written.
                if decimals == 0 { text } else { text.parse().map_or(text, rate) }
            }
            Scale::Missing(_) => format!("{tick}"),
            Scale::Log if (1e-3..1e6).contains(&tick) => format!("{tick}"),
            Scale::Log => format!("{tick:e}"),
        }
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (start, end): (i32, i32)) -> i32 {
        let [from, to] = self.ends.map(|end| self.place(end));
        let share = (self.place(*value) - from) / (to - from);
        start + (share * f64::from(end - start)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _hint: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.ends[0]..self.ends[1]
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, tick: &f64) -> String {
        self.label(*tick)
    }
}

/// `mantissa` times ten to the `power`, as exactly as it can be written.
fn nice(mantissa: u32, power: i32) -> f64 {
    format!("{mantissa}e{power}").parse().unwrap_or(f64::NAN)
}

/// 1 without `missing`, as exactly as it can be written.
fn share_without(missing: f64) -> f64 {
    format!("{:.9}", 1.0 - missing).parse().unwrap_or(1.0 - missing)
}

fn is_power_of_ten(value: f64) -> bool {
    value == nice(1, value.log10().round() as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> String {
        axis.ticks.iter().map(|&tick| axis.label(tick)).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn linear_axes_have_round_ticks_that_enclose_their_values() {
        let axis = |ends, smallest| Axis::linear(ends, 6.0, smallest);
        assert_eq!(labels(&axis([0.80, 1.0], 0.001)), "0.8 0.85 0.9 0.95 1");
        assert_eq!(labels(&axis([0.9913, 1.0], 0.001)), "0.99 0.992 0.994 0.996 0.998 1");
        assert_eq!(labels(&axis([1.0, 1.0], 0.001)), "1 1.001");
        let rates = |most| labels(&Axis::linear([0.0, most], 5.0, most / 1e3));
        assert_eq!(rates(1e-3), "0 0.0002 0.0004 0.0006 0.0008 0.001");
        assert_eq!(rates(1e-4), "0 2e-5 4e-5 6e-5 8e-5 0.0001");
        assert_eq!(labels(&axis([0.0, 19.0], 1.0)), "0 5 10 15 20");
        assert_eq!(labels(&axis([0.0, 199.0], 1.0)), "0 50 100 150 200");
        assert_eq!(labels(&axis([0.0, 0.0], 1.0)), "0 1");
        assert_eq!(labels(&axis([0.0, 1.0], 1.0)), "0 1");
    }

    #[test]
    fn an_axis_of_epochs_ends_at_the_last() {
        assert_eq!(labels(&Axis::counting(19.0)), "0 2 4 6 8 10 12 14 16 19");
        assert_eq!(labels(&Axis::counting(29.0)), "0 5 10 15 20 25 29");
        assert_eq!(labels(&Axis::counting(199.0)), "0 20 40 60 80 100 120 140 160 180 199");
        assert_eq!(labels(&Axis::counting(2.0)), "0 1 2");
        assert_eq!(labels(&Axis::counting(0.0)), "0", "one epoch");
        let axis = Axis::counting(19.0);
        assert_eq!((axis.at(19.0, (0, 400)), axis.range().end), (400, 19.0));
    }

    #[test]
    fn shares_close_to_one_are_told_apart() {
        let axis = |ends| Axis::missing(ends, Some(7172));
        assert_eq!(labels(&axis([0.97, 0.9999])), "0.99 0.999 1");
        assert_eq!(labels(&axis([0.91, 0.985])), "0.9 0.95 0.98 0.99");
        assert_eq!(labels(&axis([0.3, 0.6])), "0 0.5 0.8");
        assert_eq!(labels(&axis([1.0, 1.0])), "0.9998 1");
        assert_eq!(labels(&Axis::missing([0.0, 1.0], Some(10))), "0 0.5 0.8 0.9 1");
        // 0.99 is as far from 0.9 as 0.999 from 0.99, but for the half image that is added.
        let axis = axis([0.0, 1.0]);
        let [a, b, c] = [0.9, 0.99, 0.999].map(|share| axis.at(share, (0, 10_000)));
        assert!(((b - a) - (c - b)).abs() < 100, "{a} {b} {c}");
        assert!(axis.holds(1.0) && axis.at(1.0, (0, 100)) == 100 && !axis.holds(f64::NAN));
    }

    #[test]
    fn log_axes_have_round_ticks_that_enclose_their_values() {
        assert_eq!(labels(&Axis::log([0.0027, 526.0])), "0.01 0.1 1 10 100 1000");
        assert_eq!(Axis::log([0.0027, 526.0]).ends, [0.002, 1000.0]);
        assert_eq!(labels(&Axis::log([0.3, 2.0])), "0.2 0.5 1 2");
        assert_eq!(labels(&Axis::log([0.3, 0.3])), "0.2 0.5");
        assert_eq!(labels(&Axis::log([1.0, 1.0])), "1 2");
        assert_eq!(labels(&Axis::log([1e-12, 1e3])), "1e-12 1e-9 1e-6 0.001 1 1000");
        assert_eq!(labels(&Axis::log([1e30, 1e38])), "1e30 1e32 1e34 1e36 1e38");
    }

    #[test]
    fn what_has_no_logarithm_has_no_place() {
        let axis = Axis::log([0.1, 1.0]);
        assert_eq!([0.0, -1.0, f64::NAN, f64::INFINITY].map(|x| axis.holds(x)), [false; 4]);
        assert!(axis.holds(0.5) && Axis::linear([0.0, 1.0], 5.0, 0.1).holds(0.0));
        assert_eq!(axis.map(&10f64.powf(-0.25), (400, 0)), 100, "upwards, as SVG has it");
    }
}
