//! The values that stand on a chart: of each line the last, and of a line alone the best.

use maud::{Markup, html};

use super::chart::{BOTTOM, Chart, Class, FINE, LEFT, Line, Part, RIGHT, SIZE, TOP};

/// From one value to the next below it.
const GAP: i32 = 14 * FINE as i32;

/// From a point to its value.
const BESIDE: i32 = 7 * FINE as i32;

/// Room that a letter of a value takes at most, and a line of it.
const LETTER: [i32; 2] = [29, 52];

/// A value, and where it is to stand: across, down, and on which side of that it lies.
struct Value {
    class: String,
    text: String,
    x: i32,
    y: i32,
    anchor: &'static str,
}

impl Value {
    /// Left, top, right and bottom of what it covers.
    fn covers(&self) -> [i32; 4] {
        let [letter, height] = LETTER;
        let width = letter * self.text.chars().count() as i32;
        let left = match self.anchor {
            "end" => self.x - width,
            "middle" => self.x - width / 2,
            _ => self.x,
        };
        [left, self.y - height / 2, left + width, self.y + height / 2]
    }
}

impl Chart<'_> {
    /// The values as text, in the colours of their lines. Values that would cover a line or another
    /// value, wherever they stood, are left out.
    pub(super) fn values(&self, words: fn(f64) -> String) -> Markup {
        let ends: Vec<Value> =
            self.lines.iter().filter_map(|line| self.last(line, words)).collect();
        // Right of the longest lines is nothing: there all of them find room.
        let right = ends.iter().map(|value| value.x).max();
        let (mut placed, shorter): (Vec<_>, Vec<_>) =
            ends.into_iter().partition(|value| Some(value.x) == right);
        placed.sort_by_key(|value| value.y);
        let mut heights: Vec<i32> = placed.iter().map(|value| value.y).collect();
        spread(&mut heights, [TOP as i32, (SIZE.1 - BOTTOM) as i32]);
        for (value, y) in placed.iter_mut().zip(heights) {
            (value.x, value.y) = (value.x + BESIDE, y);
        }
        let taken = self.taken();
        let best = self.lines.iter().filter_map(|line| self.best(line, words));
        for value in shorter.into_iter().chain(best) {
            placed.extend(free(value, &taken, &placed));
        }
        html! {
            @for Value { class, text, x, y, anchor } in &placed {
                text.value.(class) x=(x) y=(y) dy=".35em"
                    text-anchor=[(*anchor != "start").then_some(anchor)] { (text) }
            }
        }
    }

    /// Where a point lies, if it has a place.
    fn place(&self, (x, y): (f64, f64)) -> Option<[i32; 2]> {
        let (left, right) = (LEFT as i32, (SIZE.0 - RIGHT) as i32);
        let (top, bottom) = (TOP as i32, (SIZE.1 - BOTTOM) as i32);
        let holds = self.x.holds(x) && self.y.holds(y);
        holds.then(|| [self.x.at(x, (left, right)), self.y.at(y, (bottom, top))])
    }

    /// Points on all lines, close to each other.
    fn taken(&self) -> Vec<[i32; 2]> {
        let mut taken = Vec::new();
        for line in &self.lines {
            let points: Vec<_> =
                drawn(line.part, &line.points).into_iter().map(|at| self.place(at)).collect();
            taken.extend(points.iter().flatten());
            for pair in points.windows(2) {
                let [Some(from), Some(to)] = [pair[0], pair[1]] else { continue };
                let steps = (from[0].abs_diff(to[0]).max(from[1].abs_diff(to[1])) / 8) as i32;
                taken.extend((1..steps).map(|step| {
                    [0, 1].map(|axis| from[axis] + (to[axis] - from[axis]) * step / steps)
                }));
            }
        }
        taken
    }

    fn last(&self, line: &Line, words: fn(f64) -> String) -> Option<Value> {
        let point = *line.points.last()?;
        self.value(line, point, words(point.1))
    }

    /// The value of the marked point, where it is not the last and there is one run.
    fn best(&self, line: &Line, words: fn(f64) -> String) -> Option<Value> {
        let is_alone = self.lines.iter().all(|other| other.run == line.run);
        let at = line
            .marked
            .filter(|&at| self.marked_is_best && is_alone && at + 1 < line.points.len())?;
        let point = *line.points.get(at)?;
        self.value(line, point, format!("best {}", words(point.1)))
    }

    /// A value that has no place yet, at its point.
    fn value(&self, line: &Line, point: (f64, f64), text: String) -> Option<Value> {
        let [x, y] = self.place(point)?;
        Some(Value { class: Class::Line(line.part, line.run).name(), text, x, y, anchor: "start" })
    }
}

/// The value where it is near its point and covers neither the lines nor other values.
fn free(value: Value, taken: &[[i32; 2]], placed: &[Value]) -> Option<Value> {
    let (x, y) = (value.x, value.y);
    let away = (1..=6).flat_map(|step| [-step, step]).map(|step| y + step * GAP);
    let beside = [("start", x + BESIDE), ("middle", x), ("end", x - BESIDE)];
    let places = [(y, "start", x + BESIDE)].into_iter();
    let places = places.chain(away.flat_map(|y| beside.map(|(anchor, x)| (y, anchor, x))));
    let ends = [LEFT as i32, TOP as i32, (SIZE.0 - RIGHT) as i32, (SIZE.1 - BOTTOM) as i32];
    let mut value = value;
    for (y, anchor, x) in places {
        (value.x, value.y, value.anchor) = (x, y, anchor);
        let [left, top, right, bottom] = value.covers();
        let inside = left >= ends[0] && top >= ends[1] && right <= ends[2] && bottom <= ends[3];
        let on_line =
            |&[x, y]: &[i32; 2]| (left..=right).contains(&x) && (top..=bottom).contains(&y);
        let on_value = |other: &Value| {
            let other = other.covers();
            left <= other[2] && other[0] <= right && top <= other[3] && other[1] <= bottom
        };
        if inside && !taken.iter().any(on_line) && !placed.iter().any(on_value) {
            return Some(value);
        }
    }
    None
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
