use crate::Shape;
use crate::words::count;
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

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = "=".repeat(62);
        writeln!(f, "{rule}\n{:<22}{:<26}{:>14}\n{rule}", "Layer", "Output shape", "Parameters")?;
        writeln!(f, "{:<22}{:<26}{:>14}", "Input", self.input.to_string(), "-")?;
        for (i, row) in self.rows.iter().enumerate() {
            let parameters = match row.parameters {
                0 => "-".into(),
                n => count(n as u64),
            };
            let name = format!("{i}: {}", row.layer);
            writeln!(f, "{name:<22}{:<26}{parameters:>14}", row.output.to_string())?;
        }
        writeln!(f, "{rule}\nTotal parameters: {}", count(self.parameters() as u64))?;
        write!(f, "{rule}")
    }
}
