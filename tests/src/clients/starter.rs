//! Starts runs one after the other and follows each to its end. A start whose answer was lost is made again under its key,
//! and so is a word that its run waits for.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use mainstay_proto::fault::Seen;
use mainstay_proto::pb;
use pb::orchestrator_client::OrchestratorClient;
use tokio::time::Interval;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::{LOOK, Log};
use crate::history::{Sent, Taken, Told};
use crate::mix::{self, Kind, Mix, Word};
use crate::seed::Seeded;
use crate::world::spec;

pub(super) struct Starter {
    number: usize,
    mix: Mix,
    dice: Seeded,
    orchestrator: OrchestratorClient<Channel>,
    log: Arc<Log>,
    looks: Interval,
}

impl Starter {
    pub(super) fn new(
        number: usize,
        mix: Mix,
        dice: Seeded,
        orchestrator: OrchestratorClient<Channel>,
        log: Arc<Log>,
    ) -> Self {
        Self { number, mix, dice, orchestrator, log, looks: tokio::time::interval(LOOK) }
    }

    pub(super) async fn work(mut self) {
        for round in 0..i64::MAX {
            let kind = &self.mix.kinds()[self.dice.below(self.mix.kinds().len())];
            let key = format!("{}-{round}", self.number);
            // Every third is never asked for again: nobody knows whether it exists, and both is right.
            let gives_up = round % 3 == 2 && kind.word == Word::None;
            let Some(id) = self.start(kind, &key, round, gives_up).await else {
                if self.log.stops() { return } else { continue }
            };
            self.log.acknowledged.send_modify(|starts| *starts += 1);
            self.log.under_way.fetch_add(1, Ordering::SeqCst);
            self.follow(kind, &id).await;
            self.log.under_way.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Asks for a run until it is acknowledged; nothing if the client gives up or is to stop before it knows.
    async fn start(&mut self, kind: &Kind, key: &str, x: i64, gives_up: bool) -> Option<String> {
        let run = pb::RunSpec { idempotency_key: key.to_owned(), ..spec(kind.name, &kind.input(x)) };
        loop {
            let asked = self.log.seen().told.contains_key(key);
            // Whoever asked once goes on, since a run that waits for a word would wait for ever.
            if self.log.stops() && (!asked || kind.word == Word::None) {
                return None;
            }
            self.log.seen().knows(key);
            let started = self.orchestrator.submit(pb::SubmitRequest { run: Some(run.clone()) }).await;
            let told = match started {
                Ok(answer) => Told::Acknowledged(answer.into_inner().run_id),
                // Refused by a server that was there and said so.
                Err(status) if matches!(status.code(), Code::InvalidArgument | Code::NotFound) => {
                    Told::Refused
                }
                Err(_) => Told::Unknown,
            };
            self.log.seen().told.entry(key.to_owned()).or_default().push(told.clone());
            match told {
                Told::Acknowledged(id) => return Some(id),
                Told::Unknown if gives_up => return None,
                Told::Unknown | Told::Refused => {}
            }
            self.looks.tick().await;
        }
    }

    /// Gives a run its word, and looks until it has ended.
    async fn follow(&mut self, kind: &Kind, id: &str) {
        let mut heard = kind.word == Word::None;
        loop {
            let request = pb::GetRunRequest { run_id: id.to_owned(), ..Default::default() };
            let seen = self.orchestrator.get_run(request).await.ok();
            if let Some(run) = seen.and_then(|answer| answer.into_inner().run)
                && run.state() != pb::RunState::Running
            {
                let mut seen = self.log.seen();
                seen.shown.push((id.to_owned(), run.state()));
                seen.read.insert(id.to_owned(), run);
                return;
            }
            if !heard {
                heard = self.word(kind.word, id).await;
            }
            self.looks.tick().await;
        }
    }

    /// Gives the word once; says whether it is known to have been taken.
    async fn word(&mut self, word: Word, id: &str) -> bool {
        let value = match word {
            Word::None => return true,
            Word::Cancel => {
                let request = pb::CancelRunRequest { run_id: id.to_owned(), ..Default::default() };
                return self.orchestrator.cancel_run(request).await.is_ok();
            }
            Word::Signal => mix::amount(id),
        };
        let taken = self.signal(id, value).await;
        if taken == Taken::Yes && value % 2 == 0 {
            // What was said stays said.
            self.signal(id, value + 1).await;
        }
        taken == Taken::Yes
    }

    async fn signal(&mut self, id: &str, amount: i64) -> Taken {
        let value = format!("{{\"amount\":{amount}}}");
        let request = pb::SignalRunRequest {
            run_id: id.to_owned(),
            signal: mix::SIGNAL.to_owned(),
            value: value.clone().into(),
            ..Default::default()
        };
        let taken = taken(self.orchestrator.signal_run(request).await.map(drop));
        self.log.seen().words.push(Sent {
            run: id.to_owned(),
            to: mix::SIGNAL.to_owned(),
            said: value,
            taken,
        });
        taken
    }
}

/// What became of a word, as its sender knows it.
pub(super) fn taken(answer: Result<(), Status>) -> Taken {
    match answer {
        Ok(()) => Taken::Yes,
        Err(status) => match Seen::of(&status).reason.as_str() {
            "SIGNAL_TAKEN" | "ESCALATION_ANSWERED" | "ESCALATION_NOT_FOUND" | "RUN_ENDED" => Taken::No,
            _ => Taken::Unknown,
        },
    }
}
