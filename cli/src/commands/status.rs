//! `mainstay status`: how the control plane does.

use clap::Args;
use mainstay_proto::pb;

use crate::client::{Client, ask};
use crate::console::Console;
use crate::failure::Failure;
use crate::render;
use crate::view::status::StatusView;

/// Flags of `status`: none of its own.
#[derive(Debug, Args)]
pub struct StatusArgs {}

pub(crate) async fn run(client: &Client, console: &Console) -> Result<(), Failure> {
    super::drill::warn(client).await;
    let answer = client.operations().get_server_info(ask(pb::GetServerInfoRequest {})).await;
    let info = answer.map_err(|status| client.failure(&status))?.into_inner();
    console.show(&StatusView::from(info), render::status::status)
}
