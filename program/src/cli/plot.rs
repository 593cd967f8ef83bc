//! Curves in the terminal, drawn with braille dots.

use rgb::RGB8;
use textplots::{Chart, ColorPlot, LabelBuilder, LabelFormat, Plot, Shape};

use crate::report::words::{loss, share};
use signet::train::EpochMetrics;

/// Rows of a chart, in characters.
const ROWS: u32 = 10;

/// Dots of a character, across and down.
const DOTS: [u32; 2] = [2, 4];

/// Characters of a chart across: at least what the library draws, and at most what reads well.
const ACROSS: [usize; 2] = [16, 72];

/// Characters that a value behind a chart takes, with the space before it.
const LABEL: usize = 9;

/// Colours of validation and training, as in the report.
const COLOURS: [RGB8; 2] = [RGB8::new(98, 174, 240), RGB8::new(242, 140, 69)];

/// Mean loss and accuracy by epoch, as two charts of at most `width` columns: a line of validation
/// and dots of training. `batches` are those of an epoch, of training and of validation.
pub fn plot(history: &[EpochMetrics], batches: [usize; 2], width: usize, colour: bool) -> String {
    if history.len() < 2 {
        return "A plot needs two epochs".to_owned();
    }
    let [train, valid] = batches.map(|batches| batches.max(1) as f64);
    let losses = history.iter().map(|at| [at.train_loss / train, at.valid_loss / valid]);
    // A loss of 0 has no logarithm, and what is no number stays none.
    let power = |loss: f64| if loss.is_nan() { loss } else { loss.max(1e-6).log10() };
    let losses: Vec<_> = losses.map(|both| both.map(power)).collect();
    let accuracies: Vec<_> =
        history.iter().map(|at| [at.train_accuracy, at.valid_accuracy]).collect();
    let chart = |title: &str, values: &[[f64; 2]], label: fn(f32) -> String| {
        let title = format!("{title} by epoch (line: validation, dots: training)");
        format!("{title}\n{}", chart(history, values, width, colour, label))
    };
    let losses = chart("Mean loss", &losses, |power| loss(10f64.powf(power.into())));
    let accuracies = chart("Accuracy", &accuracies, |value| share(Some(value.into())));
    format!("{losses}\n\n{accuracies}")
}

/// The chart of a value of training and one of validation.
fn chart(
    history: &[EpochMetrics],
    values: &[[f64; 2]],
    width: usize,
    colour: bool,
    label: fn(f32) -> String,
) -> String {
    let curve = |part: usize| -> Vec<(f32, f32)> {
        let epochs = history.iter().map(|metrics| metrics.epoch as f32);
        let values = values.iter().map(|both| both[part] as f32);
        epochs.zip(values).filter(|(_, value)| value.is_finite()).collect()
    };
    let [train, valid] = [curve(0), curve(1)];
    let all = || train.iter().chain(&valid).map(|point| point.1);
    let (low, high) =
        (all().fold(f32::INFINITY, f32::min), all().fold(f32::NEG_INFINITY, f32::max));
    if !low.is_finite() {
        return "There is no number to draw".to_owned();
    }
    // A flat line needs some room too.
    let (low, high) = if high - low > 1e-6 { (low, high) } else { (low - 0.5e-3, high + 0.5e-3) };
    let across = width.saturating_sub(LABEL).clamp(ACROSS[0], ACROSS[1]) as u32;
    let first = history.first().map_or(0.0, |metrics| metrics.epoch as f32);
    let last = history.last().map_or(1.0, |metrics| metrics.epoch as f32);
    let shapes = [Shape::Lines(&valid), Shape::Points(&train)];
    let size = (across * DOTS[0], ROWS * DOTS[1]);
    let mut chart = Chart::new_with_y_range(size.0, size.1, first, last, low, high);
    let [valid, train] = &shapes;
    let chart = if colour {
        chart.linecolorplot(valid, COLOURS[0]).linecolorplot(train, COLOURS[1])
    } else {
        chart.lineplot(valid).lineplot(train)
    };
    let chart = chart
        .x_label_format(LabelFormat::Custom(Box::new(|epoch| format!("{epoch:.0}"))))
        .y_label_format(LabelFormat::Custom(Box::new(label)));
    chart.figures();
    let text = chart.to_string();
    // The library's blanks are dots that are not set: spaces at the end of a line say nothing.
    let lines = text.lines().map(|line| line.trim_end_matches(['\u{2800}', ' ']));
    lines.collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::samples::epochs;

    #[test]
    fn curves_begin_and_end_at_their_values() {
        let text = plot(&epochs(10), [10, 4], 60, false);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("Mean loss by epoch"), "{text}");
        // The mean losses fall from 2 and 1 to 0.2 and 0.1.
        assert!(lines[1].ends_with(" 2.0000"), "{text}");
        assert!(lines.iter().any(|line| line.ends_with(" 0.1000")), "{text}");
        assert!(text.contains("Accuracy by epoch") && text.contains(" 0.9600"), "{text}");
        let epochs = lines.iter().find(|line| line.starts_with("0 ")).unwrap();
        assert!(epochs.ends_with(" 9"), "{text}");
        assert!(lines.iter().all(|line| line.chars().count() <= 60), "{text}");
    }

    #[test]
    fn odd_runs_are_no_reason_to_panic() {
        assert_eq!(plot(&epochs(1), [1, 1], 60, false), "A plot needs two epochs");
        let mut odd = epochs(3);
        for metrics in &mut odd {
            (metrics.train_loss, metrics.valid_loss) = (f64::NAN, f64::NAN);
            (metrics.train_accuracy, metrics.valid_accuracy) = (0.5, 0.5);
        }
        for width in [1, 20, 40, 500, usize::MAX] {
            let text = plot(&odd, [1, 0], width, true);
            assert!(text.contains("There is no number to draw"), "{text}");
        }
    }
}
