use super::*;

mod steadiness;
use proptest::prelude::*;

const SLA: Duration = Duration::from_secs(10);
const FAST: Duration = Duration::from_millis(100);

fn ms(n: u64) -> Mono {
    Mono::at(Duration::from_millis(n))
}

/// A breaker and a clock that moves 10 ms with every call.
struct Bed {
    breaker: Breaker,
    dice: Dice,
    now: u64,
}

impl Bed {
    fn new() -> Self {
        Self::with(&[])
    }

    fn with(policy: &[(&str, &str)]) -> Self {
        let mut declared = Policy::default();
        for (setting, value) in policy {
            declared.set(setting, value).unwrap();
        }
        let breaker = Breaker::new(declared.over(Config::default()), SLA, ms(0));
        Self { breaker, dice: Dice::seeded(7), now: 0 }
    }

    fn opened() -> Self {
        let mut bed = Self::new();
        drop(bed.fail_in_a_row());
        assert_eq!(bed.breaker.state(), State::Open);
        bed
    }

    fn admit(&mut self) -> Admission {
        self.breaker.admit(ms(self.now)).0.expect("admitted")
    }

    fn refusal(&mut self) -> Refusal {
        self.breaker.admit(ms(self.now)).0.expect_err("refused")
    }

    fn end(&mut self, admission: Admission, class: Class, latency: Duration) -> Option<Change> {
        self.now += 10;
        self.breaker.record(admission, class, latency, ms(self.now), &mut self.dice)
    }

    fn call(&mut self, class: Class, latency: Duration) -> Option<Change> {
        let admission = self.admit();
        self.end(admission, class, latency)
    }

    fn fail_in_a_row(&mut self) -> Change {
        (0..5).find_map(|_| self.call(Class::AgentError, FAST)).expect("five in a row open it")
    }

    /// Lets the wait pass; how long it was.
    fn wait(&mut self) -> Duration {
        let until = self.breaker.poll_timeout().expect("a wait is running");
        let wait = until - ms(self.now);
        self.now = u64::try_from(until.since_origin().as_millis()).unwrap() + 1;
        wait
    }
}

#[test]
fn five_failures_in_a_row_open_it_and_four_do_not() {
    let mut bed = Bed::new();
    for _ in 0..4 {
        assert_eq!(bed.call(Class::Transport, FAST), None);
    }
    let mut bed = Bed::new();
    let change = bed.fail_in_a_row();
    assert_eq!(
        change,
        Change { from: State::Closed, to: State::Open, reason: Reason::FailedInARow(5), at: ms(50) }
    );
    assert_eq!(change.reason.to_string(), "5 calls failed in a row");
}

#[test]
fn half_the_calls_failing_open_it_once_that_is_no_chance() {
    let mut bed = Bed::new();
    let outcome = |n| if n % 5 == 0 { Class::Success } else { Class::ContractBreach };
    let change = (0..20).find_map(|n| bed.call(outcome(n), FAST)).expect("eight of ten are none");
    assert_eq!(change.reason, Reason::FailedRate { failed: 8, of: 10 });
    let mut bed = Bed::new();
    let changes: Vec<_> = (0..100)
        .map(|n| bed.call(if n % 2 == 0 { Class::Success } else { Class::ContractBreach }, FAST))
        .collect();
    assert!(changes[..99].iter().all(Option::is_none), "it might be chance");
    let change = changes[99].clone().expect("the hundredth opens it");
    assert_eq!(change.reason, Reason::FailedRate { failed: 50, of: 100 });
}

#[test]
fn fewer_timeouts_than_failures_open_it() {
    let mut bed = Bed::new();
    let outcome = |n| if n % 2 == 0 { (Class::Timeout, SLA) } else { (Class::Success, FAST) };
    let change = (1..=30).find_map(|n| {
        let (class, latency) = outcome(n);
        bed.call(class, latency)
    });
    assert_eq!(change.expect("opens").reason, Reason::TimedOutRate { timed_out: 8, of: 16 });
}

#[test]
fn answers_after_the_sla_open_it_and_long_ones_inside_it_never_do() {
    let mut bed = Bed::new();
    for _ in 0..100 {
        assert_eq!(bed.call(Class::Success, SLA), None);
    }
    let mut bed = Bed::new();
    let change = (0..10).find_map(|_| bed.call(Class::Success, SLA + FAST)).expect("opens");
    assert_eq!(change.reason, Reason::SlowRate { slow: 10, of: 10 });
}

#[test]
fn an_impatient_callers_timeout_is_not_the_agents_failure() {
    let mut bed = Bed::new();
    for _ in 0..100 {
        assert_eq!(bed.call(Class::Timeout, SLA / 2), None);
    }
    assert!((0..5).any(|_| bed.call(Class::Timeout, SLA).is_some()));
}

#[test]
fn busy_callers_fault_and_cancelled_never_count() {
    let mut bed = Bed::new();
    for class in [Class::Overload, Class::CallerFault, Class::Cancelled, Class::Unavailable] {
        for _ in 0..50 {
            assert_eq!(bed.call(class, FAST), None, "{class:?}");
        }
    }
    assert_eq!(bed.breaker.counts(ms(bed.now)), Counts::default());
}

#[test]
fn failures_older_than_the_window_are_forgotten() {
    let mut bed = Bed::new();
    for n in 0..8 {
        let _ = bed.call(if n % 2 == 0 { Class::AgentError } else { Class::Success }, FAST);
    }
    bed.now += 31_000;
    assert_eq!(bed.breaker.counts(ms(bed.now)), Counts::default());
    for n in 0..100 {
        assert_eq!(bed.call(if n % 4 == 0 { Class::AgentError } else { Class::Success }, FAST), None);
    }
}

#[test]
fn while_open_nothing_flows_and_the_refusal_says_until_when() {
    let mut bed = Bed::opened();
    let until = bed.breaker.poll_timeout();
    assert_eq!(bed.refusal(), Refusal::Open { until });
    let wait = until.unwrap() - ms(bed.now);
    assert!(wait >= Duration::from_millis(2_500) && wait < Duration::from_secs(5), "{wait:?}");
}

#[test]
fn after_the_wait_three_probes_flow_and_three_good_ones_close_it() {
    let mut bed = Bed::opened();
    bed.wait();
    let (first, change) = bed.breaker.admit(ms(bed.now));
    let change = change.expect("becomes half-open");
    assert_eq!((change.from, change.to, change.reason), (State::Open, State::HalfOpen, Reason::WaitOver));
    let probes = [first.expect("a probe"), bed.admit(), bed.admit()];
    assert!(probes.iter().all(Admission::is_probe));
    assert_eq!(bed.refusal(), Refusal::Probing);
    let changes: Vec<_> = probes.into_iter().map(|probe| bed.end(probe, Class::Success, FAST)).collect();
    assert_eq!((&changes[0], &changes[1]), (&None, &None));
    let change = changes[2].clone().expect("closes");
    assert_eq!((change.to, change.reason), (State::Closed, Reason::ProbesPassed(3)));
    assert!(!bed.admit().is_probe());
}

#[test]
fn a_bad_or_slow_probe_opens_it_again_and_the_wait_doubles_up_to_its_cap() {
    let mut bed = Bed::opened();
    let mut waits = vec![bed.wait()];
    for n in 0..6 {
        let change =
            if n % 2 == 0 { bed.call(Class::Transport, FAST) } else { bed.call(Class::Success, SLA * 2) };
        let reason = if n % 2 == 0 { Reason::ProbeFailed(Class::Transport) } else { Reason::ProbeSlow };
        assert_eq!(change.expect("opens").reason, reason);
        waits.push(bed.wait());
    }
    for (wait, ceiling) in waits.iter().zip([5, 10, 20, 40, 60, 60, 60]) {
        let ceiling = Duration::from_secs(ceiling);
        assert!(*wait >= ceiling / 2 && *wait < ceiling + FAST, "{waits:?}");
    }
}

#[test]
fn a_relapse_soon_after_closing_waits_longer_and_a_calm_time_forgives() {
    let mut bed = Bed::opened();
    bed.wait();
    for _ in 0..3 {
        let _ = bed.call(Class::Success, FAST);
    }
    drop(bed.fail_in_a_row());
    assert!(bed.wait() >= Duration::from_secs(5), "the second wait");
    for _ in 0..3 {
        let _ = bed.call(Class::Success, FAST);
    }
    assert_eq!(bed.breaker.state(), State::Closed);
    bed.now += 30_000;
    drop(bed.fail_in_a_row());
    assert!(bed.wait() < Duration::from_secs(5), "the first wait again");
}

#[test]
fn a_busy_probe_gives_its_place_back_and_judges_nothing() {
    let mut bed = Bed::opened();
    bed.wait();
    for _ in 0..20 {
        assert_eq!(bed.call(Class::Overload, FAST), None);
        let admission = bed.admit();
        bed.breaker.abandon(admission);
    }
    assert_eq!(bed.breaker.state(), State::HalfOpen);
}

#[test]
fn results_from_before_a_change_are_dropped() {
    let mut bed = Bed::new();
    let early: Vec<_> = (0..4).map(|_| bed.admit()).collect();
    drop(bed.fail_in_a_row());
    bed.wait();
    let probes = [bed.admit(), bed.admit(), bed.admit()];
    for admission in early {
        assert_eq!(bed.end(admission, Class::Transport, FAST), None);
    }
    assert_eq!(bed.refusal(), Refusal::Probing, "an early call frees no probe's place");
    for probe in probes {
        bed.breaker.abandon(probe);
    }
    assert!(bed.admit().is_probe());
}

#[test]
fn a_probe_given_up_late_frees_no_place_of_today() {
    let mut bed = Bed::opened();
    bed.wait();
    let (old, bad) = (bed.admit(), bed.admit());
    assert!(bed.end(bad, Class::Transport, FAST).is_some());
    bed.wait();
    let probes = [bed.admit(), bed.admit(), bed.admit()];
    bed.breaker.abandon(old);
    assert_eq!(bed.refusal(), Refusal::Probing);
    probes.into_iter().for_each(|probe| bed.breaker.abandon(probe));
}

#[test]
fn closing_forgets_the_failures_that_opened_it() {
    let mut bed = Bed::opened();
    bed.wait();
    for _ in 0..3 {
        let _ = bed.call(Class::Success, FAST);
    }
    assert_eq!(bed.breaker.counts(ms(bed.now)), Counts::default());

    let mut bed = Bed::new();
    for _ in 0..4 {
        let _ = bed.call(Class::Transport, FAST);
    }
    let _change = bed.breaker.reset("new build".into(), ms(bed.now));
    assert_eq!(bed.call(Class::Transport, FAST), None, "the first failure since, not the fifth");
}

#[test]
fn tripped_by_hand_it_stays_open_until_reset_by_hand() {
    let mut bed = Bed::new();
    let change = bed.breaker.trip("maintenance".into(), ms(0));
    assert_eq!(change.reason.to_string(), "opened by hand: maintenance");
    bed.now += 1_000_000;
    assert_eq!(bed.refusal(), Refusal::Open { until: None });
    let change = bed.breaker.reset("done".into(), ms(bed.now));
    assert_eq!((change.from, change.to), (State::Open, State::Closed));
    assert!(!bed.admit().is_probe());
}

#[test]
fn state_reason_and_wait_survive_a_restart() {
    let bed = Bed::opened();
    let before = Now { mono: ms(bed.now), wall: Wall::from_millis(1_000_000) };
    let snapshot = bed.breaker.snapshot(before);
    let text = serde_json::to_string(&snapshot).unwrap();
    let snapshot: Snapshot = serde_json::from_str(&text).unwrap();
    assert_eq!(snapshot.reason, Some(Reason::FailedInARow(5)));

    let after = Now { mono: ms(7), wall: Wall::from_millis(1_001_000) };
    let breaker = Breaker::restore(Config::default(), SLA, snapshot.clone(), after);
    assert_eq!(breaker.state(), State::Open);
    let left = |breaker: &Breaker, now: Mono| breaker.poll_timeout().unwrap() - now;
    let (then, now) = (left(&bed.breaker, ms(bed.now)), left(&breaker, ms(7)));
    let passed = then - now;
    assert!(passed > Duration::from_millis(990) && passed <= Duration::from_secs(1), "{passed:?}");

    let clock_set_back = Now { mono: ms(7), wall: Wall::from_millis(-99_999_999) };
    let breaker = Breaker::restore(Config::default(), SLA, snapshot, clock_set_back);
    assert!(left(&breaker, ms(7)) <= Duration::from_secs(60));
}

#[test]
fn a_configuration_that_cannot_work_names_the_setting() {
    assert_eq!(Config::default().validate(), Ok(()));
    let wrong = Config { probes: 0, ..Config::default() };
    assert_eq!(wrong.validate().unwrap_err().to_string(), "breaker setting `probes` must be 1 to 100");
    assert!(Config { wait: SLA, max_wait: FAST, ..Config::default() }.validate().is_err());
    assert!(Config { slow_bp: 10_001, ..Config::default() }.validate().is_err());
}

#[derive(Debug, Clone)]
enum Op {
    Admit,
    End(usize, Class, u64),
    Abandon(usize),
    Pass(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let class = proptest::sample::select(vec![
        Class::Success,
        Class::Transport,
        Class::Timeout,
        Class::Overload,
        Class::AgentError,
        Class::Cancelled,
    ]);
    prop_oneof![
        4 => Just(Op::Admit),
        4 => (any::<usize>(), class, 0..30_u64).prop_map(|(which, class, secs)| Op::End(which, class, secs)),
        1 => any::<usize>().prop_map(Op::Abandon),
        2 => (0..8_000_u64).prop_map(Op::Pass),
    ]
}

proptest! {
    /// Whatever happens: never more probes than allowed, no change without a difference, and always a way back.
    #[test]
    fn probes_are_bounded_permits_never_leak_and_there_is_always_a_way_back(
        seed: u64,
        ops in proptest::collection::vec(op(), 0..300),
    ) {
        let mut bed = Bed { dice: Dice::seeded(seed), ..Bed::new() };
        // Admissions under way, with the number of the change they were given under.
        let (mut under_way, mut changes): (Vec<(Admission, u32)>, u32) = (Vec::new(), 0);
        for op in ops {
            let before = bed.breaker.state();
            let change = match op {
                Op::Admit => {
                    let (leave, change) = bed.breaker.admit(ms(bed.now));
                    changes += u32::from(change.is_some());
                    under_way.extend(leave.ok().map(|leave| (leave, changes)));
                    let probes = under_way.iter().filter(|(leave, at)| leave.is_probe() && *at == changes).count();
                    prop_assert!(probes <= 3);
                    prop_assert_eq!(change.is_some(), before != bed.breaker.state());
                    None
                }
                Op::End(which, class, secs) if !under_way.is_empty() => {
                    let (leave, _) = under_way.swap_remove(which % under_way.len());
                    bed.end(leave, class, Duration::from_secs(secs))
                }
                Op::Abandon(which) if !under_way.is_empty() => {
                    let (leave, _) = under_way.swap_remove(which % under_way.len());
                    bed.breaker.abandon(leave);
                    None
                }
                Op::Pass(millis) => {
                    bed.now += millis;
                    None
                }
                Op::End(..) | Op::Abandon(_) => None,
            };
            if let Some(change) = change {
                changes += 1;
                prop_assert_ne!(change.from, change.to);
                prop_assert_eq!((change.from, change.to), (before, bed.breaker.state()));
            }
            prop_assert_eq!(bed.breaker.state() == State::Open, bed.breaker.poll_timeout().is_some());
        }
        // The agent is repaired, and every call that was under way is given up.
        for (leave, _) in under_way {
            bed.breaker.abandon(leave);
        }
        if bed.breaker.state() == State::Open {
            prop_assert!(bed.wait() <= Duration::from_secs(60));
        }
        for _ in 0..3 {
            prop_assert_eq!(bed.call(Class::Success, FAST).is_some_and(|c| c.to != State::Closed), false);
        }
        prop_assert_eq!(bed.breaker.state(), State::Closed);
    }
}

#[test]
fn each_class_counts_for_what_its_policy_says() {
    let mut bed = Bed::with(&[
        ("weights.contract-breach", "50%"),
        ("weights.low-confidence", "100%"),
        ("in_a_row", "100"),
    ]);
    let all = |bed: &mut Bed, class| (0..40).find_map(|_| bed.call(class, FAST));
    assert_eq!(all(&mut bed, Class::Success), None);
    // Eighty calls of which forty count half: a quarter. The next forty make it half of all.
    assert_eq!(all(&mut bed, Class::ContractBreach), None);
    let change = all(&mut bed, Class::LowConfidence).expect("half of all");
    assert_eq!(change.reason, Reason::FailedRate { failed: 80, of: 120 });

    let mut bed = Bed::with(&[("weights.transport", "0%")]);
    assert!(
        (0..100).all(|_| bed.call(Class::Transport, FAST).is_none()),
        "its owner says that it says nothing"
    );
}

#[test]
fn calls_that_count_half_must_fail_twice_as_often_in_a_row() {
    let mut bed = Bed::with(&[("weights.agent-error", "50%"), ("min_calls", "100")]);
    assert!((0..9).all(|_| bed.call(Class::AgentError, FAST).is_none()));
    let change = bed.call(Class::AgentError, FAST).expect("the tenth opens it");
    assert_eq!(change.reason, Reason::FailedInARow(10));
}

#[test]
fn late_answers_fail_where_the_policy_says_so_and_long_ones_inside_the_sla_never_do() {
    let strict = [("weights.slow", "100%"), ("slow", "0.01%"), ("min_calls", "1"), ("in_a_row", "1")];
    let mut bed = Bed::with(&strict);
    assert!((0..100).all(|_| bed.call(Class::Success, SLA).is_none()));
    assert_eq!(bed.call(Class::Success, SLA + FAST).expect("late").reason, Reason::FailedInARow(1));
}

#[test]
fn no_policy_makes_busy_count() {
    let touchy = [("failed", "0.01%"), ("min_calls", "1"), ("in_a_row", "1")];
    let mut bed = Bed::with(&touchy);
    assert!((0..100).all(|_| bed.call(Class::Overload, FAST).is_none()));
    assert!(Policy::default().set("weights.overload", "1%").is_err());
    assert!(bed.call(Class::Transport, FAST).is_some());
}

#[test]
fn a_new_policy_holds_at_once_and_cuts_a_wait_that_is_too_long_now() {
    let mut bed = Bed::with(&[("wait", "1m"), ("max_wait", "10m")]);
    assert!(bed.fail_in_a_row().to == State::Open);
    let patient = Config { max_wait: Duration::from_secs(1), wait: FAST, ..Config::default() };
    bed.breaker.set_policy(patient, SLA, ms(bed.now));
    assert!(bed.wait() <= Duration::from_secs(1));
    let lenient = Config { in_a_row: 1_000, failed_bp: 10_000, probes: 1, ..Config::default() };
    bed.breaker.set_policy(lenient, SLA, ms(bed.now));
    let _probe = bed.admit();
    assert_eq!(bed.refusal(), Refusal::Probing, "one probe at once now");
}
