//! Writers who race for one key of the shared context. The value counts the writes of each, so that it says which of them
//! happened; a write whose answer was lost is looked up before the next one.

use std::sync::Arc;
use std::time::Duration;

use mainstay_proto::fault::Seen;
use mainstay_proto::pb;
use pb::shared_context_client::SharedContextClient;
use tonic::transport::Channel;

use super::Log;
use crate::history::{Taken, Tally, Wrote};
use crate::mix::TALLY;
use crate::world::World;

/// How long a writer waits between two writes: the newest 64 versions are kept, and many are to be among them that lie
/// around a kill.
const PACE: Duration = Duration::from_millis(40);

/// Writes the first version, which no writer has a part in.
pub(super) async fn put_first(world: &World, log: &Log) {
    let first = Tally::default();
    let written =
        SharedContextClient::new(world.channel()).put(put(&first, 0)).await.expect("a first version");
    let version = written.into_inner().written.expect("what was written").version;
    log.seen().writes.push(Wrote { writer: None, version, tally: first, taken: Taken::Yes });
}

/// Writes until all runs have ended.
pub(super) async fn write(writer: usize, channel: Channel, log: Arc<Log>) {
    let mut context = SharedContextClient::new(channel);
    let mut looks = tokio::time::interval(PACE);
    while !log.is_over() {
        looks.tick().await;
        let request = pb::GetContextRequest { key: TALLY.to_owned(), ..Default::default() };
        let Ok(found) = context.get(request).await else { continue };
        let found = found.into_inner().found.unwrap_or_default();
        let Ok(mut tally) = serde_json::from_slice::<Tally>(&found.value) else { continue };
        tally.x += 1;
        *tally.of.entry(writer).or_default() += 1;
        let taken = match context.put(put(&tally, found.version)).await {
            Ok(_) => Taken::Yes,
            Err(status) if Seen::of(&status).reason == "CONTEXT_CONFLICT" => Taken::No,
            Err(_) => Taken::Unknown,
        };
        log.seen().writes.push(Wrote { writer: Some(writer), version: found.version + 1, tally, taken });
    }
}

/// The versions that are kept, oldest first.
///
/// # Panics
/// If they cannot be read.
pub(super) async fn kept(world: &World) -> Vec<(u64, Tally)> {
    let mut context = SharedContextClient::new(world.channel());
    let request = pb::ContextHistoryRequest { key: TALLY.to_owned(), ..Default::default() };
    let versions = context.history(request).await.expect("its history").into_inner().versions;
    let mut kept = Vec::new();
    for version in versions.iter().rev().map(|version| version.version) {
        let as_of = Some(pb::get_context_request::AsOf::Version(version));
        let request = pb::GetContextRequest { key: TALLY.to_owned(), as_of, ..Default::default() };
        let found = context.get(request).await.expect("a version").into_inner().found.unwrap_or_default();
        kept.push((version, serde_json::from_slice(&found.value).expect("a tally")));
    }
    kept
}

fn put(tally: &Tally, expected: u64) -> pb::PutContextRequest {
    pb::PutContextRequest {
        key: TALLY.to_owned(),
        by: "agent/tally".to_owned(),
        value: serde_json::to_vec(tally).unwrap_or_default().into(),
        expected_version: Some(expected),
        ..Default::default()
    }
}
