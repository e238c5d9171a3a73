//! `mainstay doctor`: what is damaged on record, of a running server or in a folder that none holds.

use std::fs::File;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use mainstay_control_plane::doctor::{self, DropError, Examined, Folder, FolderError};
use mainstay_proto::pb;
use pb::examine_response::Part;

use crate::client::{Client, ask};
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::kept as render;
use crate::view::kept::{DroppedView, ExaminationView, ExportView, InspectedView};

/// Damaged records listed. Who has more restores a backup.
const LISTED: usize = 10_000;

/// Flags of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Look into the data folder of a server that does not run, instead of asking one
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) data: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<DoctorCommand>,
}

#[derive(Debug, Subcommand)]
enum DoctorCommand {
    /// Read every record and list those that cannot be used (the default)
    List,
    /// Show one record, decoded as far as possible
    Inspect {
        /// Its key, as `list` shows it
        key: String,
    },
    /// Write damaged records to a file, one JSON object a line
    Export {
        /// Only this one; all without
        key: Option<String>,
        /// File to write
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Remove what cannot be used, so that nobody stumbles over it any more: a record, or the run whose journal it is in
    Drop {
        /// Its key, as `list` shows it
        key: String,
        /// The same key again; without it, only what would be lost is said
        #[arg(long, value_name = "KEY")]
        confirm: Option<String>,
    },
}

/// Whose records are looked at.
pub(crate) enum Patient<'a> {
    /// Those of a running server.
    Server(&'a Client),
    /// Those in a folder.
    Folder(Folder),
}

/// Opens the folder.
pub(crate) fn folder(data: &Path) -> Result<Patient<'static>, Failure> {
    let opened = doctor::open(data).map_err(|error| match error {
        FolderError::NoStore(_) | FolderError::Held(_) => Failure::new(Exit::Config, error.to_string()),
        FolderError::Open(_) | FolderError::Blobs(_) => Failure::new(Exit::Internal, error.to_string()),
    })?;
    Ok(Patient::Folder(opened))
}

pub(crate) async fn run(args: DoctorArgs, patient: Patient<'_>, console: &Console) -> Result<(), Failure> {
    match args.command.unwrap_or(DoctorCommand::List) {
        DoctorCommand::List => {
            let view = patient.examine().await?;
            console.show(&view, render::examination)?;
            // The answer has said it; a script wants to know without reading.
            if view.damaged == 0 { Ok(()) } else { Err(Failure::silent(Exit::Badly)) }
        }
        DoctorCommand::Inspect { key } => console.show(&patient.inspect(&key).await?, render::inspected),
        DoctorCommand::Export { key, to } => {
            let keys = match key {
                Some(key) => vec![key],
                None => patient.examine().await?.records.into_iter().map(|record| record.key).collect(),
            };
            export(&keys, &to, &patient, console).await
        }
        DoctorCommand::Drop { key, confirm } => drop_one(&key, confirm.as_deref(), &patient, console).await,
    }
}

async fn export(keys: &[String], to: &Path, patient: &Patient<'_>, console: &Console) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::new(Exit::Output, format!("{}: {error}", to.display()));
    let mut out = File::create(to).map_err(failed)?;
    let mut records = 0;
    for key in keys {
        let record = match patient.inspect(key).await {
            Ok(record) => record,
            // The beginning of an unreadable range is a place, not a record.
            Err(failure) if failure.exit == Exit::NotFound && keys.len() > 1 => continue,
            Err(failure) => return Err(failure),
        };
        let line = serde_json::to_string(&record).map_err(|error| failed(error.into()))?;
        writeln!(out, "{line}").map_err(failed)?;
        records += 1;
    }
    out.sync_all().map_err(failed)?;
    console.show(&ExportView { file: to.display().to_string(), records }, render::exported)
}

async fn drop_one(
    key: &str,
    confirm: Option<&str>,
    patient: &Patient<'_>,
    console: &Console,
) -> Result<(), Failure> {
    let record = patient.inspect(key).await?;
    if !record.sound && confirm == Some(key) {
        patient.remove(key).await?;
        return console.show(&DroppedView { record: record.record, dropped: true }, render::dropped);
    }
    if record.sound {
        return Err(Failure::new(Exit::Refused, DropError::Sound.to_string()));
    }
    console.show(&DroppedView { record: record.record, dropped: false }, render::dropped)?;
    let why = if confirm.is_some() { "--confirm has another key" } else { "a record is not dropped unasked" };
    Err(Failure::new(Exit::Refused, why)
        .hint(format!("to lose what is named above: mainstay doctor drop {key} --confirm {key}")))
}

impl Patient<'_> {
    async fn examine(&self) -> Result<ExaminationView, Failure> {
        let mut records = Vec::new();
        let examined = match self {
            Self::Folder(folder) => {
                let examined = folder.examine(|finding| {
                    if records.len() < LISTED {
                        records.push(doctor::view(&finding).into());
                    }
                    ControlFlow::Continue(())
                });
                let Examined { sound, damaged } = examined.map_err(|error| unread(&error))?;
                pb::ExamineReport { sound, damaged }
            }
            Self::Server(client) => {
                let asked = client.operations().examine(pb::ExamineRequest {}).await;
                let mut parts = asked.map_err(|status| client.failure(&status))?.into_inner();
                loop {
                    match parts
                        .message()
                        .await
                        .map_err(|status| client.failure(&status))?
                        .map(|answer| answer.part)
                    {
                        Some(Some(Part::Found(record))) if records.len() < LISTED => {
                            records.push(record.into())
                        }
                        Some(Some(Part::Complete(report))) => break report,
                        Some(Some(Part::Found(_)) | None) => {}
                        None => {
                            let text = "the control plane ended before it had read everything";
                            return Err(Failure::new(Exit::Unreachable, text));
                        }
                    }
                }
            }
        };
        Ok(ExaminationView { sound: examined.sound, damaged: examined.damaged, records })
    }

    async fn inspect(&self, key: &str) -> Result<InspectedView, Failure> {
        match self {
            Self::Folder(folder) => {
                let found = folder.inspect(&key_of(key)?).map_err(|error| unread(&error))?;
                let found =
                    found.ok_or_else(|| Failure::new(Exit::NotFound, DropError::NotFound.to_string()))?;
                Ok(doctor::inspected_view(key, found).into())
            }
            Self::Server(client) => {
                let answer = client
                    .operations()
                    .inspect_record(ask(pb::InspectRecordRequest { key: key.to_owned() }))
                    .await;
                Ok(answer.map_err(|status| client.failure(&status))?.into_inner().into())
            }
        }
    }

    async fn remove(&self, key: &str) -> Result<(), Failure> {
        match self {
            Self::Folder(folder) => {
                let dropped = folder.drop_record(&key_of(key)?);
                dropped.map(drop).map_err(|error| {
                    let exit = match error {
                        DropError::NotFound => Exit::NotFound,
                        DropError::Sound => Exit::Refused,
                        DropError::OutOfReach | DropError::Read(_) | DropError::Commit(_) => Exit::Internal,
                    };
                    Failure::new(exit, error.to_string())
                })
            }
            Self::Server(client) => {
                let answer =
                    client.operations().drop_record(ask(pb::DropRecordRequest { key: key.to_owned() })).await;
                answer.map(drop).map_err(|status| client.failure(&status))
            }
        }
    }
}

fn key_of(text: &str) -> Result<Vec<u8>, Failure> {
    doctor::unhex(text).ok_or_else(|| {
        Failure::new(Exit::Refused, format!("{text:?} is not a key"))
            .hint("give the hexadecimal digits that `mainstay doctor` shows")
    })
}

fn unread(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Internal, error.to_string())
}
