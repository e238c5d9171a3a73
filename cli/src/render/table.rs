//! Tables as wide as the terminal, without rules: columns, a header, and what is too long goes on in the next line.

use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table};

use super::paint::Tone;
use super::text::plain;
use crate::console::Style;

/// Blanks between columns: without rules, one would not tell them apart.
const GAP: u16 = 2;

/// A table in the making.
#[derive(Debug)]
pub struct Grid {
    table: Table,
}

/// One cell, made harmless.
#[must_use]
pub fn cell(text: impl AsRef<str>) -> Cell {
    Cell::new(plain(text.as_ref()))
}

/// One cell in a tone.
#[must_use]
pub fn toned(text: impl AsRef<str>, tone: Tone) -> Cell {
    let cell = cell(text);
    match tone {
        Tone::Good => cell.fg(Color::DarkGreen),
        Tone::Busy => cell.fg(Color::DarkYellow),
        Tone::Bad => cell.fg(Color::DarkRed),
        Tone::Dim => cell.add_attribute(Attribute::Dim),
        Tone::Strong => cell.add_attribute(Attribute::Bold),
        Tone::Normal => cell,
    }
}

impl Grid {
    /// A table with a header.
    #[must_use]
    pub fn new(header: &[&str], style: Style) -> Self {
        let mut grid = Self::bare(style);
        grid.table.set_header(header.iter().map(|name| toned(name, Tone::Dim)));
        grid
    }

    /// A table without a header.
    #[must_use]
    pub fn bare(style: Style) -> Self {
        let mut table = Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(style.width);
        if style.colour {
            table.enforce_styling()
        } else {
            table.force_no_tty()
        };
        Self { table }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.table.add_row(cells.into_iter().collect::<Vec<_>>());
        for column in self.table.column_iter_mut() {
            column.set_padding((0, GAP));
        }
    }
}

impl std::fmt::Display for Grid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for line in self.table.lines() {
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}
