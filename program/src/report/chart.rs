//! A line chart as SVG, whose colours the page's style decides.

use maud::{Markup, PreEscaped, html};
use plotters::prelude::*;

use super::axis::Axis;
use super::values::drawn;
use signet::{Error, Result};

/// Units of the drawing to a pixel of the page: whole units alone can be drawn at.
pub(super) const FINE: u32 = 4;

/// Width and height of the drawing, and what lies around its lines.
pub(super) const SIZE: (u32, u32) = (520 * FINE, 300 * FINE);
pub(super) const TOP: u32 = 10 * FINE;
/// Room for the values that stand at the ends of the lines.
pub(super) const RIGHT: u32 = 56 * FINE;
pub(super) const BOTTOM: u32 = 28 * FINE;
pub(super) const LEFT: u32 = 50 * FINE;

/// What a line stands for. It gives the line its class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Train,
    Valid,
    /// What is set and not achieved: the learning rate.
    Rate,
}

/// A line through points (x, y); values that are no numbers leave a gap.
pub(super) struct Line {
    pub part: Part,
    /// Which of the page's runs it belongs to.
    pub run: usize,
    pub points: Vec<(f64, f64)>,
    /// The point that is marked by a ring.
    pub marked: Option<usize>,
}

/// A chart and what it is called.
pub(super) struct Chart<'a> {
    /// Unique on the page.
    pub id: &'a str,
    pub title: &'a str,
    /// For those who do not see it.
    pub description: &'a str,
    pub x: Axis,
    pub y: Axis,
    pub lines: Vec<Line>,
    /// What is to be read at each x, for whoever points at it.
    pub readings: Vec<(f64, String)>,
    /// Whether the marked points are the best of what is drawn, and not only of the best epoch.
    pub marked_is_best: bool,
    /// A value as people write it.
    pub words: fn(f64) -> String,
}

/// Something drawn, by the class that it gets. Plotters knows colours and no classes, so each class
/// is drawn in a colour of its own, and `with_classes` puts the class in the colour's place.
#[derive(Clone, Copy)]
pub(super) enum Class {
    Label,
    Axis,
    Grid,
    Line(Part, usize),
    Mark(Part, usize),
}

impl Class {
    fn colour(self) -> RGBColor {
        match self {
            Self::Label => RGBColor(0, 0, 0),
            Self::Axis => RGBColor(1, 0, 0),
            Self::Grid => RGBColor(2, 0, 0),
            Self::Line(part, run) => RGBColor(3, part as u8, run as u8),
            Self::Mark(part, run) => RGBColor(4, part as u8, run as u8),
        }
    }

    pub fn name(self) -> String {
        let part = |part| match part {
            Part::Train => "train",
            Part::Valid => "valid",
            Part::Rate => "rate",
        };
        match self {
            Self::Label => "label".to_owned(),
            Self::Axis => "axis".to_owned(),
            Self::Grid => "grid".to_owned(),
            Self::Line(of, run) => format!("{} run-{run}", part(of)),
            Self::Mark(of, run) => format!("mark {} run-{run}", part(of)),
        }
    }
}

impl Chart<'_> {
    /// The chart as part of a page.
    ///
    /// # Errors
    /// When it cannot be drawn.
    pub fn svg(&self) -> Result<Markup> {
        let (width, height) = SIZE;
        let mut drawing = String::new();
        self.draw(&mut drawing, (width, height))
            .map_err(|e| Error::argument("report", format!("a chart cannot be drawn: {e}")))?;
        // What the drawing holds is numbers and labels of ticks, nothing that a user wrote.
        let drawing = PreEscaped(self.with_classes(inside(&drawing)));
        let (title, description) = (format!("{}-title", self.id), format!("{}-text", self.id));
        Ok(html! {
            svg.chart role="img" viewBox={ "0 0 " (width) " " (height) }
                aria-labelledby=(title) aria-describedby=(description) {
                title id=(title) { (self.title) }
                desc id=(description) { (self.description) }
                (drawing)
                (self.values(self.words))
                (self.pointed())
            }
        })
    }

    fn draw(
        &self,
        to: &mut String,
        size: (u32, u32),
    ) -> std::result::Result<(), Box<dyn std::error::Error>> {
        let root = SVGBackend::with_string(to, size).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin_top(TOP)
            .margin_right(RIGHT)
            .x_label_area_size(BOTTOM)
            .y_label_area_size(LEFT)
            .build_cartesian_2d(self.x.clone(), self.y.clone())?;
        let font = ("sans-serif", 12 * FINE).into_font();
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(Class::Grid.colour())
            .axis_style(Class::Axis.colour())
            // They are not seen; they keep the labels away.
            .set_all_tick_mark_size(6 * FINE)
            .label_style(font.color(&Class::Label.colour()))
            // Each tick that is asked for gets its label.
            .x_labels(self.x.ticks())
            .y_labels(self.y.ticks())
            .draw()?;
        for line in &self.lines {
            let holds = |&(x, y): &(f64, f64)| self.x.holds(x) && self.y.holds(y);
            let colour = Class::Line(line.part, line.run).colour();
            for piece in drawn(line.part, &line.points).split(|point| !holds(point)) {
                match piece {
                    [] => {}
                    // A line needs two points.
                    [point] => {
                        chart.draw_series([Circle::new(*point, 3 * FINE, colour.filled())])?;
                    }
                    _ => {
                        chart.draw_series([PathElement::new(piece, colour)])?;
                    }
                }
            }
            let marked = line.marked.and_then(|marked| line.points.get(marked).copied());
            let ring = Class::Mark(line.part, line.run).colour();
            let marked = marked.filter(holds).map(|point| Circle::new(point, 5 * FINE, ring));
            chart.draw_series(marked)?;
        }
        root.present()?;
        Ok(())
    }

    /// A strip for each reading: who points at it sees a guide, the points on it, and the reading in
    /// the words that a browser shows of a title.
    fn pointed(&self) -> Markup {
        let across = |x: f64| self.x.at(x, (LEFT as i32, (SIZE.0 - RIGHT) as i32));
        let (top, bottom) = (TOP as i32, (SIZE.1 - BOTTOM) as i32);
        let places: Vec<i32> = self.readings.iter().map(|&(x, _)| across(x)).collect();
        html! {
            @for (i, (x, reading)) in self.readings.iter().enumerate() {
                @let here = places[i];
                // Half way to the neighbours, or a little where there is none.
                @let from = if i == 0 { here - 8 * FINE as i32 } else { (places[i - 1] + here) / 2 };
                @let to = places.get(i + 1).map_or(here + 8 * FINE as i32, |next| (here + next) / 2);
                g.at {
                    title { (reading) }
                    rect x=(from) y=(top) width=(to - from) height=(bottom - top) {}
                    path.guide d={ "M" (here) " " (top) "V" (bottom) } {}
                    @for line in &self.lines {
                        @for &(_, y) in line.points.iter().filter(|point| point.0 == *x) {
                            @if self.y.holds(y) {
                                circle class=(Class::Line(line.part, line.run).name())
                                    cx=(here) cy=(self.y.at(y, (bottom, top))) r=(3 * FINE) {}
                            }
                        }
                    }
                }
            }
        }
    }

    /// Classes instead of colours.
    fn with_classes(&self, drawing: &str) -> String {
        let lines = self
            .lines
            .iter()
            .flat_map(|line| [Class::Line(line.part, line.run), Class::Mark(line.part, line.run)]);
        let mut drawing = drawing.to_owned();
        for class in [Class::Label, Class::Axis, Class::Grid].into_iter().chain(lines) {
            let RGBColor(r, g, b) = class.colour();
            for attribute in ["fill", "stroke"] {
                let colour = format!("{attribute}=\"#{r:02X}{g:02X}{b:02X}\"");
                drawing = drawing.replace(&colour, &format!("class=\"{}\"", class.name()));
            }
        }
        drawing
    }
}

/// What stands between the tags of the one outer element.
fn inside(svg: &str) -> &str {
    let start = svg.find("<svg").and_then(|at| Some(at + svg[at..].find('>')? + 1));
    let end = svg.rfind("</svg>");
    match (start, end) {
        (Some(start), Some(end)) if start <= end => &svg[start..end],
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn svg(points: Vec<(f64, f64)>, marked: Option<usize>) -> String {
        let chart = Chart {
            id: "loss",
            title: "Loss",
            description: "falls",
            x: Axis::linear([0.0, 3.0], 6.0, 1.0),
            y: Axis::log([0.1, 100.0]),
            lines: vec![Line { part: Part::Valid, run: 2, points, marked }],
            readings: Vec::new(),
            marked_is_best: false,
            words: |value| format!("{value}"),
        };
        chart.svg().unwrap().into_string()
    }

    #[test]
    fn classes_stand_where_colours_would() {
        let svg = svg(vec![(0.0, 100.0), (1.0, 10.0), (2.0, 1.0)], Some(1));
        assert!(!svg.contains('#'), "no colour is left: {svg}");
        assert!(!svg.contains("http"), "and no name space: {svg}");
        for class in ["label", "axis", "grid", "valid run-2", "mark valid run-2"] {
            assert!(svg.contains(&format!("class=\"{class}\"")), "{class}: {svg}");
        }
        assert_eq!(svg.matches("class=\"valid run-2\"").count(), 1);
        assert!(svg.contains("<title id=\"loss-title\">Loss</title>"));
        // The middle of three decades, two thirds of the way up, at a third of the width.
        let top = 10.0 * 4.0;
        let bottom = (300.0 - 28.0) * 4.0;
        let y = bottom - (bottom - top) * 2.0 / 3.0;
        let x = 50.0 * 4.0 + (520.0 - 50.0 - 56.0) * 4.0 / 3.0;
        let ring = svg.split("<circle").nth(1).unwrap();
        let number = |name: &str| -> f64 {
            let rest = ring.split(&format!("{name}=\"")).nth(1).unwrap();
            rest.split('"').next().unwrap().parse().unwrap()
        };
        assert!((number("cx") - x).abs() <= 2.0 && (number("cy") - y).abs() <= 2.0, "{ring}");
    }

    #[test]
    fn what_is_no_number_leaves_a_gap() {
        let points = vec![(0.0, 10.0), (1.0, f64::NAN), (2.0, 5.0), (3.0, 1.0)];
        let svg = svg(points, Some(1));
        assert_eq!(svg.matches("<circle").count(), 1, "the first point alone, no ring: {svg}");
        let line = svg.split("class=\"valid run-2\"").nth(2).unwrap();
        let points = line.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
        assert_eq!(points.split_whitespace().count(), 2);
    }

    #[test]
    fn who_points_at_an_epoch_reads_its_values() {
        let points = vec![(0.0, 10.0), (1.0, f64::NAN), (3.0, 1.0)];
        let chart = Chart {
            id: "loss",
            title: "Loss",
            description: "falls",
            x: Axis::counting(3.0),
            y: Axis::log([0.1, 100.0]),
            lines: vec![Line { part: Part::Valid, run: 0, points, marked: None }],
            readings: [0.0, 1.0, 3.0].map(|x| (x, format!("epoch {x} <b>"))).into(),
            marked_is_best: false,
            words: |value| format!("{value}"),
        };
        let svg = chart.svg().unwrap().into_string();
        assert_eq!(svg.matches("<g class=\"at\">").count(), 3);
        assert!(svg.contains("<title>epoch 3 &lt;b&gt;</title>"), "{svg}");
        // The last epoch lies at the right end, and its loss of 1 a third of three decades up.
        let last = svg.rsplit("<g class=\"at\">").next().unwrap();
        let right = (520 - 56) * 4;
        assert!(last.contains(&format!("M{right} 40V1088")), "{last}");
        assert!(last.contains(&format!("cx=\"{right}\" cy=\"739\"")), "{last}");
        // Strips touch and do not overlap; what is no number has no point.
        let middle = svg.split("<g class=\"at\">").nth(2).unwrap();
        assert!(!middle.contains("<circle"), "{middle}");
    }
}
