use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::json::Json;
use crate::time::Wall;

fn key() -> Key {
    Key::new("market/prices").unwrap()
}

fn owner(text: &str) -> Owner {
    text.parse().unwrap()
}

fn at(s: i64) -> Wall {
    Wall::from_millis(s * 1000)
}

fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

fn put(entry: Option<&Entry>, expected: Option<u64>, now: Wall) -> Result<Written, PutRefused> {
    Entry::put(entry, Put { by: &owner("agent/market"), expected, max_age: Some(secs(60)), bytes: 2 }, now)
}

/// Versions 1, 2, 3 … written at the seconds given.
fn written(at_seconds: &[i64]) -> Entry {
    let mut entry = None;
    for second in at_seconds {
        entry = Some(put(entry.as_ref(), None, at(*second)).unwrap().entry);
    }
    entry.unwrap()
}

#[test]
fn a_key_is_a_path_of_names() {
    for good in ["prices", "market/prices", "a/b/c/d/e/f/g/h"] {
        assert_eq!(Key::new(good).unwrap().as_str(), good);
    }
    for bad in ["", "/", "a//b", "a/", "a/b/c/d/e/f/g/h/i", "a/Up", "a/../b"] {
        assert!(Key::new(bad).is_err(), "{bad:?}");
    }
    assert_eq!(Key::new(&format!("{}/{}", "x".repeat(64), "y".repeat(64))), Err(KeyError::Shape));
    let refused = Key::new("a/ü").unwrap_err().to_string();
    assert!(refused.contains("has the part \"ü\", which has 'ü' at byte 0"), "{refused}");
}

#[test]
fn an_owner_is_an_agent_or_a_user() {
    for good in ["agent/market", "user/ann.lee"] {
        assert_eq!(owner(good).to_string(), good);
    }
    for bad in ["market", "agent/", "team/a", "user/Ann"] {
        assert!(bad.parse::<Owner>().is_err(), "{bad}");
    }
}

#[test]
fn only_the_owner_writes_and_removes() {
    let entry = written(&[0]);
    let stranger = owner("user/market");
    let refused =
        Entry::put(Some(&entry), Put { by: &stranger, expected: Some(1), max_age: None, bytes: 1 }, at(1));
    let not_owner = PutRefused::NotOwner { owner: owner("agent/market"), by: stranger.clone() };
    assert_eq!(refused, Err(not_owner.clone()));
    assert_eq!(entry.remove(&stranger, None), Err(not_owner));
    assert_eq!(entry.remove(&owner("agent/market"), Some(1)), Ok(()));
}

#[test]
fn a_writer_who_has_not_seen_what_is_there_is_refused() {
    assert_eq!(put(None, Some(1), at(0)), Err(PutRefused::Conflict { expected: 1, found: 0 }));
    let first = put(None, Some(0), at(0)).unwrap().entry;
    assert_eq!(put(Some(&first), Some(0), at(1)), Err(PutRefused::Conflict { expected: 0, found: 1 }));
    assert_eq!(
        first.remove(&owner("agent/market"), Some(2)),
        Err(PutRefused::Conflict { expected: 2, found: 1 })
    );
    let second = put(Some(&first), Some(1), at(1)).unwrap();
    assert_eq!((second.entry.newest().version, second.forgets), (2, None));
}

#[test]
fn a_value_past_the_limit_is_refused_with_its_key_its_age_and_the_limit() {
    let entry = written(&[0]);
    let read = |max_age, now| entry.read(&key(), AsOf::Now, max_age, now);
    assert_eq!(read(None, at(60)).unwrap().age, secs(60), "as old as it may be is not too old");
    let stale = |max_age, now| match read(max_age, now) {
        Err(ReadRefused::Stale(stale)) => stale,
        other => panic!("{other:?}"),
    };
    let text = "`market/prices` is stale: version 1 is 1m1s old, and its owner allows 1m";
    assert_eq!(stale(None, at(61)).to_string(), text);
    let by_reader = stale(Some(secs(5)), at(6));
    assert_eq!((by_reader.limit, by_reader.by_owner), (secs(5), false), "a reader may allow less");
    assert!(stale(Some(secs(600)), at(61)).by_owner, "and never more");
}

#[test]
fn history_is_read_by_number_whatever_its_age_and_by_time_as_it_was_then() {
    let entry = written(&[0, 10, 20]);
    let read = |as_of| entry.read(&key(), as_of, None, at(500));
    let refused = |as_of| read(as_of).unwrap_err();
    let old = read(AsOf::Version(2)).unwrap();
    assert_eq!((old.stamp.version, old.age, old.stale), (2, secs(490), true));
    let then = read(AsOf::Time(at(19))).unwrap();
    assert_eq!((then.stamp.version, then.age, then.stale), (2, secs(9), false));
    assert_eq!(read(AsOf::Time(at(20))).unwrap().stamp.version, 3);
    let stale = |as_of| matches!(refused(as_of), ReadRefused::Stale(Stale { version: 3, .. }));
    assert!(stale(AsOf::Time(at(81))), "stale then, so refused now");
    assert!(stale(AsOf::Time(at(9_999))), "no later than now");
    assert_eq!(refused(AsOf::Time(Wall::from_millis(-1))), NotKept::NotYet.into());
    assert_eq!(refused(AsOf::Version(4)), NotKept::Never { asked: 4, newest: 3 }.into());
    assert_eq!(refused(AsOf::Version(0)), NotKept::Never { asked: 0, newest: 3 }.into());
}

#[test]
fn the_oldest_versions_are_forgotten_and_whoever_asks_is_told() {
    let seconds: Vec<i64> = (0..).take(MAX_VERSIONS).collect();
    let full = written(&seconds);
    let next = put(Some(&full), None, at(100)).unwrap();
    assert_eq!((next.forgets, next.entry.versions().len()), (Some(1), MAX_VERSIONS));
    let read = |as_of| next.entry.read(&key(), as_of, None, at(100));
    let forgotten = Err(NotKept::Forgotten { oldest: 2 }.into());
    assert_eq!(read(AsOf::Version(1)), forgotten);
    assert_eq!(read(AsOf::Time(at(0))), forgotten);
    assert_eq!(read(AsOf::Version(2)).unwrap().stamp.version, 2);
}

#[test]
fn a_record_is_read_as_it_was_written() {
    let entry = written(&[1]);
    let text =
        r#"{"owner":"agent/market","versions":[{"version":1,"at":1000,"max_age_ms":60000,"bytes":2}]}"#;
    assert_eq!(serde_json::to_string(&entry).unwrap(), text);
    assert_eq!(serde_json::from_str::<Entry>(text).unwrap(), entry);
}

#[test]
fn what_a_run_read_is_one_object_of_the_very_texts() {
    let value = Json::parse(br#"{"eur": 1.10}"#, &crate::json::Limits::default()).unwrap();
    let pin = |name: &str| Pin {
        of: "".into(),
        name: name.into(),
        key: key(),
        version: 3,
        at: at(1),
        value: value.clone(),
    };
    let pins = Pins::new(vec![pin("prices"), pin("also")]);
    assert_eq!(pins.values(None).as_str(), r#"{"also":{"eur": 1.10},"prices":{"eur": 1.10}}"#);
    let text = serde_json::to_string(&pins).unwrap();
    assert_eq!(serde_json::from_str::<Pins>(&text).unwrap(), pins);
    assert_eq!(Pins::default().values(None).as_str(), "{}");
}

proptest! {
    /// Whatever the clock does between puts, numbers follow on each other, times never go back, and a read as of a time
    /// finds what was the newest then.
    #[test]
    fn versions_and_times_only_grow(clock in prop::collection::vec(-100_i64..100, 1..200)) {
        let entry = written(&clock);
        let versions = entry.versions();
        prop_assert!(versions.len() <= MAX_VERSIONS);
        prop_assert_eq!(entry.newest().version, clock.len() as u64);
        for pair in versions.windows(2) {
            prop_assert_eq!(pair[0].version + 1, pair[1].version);
            prop_assert!(pair[0].at <= pair[1].at);
        }
        let late = at(1_000);
        for stamp in versions {
            let found = entry.read(&key(), AsOf::Time(stamp.at), None, late).unwrap().stamp;
            prop_assert!(found.version >= stamp.version && found.at == stamp.at);
        }
    }
}
