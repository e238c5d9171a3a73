//! What was spent: added up as runs end, read by whoever asks.
//!
//! A run leaves behind what it used with its very last transition, in one commit; so it is on record exactly if its end is.
//! From there one reconciler adds it to the sums of its days, and removes it in the same commit: nothing counts twice and
//! nothing is lost, wherever a crash falls. The sums stay when retention removes the runs; they are as many as there are
//! days, workflows, agents and capabilities, whatever the number of runs.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstay_kernel::budget::spend::{Source, Spend};
use mainstay_kernel::budget::window::Day;
use mainstay_kernel::id::RunId;
use mainstay_kernel::name::Name;
use mainstay_store::{Batch, CommitError, ReadError, Store};

use super::Handle;
use crate::records::run_spend::RunSpend;
use crate::records::run_summary::RunSummary;
use crate::records::{RecordError, run_spend, run_summary, spend as record, tenants};

/// How often what ended runs left behind is added up. Until then it is read as it lies, so nobody waits for this; it only
/// keeps what lies there few.
const EVERY: Duration = Duration::from_secs(10);

/// Operations of one commit, below what a store takes at once.
const MOST_OPERATIONS: usize = 90;

/// Records read at once.
const PAGE: usize = 200;

/// Days that sums are kept: thirteen months, so that a month can be held against the same one a year ago.
pub const KEPT_DAYS: i32 = 400;

/// Runs looked at for one report by run.
const MAX_RUNS: usize = 20_000;

/// What a report is by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The agent that was paid.
    Agent,
    /// What was done.
    Capability,
    /// Whose workflow it was.
    Workflow,
    /// Whose runs.
    Tenant,
    /// The run.
    Run,
    /// The day.
    Day,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Query {
    /// Whose; everybody's if nothing.
    pub tenant: Option<Name>,
    /// The first day.
    pub since: Day,
    /// The last day.
    pub until: Day,
    /// By what.
    pub by: By,
    /// Most lines.
    pub limit: usize,
}

/// What was spent for one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its name.
    pub name: String,
    /// What was spent.
    pub spend: Spend,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// What cost most comes first; days come in their order.
    pub lines: Vec<Line>,
    /// All of it, also what is not among the lines.
    pub total: Spend,
    /// Whether there is more than the lines show.
    pub more: bool,
}

/// Adds up what ended runs leave behind.
#[derive(Debug)]
pub struct Service(Handle);

#[derive(Debug, thiserror::Error)]
enum AddError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Tells of everything that ended runs of `tenant` used from `since` to `until`. Records that cannot be read are reported and
/// left out.
pub(super) fn each(
    store: &dyn Store,
    tenant: &Name,
    since: Day,
    until: Day,
    tell: &mut dyn FnMut(&Name, &Source, Spend),
) -> Result<(), ReadError> {
    let prefix = record::prefix(tenant.as_str());
    let mut from = Some(record::from(tenant.as_str(), since));
    let end = record::from(tenant.as_str(), Day(until.0.saturating_add(1)));
    'pages: loop {
        let page = store.scan(&prefix, from.as_deref(), PAGE)?;
        for damaged in &page.damaged {
            tracing::error!(%tenant, %damaged, "spend of a day is damaged and left out");
        }
        for (key, entry) in &page.entries {
            if key[..] >= end[..] {
                break 'pages;
            }
            match (record::place(&key[prefix.len()..]), record::decode(&entry.value)) {
                (Some((workflow, source)), Ok(spend)) => tell(&workflow, &source, spend),
                (_, spend) => {
                    tracing::error!(%tenant, ?spend, "spend of a day cannot be read and is left out")
                }
            }
        }
        match page.next {
            Some(next) => from = Some(next.to_vec()),
            None => break,
        }
    }
    left_behind(store, tenant, |_, spend| {
        for (source, sum) in spend.rows.iter().filter(|(source, _)| (since..=until).contains(&source.day)) {
            tell(&spend.workflow, source, *sum);
        }
        true
    })
}

/// Tells of what each ended run left behind that is not added up yet, until it is told to stop.
fn left_behind(
    store: &dyn Store,
    tenant: &Name,
    mut tell: impl FnMut(RunId, RunSpend) -> bool,
) -> Result<(), ReadError> {
    let (prefix, mut from) = (run_spend::prefix(tenant.as_str()), None);
    loop {
        let page = store.scan(&prefix, from.as_deref(), PAGE)?;
        for damaged in &page.damaged {
            tracing::error!(%tenant, %damaged, "what a run used is damaged and left out");
        }
        for (key, entry) in &page.entries {
            match (run_spend::run(&key[prefix.len()..]), run_spend::decode(&entry.value)) {
                (Some(run), Ok(spend)) => {
                    if !tell(run, spend) {
                        return Ok(());
                    }
                }
                (_, spend) => {
                    tracing::error!(%tenant, ?spend, "what a run used cannot be read and is left out")
                }
            }
        }
        match page.next {
            Some(next) => from = Some(next.to_vec()),
            None => return Ok(()),
        }
    }
}

// === impl Handle ===

impl Handle {
    /// What was spent, by runs that have ended and by those that have not.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn spent(&self, query: Query) -> Result<Report, ReadError> {
        let handle = self.clone();
        let _still = self.0.adding_up.lock().await;
        self.0.clock.blocking(move || handle.report(&query)).await
    }

    fn report(&self, query: &Query) -> Result<Report, ReadError> {
        // Open runs first: one that ends meanwhile is then found among those that left something behind, and not twice.
        let open: Vec<(RunId, Name, RunSpend)> = {
            let open = self.0.open.lock();
            let wanted =
                open.iter().filter(|(_, run)| query.tenant.as_ref().is_none_or(|one| *one == run.tenant));
            wanted
                .map(|(id, run)| (*id, run.tenant.clone(), RunSpend::new(&run.workflow, run.rows.clone())))
                .collect()
        };
        let tenants = match &query.tenant {
            Some(tenant) => vec![tenant.clone()],
            None => tenants::all(&*self.0.store)?,
        };
        let (mut sums, mut more) = (BTreeMap::<String, Spend>::new(), false);
        let mut ended = std::collections::HashSet::new();
        for tenant in &tenants {
            let mut count = |workflow: &Name, source: &Source, spend: Spend| {
                let sum = sums.entry(query.by.name(tenant, workflow, source)).or_default();
                *sum = sum.plus(spend);
            };
            left_behind(&*self.0.store, tenant, |run, _| {
                ended.insert(run);
                true
            })?;
            if query.by == By::Run {
                continue;
            }
            each(&*self.0.store, tenant, query.since, query.until, &mut count)?;
        }
        if query.by == By::Run {
            for tenant in &tenants {
                more |= self.by_run(tenant, query, &mut sums)?;
            }
        }
        for (run, tenant, spend) in open {
            if ended.contains(&run) {
                continue;
            }
            for (source, sum) in &spend.rows {
                if (query.since..=query.until).contains(&source.day) {
                    let name = match query.by {
                        By::Run => run.to_string(),
                        By::Agent | By::Capability | By::Workflow | By::Tenant | By::Day => {
                            query.by.name(&tenant, &spend.workflow, source)
                        }
                    };
                    let so_far = sums.entry(name).or_default();
                    *so_far = so_far.plus(*sum);
                }
            }
        }
        Ok(Report::new(sums, query, more))
    }

    /// Runs that ended within the days, by their lines in the listing; whether there are more than can be looked at.
    fn by_run(
        &self,
        tenant: &Name,
        query: &Query,
        sums: &mut BTreeMap<String, Spend>,
    ) -> Result<bool, ReadError> {
        let (prefix, mut from, mut seen) = (run_summary::prefix(tenant.as_str()), None, 0);
        loop {
            let page = self.0.store.scan(&prefix, from.as_deref(), PAGE)?;
            for (_, entry) in &page.entries {
                seen += 1;
                let Ok(run) = RunSummary::decode(&entry.value) else { continue };
                let Some(ended_at) = run.ended_at else { continue };
                if (query.since..=query.until).contains(&Day::of(ended_at)) {
                    let usage = run.usage;
                    let spend = Spend {
                        calls: run.calls,
                        tokens_in: usage.tokens_in,
                        tokens_out: usage.tokens_out,
                        nano_usd: u64::try_from(usage.cost_nano_usd).unwrap_or(0),
                    };
                    sums.insert(run.run.to_string(), spend);
                }
            }
            match page.next {
                Some(_) if seen >= MAX_RUNS => return Ok(true),
                Some(next) => from = Some(next.to_vec()),
                None => return Ok(false),
            }
        }
    }

    /// Adds up what ended runs left behind, a commit at a time. Blocks on the disk between them.
    async fn add_up(&self) -> Result<(), AddError> {
        let today = Day::of(self.0.clock.wall());
        let handle = self.clone();
        let tenants = self.0.clock.blocking(move || tenants::all(&*handle.0.store)).await?;
        for tenant in tenants {
            loop {
                let _still = self.0.adding_up.lock().await;
                let (handle, of) = (self.clone(), tenant.clone());
                let some = self.0.clock.blocking(move || handle.some(&of)).await?;
                let Some(batch) = some else { break };
                self.0.store.commit(batch).await?;
            }
            let (handle, of) = (self.clone(), tenant.clone());
            let old = self.0.clock.blocking(move || handle.old(&of, Day(today.0 - KEPT_DAYS))).await?;
            if old.operations() > 0 {
                self.0.store.commit(old).await?;
            }
        }
        Ok(())
    }

    /// What some runs left behind, added to the sums of their days; nothing if nothing lies there.
    fn some(&self, tenant: &Name) -> Result<Option<Batch>, AddError> {
        let (mut sums, mut runs) = (BTreeMap::<Vec<u8>, Spend>::new(), Vec::new());
        left_behind(&*self.0.store, tenant, |run, spend| {
            // Its end is on record and its task is about to say so: until then it is told from those that lie here.
            if self.0.open.lock().contains_key(&run) {
                return true;
            }
            if runs.len() + sums.len() + 1 + spend.rows.len() > MOST_OPERATIONS {
                return false;
            }
            runs.push(run);
            for (source, sum) in &spend.rows {
                let so_far = sums.entry(record::key(tenant.as_str(), &spend.workflow, source)).or_default();
                *so_far = so_far.plus(*sum);
            }
            true
        })?;
        if runs.is_empty() {
            return Ok(None);
        }
        let mut batch = Batch::new();
        for (key, sum) in sums {
            let before = match self.0.store.get(&key)? {
                Some(entry) => record::decode(&entry.value)?,
                None => Spend::default(),
            };
            batch = batch.put(key, record::encode(&before.plus(sum))?);
        }
        for run in runs {
            batch = batch.delete(run_spend::key(tenant.as_str(), run));
        }
        Ok(Some(batch))
    }

    /// Removes some of the sums of days before `day`.
    fn old(&self, tenant: &Name, day: Day) -> Result<Batch, ReadError> {
        let before = record::from(tenant.as_str(), day);
        let page = self.0.store.scan(&record::prefix(tenant.as_str()), None, MOST_OPERATIONS)?;
        let old = page.entries.into_iter().map(|(key, _)| key).filter(|key| key[..] < before[..]);
        Ok(old.fold(Batch::new(), |batch, key| batch.delete(key.to_vec())))
    }
}

// === impl Service ===

impl Service {
    pub(super) const fn new(handle: Handle) -> Self {
        Self(handle)
    }

    /// Adds up, again and again. Runs until it is dropped.
    pub async fn run(self) {
        loop {
            tokio::time::sleep(EVERY).await;
            if let Err(error) = self.0.add_up().await {
                tracing::warn!(%error, "what runs used is not added up yet; it is read as it lies");
            }
        }
    }

    /// Once, for tests.
    #[cfg(test)]
    pub(super) async fn once(&self) {
        self.0.add_up().await.unwrap();
    }
}

// === impl Report ===

impl Report {
    fn new(sums: BTreeMap<String, Spend>, query: &Query, more: bool) -> Self {
        let total = sums.values().fold(Spend::default(), |total, spend| total.plus(*spend));
        let mut lines: Vec<Line> = sums.into_iter().map(|(name, spend)| Line { name, spend }).collect();
        if query.by != By::Day {
            lines.sort_by_key(|line| {
                let Spend { calls, tokens_in, tokens_out, nano_usd } = line.spend;
                std::cmp::Reverse((nano_usd, tokens_in.saturating_add(tokens_out), calls))
            });
        }
        let more = more || lines.len() > query.limit;
        lines.truncate(query.limit);
        Self { lines, total, more }
    }
}

// === impl By ===

impl By {
    fn name(self, tenant: &Name, workflow: &Name, source: &Source) -> String {
        match self {
            Self::Agent if source.agent.is_empty() => "(others)".to_owned(),
            Self::Agent => source.agent.clone(),
            Self::Capability if source.capability.is_empty() => "(others)".to_owned(),
            Self::Capability => source.capability.clone(),
            Self::Workflow => workflow.to_string(),
            Self::Tenant => tenant.to_string(),
            Self::Day => source.day.to_string(),
            // Sums of days know no runs.
            Self::Run => String::new(),
        }
    }
}
