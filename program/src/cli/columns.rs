//! Tables of text that are no wider than the terminal.

use console::{Alignment, pad_str};

/// Characters between two columns.
const GAP: usize = 2;

/// A column of a [`Table`].
#[derive(Debug, Clone)]
struct Column {
    title: String,
    left: bool,
    /// Where there is no room for all, columns of a higher rank are left out first; those of rank 0
    /// never are.
    rank: u8,
}

/// Rows below titles, each column as wide as its widest cell.
#[derive(Debug, Clone, Default)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Adds a column of names, which begin together.
    pub fn names(mut self, title: &str, rank: u8) -> Self {
        self.columns.push(Column { title: title.to_owned(), left: true, rank });
        self
    }

    /// Adds columns of numbers, which end together.
    pub fn numbers<'a>(mut self, columns: impl IntoIterator<Item = (&'a str, u8)>) -> Self {
        let column =
            |(title, rank): (&str, u8)| Column { title: title.to_owned(), left: false, rank };
        self.columns.extend(columns.into_iter().map(column));
        self
    }

    /// Adds a row, with a cell for each column.
    pub fn row(&mut self, cells: impl Into<Vec<String>>) {
        self.rows.push(cells.into());
    }

    /// The lines of the table: titles, then rows. What finds no room in `width` columns of the
    /// terminal is left out, and in the end long names are cut.
    pub fn text(&self, width: usize) -> String {
        let widths: Vec<usize> = (self.columns.iter().enumerate())
            .map(|(i, column)| {
                let cells = self.rows.iter().filter_map(|row| row.get(i)).map(|cell| length(cell));
                cells.fold(length(&column.title), usize::max)
            })
            .collect();
        let mut kept: Vec<usize> = (0..self.columns.len()).collect();
        let taken = |kept: &[usize]| {
            kept.iter().map(|&i| widths[i] + GAP).sum::<usize>().saturating_sub(GAP)
        };
        while taken(&kept) > width {
            let rank = kept.iter().map(|&i| self.columns[i].rank).max().unwrap_or(0);
            if rank == 0 {
                break;
            }
            kept.retain(|&i| self.columns[i].rank < rank);
        }
        let mut widths = widths.clone();
        let names = kept.iter().filter(|&&i| self.columns[i].left).count().max(1);
        let over = taken(&kept).saturating_sub(width).div_ceil(names);
        for &i in kept.iter().filter(|&&i| self.columns[i].left) {
            widths[i] = widths[i].saturating_sub(over).max(1);
        }
        let titles: Vec<String> = self.columns.iter().map(|column| column.title.clone()).collect();
        let lines = std::iter::once(&titles).chain(&self.rows).map(|row| {
            let cells = kept.iter().map(|&i| {
                let cell = row.get(i).map_or("", String::as_str);
                cell_of(cell, widths[i], self.columns[i].left)
            });
            cells.collect::<Vec<_>>().join(&" ".repeat(GAP)).trim_end().to_owned()
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// `text` in exactly `width` columns of the terminal, at their left or right end; what is longer is cut.
pub fn cell_of(text: &str, width: usize, left: bool) -> String {
    let alignment = if left { Alignment::Left } else { Alignment::Right };
    pad_str(text, width, alignment, Some("…")).into_owned()
}

/// Columns of the terminal: some letters take two.
pub fn length(text: &str) -> usize {
    console::measure_text_width(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::default().names("Class", 0).numbers([("Images", 2), ("Recall", 1)]);
        table.row(["cat", "1,200", "0.9"].map(str::to_owned));
        table.row(["a long-haired dog", "8", "1"].map(str::to_owned));
        table
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        assert_eq!(
            table().text(usize::MAX),
            "Class              Images  Recall\n\
             cat                 1,200     0.9\n\
             a long-haired dog       8       1"
        );
    }

    #[test]
    fn wide_letters_take_two_columns() {
        let mut table = Table::default().names("Class", 0).numbers([("Images", 1)]);
        table.row(["正方形", "12"].map(str::to_owned));
        assert_eq!(table.text(80), "Class   Images\n正方形      12");
        assert_eq!(table.text(5), "Class\n正方…");
    }

    #[test]
    fn what_finds_no_room_is_left_out_and_names_are_cut() {
        assert_eq!(
            table().text(30),
            "Class              Recall\ncat                   0.9\na long-haired dog       1"
        );
        assert_eq!(table().text(8), "Class\ncat\na long-…");
        for width in 1..40 {
            let text = table().text(width);
            assert!(
                text.lines().all(|line| line.chars().count() <= width.max(1)),
                "{width}: {text}"
            );
        }
    }
}
