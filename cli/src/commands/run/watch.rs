//! The events of a run, each once, across lost connections.

use std::time::Duration;

use mainstay_proto::pb;
use mainstay_proto::pb::run_event::Event;
use tonic::Streaming;

use crate::client::Client;
use crate::console::tell;
use crate::exit::Exit;
use crate::failure::Failure;

/// First wait before the connection is taken up again.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// Longest wait: a person looks on.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// Tries without an event in between before giving up: about a minute, in which a control plane restarts.
const MOST_TRIES: u32 = 33;

/// A run's events from the first on. Dropping it changes nothing for the run.
pub(super) struct Watch<'a> {
    client: &'a Client,
    run_id: &'a str,
    next: u64,
    ended: bool,
    tries: u32,
    stream: Option<Streaming<pb::WatchRunResponse>>,
}

impl<'a> Watch<'a> {
    pub(super) const fn new(client: &'a Client, run_id: &'a str) -> Self {
        Self { client, run_id, next: 1, ended: false, tries: 0, stream: None }
    }

    /// The next event; nothing after the last. May be dropped at any await and asked again.
    pub(super) async fn next(&mut self) -> Result<Option<pb::RunEvent>, Failure> {
        loop {
            let failed = match self.step().await {
                Ok(Some(event)) => {
                    (self.next, self.tries) = (event.number.saturating_add(1), 0);
                    self.ended = matches!(event.event, Some(Event::RunEnded(_)));
                    return Ok(Some(event));
                }
                Ok(None) if self.ended => return Ok(None),
                // The server let go of us before the run was over: it is stopping.
                Ok(None) => Failure::new(Exit::TryAgain, "the server ended the stream before the run ended"),
                Err(failed) => failed,
            };
            self.stream = None;
            let passing = matches!(failed.exit, Exit::Unreachable | Exit::TryAgain);
            if !passing || self.tries >= MOST_TRIES {
                return Err(failed);
            }
            if self.tries == 0 {
                tell("the connection is lost; the run goes on, and is taken up again …\n");
            }
            self.tries += 1;
            tokio::time::sleep((FIRST_WAIT * 2_u32.saturating_pow(self.tries - 1)).min(LONGEST_WAIT)).await;
        }
    }

    async fn step(&mut self) -> Result<Option<pb::RunEvent>, Failure> {
        if self.stream.is_none() {
            let request = pb::WatchRunRequest {
                tenant: self.client.tenant(),
                run_id: self.run_id.to_owned(),
                from_event: self.next,
            };
            let opened = self.client.orchestrator().watch_run(request).await;
            self.stream = Some(opened.map_err(|status| self.client.failure(&status))?.into_inner());
        }
        let Some(stream) = &mut self.stream else { return Ok(None) };
        let message = stream.message().await.map_err(|status| self.client.failure(&status))?;
        Ok(message.and_then(|message| message.event))
    }
}
