//! What really happened, counted apart from the machines: sendings under way, work that began, retries that were made,
//! answers that were given. The laws hold the machines' own books against these.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use mainstay_kernel::breaker::{Change, State};
use mainstay_kernel::effect::EffectClass;
use mainstay_kernel::hedge::{Policy, RESERVE};
use mainstay_kernel::id::AttemptId;
use mainstay_kernel::retry::budget::{Config, Leave};
use mainstay_kernel::time::Mono;

use super::laws;
use crate::seeds::Broken;

/// What one retry costs, in the shares in which successes pay.
const COST: i64 = 10_000;

/// A sending: which call, and its how-manieth decision.
pub(crate) type Sending = (usize, u64);

/// The instance and capability of a lane.
pub(crate) type At = (usize, usize);

/// What was seen over many seeds, to show that nothing was proved about nothing.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tally(pub(crate) BTreeMap<&'static str, u64>);

#[derive(Debug)]
pub(crate) struct Witness {
    pub(crate) under_way: BTreeMap<At, BTreeSet<Sending>>,
    pub(crate) probes: BTreeMap<At, BTreeSet<Sending>>,
    /// Work begun under a key, anywhere.
    begun: BTreeMap<AttemptId, u32>,
    /// Of each agent: what was taken out and paid in, and when.
    books: Vec<VecDeque<(Mono, i64, i64)>>,
    budget: Config,
    /// Of each tenant and capability: what hedges were worth, and what successes paid for them. No world lasts longer than a
    /// success pays.
    hedges: BTreeMap<usize, (i64, i64)>,
    pub(crate) tally: Tally,
    pub(crate) broken: Option<Broken>,
}

impl Tally {
    pub(crate) fn count(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: Self) {
        for (what, times) in other.0 {
            *self.0.entry(what).or_default() += times;
        }
    }
}

impl Witness {
    pub(crate) fn new(agents: usize, budget: Config) -> Self {
        Self {
            under_way: BTreeMap::new(),
            probes: BTreeMap::new(),
            begun: BTreeMap::new(),
            books: vec![VecDeque::new(); agents],
            budget,
            hedges: BTreeMap::new(),
            tally: Tally::default(),
            broken: None,
        }
    }

    /// A law is broken; the first one counts.
    pub(crate) fn complain(&mut self, law: &'static str, what: String) {
        self.broken.get_or_insert(Broken { law, what });
    }

    pub(crate) fn sent(&mut self, at: At, sending: Sending, probe: bool) {
        self.under_way.entry(at).or_default().insert(sending);
        if probe {
            self.tally.count("probes");
            self.probes.entry(at).or_default().insert(sending);
        }
    }

    pub(crate) fn ended(&mut self, at: At, sending: Sending) {
        for books in [&mut self.under_way, &mut self.probes] {
            books.entry(at).or_default().remove(&sending);
        }
    }

    /// A breaker changed: probes of its earlier days are calls like any other.
    pub(crate) fn changed(&mut self, at: At, change: &Change) {
        self.probes.remove(&at);
        self.tally.count(match change.to {
            State::Open => "breakers opened",
            State::HalfOpen => "breakers half-opened",
            State::Closed => "breakers closed",
        });
    }

    /// An agent begins work.
    pub(crate) fn begins(&mut self, key: AttemptId, effect: EffectClass) {
        let begun = self.begun.entry(key).or_default();
        *begun += 1;
        if *begun > 1 && effect == EffectClass::SideEffecting {
            let what = format!("side-effecting work under {key} began {begun} times");
            self.complain(laws::ONCE, what);
        }
    }

    pub(crate) fn has_begun(&self, key: AttemptId) -> bool {
        self.begun.contains_key(&key)
    }

    pub(crate) fn succeeded(&mut self, agent: usize, now: Mono) {
        let paid = i64::from(self.budget.share_bp).min(COST);
        self.books[agent].push_back((now, 0, paid));
    }

    /// A call that may be hedged went well.
    pub(crate) fn paid_for_hedges(&mut self, route: usize, policy: &Policy) {
        self.hedges.entry(route).or_default().1 += i64::from(policy.share_bp);
    }

    pub(crate) fn asked_for_hedge(&mut self, route: usize, granted: bool) {
        self.tally.count(if granted { "hedges" } else { "hedges refused" });
        if granted {
            let (out, paid) = self.hedges.entry(route).or_default();
            *out += COST;
            let (out, most) = (*out, *paid + i64::from(RESERVE) * COST);
            if out > most {
                let what = format!("hedges for {out} were made, and {most} was there for them");
                self.complain(laws::BUDGETS, what);
            }
        }
    }

    pub(crate) fn asked_for_retry(&mut self, agent: usize, leave: Leave, now: Mono) {
        let Leave::Granted { left } = leave else {
            self.tally.count("retries refused by a budget");
            return;
        };
        self.tally.count("retries granted by a budget");
        self.books[agent].push_back((now, COST, 0));
        let (out, paid) = self.window(agent, now);
        let most = paid + i64::from(self.budget.reserve) * COST;
        if out > most {
            let what = format!("of agent{agent}, retries for {out} were made, and {most} was there for them");
            self.complain(laws::BUDGETS, what);
        }
        if i64::from(left) * COST > most {
            self.complain(laws::BUDGETS, format!("agent{agent} has {left} retries left, above its bound"));
        }
    }

    /// What was taken out and paid in within a window that ends now. Budgets forget a tenth of it at a time.
    fn window(&mut self, agent: usize, now: Mono) -> (i64, i64) {
        let slot = (self.budget.window.as_nanos() / 10).max(1);
        let newest = now.since_origin().as_nanos() / slot;
        let from = u64::try_from(newest.saturating_sub(9) * slot).unwrap_or(u64::MAX);
        let from = Mono::at(Duration::from_nanos(from));
        let books = &mut self.books[agent];
        while books.front().is_some_and(|(at, ..)| *at < from) {
            books.pop_front();
        }
        books.iter().fold((0, 0), |sum, (_, out, paid)| (sum.0 + out, sum.1 + paid))
    }
}
