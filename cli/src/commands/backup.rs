//! `mainstay backup` and `mainstay restore`.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use mainstay_control_plane::backup::{self, RestoreError};
use mainstay_control_plane::doctor;
use mainstay_control_plane::host::Clock;
use mainstay_proto::pb;
use pb::backup_response::Part;

use crate::client::Client;
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::kept as render;
use crate::view::kept::BackupView;

/// Flags of `backup`.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// File to write; it must not exist
    file: PathBuf,
}

/// Flags of `restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// File that `mainstay backup` wrote
    file: PathBuf,
    /// Folder to make, for `mainstay serve --data`; it must be empty or not exist
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

pub(crate) async fn take(args: BackupArgs, client: &Client, console: &Console) -> Result<(), Failure> {
    let file = args.file;
    if file.exists() {
        return Err(Failure::new(Exit::Output, format!("{} exists", file.display()))
            .hint("give a name that no file has: a backup never replaces another"));
    }
    let mut part = file.clone().into_os_string();
    part.push(".part");
    let part = PathBuf::from(part);
    // Read back from the disk: what was sent whole may have been written otherwise.
    let written = write(&part, client).await;
    let verified = written.and_then(|written| match backup::verify(&part) {
        Ok(_) => Ok(written),
        Err(error) => Err(refused(&error)),
    });
    let (bytes, report) = match verified {
        Ok(written) => written,
        Err(failure) => {
            // What is left of it is no backup, and its name says so.
            fs::remove_file(&part).ok();
            return Err(failure);
        }
    };
    fs::rename(&part, &file).and_then(|()| sync_folder(&file)).map_err(|error| unwritten(&file, &error))?;
    let view = BackupView {
        file: file.display().to_string(),
        data: None,
        bytes,
        records: report.records,
        documents: report.documents,
        left_out: report.damaged,
        unusable: Vec::new(),
    };
    console.show(&view, render::backup)
}

async fn write(part: &Path, client: &Client) -> Result<(u64, pb::BackupReport), Failure> {
    let asked = client.operations().backup(pb::BackupRequest {}).await;
    let mut pieces = asked.map_err(|status| client.failure(&status))?.into_inner();
    let mut out = File::create(part).map_err(|error| unwritten(part, &error))?;
    let mut bytes = 0;
    while let Some(piece) = pieces.message().await.map_err(|status| client.failure(&status))? {
        match piece.part {
            Some(Part::Data(data)) => {
                out.write_all(&data).map_err(|error| unwritten(part, &error))?;
                bytes += data.len() as u64;
            }
            Some(Part::Complete(report)) => {
                out.sync_all().map_err(|error| unwritten(part, &error))?;
                return Ok((bytes, report));
            }
            None => {}
        }
    }
    Err(Failure::new(Exit::Unreachable, "the control plane ended before the backup was complete".to_owned()))
}

pub(crate) fn restore(args: &RestoreArgs, console: &Console) -> Result<(), Failure> {
    let RestoreArgs { file, data } = args;
    let restored = backup::restore(file, data, Clock::system().wall()).map_err(|error| refused(&error))?;
    let view = BackupView {
        file: file.display().to_string(),
        data: Some(data.display().to_string()),
        bytes: fs::metadata(file).map_or(0, |file| file.len()),
        records: restored.report.records,
        documents: restored.report.blobs,
        left_out: 0,
        unusable: restored.findings.iter().map(|finding| doctor::view(finding).into()).collect(),
    };
    console.show(&view, render::backup)
}

fn refused(error: &RestoreError) -> Failure {
    match error {
        RestoreError::NotEmpty(_) => Failure::new(Exit::Config, error.to_string()),
        RestoreError::File { .. } => Failure::new(Exit::Refused, error.to_string())
            .hint("nothing was restored; take another backup, or another copy of this one"),
        RestoreError::Newer(_) => Failure::new(Exit::Refused, error.to_string())
            .hint("nothing was restored; use the version of `mainstay` that took the backup, or a newer one"),
        RestoreError::Io { .. } | RestoreError::Store(_) => Failure::new(Exit::Output, error.to_string()),
    }
}

fn unwritten(file: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Output, format!("{}: {error}", file.display()))
}

fn sync_folder(file: &Path) -> std::io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
