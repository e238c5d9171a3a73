//! A run's books: what its calls used up, what is set aside for those under way, what still fits.
//!
//! # What is set aside for a call
//! The larger of what its capability declares that a call costs, as it stood when the run started, and the most that one
//! try of the capability has used in this run. Where neither is known, all that is left of the tightest limit of the step
//! it belongs to: the first call of such a step goes alone, and shows what the others will use. Where no step limits it
//! either, nothing: then as many calls as may run side by side can spend the last cent together. A call counts as one.
//!
//! # When it fits
//! It begins when what is set aside for it is left in every budget it belongs to, its step's, that of the steps it lies
//! in, and the run's. If only what is set aside for others stands in its way, it waits until they have settled. If what
//! has been *spent* does, it never will, and is given up at once. A step keeps what is set aside for it while it backs
//! off, as it keeps its place, so its next try never waits; whether there is to be one is asked when the last has
//! settled.
//!
//! # Time
//! Charged while a call is under way or waits to be made again. What waits for a person, a signal or a timer has no call
//! under way, so it costs nothing; what the server was away does, as calls go on without it.
//!
//! All of this follows from the journal. A run whose workflow limits nothing keeps no books.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::budget::{
    Amount, BUDGET_EXHAUSTED, Exhausted, Limit, Limits, OnExhausted, Scope, WARN_AT, millis,
};
use crate::name::Name;
use crate::outcome::{Began, Class, Failure};
use crate::run::event::{AttemptRecord, SkipReason};
use crate::run::hand_off::own;
use crate::run::state::{State, StepState};
use crate::time::Wall;
use crate::workflow::Workflow;

/// Whose account: that of the step at a place, or the run's.
type Whose = Option<usize>;

/// A run's books. Empty where nothing is limited.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ledger {
    accounts: BTreeMap<Whose, Account>,
    /// What is set aside for the steps under way, by their places.
    held: BTreeMap<usize, Amount>,
    /// The most that one try of a capability has used in this run.
    learned: BTreeMap<Name, Amount>,
    /// Time is charged up to here.
    charged_to: Option<Wall>,
}

/// What one budget has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Account {
    spent: Amount,
    held: Amount,
    time: Duration,
}

/// How one limit stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowance {
    /// Whose: a step's id, or nothing for the run.
    pub step: Option<String>,
    /// What is limited.
    pub limit: Limit,
    /// How much there is; time in milliseconds, money in 10⁻⁹ US dollars.
    pub most: u64,
    /// How much is spent.
    pub spent: u64,
    /// How much is set aside for calls under way.
    pub held: u64,
}

/// Whether a call may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// It may.
    Now,
    /// Once some of what is under way has settled.
    Later,
    /// It may not any more.
    Never(Exhausted),
}

impl Ledger {
    fn account(&self, whose: Whose) -> Account {
        self.accounts.get(&whose).copied().unwrap_or_default()
    }
}

impl State {
    /// How every limit stands: the run's first, then those of its steps.
    #[must_use]
    pub fn allowances(&self) -> Vec<Allowance> {
        let accounts = std::iter::once(None).chain((0..self.steps.len()).map(Some));
        let of = |whose: Whose| {
            let (limits, account) = (self.limits(whose), self.books.account(whose));
            let step = whose.map(|at| self.spec(at).id.to_string());
            Limit::ALL.into_iter().filter_map(move |limit| {
                let (spent, held) = match limit {
                    Limit::Time => (millis(account.time), 0),
                    Limit::Usd | Limit::Tokens | Limit::Calls => {
                        (account.spent.get(limit), account.held.get(limit))
                    }
                };
                Some(Allowance { step: step.clone(), limit, most: limits.get(limit)?, spent, held })
            })
        };
        if self.workflow.has_budgets() { accounts.flat_map(of).collect() } else { Vec::new() }
    }

    /// What the run went on without because a budget did not reach for it: a sentence each.
    #[must_use]
    pub fn gaps(&self) -> Vec<String> {
        if !self.workflow.has_budgets() {
            return Vec::new();
        }
        let gaps = (0..self.steps.len()).filter_map(|at| {
            let (id, step) = (&self.spec(at).id, &self.steps[at]);
            match (step.state, step.skipped, &step.failure) {
                (StepState::Skipped, Some(reason @ SkipReason::Budget(_)), _) => {
                    Some(format!("step `{id}` is missing: {reason}"))
                }
                (StepState::Failed, _, Some(failure)) if failure.class == Class::OverBudget => {
                    self.goes_on_without(at).then(|| format!("step `{id}` is missing: {}", failure.message))
                }
                _ => None,
            }
        });
        gaps.collect()
    }

    /// Whether the run goes on although the step at `at` failed.
    pub(super) fn goes_on_without(&self, at: usize) -> bool {
        let over = || self.steps[at].failure.as_ref().is_some_and(|why| why.class == Class::OverBudget);
        self.spec(at).optional || self.is_passed_over(at) || (self.may_lack(at) && over())
    }

    /// Whether the run goes on without the step at `at` if no budget reaches for it.
    pub(super) fn may_lack(&self, at: usize) -> bool {
        let partial = |workflow: &Workflow| workflow.budget().on_exhausted == OnExhausted::Partial;
        self.workflow_of(at).is_some_and(|workflow| self.spec(at).optional || partial(workflow))
    }

    /// The limits of an account. A step that runs another workflow has that one's too, and the tighter holds.
    fn limits(&self, whose: Whose) -> Limits {
        let Some(at) = whose else { return self.workflow.budget().limits };
        let own = self.spec(at).budget;
        self.frame(at).map_or(own, |frame| own.tighter(frame.workflow.budget().limits))
    }

    /// The workflow that the step at `at` is a step of; nothing for one that a pattern let grow.
    fn workflow_of(&self, at: usize) -> Option<&Workflow> {
        match self.inside(at) {
            None => Some(&**self.workflow.own()),
            Some(host) => self.frame(host).map(|frame| &*frame.workflow),
        }
    }

    /// The budgets a call of the step at `at` belongs to, the nearest first.
    fn budgets_of(&self, at: usize) -> Vec<Whose> {
        let around = std::iter::successors(Some(at), |inner| self.inside(*inner)).map(Some);
        around.chain([None]).filter(|whose| !self.limits(*whose).is_empty()).collect()
    }

    /// What is to be set aside for a try of the step at `at`.
    fn estimate(&self, at: usize, budgets: &[Whose]) -> Amount {
        let call = self.spec(at).kind.call();
        let known = call.and_then(|call| {
            let declared = self.estimates.get(&call.capability).copied();
            let learned = self.books.learned.get(&call.capability).copied();
            let declared = declared.map(|nano_usd| Amount { nano_usd, ..Amount::NONE });
            Some((learned.is_some(), declared, learned.or(declared)?.max(declared.unwrap_or_default())))
        });
        let of_step = |limit: Limit| {
            let limited = |whose: &Whose| Some(self.limits(*whose).get(limit)? - self.spent(*whose, limit));
            let by_a_step = budgets.iter().any(|whose| whose.is_some() && limited(whose).is_some());
            if by_a_step { budgets.iter().filter_map(limited).min().unwrap_or(0) } else { 0 }
        };
        let (learned, declared, known) = known.unwrap_or_default();
        let nano_usd = if learned || declared.is_some() { known.nano_usd } else { of_step(Limit::Usd) };
        let tokens = if learned { known.tokens } else { of_step(Limit::Tokens) };
        Amount { nano_usd, tokens, calls: 1 }
    }

    /// What is spent of a limit, at most all of it.
    fn spent(&self, whose: Whose, limit: Limit) -> u64 {
        let most = self.limits(whose).get(limit).unwrap_or(u64::MAX);
        self.books.account(whose).spent.get(limit).min(most)
    }

    /// Whether calls must fit into a budget. What a run did is undone though nothing is left; that is charged all the same.
    fn has_to_fit(&self) -> bool {
        self.workflow.has_budgets() && self.undoing.is_none()
    }

    /// Whether a call for the step at `at` may begin at `now`.
    pub(super) fn fit(&self, at: usize, now: Wall) -> Fit {
        if !self.has_to_fit() || self.spec(at).kind.calls().is_empty() {
            return Fit::Now;
        }
        let budgets = self.budgets_of(at);
        let estimate = self.estimate(at, &budgets);
        let mut fit = Fit::Now;
        for &whose in &budgets {
            if let Some(over) = self.out_of_time(whose, now) {
                return Fit::Never(over);
            }
            for (limit, most) in self.limits(whose).on_calls() {
                let left = most - self.spent(whose, limit);
                // One that is not known to use any still needs something to be left.
                let wanted = estimate.get(limit).max(1);
                let free = left.saturating_sub(self.books.account(whose).held.get(limit));
                if wanted > left {
                    return Fit::Never(Exhausted { scope: scope(whose), limit, most, left, wanted });
                }
                if wanted > free {
                    fit = Fit::Later;
                }
            }
        }
        fit
    }

    /// What keeps the step at `at` from being tried again although something is set aside for it: others used more than
    /// was set aside for them, and nothing is left.
    pub(super) fn fit_held(&self, at: usize) -> Option<Exhausted> {
        if !self.has_to_fit() {
            return None;
        }
        let wanted = self.books.held.get(&at).copied().unwrap_or_default();
        self.budgets_of(at).into_iter().find_map(|whose| {
            let mut limits = self.limits(whose).on_calls();
            let (limit, most) = limits.find(|(limit, most)| self.spent(whose, *limit) == *most)?;
            let wanted = wanted.get(limit).max(1);
            Some(Exhausted { scope: scope(whose), limit, most, left: 0, wanted })
        })
    }

    /// Whether the step at `at`, whose try has just used what `attempts` say, may be tried again.
    pub(super) fn fit_again(&self, at: usize, attempts: &[AttemptRecord], now: Wall) -> Result<(), Failure> {
        if !self.has_to_fit() {
            return Ok(());
        }
        let mut settled = self.clone();
        settled.settle(at, attempts.iter());
        match settled.fit(at, now) {
            Fit::Now => Ok(()),
            Fit::Never(over) => Err(failure(over, Began::No)),
            Fit::Later => {
                let message = "what is left of the budget is set aside for other calls".to_owned();
                Err(own(Class::OverBudget, BUDGET_EXHAUSTED, message))
            }
        }
    }

    /// What people should know of what these calls of the step at `at` used: that little is left, or too much was taken.
    pub(super) fn remarks(&self, at: usize, attempts: &[AttemptRecord]) -> Vec<String> {
        if !self.workflow.has_budgets() {
            return Vec::new();
        }
        let mut settled = self.clone();
        settled.settle(at, attempts.iter());
        let mut remarks = Vec::new();
        for whose in self.budgets_of(at) {
            for (limit, most) in self.limits(whose).on_calls() {
                let [before, after] = [self, &settled].map(|run| run.books.account(whose).spent.get(limit));
                let whose = whose.map_or("the run", |_| "the step");
                let most_shown = limit.amount(most);
                if after > most && after > before {
                    let over = limit.amount(after - most.max(before));
                    remarks.push(format!("{over} beyond {whose}'s budget of {most_shown}"));
                } else if !is_near(before, most) && is_near(after, most) {
                    let spent = limit.amount(after);
                    remarks.push(format!("{spent} of {whose}'s budget of {most_shown} are spent"));
                }
            }
        }
        remarks
    }

    /// The first step under way whose time is over.
    pub(super) fn overdue(&self, now: Wall) -> Option<(usize, Exhausted)> {
        if !self.has_to_fit() {
            return None;
        }
        self.under_way().find_map(|at| {
            let over = self.budgets_of(at).into_iter().find_map(|whose| self.out_of_time(whose, now))?;
            Some((at, over))
        })
    }

    /// When the next time budget ends, if the calls under way go on.
    pub(super) fn time_ends(&self) -> Option<Wall> {
        if !self.has_to_fit() {
            return None;
        }
        let ends = self.busy().into_iter().filter_map(|whose| {
            let left = self.limits(whose).time?.saturating_sub(self.books.account(whose).time);
            Some(self.books.charged_to? + left)
        });
        ends.min()
    }

    fn out_of_time(&self, whose: Whose, now: Wall) -> Option<Exhausted> {
        let most = self.limits(whose).time?;
        let since = self.books.charged_to.map_or(Duration::ZERO, |at| now.saturating_since(at));
        let busy = !since.is_zero() && self.busy().contains(&whose);
        let time = self.books.account(whose).time + if busy { since } else { Duration::ZERO };
        let most_ms = millis(most);
        (time >= most).then_some(Exhausted {
            scope: scope(whose),
            limit: Limit::Time,
            most: most_ms,
            left: 0,
            wanted: 0,
        })
    }

    fn under_way(&self) -> impl Iterator<Item = usize> {
        (0..self.steps.len()).filter(|at| self.steps[*at].state.has_a_place())
    }

    /// The budgets whose time passes.
    fn busy(&self) -> BTreeSet<Whose> {
        self.under_way()
            .flat_map(|at| self.budgets_of(at))
            .filter(|whose| self.limits(*whose).time.is_some())
            .collect()
    }

    // === What fold does to the books ===

    /// Charges the time up to `at` to whoever had calls under way.
    pub(super) fn pass(&mut self, at: Wall) {
        if !self.workflow.has_budgets() {
            return;
        }
        let since =
            self.books.charged_to.replace(at).map_or(Duration::ZERO, |then| at.saturating_since(then));
        if !since.is_zero() {
            for whose in self.busy() {
                let account = self.books.accounts.entry(whose).or_default();
                account.time = account.time.saturating_add(since);
            }
        }
    }

    /// Sets aside what a step that has just begun needs, and gives back what one that has ended held.
    pub(super) fn hold(&mut self, at: usize) {
        if !self.workflow.has_budgets() {
            return;
        }
        match (self.steps[at].state.has_a_place(), self.books.held.contains_key(&at)) {
            (true, false) => {
                let budgets = self.budgets_of(at);
                let estimate = self.estimate(at, &budgets);
                self.books.held.insert(at, estimate);
                for whose in budgets {
                    let account = self.books.accounts.entry(whose).or_default();
                    account.held = account.held.plus(estimate);
                }
            }
            (false, true) => self.release(at),
            (true, true) | (false, false) => {}
        }
    }

    /// Puts what a try used in the place of what was set aside for it.
    pub(super) fn settle<'a>(&mut self, at: usize, attempts: impl Iterator<Item = &'a AttemptRecord>) {
        if !self.workflow.has_budgets() {
            return;
        }
        self.release(at);
        // One that reached nobody used nothing.
        let made = attempts.filter(|attempt| !attempt.agent.is_empty());
        let used = made.fold(Amount::NONE, |sum, attempt| sum.plus(Amount::of_call(&attempt.usage)));
        if used == Amount::NONE {
            return;
        }
        for whose in self.budgets_of(at) {
            let account = self.books.accounts.entry(whose).or_default();
            account.spent = account.spent.plus(used);
        }
        if let Some(call) = self.spec(at).kind.call() {
            let capability = call.capability.clone();
            let learned = self.books.learned.entry(capability).or_default();
            *learned = learned.max(used);
        }
    }

    fn release(&mut self, at: usize) {
        let Some(held) = self.books.held.remove(&at) else { return };
        for whose in self.budgets_of(at) {
            let account = self.books.accounts.entry(whose).or_default();
            account.held = account.held.minus(held);
        }
    }
}

/// Whether so much of a limit is spent that people should know.
fn is_near(spent: u64, most: u64) -> bool {
    u128::from(spent) * 100 >= u128::from(most) * u128::from(WARN_AT)
}

const fn scope(whose: Whose) -> Scope {
    match whose {
        Some(_) => Scope::Step,
        None => Scope::Run,
    }
}

/// Why a step that a budget has no room for is not done.
pub(super) fn failure(over: Exhausted, began: Began) -> Failure {
    Failure { began, ..own(Class::OverBudget, BUDGET_EXHAUSTED, over.to_string()) }
}

/// Same, where a step would have been tried again after `cause`.
pub(super) fn instead_of_retry(over: Failure, cause: &Failure) -> Failure {
    let message = format!("{}, and its last try ended with {}: {}", over.message, cause.code, cause.message);
    Failure { message, began: cause.began, ..over }
}

/// What a run is told of declared costs: capability → 10⁻⁹ US dollars a call.
pub type Estimates = Arc<BTreeMap<Name, u64>>;
