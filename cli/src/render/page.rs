//! Pages of `explain`.

use super::paint::{Tone, paint};
use super::table::{Grid, cell, toned};
use crate::console::Style;
use crate::view::page::PageView;

/// All codes, a line each.
#[must_use]
pub fn list(pages: &[PageView], style: Style) -> String {
    let mut grid = Grid::new(&["CODE", "KIND", "WHAT HAPPENED"], style);
    for page in pages {
        grid.row([toned(page.code, Tone::Strong), cell(page.kind), cell(page.cause)]);
    }
    grid.to_string()
}

/// One page.
#[must_use]
pub fn page(page: &PageView, style: Style) -> String {
    let kind = match (page.kind, &page.grpc) {
        ("error", Some(grpc)) => format!("error, gRPC {grpc}"),
        ("warning", _) => "warning about a workflow document; it is taken all the same".to_owned(),
        _ => "finding about a workflow document or schema; it is refused".to_owned(),
    };
    format!(
        "{}  ({kind})\n\n{}\n\nWhat to do: {}\n",
        paint(page.code, Tone::Strong, style),
        page.cause,
        page.remedy
    )
}

#[cfg(test)]
mod tests {
    use mainstay_proto::pages;

    use super::*;

    #[test]
    fn a_page_says_what_happened_and_what_to_do() {
        let view = PageView::from(pages::page("INSTANCE_HELD").unwrap());
        insta::assert_snapshot!(page(&view, Style::PLAIN));
        let view = PageView::from(pages::page("STEP_CYCLE").unwrap());
        insta::assert_snapshot!(page(&view, Style::PLAIN));
    }

    #[test]
    fn the_list_fits_the_terminal() {
        let views: Vec<PageView> = pages::all().map(PageView::from).collect();
        let text = list(&views, Style { width: 80, colour: false });
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains("STEP_CYCLE"));
    }
}
