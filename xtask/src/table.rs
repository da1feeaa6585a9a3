//! Tables as `xtask` prints them: plain, aligned, easy to cut apart.
//!
//! Owns their look. Called by whatever has rows to show.

use comfy_table::{CellAlignment, Table, presets};

/// A table with this header; the columns whose names are in `numbers` stand to the right.
pub fn with_header(header: &[&str], numbers: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header);
    for (column, name) in table.column_iter_mut().zip(header) {
        column.set_padding((0, 2));
        if numbers.contains(name) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// The table's text without the blanks at its lines' ends.
pub fn text(table: &Table) -> String {
    table
        .lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_to_the_right_and_no_line_ends_in_blanks() {
        let mut table = with_header(&["name", "count"], &["count"]);
        table.add_row(["a", "1"]);
        table.add_row(["b", "22222222"]);
        let text = text(&table);
        assert!(text.lines().all(|line| line == line.trim_end()), "{text:?}");
        let ends: Vec<usize> = text.lines().skip(1).map(str::len).collect();
        assert_eq!(ends[0], ends[1], "{text:?}");
    }
}
