//! The values that stand on a chart: of each line the last, and of a line alone the best.

use maud::{Markup, html};

use super::chart::{BOTTOM, Chart, Class, FINE, LEFT, Line, Part, RIGHT, SIZE, TOP};

/// From one value to the next below it.
const GAP: i32 = 14 * FINE as i32;

/// From a point to its value.
const BESIDE: i32 = 7 * FINE as i32;

/// A value, and where it is to stand: across, down, and the height of its point.
struct Value {
    class: String,
    text: String,
    x: i32,
    y: i32,
}

impl Chart<'_> {
    /// The values as text, in the colours of their lines.
    pub(super) fn values(&self, words: fn(f64) -> String) -> Markup {
        let mut last: Vec<Value> =
            self.lines.iter().filter_map(|line| self.last(line, words)).collect();
        // Lines may end at different epochs; only what ends together stands in each other's way.
        last.sort_by_key(|value| (value.x, value.y));
        for together in last.chunk_by_mut(|a, b| a.x == b.x) {
            let mut heights: Vec<i32> = together.iter().map(|value| value.y).collect();
            spread(&mut heights, [TOP as i32, (SIZE.1 - BOTTOM) as i32]);
            together.iter_mut().zip(heights).for_each(|(value, y)| value.y = y);
        }
        html! {
            @for value in &last {
                text.value.(value.class) x=(value.x + BESIDE) y=(value.y) dy=".35em" { (value.text) }
            }
            @for line in &self.lines { (self.best(line, words)) }
        }
    }

    /// Where a point lies, if it has a place.
    fn place(&self, (x, y): (f64, f64)) -> Option<[i32; 2]> {
        let (left, right) = (LEFT as i32, (SIZE.0 - RIGHT) as i32);
        let (top, bottom) = (TOP as i32, (SIZE.1 - BOTTOM) as i32);
        let holds = self.x.holds(x) && self.y.holds(y);
        holds.then(|| [self.x.at(x, (left, right)), self.y.at(y, (bottom, top))])
    }

    fn last(&self, line: &Line, words: fn(f64) -> String) -> Option<Value> {
        let point = *line.points.last()?;
        let [x, y] = self.place(point)?;
        let class = Class::Line(line.part, line.run).name();
        Some(Value { class, text: words(point.1), x, y })
    }

    /// The value of the marked point above or below it, where it is not the last and there is one run.
    fn best(&self, line: &Line, words: fn(f64) -> String) -> Markup {
        let is_alone = self.lines.iter().all(|other| other.run == line.run);
        let marked = line.marked.filter(|&at| is_alone && at + 1 < line.points.len());
        let Some((value, [x, y])) = marked.and_then(|at| {
            let point = *line.points.get(at)?;
            Some((point.1, self.place(point)?))
        }) else {
            return html! {};
        };
        let (room, line_height) = (20 * FINE as i32, 22 * FINE as i32);
        let y = if y - TOP as i32 > room { y - 10 * FINE as i32 } else { y + line_height };
        // At the left end it would stand on the axis.
        let anchor = if x < (LEFT + 30 * FINE) as i32 { "start" } else { "middle" };
        html! {
            text.value.(Class::Line(line.part, line.run).name()) x=(x) y=(y) text-anchor=(anchor) {
                "best " (words(value))
            }
        }
    }
}

/// Moves ascending heights apart until they are [`GAP`] from each other, between two ends.
fn spread(heights: &mut [i32], [top, bottom]: [i32; 2]) {
    let mut least = top;
    for height in heights.iter_mut() {
        *height = least.max(*height);
        least = *height + GAP;
    }
    let mut most = bottom;
    for height in heights.iter_mut().rev() {
        *height = most.min(*height);
        most = *height - GAP;
    }
}

/// A line of `part` as it is drawn: what is set once for a whole epoch stays until the next.
pub(super) fn drawn(part: Part, points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if part != Part::Rate {
        return points.to_vec();
    }
    let until_next = points.windows(2).flat_map(|pair| [pair[0], (pair[1].0, pair[0].1)]);
    until_next.chain(points.last().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_off_each_other() {
        let spread = |heights: &[i32]| {
            let mut heights: Vec<i32> = heights.iter().map(|height| height * GAP).collect();
            super::spread(&mut heights, [0, 10 * GAP]);
            heights.iter().map(|height| height / GAP).collect::<Vec<_>>()
        };
        assert_eq!(spread(&[1, 4, 9]), [1, 4, 9]);
        assert_eq!(spread(&[3, 3, 3]), [3, 4, 5]);
        assert_eq!(spread(&[9, 10, 10]), [8, 9, 10]);
        assert_eq!(spread(&[0, 0]), [0, 1]);
    }

    #[test]
    fn a_rate_stays_until_the_next() {
        let points = [(0.0, 1.0), (1.0, 1.0), (2.0, 0.1)];
        assert_eq!(drawn(Part::Valid, &points), points);
        assert_eq!(
            drawn(Part::Rate, &points),
            [(0.0, 1.0), (1.0, 1.0), (1.0, 1.0), (2.0, 1.0), (2.0, 0.1)]
        );
        assert_eq!(drawn(Part::Rate, &points[..1]), points[..1]);
        assert_eq!(drawn(Part::Rate, &[]), []);
    }
}
