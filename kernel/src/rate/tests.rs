use super::*;
use crate::name::Name;
use crate::time::Wall;
use proptest::prelude::*;

const MINUTE: Duration = Duration::from_secs(60);

fn ms(n: u64) -> Mono {
    Mono::at(Duration::from_millis(n))
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn rate(calls: &str, burst: u32) -> Option<Rate> {
    Some(Rate::read(calls, Some(burst)).unwrap())
}

fn target(text: &str) -> Target {
    text.parse().unwrap()
}

/// The rates of a tenant, asked by calls of `work` to `a` unless they say otherwise.
struct Bed(Limits);

impl Bed {
    fn new(set: &[(&str, Option<Rate>)]) -> Self {
        let mut limits = Limits::new(name("default"));
        set.iter().for_each(|(of, rate)| limits.set(target(of), *rate, ms(0)));
        Self(limits)
    }

    fn goes(&mut self, at: u64) -> bool {
        self.goes_to("a", "work", at).is_ok()
    }

    fn goes_to(&mut self, agent: &str, capability: &str, at: u64) -> Result<(), Over> {
        self.0.admit(&name(agent), &name(capability), &mut Turns::default(), ms(at))
    }

    fn takes(&mut self, turns: &mut Turns, at: u64) -> bool {
        self.0.admit(&name("a"), &name("work"), turns, ms(at)).is_ok()
    }

    fn books(&mut self, turns: &mut Turns, at: u64) -> Result<Mono, Refused> {
        self.0.book(&name("a"), &name("work"), turns, MINUTE, ms(at))
    }

    fn booked(&mut self, at: u64) -> Result<(Turns, Mono), Refused> {
        let mut turns = Turns::default();
        self.books(&mut turns, at).map(|at| (turns, at))
    }
}

#[test]
fn a_rate_is_written_with_its_unit_and_a_burst_is_a_second_of_it() {
    let read = |text| Rate::read(text, None).map(|rate| (rate.interval(), rate.burst()));
    assert_eq!(read("10/s"), Ok((Duration::from_millis(100), 10)));
    assert_eq!(read("90/m"), Ok((Duration::from_nanos(666_666_667), 2)), "never more than asked for");
    assert_eq!(read("1/h"), Ok((Duration::from_secs(3_600), 1)));
    for bad in ["", "10", "/s", "10/", "10/d", "0/s", "-1/s", "+1/s", "1.5/s", "1000001/s", "10 / s"] {
        assert_eq!(read(bad), Err(RateError::Calls), "{bad}");
    }
    assert_eq!(Rate::read("1/s", Some(0)), Err(RateError::Burst));
    let json = serde_json::to_string(&rate("10/s", 3)).unwrap();
    assert_eq!(json, r#"{"calls":"10/s","burst":3}"#);
    assert_eq!(serde_json::from_str::<Option<Rate>>(&json).unwrap(), rate("10/s", 3));
}

#[test]
fn a_burst_goes_at_once_and_then_one_each_interval() {
    let mut bed = Bed::new(&[("agent/a", rate("10/s", 3))]);
    assert_eq!(
        [0, 0, 0, 0, 99, 100, 100, 200].map(|at| bed.goes(at)),
        [true, true, true, false, false, true, false, true]
    );
    assert_eq!(
        [5_000, 5_000, 5_000, 5_000].map(|at| bed.goes(at)),
        [true, true, true, false],
        "full again, no more"
    );
}

#[test]
fn a_call_is_subject_to_all_its_rates_and_counts_with_none_if_one_keeps_it_back() {
    let set = [
        ("tenant/default", rate("1/s", 3)),
        ("capability/work", rate("1/s", 2)),
        ("agent/a", rate("1/s", 1)),
    ];
    let mut bed = Bed::new(&set);
    assert!(bed.goes(0));
    let over = bed.goes_to("a", "work", 0).unwrap_err();
    assert_eq!((over.target.to_string(), over.until), ("agent/a".into(), ms(1_000)));
    assert_eq!(over.to_string(), "over the rate of agent/a, 1/s");
    assert_eq!(bed.goes_to("b", "work", 0), Ok(()));
    assert_eq!(bed.goes_to("b", "work", 0).unwrap_err().target, target("capability/work"));
    assert_eq!(
        bed.goes_to("b", "other", 0),
        Ok(()),
        "two refused calls took nothing from the tenant's three"
    );
    assert_eq!(bed.goes_to("b", "other", 0).unwrap_err().target, target("tenant/default"));
}

#[test]
fn turns_are_booked_one_interval_apart_and_each_lets_one_call_through() {
    let mut bed = Bed::new(&[("agent/a/work", rate("10/s", 1))]);
    assert!(bed.goes(0));
    let [mut first, mut second, mut third] = [100, 200, 300].map(|turn| {
        let (turns, at) = bed.booked(0).unwrap();
        assert_eq!(at, ms(turn));
        turns
    });
    assert_eq!(bed.books(&mut first, 50), Ok(ms(100)), "it has one already");
    assert!(!bed.goes(100), "a newcomer does not take the turn of one who waits");
    assert!(!bed.takes(&mut first, 99), "not before it");
    assert!(bed.takes(&mut first, 100) && !bed.takes(&mut first, 100));
    assert!(bed.takes(&mut third, 399) && !bed.takes(&mut second, 399), "a turn lapses after an interval");
}

#[test]
fn whoever_comes_too_late_is_told_when_and_books_nothing() {
    let mut bed = Bed::new(&[("agent/a", rate("1/m", 1))]);
    assert!(bed.goes(0));
    let refused = bed.booked(0).unwrap_err();
    assert_eq!(refused.retry_after, MINUTE);
    assert_eq!(refused.to_string(), "agent/a takes 1/m, and this call's turn would come after its deadline");
    assert_eq!(bed.booked(1).unwrap().1, ms(60_000), "nothing was booked before");
}

#[test]
fn a_call_between_two_rates_that_are_used_up_keeps_the_turn_it_has_until_the_other_comes() {
    let mut bed = Bed::new(&[("tenant/default", rate("1/s", 1)), ("agent/a", rate("1/s", 1))]);
    assert!(bed.goes(0));
    let (mut turns, at) = bed.booked(0).unwrap();
    assert_eq!(at, ms(1_000));
    for (agent, waits) in [("b", 1_000), ("c", 2_000)] {
        let other = bed.0.book(&name(agent), &name("x"), &mut Turns::default(), MINUTE, ms(0));
        assert_eq!(other, Ok(ms(waits)), "the tenant's line grows meanwhile");
    }
    assert!(!bed.takes(&mut turns, 1_000));
    assert_eq!(bed.books(&mut turns, 1_000), Ok(ms(3_000)));
    assert!(bed.takes(&mut turns, 3_000));
}

#[test]
fn a_higher_rate_helps_at_once_and_makes_turns_of_the_old_one_void() {
    let mut bed = Bed::new(&[("agent/a", rate("1/m", 1))]);
    assert!(bed.goes(0));
    let (mut old, _) = bed.booked(1).unwrap();
    bed.0.set(target("agent/a"), rate("10/s", 1), ms(1_000));
    assert_eq!(bed.books(&mut old, 1_000), Ok(ms(1_000)), "nobody stands in line any more");
    assert!(bed.goes(1_000) && !bed.takes(&mut old, 1_050));
    assert_eq!(bed.books(&mut old, 1_050), Ok(ms(1_100)));
    bed.0.set(target("agent/a"), None, ms(1_050));
    assert!(bed.goes(1_050) && bed.0.is_empty());
}

#[test]
fn the_newest_registration_declares_and_a_hand_overrides_it_until_it_is_lifted() {
    let spec = |whole, offered| {
        let capability = serde_json::json!({
            "name": "work", "input_schema": true, "output_schema": true, "effect": "read-only",
            "sla": {"secs": 1, "nanos": 0}, "max_concurrency": 1, "rate": offered
        });
        let spec =
            serde_json::json!({"name": "a", "version": "1", "capabilities": [capability], "rate": whole});
        serde_json::from_value::<crate::agent::AgentSpec>(spec).unwrap()
    };
    let mut limits = Limits::new(name("default"));
    let shown = |limits: &Limits| {
        let line = |it: Shown<'_>| {
            format!("{} {} {:?}", it.target, it.rate, it.declared.map(|rate| rate.to_string()))
        };
        limits.iter(ms(0)).map(line).collect::<Vec<_>>()
    };
    limits.declare(&spec(rate("5/s", 1), rate("2/s", 1)), Wall::from_millis(2), ms(0));
    limits.declare(&spec(rate("9/s", 1), None), Wall::from_millis(1), ms(0));
    assert_eq!(shown(&limits), ["agent/a 5/s Some(\"5/s\")", "agent/a/work 2/s Some(\"2/s\")"]);
    limits.set(target("agent/a"), rate("50/s", 1), ms(0));
    assert_eq!(shown(&limits)[0], "agent/a 50/s Some(\"5/s\")");
    limits.declare(&spec(rate("6/s", 1), None), Wall::from_millis(3), ms(0));
    assert_eq!(shown(&limits), ["agent/a 50/s Some(\"6/s\")"]);
    limits.set(target("agent/a"), None, ms(0));
    assert_eq!(shown(&limits), ["agent/a 6/s Some(\"6/s\")"]);
    limits.forget(&name("a"), ms(0));
    assert!(limits.is_empty());
}

proptest! {
    #[test]
    fn in_no_window_more_go_than_the_rate_and_one_burst(
        calls in 1..2_000_u32,
        burst in 1..20_u32,
        steps in proptest::collection::vec((0..400_u64, any::<bool>()), 1..300),
    ) {
        let set = Rate::read(&format!("{calls}/m"), Some(burst)).unwrap();
        let mut bed = Bed::new(&[("agent/a", Some(set))]);
        let (mut now, mut went) = (0, Vec::new());
        for (step, waits) in steps {
            now += step;
            if bed.goes(now) {
                went.push(ms(now));
            } else if waits && let Ok((_, at)) = bed.booked(now) {
                went.push(at);
            }
        }
        went.sort();
        for (first, from) in went.iter().enumerate() {
            for (last, to) in went.iter().enumerate().skip(first) {
                let even = (*to - *from).as_nanos() / set.interval().as_nanos();
                prop_assert!((last - first + 1) as u128 <= even + u128::from(burst), "{from:?} to {to:?}");
            }
        }
    }

    #[test]
    fn who_books_later_goes_later_and_nobody_waits_longer_than_all_before_take(
        calls in 1..1_000_u32,
        burst in 1..5_u32,
        // Of less than a minute's worth of calls, the slowest rate has a turn within the patience for each.
        gaps in proptest::collection::vec(0..50_u64, 1..60),
    ) {
        let set = Rate::read(&format!("{calls}/s"), Some(burst)).unwrap();
        let mut bed = Bed::new(&[("tenant/default", Some(set))]);
        let (mut now, mut last) = (0, ms(0));
        for (before, gap) in gaps.into_iter().enumerate() {
            now += gap;
            let turn = if bed.goes(now) { ms(now) } else { bed.booked(now).unwrap().1 };
            prop_assert!(turn >= last && turn >= ms(now));
            prop_assert!(turn - ms(now) <= set.interval() * u32::try_from(before).unwrap());
            last = turn;
        }
    }
}
