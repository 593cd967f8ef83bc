//! Tables of text that are no wider than the terminal.

use console::{Alignment, pad_str};

/// Characters between two columns.
const GAP: usize = 2;

/// A column of a [`Table`].
#[derive(Debug, Clone)]
struct Column {
    title: String,
    left: bool,
    /// Of what is too long, the end is shown and not the beginning.
    keeps_end: bool,
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
        self.columns.push(Column { title: title.to_owned(), left: true, keeps_end: false, rank });
        self
    }

    /// Adds a column of paths: as names, but of what is too long the beginning is cut.
    pub fn paths(mut self, title: &str, rank: u8) -> Self {
        self.columns.push(Column { title: title.to_owned(), left: true, keeps_end: true, rank });
        self
    }

    /// Adds columns of numbers, which end together.
    pub fn numbers<'a>(mut self, columns: impl IntoIterator<Item = (&'a str, u8)>) -> Self {
        let column = |(title, rank): (&str, u8)| Column {
            title: title.to_owned(),
            left: false,
            keeps_end: false,
            rank,
        };
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
        // The widest names are cut first.
        for _ in width..taken(&kept) {
            let names = kept.iter().filter(|&&i| self.columns[i].left && widths[i] > 1);
            let Some(&widest) = names.max_by_key(|&&i| widths[i]) else { break };
            widths[widest] -= 1;
        }
        let titles: Vec<String> = self.columns.iter().map(|column| column.title.clone()).collect();
        let lines = std::iter::once(&titles).chain(&self.rows).map(|row| {
            let cells = kept.iter().map(|&i| {
                let cell = row.get(i).map_or("", String::as_str);
                let Column { left, keeps_end, .. } = self.columns[i];
                let end = if keeps_end { end_of(cell, widths[i]) } else { cell.to_owned() };
                cell_of(&end, widths[i], left)
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

/// The end of `text` in at most `width` columns of the terminal.
pub fn end_of(text: &str, width: usize) -> String {
    if length(text) <= width {
        return text.to_owned();
    }
    let starts = text.char_indices().map(|(start, _)| &text[start..]);
    let end = starts.skip(1).find(|end| length(end) < width).unwrap_or_default();
    format!("…{end}")
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
    fn of_a_path_the_end_is_kept() {
        let mut table = Table::default().paths("File", 0).names("Class", 0);
        table.row(["a long-haired dog/photo 12.png", "dog"].map(str::to_owned));
        assert_eq!(table.text(80).lines().nth(1).unwrap(), "a long-haired dog/photo 12.png  dog");
        assert_eq!(table.text(21), "File            Class\n…/photo 12.png  dog");
        assert_eq!([end_of("正方形", 5), end_of("正方形", 1)], ["…方形", "…"]);
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
