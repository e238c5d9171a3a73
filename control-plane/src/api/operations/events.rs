//! What was decided lately: listed, and told as it happens.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::stream::{self, Stream};
use mainstay_kernel::event::Kind;
use mainstay_proto::fault::Fault;
use mainstay_proto::reason::Reason;
use mainstay_proto::{agent, event, pb};
use tokio::sync::watch;

use super::Api;
use crate::events::{Filter, Handle, Numbered};

/// Events a watcher is handed at once.
const HANDED: usize = 100;

impl Api {
    pub(super) fn events(&self, request: &pb::ListEventsRequest) -> Result<pb::ListEventsResponse, Fault> {
        let asked = request.filter.clone().unwrap_or_default();
        let filter = filter(&asked)?;
        let all = if asked.all_tenants { "all" } else { "" };
        let filters = [asked.tenant.as_str(), all, &asked.kind, &asked.about];
        let page = self.pages.open("events", &filters, request.page_size, &request.page_token)?;
        let before = page.cursor.as_deref().map(number).transpose()?;
        let mut found = self.events.list(&filter, before, page.size + 1);
        let more = found.len() > page.size;
        found.truncate(page.size);
        let next = found.last().filter(|_| more).map(|last| page.next(&last.number.to_be_bytes()));
        Ok(pb::ListEventsResponse {
            events: found.iter().map(view).collect(),
            next_page_token: next.unwrap_or_default(),
        })
    }

    pub(super) fn follow_events(
        &self,
        request: &pb::WatchEventsRequest,
    ) -> Result<impl Stream<Item = pb::WatchEventsResponse> + Send + use<>, Fault> {
        let filter = filter(&request.filter.clone().unwrap_or_default())?;
        let mut newest = self.events.newest();
        let after = request.after.unwrap_or_else(|| *newest.borrow_and_update());
        let follower =
            Follower { events: self.events.clone(), filter, newest, after, queue: VecDeque::new() };
        Ok(stream::unfold(follower, |mut follower| async {
            let one = follower.next().await?;
            Some((pb::WatchEventsResponse { event: Some(view(&one)) }, follower))
        }))
    }
}

/// One client that follows the events. It holds numbers, not a queue of its own: whoever is slow reads on where it stopped,
/// and what has made room for newer ones meanwhile is missing from the numbers.
struct Follower {
    events: Handle,
    filter: Filter,
    newest: watch::Receiver<u64>,
    after: u64,
    queue: VecDeque<Arc<Numbered>>,
}

impl Follower {
    async fn next(&mut self) -> Option<Arc<Numbered>> {
        loop {
            if let Some(one) = self.queue.pop_front() {
                return Some(one);
            }
            let (found, reached) = self.events.since(&self.filter, self.after, HANDED);
            self.after = reached;
            self.queue.extend(found);
            if self.queue.is_empty() {
                self.newest.changed().await.ok()?;
            }
        }
    }
}

fn view(one: &Arc<Numbered>) -> pb::Event {
    event::view(one.number, &one.event, one.on_record)
}

fn filter(asked: &pb::EventFilter) -> Result<Filter, Fault> {
    let tenant = agent::tenant(&asked.tenant)?;
    if !asked.kind.is_empty() && !Kind::ALL.iter().any(|kind| kind.matches(&asked.kind)) {
        let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        let text = format_args!(
            "is {:?}; give one of {}, or what stands before its dot",
            asked.kind,
            kinds.join(", ")
        );
        return Err(Fault::invalid("filter.kind", text));
    }
    if !asked.about.is_empty() {
        agent::name("filter.about", &asked.about)?;
    }
    Ok(Filter {
        tenant: (!asked.all_tenants).then_some(tenant),
        kind: asked.kind.clone(),
        about: asked.about.clone(),
    })
}

fn number(cursor: &[u8]) -> Result<u64, Fault> {
    let bytes = cursor.try_into();
    bytes.map(u64::from_be_bytes).map_err(|_| {
        Fault::field(Reason::PageTokenInvalid, "page_token", "was not made by this server for this request")
    })
}
