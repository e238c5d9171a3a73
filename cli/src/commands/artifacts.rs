//! `mainstay artifacts`: put, get, list.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, Subcommand};
use futures::stream;
use mainstay_kernel::artifact::Hasher;
use mainstay_proto::pb;
use pb::get_artifact_response::Part as Got;
use pb::put_artifact_request::Part as Given;
use tokio::sync::mpsc;

use crate::client::{Client, ask, within};
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render;
use crate::view::artifact::{ArtifactView, ArtifactsView, GotView};

/// Bytes read and sent at once.
const PART: usize = 1024 * 1024;
/// Messages on their way: the disk reads while the network sends.
const AHEAD: usize = 2;
/// How long a transfer may take: the largest artifact over a slow line.
const TRANSFER_WITHIN: Duration = Duration::from_secs(6 * 3600);
/// Artifacts asked for at once.
const PAGE: i32 = 500;

/// What to do with artifacts.
#[derive(Debug, Subcommand)]
pub enum ArtifactsCommand {
    /// Store a document and print its reference, for the input of a run
    Put(PutArgs),
    /// Read a document, verified, to a file or standard output
    Get(GetArgs),
    /// List documents: references, sizes, media types
    List,
}

/// Flags of `artifacts put`.
#[derive(Debug, Args)]
pub struct PutArgs {
    /// The document; - is standard input
    file: String,
    /// What it is, like text/csv [default: application/octet-stream]
    #[arg(long, value_name = "TYPE")]
    media_type: Option<String>,
}

/// Flags of `artifacts get`.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// The reference: blake3: and 64 hexadecimal digits
    #[arg(value_name = "REF")]
    reference: String,
    /// Where to write it; it must not exist [default: standard output]
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Where in the document to begin, in bytes
    #[arg(long, value_name = "N", default_value_t = 0)]
    offset: u64,
}

pub(crate) async fn run(
    command: ArtifactsCommand,
    client: &Client,
    console: &Console,
) -> Result<(), Failure> {
    match command {
        ArtifactsCommand::Put(args) => put(args, client, console).await,
        ArtifactsCommand::Get(args) => get(args, client, console).await,
        ArtifactsCommand::List => list(client, console).await,
    }
}

async fn put(args: PutArgs, client: &Client, console: &Console) -> Result<(), Failure> {
    let PutArgs { file, media_type } = args;
    // The name of a file is known before it is sent: one that is there already need not be.
    let expected_ref = if file == "-" { String::new() } else { name(&file)? };
    let mut document: Box<dyn Read> =
        if file == "-" { Box::new(std::io::stdin()) } else { Box::new(open(&file)?) };
    let head = pb::PutArtifactHead {
        tenant: client.tenant(),
        media_type: media_type.unwrap_or_default(),
        expected_ref,
    };
    let (parts, sent) = mpsc::channel(AHEAD);
    let messages = stream::unfold(sent, |mut sent: mpsc::Receiver<pb::PutArtifactRequest>| async move {
        sent.recv().await.map(|message| (message, sent))
    });
    let mut artifacts = client.artifacts();
    let mut answer = tokio::spawn(async move { artifacts.put(within(messages, TRANSFER_WITHIN)).await });
    let mut next = Some(Given::Head(head));
    let answered = loop {
        let Some(part) = next else {
            drop(parts);
            break answer.await;
        };
        tokio::select! {
            // Before the end: the document is there already, or refused.
            answered = &mut answer => break answered,
            sent = parts.send(pb::PutArtifactRequest { part: Some(part) }) => if sent.is_err() {
                break answer.await;
            },
        }
        next = match read(&mut document) {
            Ok(data) => data.map(Given::Data),
            Err(error) => {
                // Before the stream ends, which would make a document of what was read.
                answer.abort();
                (&mut answer).await.ok();
                return Err(Failure::new(Exit::NotFound, format!("{file}: {error}")));
            }
        };
    };
    let answer = answered.map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
    let answer = answer.map_err(|status| client.failure(&status))?.into_inner();
    console.show(&ArtifactView::put(answer), render::artifact::put)
}

async fn get(args: GetArgs, client: &Client, console: &Console) -> Result<(), Failure> {
    let GetArgs { reference, to, offset } = args;
    let request = pb::GetArtifactRequest { tenant: client.tenant(), r#ref: reference.clone(), offset };
    let answer = client.artifacts().get(within(request, TRANSFER_WITHIN)).await;
    let mut messages = answer.map_err(|status| client.failure(&status))?.into_inner();
    let (part, mut out): (_, Box<dyn Write>) = match &to {
        None => (None, Box::new(std::io::stdout().lock())),
        Some(file) => {
            let part = part_of(file)?;
            let created = File::create(&part).map_err(|error| unwritten(&part, &error))?;
            (Some(part), Box::new(created))
        }
    };
    let received = receive(&mut messages, &mut out, client).await;
    let received = received.and_then(|(artifact, hash, bytes)| {
        let whole = offset > 0 || hash == reference;
        if whole { Ok((artifact, bytes)) } else { Err(other_bytes(&reference, &hash)) }
    });
    drop(out);
    let (artifact, bytes) = match (received, &part) {
        (Ok(received), _) => received,
        (Err(failure), part) => {
            // What is left of it is no document, and its name says so.
            part.iter().for_each(|part| fs::remove_file(part).unwrap_or_default());
            return Err(failure);
        }
    };
    let (Some(part), Some(file)) = (part, to) else { return Ok(()) };
    fs::rename(&part, &file).map_err(|error| unwritten(&file, &error))?;
    let view = GotView { artifact: artifact.into(), file: file.display().to_string(), written: bytes };
    console.show(&view, render::artifact::got)
}

/// Writes what comes; what it is, its name, and how many bytes came.
async fn receive(
    messages: &mut tonic::Streaming<pb::GetArtifactResponse>,
    out: &mut dyn Write,
    client: &Client,
) -> Result<(pb::Artifact, String, u64), Failure> {
    let (mut artifact, mut hash, mut bytes) = (pb::Artifact::default(), Hasher::default(), 0);
    let unwritten = |error: std::io::Error| Failure::new(Exit::Output, format!("the document: {error}"));
    while let Some(message) = messages.message().await.map_err(|status| client.failure(&status))? {
        match message.part {
            Some(Got::Artifact(what)) => artifact = what,
            Some(Got::Data(data)) => {
                hash.update(&data);
                out.write_all(&data).map_err(unwritten)?;
                bytes += data.len() as u64;
            }
            None => {}
        }
    }
    out.flush().map_err(unwritten)?;
    Ok((artifact, hash.finish().to_string(), bytes))
}

async fn list(client: &Client, console: &Console) -> Result<(), Failure> {
    let (mut view, mut page_token) = (ArtifactsView::default(), String::new());
    loop {
        let request = pb::ListArtifactsRequest { tenant: client.tenant(), page_size: PAGE, page_token };
        let answer = client.artifacts().list(ask(request)).await;
        let page = answer.map_err(|status| client.failure(&status))?.into_inner();
        view.artifacts.extend(page.artifacts.into_iter().map(ArtifactView::from));
        (view.used_bytes, view.quota_bytes) = (page.used_bytes, page.quota_bytes);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    console.show(&view, render::artifact::list)
}

/// The reference of a file's bytes.
fn name(file: &str) -> Result<String, Failure> {
    let (mut document, mut hash) = (open(file)?, Hasher::default());
    let unread = |error| Failure::new(Exit::NotFound, format!("{file}: {error}"));
    while let Some(data) = read(&mut document).map_err(unread)? {
        hash.update(&data);
    }
    Ok(hash.finish().to_string())
}

fn open(file: &str) -> Result<File, Failure> {
    File::open(file).map_err(|error| Failure::new(Exit::NotFound, format!("{file}: {error}")))
}

/// The next bytes; nothing at the end.
fn read(document: &mut dyn Read) -> std::io::Result<Option<Bytes>> {
    let mut data = Vec::with_capacity(PART);
    document.take(PART as u64).read_to_end(&mut data)?;
    Ok((!data.is_empty()).then(|| data.into()))
}

/// Where a document is written until it is whole.
fn part_of(file: &Path) -> Result<PathBuf, Failure> {
    if file.exists() {
        let failure = Failure::new(Exit::Output, format!("{} exists", file.display()));
        return Err(failure.hint("give a name that no file has"));
    }
    let mut part = file.to_owned().into_os_string();
    part.push(".part");
    Ok(part.into())
}

fn other_bytes(reference: &str, found: &str) -> Failure {
    Failure::new(Exit::Internal, format!("{reference} was asked for, and the bytes that came are {found}"))
}

fn unwritten(file: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Output, format!("{}: {error}", file.display()))
}
