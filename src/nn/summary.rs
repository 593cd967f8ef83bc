//! The printed table of a model's layers.

use super::Sequential;
use super::forward::as_a;
use crate::dtype::Float;
use crate::support::words::count;
use crate::{Result, Shape, Tensor, no_grad};
use std::fmt;

/// A printed table like `torchinfo`'s: layer, output shape, parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The input's shape.
    pub input: Shape,
    /// One row a layer; those of a [`Sequential`] in another come behind it.
    pub rows: Vec<SummaryRow>,
}

/// A layer in a [`Summary`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SummaryRow {
    /// Its place, as its parameters' keys begin: `3`, `3.0`.
    pub place: String,
    /// PyTorch's name.
    pub layer: String,
    /// The shape of its output.
    pub output: Shape,
    /// How many numbers it learns, frozen ones too.
    pub parameters: usize,
}

impl SummaryRow {
    /// How many modules it is inside of.
    fn depth(&self) -> usize {
        self.place.matches('.').count()
    }
}

impl<T: Float> Sequential<T> {
    /// A table of layers, output shapes and parameters for an input of shape `input`. A module that is not
    /// one of the [layers](super::Layer) of a list runs once for it, on zeros and in evaluation mode.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when the input does not fit, and when the device fails.
    pub fn summary(&self, input: impl Into<Shape>) -> Result<Summary> {
        let (input, mut rows) = (input.into(), Vec::new());
        let training = self.context().training();
        self.eval();
        let result = no_grad(|| self.add_rows("", input.clone(), &mut rows));
        self.context().train(training);
        result.map(|_| Summary { input, rows })
    }

    /// Adds a row for each module, whose places begin with `prefix`; the shape of their output.
    fn add_rows(
        &self,
        prefix: &str,
        mut shape: Shape,
        rows: &mut Vec<SummaryRow>,
    ) -> Result<Shape> {
        for (i, module) in self.modules.iter().enumerate() {
            let (place, mut below) = (format!("{prefix}{i}"), Vec::new());
            shape = match (as_a::<T, Self>(module), self.layers.get(i)) {
                (Some(inner), _) => inner.add_rows(&format!("{place}."), shape, &mut below)?,
                (None, Some(layer)) => layer.output_shape(&shape)?,
                (None, None) => {
                    let zeros = Tensor::zeros(self.arena().device(), shape)?;
                    module.forward(&zeros)?.shape().clone()
                }
            };
            let parameters = module.parameters().iter().map(Tensor::numel).sum();
            rows.push(SummaryRow {
                place,
                layer: module.name(),
                output: shape.clone(),
                parameters,
            });
            rows.append(&mut below);
        }
        Ok(shape)
    }
}

impl Summary {
    /// How many numbers the model learns.
    pub fn parameters(&self) -> usize {
        let outermost = self.rows.iter().filter(|row| row.depth() == 0);
        outermost.map(|row| row.parameters).sum()
    }
}

/// Columns of the lines: layer, output shape, parameters.
const WIDTHS: [usize; 3] = [22, 26, 14];

impl Summary {
    /// The table in lines of at most `width` characters: where there is no room for the shapes, they
    /// are left out.
    pub fn fitting(&self, width: usize) -> String {
        let [layer, _, parameters] = WIDTHS;
        let middle = if width < WIDTHS.iter().sum() { 0 } else { WIDTHS[1] };
        let line = |name: &str, shape: &str, number: &str| {
            let shape = if middle == 0 { "" } else { shape };
            format!("{name:<layer$}{shape:<middle$}{number:>parameters$}\n")
        };
        let rule = "=".repeat(layer + middle + parameters);
        let mut text = format!("{rule}\n{}{rule}\n", line("Layer", "Output shape", "Parameters"));
        text += &line("Input", &self.input.to_string(), "-");
        for row in &self.rows {
            let parameters = match row.parameters {
                0 => "-".into(),
                n => count(n as u64),
            };
            let name = format!("{}{}: {}", "  ".repeat(row.depth()), row.place, row.layer);
            text += &line(&name, &row.output.to_string(), &parameters);
        }
        text + &format!("{rule}\nTotal parameters: {}\n{rule}", count(self.parameters() as u64))
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fitting(usize::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_terminal_gets_no_shapes() {
        let (place, layer) = ("0".into(), "BatchNorm2d".into());
        let row = SummaryRow { place, layer, output: [32, 25, 28, 28].into(), parameters: 50 };
        let summary = Summary { input: [32, 1, 28, 28].into(), rows: vec![row] };
        let wide = summary.to_string();
        assert!(wide.contains("0: BatchNorm2d        "), "{wide}");
        assert!(wide.lines().any(|line| line.contains("25, 28, 28") && line.len() == 62), "{wide}");
        let narrow = summary.fitting(39);
        assert!(narrow.lines().all(|line| line.len() <= 36), "{narrow}");
        assert!(narrow.contains("BatchNorm2d") && narrow.ends_with(&"=".repeat(36)), "{narrow}");
        assert_eq!(summary.fitting(62), wide);
    }
}
