//! `mainstay explain [CODE]`: the page of a code, or all codes. Needs no server.

use clap::Args;
use mainstay_proto::pages;

use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render;
use crate::view::page::PageView;

/// Flags of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The code, as an error or a finding shows it; all codes are listed without one
    #[arg(value_name = "CODE")]
    code: Option<String>,
}

pub(crate) fn run(args: &ExplainArgs, console: &Console) -> Result<(), Failure> {
    let Some(code) = &args.code else {
        let views: Vec<PageView> = pages::all().map(PageView::from).collect();
        return console.show(&views, |views, style| render::page::list(views, style));
    };
    let wanted = code.trim().to_ascii_uppercase().replace('-', "_");
    let page = pages::page(&wanted).ok_or_else(|| {
        let message = format!("{code} is no code of Mainstay's");
        Failure::new(Exit::NotFound, message).hint(
            "`mainstay explain` lists them all; a code of an agent's own stands among the failure modes that \
             `mainstay agent NAME` shows",
        )
    })?;
    console.show(&PageView::from(page), render::page::page)
}
