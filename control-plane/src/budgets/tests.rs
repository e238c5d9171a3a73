//! Budgets over time and spend, over a store in memory.

use std::sync::Arc;
use std::time::Duration;

use mainstay_kernel::budget::spend::{Source, Spend};
use mainstay_kernel::budget::window::{Day, Period, Target};
use mainstay_kernel::budget::{Amount, Limits};
use mainstay_kernel::event::Kind;
use mainstay_kernel::id::RunId;
use mainstay_kernel::name::Name;
use mainstay_kernel::time::Wall;
use mainstay_store::{Batch, MemoryStore, Store};

use super::{BudgetError, By, Handle, Query, Report, Service, SetByHand, open};
use crate::events;
use crate::host::Clock;
use crate::records::run_spend::{self, RunSpend};
use crate::testbed::name;

struct Bed {
    events: events::Handle,
    budgets: Handle,
    service: Service,
    today: Day,
}

impl Bed {
    /// Over `store`, as after a start.
    fn over(store: MemoryStore) -> Self {
        let clock = Clock::anchored(Wall::from_millis(1_800_000_000_000), 7);
        let shared: Arc<dyn Store> = Arc::new(store);
        let (events, writing) = events::open(clock.clone(), Arc::clone(&shared)).unwrap();
        tokio::spawn(writing.run());
        let today = Day::of(clock.wall());
        let (budgets, service) = open(clock, shared, events.clone()).unwrap();
        Self { events, budgets, service, today }
    }

    async fn report(&self, by: By) -> Report {
        let (since, until) = (Day(self.today.0 - 30), self.today);
        let tenant = Some(name("default"));
        self.budgets.spent(Query { tenant, since, until, by, limit: 100 }).await.unwrap()
    }

    async fn set(&self, target: &str, calls: u64) -> Result<(), BudgetError> {
        let limits = Limits { calls: Some(calls), ..Limits::NONE };
        let (reason, by, since) = ("quota".to_owned(), "ops".to_owned(), Wall::default());
        let set = SetByHand { limits, reason, by, since };
        self.budgets.set(&name("default"), target.parse().unwrap(), Period::Day, set).await
    }

    fn near(&self) -> usize {
        let all = self.events.list(&events::Filter::default(), None, 100);
        all.iter().filter(|one| one.event.kind == Kind::LimitNear).count()
    }
}

/// What run number `n` left behind: two agents, and two days for some.
async fn ended(store: &MemoryStore, today: Day, n: u16) {
    let row = |agent: &str, day: Day, nano_usd| {
        let source = Source { day, agent: agent.to_owned(), capability: format!("c.{}", n % 3) };
        (source, Spend { calls: 1, tokens_in: 10, tokens_out: 1, nano_usd })
    };
    let yesterday = Day(today.0 - i32::from(n % 2));
    let rows = [row("writer", yesterday, 5), row("reviewer", today, u64::from(n))];
    let workflow = Name::new(if n.is_multiple_of(5) { "five" } else { "other" }).unwrap();
    let spend = RunSpend::new(&workflow, rows.into_iter().collect());
    let mut id = [0; 16];
    id[14..].copy_from_slice(&n.to_be_bytes());
    let key = run_spend::key("default", RunId::from_bytes(id));
    store.commit(Batch::new().put(key, run_spend::encode(&spend).unwrap())).await.unwrap();
}

const BYS: [By; 5] = [By::Agent, By::Capability, By::Workflow, By::Tenant, By::Day];

#[tokio::test(start_paused = true)]
async fn adding_up_changes_no_sum_and_leaves_nothing_behind() {
    let store = MemoryStore::new();
    let today = Bed::over(store.clone()).today;
    for n in 0..150 {
        ended(&store, today, n).await;
    }
    let bed = Bed::over(store.clone());
    let mut before = Vec::new();
    for by in BYS {
        before.push(bed.report(by).await);
    }
    let total =
        Spend { calls: 300, tokens_in: 3_000, tokens_out: 300, nano_usd: 150 * 5 + (0..150).sum::<u64>() };
    assert!(before.iter().all(|report| report.total == total));
    bed.service.once().await;
    let left = store.scan(&run_spend::prefix("default"), None, 10).unwrap();
    assert!(left.entries.is_empty());
    for (by, before) in BYS.into_iter().zip(&before) {
        assert_eq!(bed.report(by).await, *before, "{by:?}");
    }
    for n in 150..160 {
        ended(&store, today, n).await;
    }
    bed.service.once().await;
    assert_eq!(Bed::over(store).report(By::Tenant).await.total.calls, 320, "sums grow");
}

#[tokio::test(start_paused = true)]
async fn what_was_used_before_a_restart_counts_in_the_windows_after_it() {
    let store = MemoryStore::new();
    let bed = Bed::over(store.clone());
    bed.set("workflow/five", 3).await.unwrap();
    bed.set("tenant", 1_000).await.unwrap();
    // Of twelve runs three are of `five`: two of them began both calls today.
    for n in 0..12 {
        ended(&store, bed.today, n).await;
    }
    for added_up in [false, true] {
        if added_up {
            bed.service.once().await;
        }
        let again = Bed::over(store.clone());
        let over = again.budgets.admit(&name("default"), &name("five")).unwrap_err();
        assert_eq!((over.target, over.spent), (Target::Workflow(name("five")), 5));
        assert!(again.budgets.admit(&name("default"), &name("other")).is_ok());
        let shown = again.budgets.all(Some(&name("default")));
        let spent: Vec<u64> = shown.iter().map(|one| one.standing.spent.calls).collect();
        assert_eq!(spent, [18, 5]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_budget_is_lifted_once_and_holds_no_more() {
    let store = MemoryStore::new();
    let bed = Bed::over(store.clone());
    let (tenant, five) = (name("default"), Target::Workflow(name("five")));
    bed.set("workflow/five", 1).await.unwrap();
    ended(&store, bed.today, 0).await;
    let again = Bed::over(store.clone());
    assert!(again.budgets.admit(&tenant, &name("five")).is_err());
    let lift = || again.budgets.lift(&tenant, five.clone(), Period::Day, "ops".to_owned());
    assert_eq!(lift().await.unwrap().reason, "quota");
    assert!(matches!(lift().await, Err(BudgetError::NotSet { .. })));
    assert!(again.budgets.admit(&tenant, &name("five")).is_ok());
    assert!(Bed::over(store).budgets.all(None).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_what_is_held_and_people_are_warned_before_nothing_is_left() {
    let bed = Bed::over(MemoryStore::new());
    let (tenant, other) = (name("default"), name("other"));
    bed.set("tenant", 1).await.unwrap();
    let one = || Amount { calls: 1, ..Amount::NONE };
    let hold = || bed.budgets.hold(&tenant, &other, Duration::from_secs(9), one);
    let first = hold().await.unwrap();
    let second = tokio::join!(hold(), async {
        tokio::task::yield_now().await;
        assert_eq!(bed.near(), 0);
        drop(first);
    });
    let second = second.0.unwrap();
    second.settle(&[]);
    let third = hold().await.unwrap();
    bed.budgets.count(&third.tenant, &tenant, &other, bed.today, one());
    assert_eq!(third.held, Some(one()));
    drop(third);
    let over = hold().await.unwrap_err();
    assert_eq!((over.spent, over.most), (1, 1));
    assert!(bed.budgets.admit(&tenant, &other).is_err());
    while bed.near() == 0 {
        // The part that writes events has its turn.
        tokio::task::yield_now().await;
    }
    assert_eq!(bed.near(), 1);
}
