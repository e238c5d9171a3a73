//! `mainstay context`: put, get, history, list, remove.

use std::time::Duration;

use clap::{Args, Subcommand};
use mainstay_kernel::time::text;
use mainstay_proto::pb::get_context_request::AsOf;
use mainstay_proto::{pb, time};

use crate::client::{Client, ask};
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::view::context::{ContextView, RemovedView};
use crate::{input, render};

/// Keys asked for at once.
const PAGE: i32 = 500;

/// What to do with the shared context.
#[derive(Debug, Subcommand)]
pub enum ContextCommand {
    /// Write a value as the next version of its key; the first to write a key owns it
    Put(PutArgs),
    /// Print a value: the newest, a version, or what was known at a time
    Get(GetArgs),
    /// List the versions of a key that are kept, newest first
    History(KeyArgs),
    /// List keys: their owners, versions and ages
    List,
    /// Remove a key with all its versions
    Remove(RemoveArgs),
}

/// Flags of `context put`.
#[derive(Debug, Args)]
pub struct PutArgs {
    /// The key: names with slashes between, like market/prices
    key: String,
    /// The value: JSON, @FILE, or - for standard input
    value: String,
    /// Refuse it if the key is at another version; 0 if it must not exist
    #[arg(long, value_name = "N")]
    expect_version: Option<u64>,
    /// How old it may be when it is read, like 10m [default: any age]
    #[arg(long, value_name = "TIME", value_parser = text::parse)]
    max_age: Option<Duration>,
    #[command(flatten)]
    writer: Writer,
}

/// Flags of `context get`.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// The key
    key: String,
    /// A version, or a time like 2026-03-01T12:00:00Z [default: now]
    #[arg(long, value_name = "VERSION|TIME")]
    as_of: Option<String>,
    /// How old it may be; its owner may allow less
    #[arg(long, value_name = "TIME", value_parser = text::parse)]
    max_age: Option<Duration>,
}

/// Flags of `context history`.
#[derive(Debug, Args)]
pub struct KeyArgs {
    /// The key
    key: String,
}

/// Flags of `context remove`.
#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// The key
    key: String,
    /// Refuse it if the key is at another version
    #[arg(long, value_name = "N")]
    expect_version: Option<u64>,
    #[command(flatten)]
    writer: Writer,
}

/// Who writes.
#[derive(Debug, Args)]
struct Writer {
    /// Who writes: agent/NAME or user/NAME [default: user/ and your user name]
    #[arg(long = "as", value_name = "OWNER")]
    by: Option<String>,
    #[arg(long, hide = true, env = "USER", default_value = "unknown")]
    user: String,
}

impl ContextCommand {
    /// The value to be put, read before anything is connected.
    pub(crate) fn value(&self) -> Result<Vec<u8>, Failure> {
        match self {
            Self::Put(args) => input::payload(Some(&args.value)),
            Self::Get(_) | Self::History(_) | Self::List | Self::Remove(_) => Ok(Vec::new()),
        }
    }
}

impl Writer {
    fn name(self) -> String {
        self.by.unwrap_or_else(|| format!("user/{}", self.user))
    }
}

pub(crate) async fn run(
    command: ContextCommand,
    value: Vec<u8>,
    client: &Client,
    console: &Console,
) -> Result<(), Failure> {
    match command {
        ContextCommand::Put(args) => put(args, value, client, console).await,
        ContextCommand::Get(args) => get(args, client, console).await,
        ContextCommand::History(args) => history(args, client, console).await,
        ContextCommand::List => list(client, console).await,
        ContextCommand::Remove(args) => remove(args, client, console).await,
    }
}

async fn put(args: PutArgs, value: Vec<u8>, client: &Client, console: &Console) -> Result<(), Failure> {
    let request = pb::PutContextRequest {
        tenant: client.tenant(),
        key: args.key,
        by: args.writer.name(),
        value: value.into(),
        expected_version: args.expect_version,
        max_age: args.max_age.map(time::duration),
    };
    let answer = client.context().put(ask(request)).await;
    let written = answer.map_err(|status| client.failure(&status))?.into_inner().written;
    console.show(&ContextView::from(written.unwrap_or_default()), render::context::written)
}

async fn get(args: GetArgs, client: &Client, console: &Console) -> Result<(), Failure> {
    let request = pb::GetContextRequest {
        tenant: client.tenant(),
        key: args.key,
        as_of: args.as_of.as_deref().map(as_of).transpose()?,
        max_age: args.max_age.map(time::duration),
    };
    let answer = client.context().get(ask(request)).await;
    let found = answer.map_err(|status| client.failure(&status))?.into_inner().found;
    console.show(&ContextView::from(found.unwrap_or_default()), render::context::value)
}

async fn history(args: KeyArgs, client: &Client, console: &Console) -> Result<(), Failure> {
    let request = pb::ContextHistoryRequest { tenant: client.tenant(), key: args.key };
    let answer = client.context().history(ask(request)).await;
    let versions = answer.map_err(|status| client.failure(&status))?.into_inner().versions;
    let views: Vec<ContextView> = versions.into_iter().map(Into::into).collect();
    console.show(&views, |views, style| render::context::history(views, style))
}

async fn list(client: &Client, console: &Console) -> Result<(), Failure> {
    let (mut views, mut page_token) = (Vec::<ContextView>::new(), String::new());
    loop {
        let request = pb::ListContextRequest { tenant: client.tenant(), page_size: PAGE, page_token };
        let answer = client.context().list(ask(request)).await;
        let page = answer.map_err(|status| client.failure(&status))?.into_inner();
        views.extend(page.keys.into_iter().map(ContextView::from));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    console.show(&views, |views, style| render::context::list(views, style))
}

async fn remove(args: RemoveArgs, client: &Client, console: &Console) -> Result<(), Failure> {
    let RemoveArgs { key, expect_version: expected_version, writer } = args;
    let (tenant, by) = (client.tenant(), writer.name());
    let request = pb::RemoveContextRequest { tenant, key: key.clone(), by, expected_version };
    client.context().remove(ask(request)).await.map_err(|status| client.failure(&status))?;
    console.show(&RemovedView { key }, render::context::removed)
}

/// A whole number is a version, anything else a time.
fn as_of(text: &str) -> Result<AsOf, Failure> {
    if let Ok(version) = text.parse() {
        return Ok(AsOf::Version(version));
    }
    let at = humantime::parse_rfc3339_weak(text).map_err(|error| {
        let message = format!("`--as-of` is {text:?}, neither a version nor a time: {error}");
        Failure::new(Exit::Usage, message).hint("write it like 7 or 2026-03-01T12:00:00Z")
    })?;
    Ok(AsOf::Time(at.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_of_is_a_version_or_a_time() {
        assert_eq!(as_of("7").unwrap(), AsOf::Version(7));
        let AsOf::Time(at) = as_of("1970-01-01T00:00:01.5Z").unwrap() else { panic!("a time") };
        assert_eq!((at.seconds, at.nanos), (1, 500_000_000));
        assert_eq!(as_of("yesterday").unwrap_err().exit, Exit::Usage);
    }
}
