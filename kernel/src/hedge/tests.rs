use proptest::prelude::*;

use super::*;
use crate::dice::Dice;

fn ms(n: u64) -> Mono {
    Mono::at(Duration::from_millis(n))
}

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn p95() -> Policy {
    Policy::read("p95", None, None).unwrap()
}

#[test]
fn a_policy_is_written_as_a_time_or_as_a_percentile_and_checked() {
    let after = |text: &str| Policy::read(text, None, None).map(|policy| policy.after);
    assert_eq!(after("300ms"), Ok(After::Span(millis(300))));
    assert_eq!(after("p95").unwrap().to_string(), "p95");
    for bad in ["", "p", "p49", "p100", "p+95", "p9.5", "0s", "11m", "300"] {
        assert_eq!(after(bad), Err(PolicyError::After), "{bad}");
    }
    for max in [0, 3] {
        assert_eq!(Policy::read("p95", Some(max), None), Err(PolicyError::Max));
    }
    for bad in ["0%", "101%", "10"] {
        assert_eq!(Policy::read("p95", None, Some(bad)), Err(PolicyError::Share), "{bad}");
    }
    let whole = Policy::read("1s", Some(2), Some("2.5%")).unwrap();
    assert_eq!((whole.max, whole.share_bp), (2, 250));
    assert_eq!((p95().max, p95().share_bp), (1, 1_000));
}

#[test]
fn what_is_on_record_is_read_again() {
    let policy = Policy::read("1s500ms", Some(2), Some("5%")).unwrap();
    let text = serde_json::to_string(&policy).unwrap();
    assert_eq!(text, r#"{"after":"1s500ms","max":2,"share_bp":500}"#);
    assert_eq!(serde_json::from_str::<Policy>(&text).unwrap(), policy);
}

#[test]
fn a_time_is_known_at_once_and_a_percentile_once_enough_were_answered() {
    let (mut watch, soon) = (Watch::new(), Policy::read("20ms", Some(2), None).unwrap());
    assert_eq!(watch.hedge(&soon, ms(0)), Some(Hedge { after: millis(20), max: 2 }));
    assert_eq!(watch.hedge(&p95(), ms(0)), None);
    (0..20).for_each(|_| watch.ended(&p95(), Class::Success, millis(10), ms(0)));
    assert!(watch.hedge(&p95(), ms(0)).is_some_and(|hedge| hedge.after < millis(13)));
}

#[test]
fn what_fails_at_once_does_not_make_hedges_come_sooner() {
    let mut watch = Watch::new();
    (0..20).for_each(|_| watch.ended(&p95(), Class::Success, millis(100), ms(0)));
    for class in [Class::Transport, Class::Overload, Class::AgentError, Class::CallerFault] {
        (0..1_000).for_each(|_| watch.ended(&p95(), class, millis(1), ms(0)));
    }
    // A hedge that lost had hardly any time.
    (0..1_000).for_each(|_| watch.ended(&p95(), Class::Cancelled, millis(1), ms(0)));
    assert!(watch.hedge(&p95(), ms(0)).is_some_and(|hedge| hedge.after >= millis(100)));
}

#[test]
fn ten_calls_that_go_well_pay_for_one_hedge_unless_another_share_is_declared() {
    let mut watch = Watch::new();
    let granted = |watch: &mut Watch, at| (0..1_000).filter(|_| watch.leave(ms(at))).count();
    assert_eq!(granted(&mut watch, 0), 5, "those with next to no traffic may be hedged");
    (0..100).for_each(|_| watch.ended(&p95(), Class::Success, millis(10), ms(1)));
    assert_eq!(granted(&mut watch, 1), 10);
    (0..100).for_each(|_| watch.ended(&p95(), Class::Timeout, millis(10), ms(2)));
    assert_eq!(granted(&mut watch, 2), 0, "what fails pays for nothing");
    let half = Policy::read("p95", None, Some("50%")).unwrap();
    watch.declare(&half);
    (0..100).for_each(|_| watch.ended(&half, Class::Success, millis(10), ms(3)));
    assert_eq!(granted(&mut watch, 3), 50);
}

/// A capability whose calls take 10 ms to 10 s, each doubling as often as the next, and which is called every 20 ms; each call
/// is hedged as its policy says. Returns the share of calls that were hedged, in basis points, and the time before a hedge at
/// the end.
fn hedged(seed: u64, policy: Policy, calls: u64) -> (u64, Duration) {
    let (mut watch, mut dice) = (Watch::new(), Dice::seeded(seed));
    watch.declare(&policy);
    let mut takes = || millis(10).mul_f64((10.0 * dice.fraction()).exp2());
    let mut hedges = 0;
    for n in 0..calls {
        let (at, first) = (n * 20, takes());
        let hedge = watch.hedge(&policy, ms(at)).filter(|hedge| hedge.after < first);
        let Some(hedge) = hedge.filter(|_| watch.leave(ms(at))) else {
            watch.ended(&policy, Class::Success, first, ms(at));
            continue;
        };
        hedges += 1;
        let second = takes();
        let first_wins = first <= hedge.after + second;
        if first_wins {
            watch.ended(&policy, Class::Success, first, ms(at));
            watch.ended(&policy, Class::Cancelled, first - hedge.after, ms(at));
        } else {
            watch.ended(&policy, Class::Success, second, ms(at));
            watch.ended(&policy, Class::Cancelled, hedge.after + second, ms(at));
        }
    }
    (hedges * 10_000 / calls, watch.hedge(&policy, ms(calls * 20)).unwrap().after)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn hedging_by_a_percentile_does_not_cut_the_ground_from_under_itself(seed: u64) {
        // Half an hour: the past is forgotten thirty times.
        let (share, after) = hedged(seed, Policy::read("p80", None, Some("100%")).unwrap(), 90_000);
        prop_assert!((1_500..=2_500).contains(&share), "{share} of 10,000 are hedged");
        // Two tenths of the doublings lie above it.
        prop_assert!((millis(2_000)..=millis(4_000)).contains(&after), "{after:?}");
    }

    #[test]
    fn no_more_is_hedged_than_its_share_whatever_the_time(seed: u64, after in 1..100_u64) {
        let policy = Policy { after: After::Span(millis(after)), ..p95() };
        let (share, _) = hedged(seed, policy, 30_000);
        prop_assert!(share <= 1_100, "{share} of 10,000 are hedged");
    }
}
