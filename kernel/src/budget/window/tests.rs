//! Calendar windows, and what fits into them.

use super::*;
use proptest::prelude::*;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

const fn calls(calls: u64) -> Amount {
    Amount { calls, ..Amount::NONE }
}

fn limit(calls: u64) -> Option<Limits> {
    Some(Limits { calls: Some(calls), ..Limits::NONE })
}

/// 2026-11-21, half past ten.
const NOW: Wall = Wall::from_millis(1_795_257_000_000);

#[test]
fn days_and_months_are_those_of_the_calendar() {
    let day = Day::of(NOW);
    assert_eq!(
        (day.to_string(), day.first_of_month().to_string()),
        ("2026-11-21".into(), "2026-11-01".into())
    );
    assert_eq!(Day::of(Period::Day.until(day)).to_string(), "2026-11-22");
    assert_eq!(Day::of(Period::Month.until(day)).to_string(), "2026-12-01");
    for (days, text) in
        [(0, "1970-01-01"), (-1, "1969-12-31"), (11_016, "2000-02-29"), (19_782, "2024-02-29")]
    {
        assert_eq!(Day(days).to_string(), text);
    }
    assert_eq!(Day::of(Period::Month.until(Day(19_782))).to_string(), "2024-03-01");
}

#[test]
fn a_tenant_and_each_of_its_workflows_have_budgets_of_their_own() {
    let (a, b, mut windows) = (name("a"), name("b"), Windows::default());
    windows.set(Target::Tenant, Period::Day, limit(5));
    windows.set(Target::Workflow(a.clone()), Period::Month, limit(3));
    windows.add(&a, Day::of(NOW), calls(3), NOW);
    let over = windows.admit(&a, NOW).unwrap_err();
    assert_eq!(
        (over.target.clone(), over.period, over.spent),
        (Target::Workflow(a.clone()), Period::Month, 3)
    );
    assert_eq!(
        over.to_string(),
        "3 calls of the 3 calls that workflow `a` may use in a month are spent; it begins anew on 2026-12-01 (UTC)"
    );
    assert_eq!(windows.admit(&b, NOW), Ok(()));
    windows.add(&b, Day::of(NOW), calls(2), NOW);
    assert_eq!(windows.admit(&b, NOW).unwrap_err().target, Target::Tenant);
    let tomorrow = Period::Day.until(Day::of(NOW));
    assert_eq!(windows.admit(&b, tomorrow), Ok(()), "a day begins anew");
    assert!(windows.admit(&a, tomorrow).is_err(), "a month does not");
    windows.set(Target::Workflow(a.clone()), Period::Month, None);
    assert_eq!(windows.admit(&a, tomorrow), Ok(()));
}

#[test]
fn what_is_held_is_waited_for_and_what_is_spent_is_not() {
    let (a, mut windows) = (name("a"), Windows::default());
    windows.set(Target::Tenant, Period::Day, limit(2));
    assert_eq!(windows.hold(&a, calls(1), NOW), Held::Now);
    assert_eq!(windows.hold(&a, calls(1), NOW), Held::Now);
    assert_eq!(windows.hold(&a, calls(1), NOW), Held::Later);
    windows.release(&a, calls(1));
    windows.add(&a, Day::of(NOW), calls(1), NOW);
    assert_eq!(windows.hold(&a, calls(1), NOW), Held::Later);
    windows.release(&a, calls(1));
    windows.add(&a, Day::of(NOW), calls(1), NOW);
    assert!(matches!(windows.hold(&a, calls(1), NOW), Held::Never(over) if over.spent == 2));
}

#[test]
fn people_are_warned_once_when_four_fifths_are_spent() {
    let (a, mut windows) = (name("a"), Windows::default());
    windows.set(Target::Tenant, Period::Day, limit(10));
    let mut warned = Vec::new();
    for call in 1..=10 {
        warned.extend(
            windows.add(&a, Day::of(NOW), calls(1), NOW).into_iter().map(|near| (call, near.over.spent)),
        );
    }
    assert_eq!(warned, [(8, 8)]);
}

#[test]
fn what_was_used_in_another_window_is_not_counted_in_this_one() {
    let (a, mut windows) = (name("a"), Windows::default());
    windows.set(Target::Tenant, Period::Day, limit(1));
    windows.set(Target::Tenant, Period::Month, limit(9));
    windows.add(&a, Day(Day::of(NOW).0 - 1), calls(4), NOW);
    assert_eq!(windows.admit(&a, NOW), Ok(()));
    let spent: Vec<u64> = windows.standings(NOW).iter().map(|standing| standing.spent.calls).collect();
    assert_eq!(spent, [0, 4]);
}

#[test]
fn only_days_of_the_calendar_are_read() {
    for text in ["2024-02-29", "1970-01-01", "2026-11-21"] {
        assert_eq!(text.parse::<Day>().unwrap().to_string(), text);
    }
    for text in
        ["", "2026-02-29", "2026-13-01", "2026-1-1", "2026-11-21 ", "21.11.2026", "2026-+1-01", "-026-01-01"]
    {
        assert!(text.parse::<Day>().is_err(), "{text}");
    }
}

#[test]
fn targets_read_back_as_they_are_written() {
    for text in ["tenant", "workflow/answer"] {
        assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
    }
    for text in ["", "tenants", "tenant/a", "workflow", "workflow/A B", "agent/a"] {
        assert!(text.parse::<Target>().is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn every_day_is_in_its_month_and_before_the_next(day in -200_000..200_000_i32) {
        let day = Day(day);
        let (first, next) = (day.first_of_month(), Day::of(Period::Month.until(day)));
        prop_assert!(first <= day && day < next && (28..=31).contains(&(next.0 - first.0)));
        prop_assert_eq!(next.civil().2, 1);
        prop_assert_eq!(first.civil().1, day.civil().1);
        if (0..10_000).contains(&day.civil().0) {
            prop_assert_eq!(day.to_string().parse::<Day>(), Ok(day));
        }
    }

    /// With estimates that hold, no limit is ever exceeded, however calls lie side by side.
    #[test]
    fn calls_that_use_no_more_than_is_held_for_them_exceed_no_limit(
        most in 1..20_u64,
        calls in prop::collection::vec((1..6_u64, 0..6_u64, any::<bool>()), 1..60),
    ) {
        let (a, mut windows, mut spent) = (name("a"), Windows::default(), 0);
        windows.set(Target::Tenant, Period::Day, Some(Limits { tokens: Some(most), ..Limits::NONE }));
        let mut under_way: Vec<(Amount, u64)> = Vec::new();
        for (estimate, used, settles) in calls {
            let held = Amount { tokens: estimate, ..Amount::NONE };
            if windows.hold(&a, held, NOW) == Held::Now {
                under_way.push((held, used.min(estimate)));
            }
            if settles && !under_way.is_empty() {
                let (held, used) = under_way.remove(0);
                windows.release(&a, held);
                windows.add(&a, Day::of(NOW), Amount { tokens: used, ..Amount::NONE }, NOW);
                spent += used;
            }
            let open: u64 = under_way.iter().map(|(held, _)| held.tokens).sum();
            prop_assert!(spent + open <= most, "{} and {} of {}", spent, open, most);
        }
    }
}
