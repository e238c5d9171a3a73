//! Times, what is missed, what overlaps, and documents.

use proptest::prelude::*;

use super::calendar::{Date, MINUTE, Rfc3339, weekday};
use super::*;
use crate::id::RunId;

/// 21 November 2026, 16:00 UTC, a Saturday.
const NOON: i64 = 1_795_276_800_000;

fn at(ms: i64) -> Wall {
    Wall::from_millis(NOON + ms)
}

fn minutes(minutes: i64) -> Wall {
    at(minutes * MINUTE)
}

fn schedule(more: &str) -> Schedule {
    Schedule::parse(&format!("name: s\nworkflow: w\n{more}"))
        .unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn every_minute(more: &str) -> Schedule {
    schedule(&format!("every: 1m\n{more}"))
}

fn next(cron: &str) -> String {
    Rfc3339(cron.parse::<Cron>().unwrap().next(at(0)).unwrap()).to_string()
}

fn firing(minute: i64) -> Firing {
    Firing { at: minutes(minute), run: RunId::from_bytes([u8::try_from(minute).unwrap(); 16]) }
}

#[test]
fn expressions_mean_what_crontab_says() {
    assert_eq!(Rfc3339(at(0)).to_string(), "2026-11-21T16:00:00Z");
    for (cron, expected) in [
        ("* * * * *", "2026-11-21T16:01:00Z"),
        ("0 * * * *", "2026-11-21T17:00:00Z"),
        ("*/15 * * * *", "2026-11-21T16:15:00Z"),
        ("5/20 16 * * *", "2026-11-21T16:05:00Z"),
        ("0 3 * * *", "2026-11-22T03:00:00Z"),
        ("30 9 * * mon-fri", "2026-11-23T09:30:00Z"),
        ("0 0 * * 7", "2026-11-22T00:00:00Z"),
        ("0 0 * * 0", "2026-11-22T00:00:00Z"),
        ("0 0 29 feb *", "2028-02-29T00:00:00Z"),
        ("0 0 31 * *", "2026-12-31T00:00:00Z"),
        ("0 0 1,15 * wed", "2026-11-25T00:00:00Z"),
        ("0 0 13 * *", "2026-12-13T00:00:00Z"),
        ("0 12 1 jan,JUL *", "2027-01-01T12:00:00Z"),
        ("@yearly", "2027-01-01T00:00:00Z"),
        ("@hourly", "2026-11-21T17:00:00Z"),
    ] {
        assert_eq!(next(cron), expected, "{cron}");
    }
}

#[test]
fn what_is_no_expression_is_refused_with_its_field() {
    for (cron, said) in [
        ("* * * *", "has 4 fields"),
        ("60 * * * *", "no minute; it goes from 0 to 59"),
        ("* 24 * * *", "no hour"),
        ("* * 0 * *", "no day of the month"),
        ("* * * 13 *", "no month"),
        ("* * * * 8", "no day of the week"),
        ("*/0 * * * *", "no minute"),
        ("9-5 * * * *", "no minute"),
        ("1,,2 * * * *", "no minute"),
        ("+1 * * * *", "no minute"),
        ("0 0 30 2 *", "never comes"),
    ] {
        let error = cron.parse::<Cron>().unwrap_err().to_string();
        assert!(error.contains(said), "{cron}: {error}");
    }
}

#[test]
fn an_interval_is_counted_from_the_epoch_and_not_from_the_start() {
    let times = Times::Every(Duration::from_secs(900));
    assert_eq!(times.next(at(1)), Some(minutes(15)));
    assert_eq!(times.next(minutes(15)), Some(minutes(30)));
    assert_eq!(times.next(Wall::from_millis(i64::MAX)), None);
}

#[test]
fn an_occurrence_on_time_runs_and_once_only() {
    let schedule = every_minute("");
    let begun = Standing::beginning(at(1));
    assert_eq!(decide(&schedule, &begun, false, at(59_999)).standing.starting, []);
    let decided = decide(&schedule, &begun, false, minutes(1));
    assert_eq!((decided.standing.starting.clone(), decided.notes), (vec![minutes(1)], vec![]));
    let again = decide(&schedule, &decided.standing, false, at(61_000));
    assert_eq!(again.standing.starting, [minutes(1)], "what is being started is not fired again");
    assert_eq!(schedule.key(minutes(1)), "schedule/s/2026-11-21T16:01:00Z");
}

#[test]
fn what_was_missed_is_left_out_run_once_or_caught_up_with() {
    let begun = Standing::beginning(at(0));
    // Ten minutes and a half later: the tenth is on time.
    let now = at(10 * MINUTE + 30_000);
    let missed = |count, to| vec![Note { from: minutes(1), to: minutes(to), count, reason: Reason::Missed }];
    let look = |more: &str| decide(&every_minute(more), &begun, false, now);
    let allow = "overlap: allow\nmax_running: 32\n";
    let decided = look("missed: skip");
    assert_eq!((decided.standing.starting, decided.notes), (vec![minutes(10)], missed(9, 9)));
    let decided = look("missed: run_once");
    assert_eq!((decided.standing.starting, decided.notes), (vec![minutes(10)], missed(9, 9)));
    let decided = look(&format!("{allow}missed: catch_up\nmax_catch_up: 2"));
    assert_eq!(decided.standing.starting, [minutes(8), minutes(9), minutes(10)]);
    assert_eq!(decided.notes, missed(7, 7));

    // Every hour, and the last one twenty minutes ago: nothing is on time.
    let hourly = |more: &str| decide(&schedule(&format!("every: 1h\n{more}")), &begun, false, minutes(140));
    let late = |count, to| vec![Note { from: minutes(60), to: minutes(to), count, reason: Reason::Missed }];
    assert_eq!(hourly("missed: skip").notes, late(2, 120));
    assert_eq!(hourly("missed: skip").standing.starting, []);
    let once = hourly("missed: run_once");
    assert_eq!((once.standing.starting, once.notes), (vec![minutes(120)], late(1, 60)));
}

#[test]
fn a_year_of_absence_is_looked_through_and_counted() {
    let schedule = every_minute("missed: skip");
    let now = at(400 * 24 * 60 * MINUTE + 1_000);
    let decided = decide(&schedule, &Standing::beginning(at(0)), false, now);
    let [note] = &*decided.notes else { panic!("{:?}", decided.notes) };
    assert_eq!(note.count, 366 * 24 * 60 - 1, "a year is looked back and no more");
    assert_eq!(decided.standing.starting.len(), 1);
}

#[test]
fn an_occurrence_that_overlaps_is_left_out_queued_allowed_or_cancels_the_one_before() {
    let running = Standing { running: vec![firing(1)], ..Standing::beginning(minutes(1)) };
    let look = |more: &str, standing: &Standing| decide(&every_minute(more), standing, false, minutes(2));
    let left_out = vec![Note { from: minutes(2), to: minutes(2), count: 1, reason: Reason::Overlap }];

    let decided = look("overlap: skip", &running);
    assert_eq!((decided.standing.starting, decided.notes.clone()), (vec![], left_out.clone()));

    let decided = look("overlap: queue", &running);
    assert_eq!((&*decided.standing.queued, &*decided.notes), (&[minutes(2)][..], &[][..]));
    let full = decide(&every_minute("overlap: queue"), &decided.standing, false, minutes(3));
    assert_eq!((full.standing.queued.len(), full.notes[0].reason), (1, Reason::Overlap));
    let ended = Standing { running: vec![], ..full.standing };
    let next = decide(&every_minute("overlap: queue"), &ended, false, at(3 * MINUTE + 1));
    assert_eq!((next.standing.starting, next.standing.queued), (vec![minutes(2)], vec![]));

    let decided = look("overlap: allow\nmax_running: 2", &running);
    assert_eq!(decided.standing.starting, [minutes(2)]);
    assert_eq!(look("overlap: allow\nmax_running: 1", &running).notes, left_out);

    let decided = look("overlap: cancel_previous", &running);
    assert_eq!((decided.standing.starting, decided.cancel), (vec![minutes(2)], vec![firing(1).run]));
    assert_eq!(decided.standing.running, []);
}

#[test]
fn what_comes_while_it_is_paused_runs_neither_then_nor_later() {
    let schedule = every_minute("missed: catch_up");
    let paused = decide(&schedule, &Standing::beginning(at(0)), true, minutes(5));
    assert_eq!(paused.standing.starting, []);
    assert_eq!((paused.notes[0].count, paused.notes[0].reason), (5, Reason::Paused));
    let resumed = decide(&schedule, &paused.standing, false, at(5 * MINUTE + 30_000));
    assert_eq!((resumed.standing.starting, resumed.notes), (vec![], vec![]));
}

#[test]
fn a_clock_that_was_set_back_fires_nothing_twice() {
    let standing = Standing::beginning(minutes(10));
    let decided = decide(&every_minute(""), &standing, false, minutes(5));
    assert_eq!((decided.standing.until, decided.standing.starting), (minutes(10), vec![]));
}

#[test]
fn a_document_says_everything_that_is_wrong_with_it_at_once() {
    for (text, said) in [
        ("name: s\nworkflow: w", "cron: is missing"),
        ("name: s\nworkflow: w\ncron: '* * * * *'\nevery: 1m", "stands beside `every`"),
        ("name: s\nworkflow: w\nevery: 10ms", "at least 1s"),
        ("name: s\nworkflow: w\nevery: 1m\ntime_zone: Europe/Zurich", "is Europe/Zurich"),
        ("name: s\nworkflow: w\nevery: 1m\nmissed: never", "skip, run_once and catch_up"),
        ("name: s\nworkflow: w\nevery: 1m\noverlap: never", "skip, queue, allow and cancel_previous"),
        ("name: s\nworkflow: w\nevery: 1m\nmax_running: 3", "it goes with `overlap: allow`"),
        ("name: s\nworkflow: w\nevery: 1m\noverlap: allow\nmax_running: 33", "from 1 to 32"),
        ("name: s\nevery: 1m", "workflow: is missing"),
        ("name: s\nworkflow: w\nevery: 1m\nlabels: { 'A B': x }", "labels"),
        ("name: s\nworkflow: w\ncron: '61 * * * *'", "no minute"),
    ] {
        let problems = Schedule::parse(text).unwrap_err();
        let all = problems.iter().map(ToString::to_string).collect::<String>();
        assert!(all.contains(said), "{text}: {all}");
    }
    let whole = schedule(
        "cron: '0 3 * * *'\nversion: 2\ninput: { a: 1 }\nintent: nightly\nlabels: { team: a }\ntime_zone: UTC",
    );
    assert_eq!((whole.version, whole.missed, whole.overlap), (Some(2), Missed::RunOnce, Overlap::Skip));
    assert_eq!(whole.input.as_str(), r#"{"a":1}"#);
}

proptest! {
    #[test]
    fn the_next_time_is_the_first_that_the_fields_allow(
        minute in 0_u32..60, hour in 0_u32..24, step in 1_u32..30, weekday_of in 0_u32..7, from in 0_i64..4_000_000_000_000,
    ) {
        let cron: Cron = format!("{minute}-59/{step} {hour} * * {weekday_of}").parse().unwrap();
        let after = Wall::from_millis(from);
        let next = cron.next(after).unwrap();
        prop_assert!(next > after);
        let fits = |at: i64| {
            let (day, of_day) = (at.div_euclid(1440), at.rem_euclid(1440));
            let (h, m) = (of_day / 60, of_day % 60);
            weekday(day) == weekday_of
                && h == i64::from(hour)
                && m >= i64::from(minute)
                && (m - i64::from(minute)) % i64::from(step) == 0
        };
        let first = (from.div_euclid(MINUTE) + 1..).find(|at| fits(*at)).unwrap();
        prop_assert_eq!(next.as_millis(), first * MINUTE);
    }

    #[test]
    fn days_follow_each_other_through_all_months_and_leap_years(day in -700_000_i64..3_000_000) {
        let (today, tomorrow) = (Date::of(day), Date::of(day + 1));
        let leap = today.year % 4 == 0 && (today.year % 100 != 0 || today.year % 400 == 0);
        let last = match today.month { 2 => 28 + u32::from(leap), 4 | 6 | 9 | 11 => 30, _ => 31 };
        let expected = if today.day < last {
            Date { day: today.day + 1, ..today }
        } else if today.month < 12 {
            Date { month: today.month + 1, day: 1, ..today }
        } else {
            Date { year: today.year + 1, month: 1, day: 1 }
        };
        prop_assert_eq!(tomorrow, expected);
        prop_assert_eq!((weekday(day) + 1) % 7, weekday(day + 1));
    }

    /// However time passes and whatever is found running, each occurrence comes to one thing.
    #[test]
    fn every_occurrence_comes_to_exactly_one_thing(
        looks in prop::collection::vec((1_i64..600_000, any::<bool>(), any::<bool>()), 1..40),
        missed in prop::sample::select(vec!["skip", "run_once", "catch_up"]),
        overlap in prop::sample::select(vec!["skip", "queue", "allow", "cancel_previous"]),
    ) {
        let schedule = every_minute(&format!("missed: {missed}\noverlap: {overlap}"));
        let mut standing = Standing::beginning(at(0));
        let (mut now, mut accounted, mut run) = (at(0), 0_u64, 0_u8);
        for (passed, paused, ends) in looks {
            now = Wall::from_millis(now.as_millis() + passed);
            if ends {
                standing.running.clear();
            }
            let decided = decide(&schedule, &standing, paused, now);
            accounted += decided.notes.iter().map(|note| note.count).sum::<u64>();
            standing = decided.standing;
            for at in std::mem::take(&mut standing.starting) {
                run = run.wrapping_add(1);
                accounted += 1;
                standing.running.push(Firing { at, run: RunId::from_bytes([run; 16]) });
            }
            let due = (now.as_millis() - NOON) / MINUTE;
            prop_assert_eq!(accounted + standing.queued.len() as u64, due as u64);
            let most = if overlap == "allow" { 4 } else { 1 };
            prop_assert!(standing.running.len() <= most);
        }
    }
}
