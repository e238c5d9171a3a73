use super::*;

fn tally(calls: u32, failed: u32) -> Sibling {
    let mut tally = Tally::default();
    (0..calls).for_each(|n| tally.add(if n < failed { WHOLE } else { 0 }));
    Sibling::Usable(tally)
}

fn places(pool: &[Sibling]) -> Vec<usize> {
    Config::default().outliers(pool, 0).into_iter().map(|(place, _)| place).collect()
}

#[test]
fn who_fails_four_in_ten_beside_siblings_that_hardly_fail_is_ejected_and_told_why() {
    let pool = [tally(40, 0), tally(40, 16), tally(40, 1), tally(40, 0)];
    let [(1, reason)] = Config::default().outliers(&pool, 0)[..] else { panic!("the second, and it alone") };
    assert_eq!(reason.to_string(), "60% of 40 recent calls went well, 99.17% at its 3 siblings");
}

#[test]
fn where_all_fail_alike_nobody_is_the_outlier() {
    assert!(places(&[tally(40, 16), tally(40, 18), tally(40, 12), tally(40, 20)]).is_empty());
    assert!(places(&[tally(40, 40); 5]).is_empty());
}

#[test]
fn few_calls_small_gaps_and_pools_of_two_are_no_evidence() {
    assert!(places(&[tally(9, 9), tally(40, 0), tally(40, 0), tally(40, 0)]).is_empty(), "nine calls");
    assert!(places(&[tally(10, 5), tally(10, 1), tally(10, 0), tally(10, 1)]).is_empty(), "chance");
    assert!(places(&[tally(9_000, 1_500), tally(9_000, 0), tally(9_000, 0)]).is_empty(), "a sixth");
    assert!(places(&[tally(40, 40), tally(40, 0)]).is_empty(), "one against one");
}

#[test]
fn siblings_that_differ_widely_among_themselves_leave_no_outlier() {
    assert!(places(&[tally(90, 80), tally(90, 60), tally(90, 40), tally(90, 0)]).is_empty());
}

#[test]
fn who_is_unwell_or_ejected_is_not_compared() {
    assert_eq!(places(&[Sibling::Excluded, tally(40, 40), tally(40, 0), tally(40, 0)]), [1]);
    assert!(places(&[Sibling::Excluded, tally(40, 40), tally(40, 0)]).is_empty(), "one against one");
    assert!(places(&[Sibling::Ejected, tally(40, 40), tally(40, 0), tally(40, 0)]).is_empty(), "one is out");
}

#[test]
fn the_worst_go_first_and_never_more_than_the_share() {
    let mut pool = vec![tally(40, 0); 27];
    pool.extend([tally(40, 20), tally(40, 40), tally(40, 30)]);
    assert_eq!(places(&pool), [28, 29, 27]);
    pool[0] = Sibling::Ejected;
    assert_eq!(places(&pool), [28, 29]);
    assert_eq!([1, 2, 3, 10, 19, 20, 1_000].map(|n| Config::default().most(n)), [0, 0, 1, 1, 1, 2, 100]);
    assert_eq!(Config { share_bp: 0 }.outliers(&pool, 0), []);
}

#[test]
fn nobody_is_ejected_if_too_few_would_be_left() {
    let pool = [tally(40, 40), tally(40, 0), tally(40, 0), Sibling::Excluded];
    assert_eq!(Config::default().outliers(&pool, 2).len(), 1);
    assert!(Config::default().outliers(&pool, 3).is_empty());
}

#[test]
fn it_stays_out_longer_each_time_and_a_calm_time_forgives() {
    let (mut standing, mut dice) = (Standing::default(), Dice::seeded(1));
    let reason = Reason { calls: 40, success_bp: 0, siblings_bp: WHOLE, siblings: 3 };
    let mut now = Mono::at(Duration::ZERO);
    let mut times = Vec::new();
    for _ in 0..12 {
        let ejected = standing.eject(reason, now, &mut dice);
        times.push(ejected.until - ejected.since);
        assert!(!standing.handle_timeout(now) && standing.ejected() == Some(ejected));
        now = ejected.until;
        assert!(
            standing.handle_timeout(now) && standing.ejected().is_none() && !standing.handle_timeout(now)
        );
    }
    for (n, time) in (1..).zip(&times) {
        let span = (BASE * n).min(LONGEST);
        assert!((span / 2..span).contains(time), "{n}: {time:?}");
    }
    (0..12).for_each(|_| standing.age());
    let ejected = standing.eject(reason, now, &mut dice);
    assert!(ejected.until - ejected.since < BASE);
}

/// Sixty simulated minutes of a pool whose instances fail with these probabilities: the share of calls each got, and the
/// most that were out at once.
fn hour(seed: u64, failing: &[f64]) -> (Vec<f64>, usize) {
    let (config, mut dice) = (Config::default(), Dice::seeded(seed));
    let mut pool = vec![Standing::default(); failing.len()];
    let (mut calls, mut most) = (vec![0_u32; failing.len()], 0);
    for second in 0..3_600 {
        let now = Mono::at(Duration::from_secs(second));
        pool.iter_mut().for_each(|standing| {
            standing.handle_timeout(now);
        });
        for _ in 0..5 * failing.len() {
            let at = dice.below(pool.len());
            if pool[at].ejected().is_none() {
                calls[at] += 1;
                pool[at].count(if dice.fraction() < failing[at] { WHOLE } else { 0 });
            }
        }
        if second % INTERVAL.as_secs() == 0 {
            let seen: Vec<_> = pool
                .iter()
                .map(|it| it.ejected().map_or(Sibling::Usable(it.tally()), |_| Sibling::Ejected))
                .collect();
            for (at, reason) in config.outliers(&seen, 0) {
                pool[at].eject(reason, now, &mut dice);
            }
            pool.iter_mut().for_each(Standing::age);
        }
        most = most.max(pool.iter().filter(|it| it.ejected().is_some()).count());
    }
    let all = f64::from(calls.iter().sum::<u32>());
    (calls.into_iter().map(|n| f64::from(n) / all).collect(), most)
}

#[test]
fn a_broken_instance_loses_its_traffic_and_a_pool_never_loses_more_than_the_share() {
    for seed in 0..10 {
        let (shares, most) = hour(seed, &[0.45, 0.02, 0.02, 0.02, 0.02]);
        assert!(shares[0] < 0.02, "seed {seed}: {shares:?}");
        assert_eq!(most, 1);
        let (_, most) = hour(seed, &[0.9, 0.9, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]);
        assert!(most <= 1, "seed {seed}");
    }
}

#[test]
fn equals_that_fail_a_third_of_the_time_are_hardly_ever_ejected() {
    let ejected: usize = (0..10).filter(|seed| hour(*seed, &[0.3; 5]).1 > 0).count();
    assert!(ejected <= 1, "in {ejected} of 10 hours");
}
