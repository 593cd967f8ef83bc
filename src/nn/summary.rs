use crate::Shape;
use crate::support::words::count;
use std::fmt;

/// A printed table like `torchinfo`'s: layer, output shape, parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The input's shape.
    pub input: Shape,
    /// One row a layer.
    pub rows: Vec<SummaryRow>,
}

/// A layer in a [`Summary`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SummaryRow {
    /// PyTorch's name.
    pub layer: &'static str,
    /// The shape of its output.
    pub output: Shape,
    /// How many numbers it learns.
    pub parameters: usize,
}

impl Summary {
    /// How many numbers the model learns.
    pub fn parameters(&self) -> usize {
        self.rows.iter().map(|row| row.parameters).sum()
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
        for (i, row) in self.rows.iter().enumerate() {
            let parameters = match row.parameters {
                0 => "-".into(),
                n => count(n as u64),
            };
            text += &line(&format!("{i}: {}", row.layer), &row.output.to_string(), &parameters);
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
        let row =
            SummaryRow { layer: "BatchNorm2d", output: [32, 25, 28, 28].into(), parameters: 50 };
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
