//! `mainstay mode`: how much the control plane does, and why.

use clap::{Args, Subcommand};
use mainstay_kernel::mode::Mode;
use mainstay_proto::{mode, pb};

use crate::client::{Client, ask};
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::mode as render;
use crate::view::mode::ModeView;

/// What to do with the mode.
#[derive(Debug, Subcommand)]
pub enum ModeCommand {
    /// Show it, and why it holds
    Show,
    /// Set it by hand: it then holds, across restarts, until it is handed back with `mode auto`
    Set(SetArgs),
    /// Hand it back to the rules
    Auto(Author),
    /// Print it, then each change, until interrupted
    Watch,
}

/// Flags of `mode set`.
#[derive(Debug, Args)]
pub struct SetArgs {
    /// full, degraded or emergency
    mode: Mode,
    /// Why: whoever wonders reads it
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    author: Author,
}

/// Who does it.
#[derive(Debug, Args)]
pub struct Author {
    /// Who does it, for the record
    #[arg(long, value_name = "NAME", env = "USER", default_value = "", hide_default_value = true)]
    by: String,
}

pub(crate) async fn run(command: ModeCommand, client: &Client, console: &Console) -> Result<(), Failure> {
    let mut operations = client.operations();
    let status = match command {
        ModeCommand::Show => {
            operations.get_mode(ask(pb::GetModeRequest {})).await.map(|answer| answer.into_inner().status)
        }
        ModeCommand::Set(SetArgs { mode, reason, author: Author { by } }) => {
            let request = pb::SetModeRequest { mode: mode::view(mode).into(), reason, by };
            operations.set_mode(ask(request)).await.map(|answer| answer.into_inner().status)
        }
        ModeCommand::Auto(Author { by }) => {
            let released = operations.release_mode(ask(pb::ReleaseModeRequest { by })).await;
            released.map(|answer| answer.into_inner().status)
        }
        ModeCommand::Watch => return watch(client, console).await,
    };
    let status = status.map_err(|status| client.failure(&status))?.unwrap_or_default();
    console.show(&ModeView::from(status), render::mode)
}

async fn watch(client: &Client, console: &Console) -> Result<(), Failure> {
    let told = client.operations().watch_mode(pb::WatchModeRequest {}).await;
    let mut told = told.map_err(|status| client.failure(&status))?.into_inner();
    while let Some(told) = told.message().await.map_err(|status| client.failure(&status))? {
        let view = ModeView::from(told.status.unwrap_or_default());
        if console.json() {
            console.line(&view)?
        } else {
            console.print(&render::line(&view, console.style))?
        }
    }
    Err(Failure::new(Exit::Unreachable, "the control plane ended the watch".to_owned()))
}
