use super::*;
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: u64) -> Mono {
    Mono::at(Duration::from_secs(seconds))
}

fn memory(reading: u64) -> Readings {
    Readings { memory: Some(reading), ..Readings::default() }
}

fn governor() -> Governor {
    Governor::new(Config::default(), None)
}

fn hand(mode: Mode) -> Hand {
    Hand { mode, reason: "drill".into(), by: "ada".into(), since: Wall::from_millis(1) }
}

#[test]
fn a_reading_at_the_threshold_enters_at_once_and_says_why() {
    let mut governor = governor();
    assert_eq!(governor.observe(memory(7_999), at(1)), None);
    let change = governor.observe(memory(8_000), at(2)).unwrap();
    assert_eq!((change.from, change.to), (Mode::Full, Mode::Degraded));
    assert_eq!(change.cause.to_string(), "80% of the memory's soft limit is in use, the limit is 80%");
    assert_eq!(governor.cause(), change.cause);
}

#[test]
fn the_way_up_may_skip_a_mode_and_the_way_down_may_not() {
    let mut governor = governor();
    assert_eq!(governor.observe(memory(12_000), at(0)).unwrap().to, Mode::Emergency);
    assert_eq!(governor.observe(memory(0), at(14)), None, "it was not felt yet");
    assert_eq!(governor.observe(memory(0), at(15)).unwrap().to, Mode::Degraded);
    assert_eq!(governor.poll_timeout(), Some(at(30)));
    assert_eq!(governor.observe(memory(0), at(29)), None);
    let last = governor.observe(memory(0), at(30)).unwrap();
    assert_eq!((last.to, last.cause), (Mode::Full, Cause::Relieved));
    assert_eq!(governor.poll_timeout(), None);
}

#[test]
fn between_the_thresholds_nothing_changes_however_long() {
    let mut governor = governor();
    assert_eq!(governor.observe(memory(7_500), at(0)), None);
    assert!(governor.observe(memory(8_100), at(1)).is_some());
    for second in 2..100 {
        assert_eq!(governor.observe(memory(7_500), at(second)), None);
    }
    assert_eq!(governor.mode(), Mode::Degraded);
}

#[test]
fn errors_and_latency_ask_by_rules_of_their_own_and_silence_is_believed_after_the_dwell() {
    let mut config = Config::default();
    config.set("errors.degraded", "30%/10%").unwrap();
    config.set("latency.emergency", "5s/3s").unwrap();
    let mut governor = Governor::new(config, None);
    let errors = |reading| Readings { errors: Some(reading), ..Readings::default() };
    let change = governor.observe(errors(3_000), at(1)).unwrap();
    assert_eq!(
        (change.to, change.cause.to_string()),
        (Mode::Degraded, "30% of the attempts fail, the limit is 30%".into())
    );
    let slow = Readings { latency: Some(6_000_000), ..errors(1_500) };
    let change = governor.observe(slow, at(2)).unwrap();
    assert_eq!(change.to, Mode::Emergency);
    assert!(change.cause.to_string().contains("6s or more, the limit is 5s"), "{}", change.cause);
    let better = Readings { latency: Some(4_000_000), ..errors(1_500) };
    assert_eq!(governor.observe(better, at(30)), None, "between the thresholds");
    assert_eq!(governor.observe(Readings::default(), at(44)), None);
    assert_eq!(governor.observe(Readings::default(), at(45)).unwrap().to, Mode::Degraded);
    assert_eq!(governor.observe(Readings::default(), at(60)).unwrap().to, Mode::Full);
}

#[test]
fn a_signal_nobody_can_read_leaves_its_rules_as_they_are() {
    let mut governor = governor();
    assert!(governor.observe(memory(8_100), at(0)).is_some());
    assert_eq!(governor.observe(Readings::default(), at(60)), None);
    assert_eq!(governor.mode(), Mode::Degraded);
}

#[test]
fn what_a_person_sets_holds_against_the_rules_and_hands_back_to_where_they_are() {
    let mut governor = governor();
    let set = governor.set(hand(Mode::Full));
    assert_eq!((set.from, set.to, set.cause.to_string()), (Mode::Full, Mode::Full, "drill".into()));
    assert_eq!(governor.observe(memory(20_000), at(1)), None);
    assert_eq!((governor.mode(), governor.ruled()), (Mode::Full, Mode::Emergency));
    let released = governor.release("ada").unwrap();
    assert_eq!((released.from, released.to), (Mode::Full, Mode::Emergency));
    assert_eq!(governor.release("ada"), None);
}

#[test]
fn what_is_on_record_holds_from_the_start() {
    let governor = Governor::new(Config::default(), Some(hand(Mode::Emergency)));
    assert_eq!(governor.mode(), Mode::Emergency);
}

#[test]
fn a_rule_that_leaves_where_it_enters_is_refused() {
    let rule = Rule { signal: Signal::Errors, mode: Mode::Degraded, enter: 5_000, leave: 5_000 };
    let error = Config { rules: vec![rule], dwell: SECOND }.validate().unwrap_err();
    assert!(error.to_string().contains("errors at 5000"), "{error}");
    assert_eq!(Config::default().validate(), Ok(()));
}

#[test]
fn each_mode_is_read_back_from_its_name() {
    for mode in Mode::ALL {
        assert_eq!(mode.as_str().parse(), Ok(mode));
    }
    assert!("panic".parse::<Mode>().is_err());
}

proptest! {
    #[test]
    fn rules_never_leave_a_mode_before_its_time(readings in proptest::collection::vec(0..20_000_u64, 1..200)) {
        let mut governor = governor();
        let mut entered = None;
        for (second, reading) in (0_u64..).zip(readings) {
            let before = governor.mode();
            if let Some(change) = governor.observe(memory(reading), at(second)) {
                prop_assert_eq!((change.from, change.to), (before, governor.mode()));
                if change.to < change.from {
                    prop_assert!(second >= entered.unwrap_or(0) + DWELL.as_secs());
                    prop_assert!(reading < 10_000);
                }
                entered = Some(second);
            } else {
                prop_assert_eq!(before, governor.mode());
            }
        }
    }
}
