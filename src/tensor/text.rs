//! How a tensor is shown: PyTorch's layout, four digits, the middle of a large one left out.
#![forbid(unsafe_code)]

use crate::dtype::Element;

/// Digits behind the point.
const PRECISION: usize = 4;
/// Elements beyond which the middle of each dimension is left out.
const THRESHOLD: usize = 1000;
/// Elements shown at each end of a dimension that is cut.
const EDGE: usize = 3;
/// Characters of a line.
const WIDTH: usize = 80;

/// The values of a tensor of `dims`, row-major, in brackets; further lines are indented by
/// `indent`.
pub(crate) fn values_text<E: Element>(values: &[E], dims: &[usize], indent: usize) -> String {
    if values.is_empty() {
        return "[]".to_owned();
    }
    let summarize = values.len() > THRESHOLD;
    let mut shown = Vec::new();
    visit(dims, summarize, 0, &mut |index| shown.push(Number::of(&values[index])));
    let text = Text { values, format: Format::of(&shown), summarize };
    let mut out = String::new();
    text.write(dims, 0, indent, &mut out);
    out
}

/// The positions along a dimension of `size` that are shown, and where some are left out.
fn shown(size: usize, summarize: bool) -> (impl Iterator<Item = usize>, bool) {
    let cut = summarize && size > 2 * EDGE;
    ((0..size).filter(move |i| !cut || *i < EDGE || *i >= size - EDGE), cut)
}

fn visit(dims: &[usize], summarize: bool, first: usize, see: &mut impl FnMut(usize)) {
    let Some((&size, inner)) = dims.split_first() else { return see(first) };
    let stride: usize = inner.iter().product();
    for i in shown(size, summarize).0 {
        visit(inner, summarize, first + i * stride, see);
    }
}

/// An element as it is printed.
#[derive(Debug, Clone)]
enum Number {
    Integer(String),
    Float(f64),
}

impl Number {
    fn of<E: Element>(value: &E) -> Self {
        if E::NAME.starts_with("float") {
            Self::Float(exact::<E>(value).unwrap_or(f64::NAN))
        } else {
            Self::Integer(format!("{value:?}"))
        }
    }
}

/// The value of a float, exactly.
fn exact<E: Element>(value: &E) -> Option<f64> {
    let bytes = bytemuck::bytes_of(value);
    match bytes.len() {
        4 => Some(f64::from(f32::from_ne_bytes(bytes.try_into().ok()?))),
        8 => Some(f64::from_ne_bytes(bytes.try_into().ok()?)),
        _ => None,
    }
}

/// How all numbers of a tensor are written.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// As it is.
    Integer,
    /// `1.`, `2.`: floats that are all whole.
    Whole,
    /// `0.5000`.
    Fixed,
    /// `1.0000e-05`.
    Scientific,
}

struct Format {
    kind: Kind,
    width: usize,
}

impl Format {
    fn of(numbers: &[Number]) -> Self {
        let floats = numbers.iter().filter_map(|number| match number {
            Number::Float(value) => Some(*value),
            Number::Integer(_) => None,
        });
        if !matches!(numbers.first(), Some(Number::Float(_))) {
            let width = numbers.iter().map(|number| plain(number, Kind::Integer).len()).max();
            return Self { kind: Kind::Integer, width: width.unwrap_or(1) };
        }
        let finite: Vec<f64> = floats.filter(|x| x.is_finite() && *x != 0.0).collect();
        if finite.is_empty() {
            return Self { kind: Kind::Whole, width: 1 };
        }
        let magnitudes = finite.iter().map(|x| x.abs());
        let (least, most) = magnitudes
            .fold((f64::INFINITY, 0.0_f64), |(least, most), x| (least.min(x), most.max(x)));
        let whole = finite.iter().all(|x| *x == x.ceil());
        let kind = if most / least > 1000.0 || most > 1e8 || (!whole && least < 1e-4) {
            Kind::Scientific
        } else if whole {
            Kind::Whole
        } else {
            Kind::Fixed
        };
        let width = finite.iter().map(|x| plain(&Number::Float(*x), kind).len()).max();
        Self { kind, width: width.unwrap_or(1) }
    }

    /// A number, right-aligned.
    fn pad(&self, number: &Number) -> String {
        format!("{:>width$}", plain(number, self.kind), width = self.width)
    }
}

fn plain(number: &Number, kind: Kind) -> String {
    let value = match number {
        Number::Integer(text) => return text.clone(),
        Number::Float(value) => *value,
    };
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    match kind {
        Kind::Integer | Kind::Whole => format!("{value:.0}."),
        Kind::Fixed => format!("{value:.PRECISION$}"),
        Kind::Scientific => {
            // `1.0000e-5` in Rust, `1.0000e-05` in C and Python.
            let text = format!("{value:.PRECISION$e}");
            let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let (sign, exponent) =
                exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
            format!("{digits}e{sign}{exponent:0>2}")
        }
    }
}

struct Text<'a, E: Element> {
    values: &'a [E],
    format: Format,
    summarize: bool,
}

impl<E: Element> Text<'_, E> {
    fn write(&self, dims: &[usize], first: usize, indent: usize, out: &mut String) {
        let one = |index: usize| self.format.pad(&Number::of(&self.values[index]));
        let Some((&size, inner)) = dims.split_first() else {
            out.push_str(&one(first));
            return;
        };
        let stride: usize = inner.iter().product();
        let (indices, cut) = shown(size, self.summarize);
        out.push('[');
        if inner.is_empty() {
            let mut words: Vec<String> = indices.map(|i| one(first + i)).collect();
            if cut {
                words.insert(EDGE, " ...".to_owned());
            }
            let in_a_line = (WIDTH.saturating_sub(indent) / (self.format.width + 2)).max(1);
            let lines: Vec<String> = words.chunks(in_a_line).map(|line| line.join(", ")).collect();
            out.push_str(&lines.join(&format!(",\n{:indent$}", "", indent = indent + 1)));
        } else {
            let separator =
                format!(",{}{:indent$}", "\n".repeat(inner.len()), "", indent = indent + 1);
            for (place, i) in indices.enumerate() {
                if place > 0 {
                    out.push_str(&separator);
                }
                if cut && place == EDGE {
                    out.push_str("...");
                    out.push_str(&separator);
                }
                self.write(inner, first + i * stride, indent + 1, out);
            }
        }
        out.push(']');
    }
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
