use super::*;
use proptest::prelude::*;

fn secs(n: u64) -> Mono {
    Mono::at(Duration::from_secs(n))
}

fn took(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Candidates with a fixed score each; those in `shut` may not be called. Counts what was looked at.
struct Bench {
    scores: Vec<f64>,
    shut: Vec<bool>,
    asked: Vec<usize>,
}

impl Bench {
    fn new(scores: impl IntoIterator<Item = f64>) -> Self {
        let scores: Vec<_> = scores.into_iter().collect();
        Self { shut: vec![false; scores.len()], asked: Vec::new(), scores }
    }
}

impl Candidates for Bench {
    type Permit = ();
    fn len(&self) -> usize {
        self.scores.len()
    }
    fn score(&self, index: usize) -> f64 {
        self.scores[index]
    }
    fn take(&mut self, index: usize) -> Option<()> {
        self.asked.push(index);
        (!self.shut[index]).then_some(())
    }
}

#[test]
fn of_two_the_less_loaded_one_is_taken() {
    let mut dice = Dice::seeded(1);
    for _ in 0..100 {
        assert_eq!(choose(&mut Bench::new([2.0, 1.0]), &mut dice), Some((1, ())));
    }
}

#[test]
fn among_a_thousand_the_worst_is_never_taken_and_only_one_gate_is_asked() {
    let (mut dice, mut bench) = (Dice::seeded(1), Bench::new((0..1_000).map(f64::from)));
    let mut better_half = 0;
    for _ in 0..10_000 {
        let (index, ()) = choose(&mut bench, &mut dice).expect("all are open");
        assert_ne!(index, 999);
        better_half += usize::from(index < 500);
    }
    assert_eq!(bench.asked.len(), 10_000);
    assert!(
        (7_200..7_800).contains(&better_half),
        "three of four choices fall in the better half: {better_half}"
    );
}

#[test]
fn equals_share_evenly() {
    let (mut dice, mut bench) = (Dice::seeded(1), Bench::new([1.0; 5]));
    let mut taken = [0; 5];
    for _ in 0..10_000 {
        taken[choose(&mut bench, &mut dice).expect("open").0] += 1;
    }
    assert!(taken.iter().all(|n| (1_800..2_200).contains(n)), "{taken:?}");
}

#[test]
fn a_slow_answer_is_seen_at_once_and_a_fast_one_believed_slowly() {
    let mut load = Load::new(secs(0));
    load.begin();
    load.end(Class::Success, took(8_000), secs(1));
    let peak = load.score(secs(1));
    assert_eq!(peak, 8e9);
    load.begin();
    load.end(Class::Success, took(100), secs(2));
    assert!(load.score(secs(2)) > 0.9 * peak);
}

#[test]
fn what_was_slow_is_forgiven_with_time() {
    let mut load = Load::new(secs(0));
    load.begin();
    load.end(Class::Success, took(8_000), secs(1));
    assert!(load.score(secs(91)) < 0.06 * 8e9);
}

#[test]
fn calls_under_way_weigh_on_the_score_even_after_the_latency_faded() {
    let mut load = Load::new(secs(0));
    let idle = load.score(secs(100_000));
    load.begin();
    load.begin();
    assert_eq!(load.score(secs(100_000)), 3.0 * idle);
    load.abandon();
    assert_eq!(load.score(secs(100_000)), 2.0 * idle);
}

#[test]
fn failing_fast_does_not_make_an_instance_attractive() {
    let (mut failing, mut good) = (Load::new(secs(0)), Load::new(secs(0)));
    for n in 1..60 {
        for (load, class, latency) in
            [(&mut failing, Class::AgentError, took(1)), (&mut good, Class::Success, took(300))]
        {
            load.begin();
            load.end(class, latency, secs(n));
        }
    }
    let untouched = Load::new(secs(0)).score(secs(59));
    assert!((failing.score(secs(59)) / untouched - 1.0).abs() < 1e-9);
    assert!(good.score(secs(59)) >= 3e8);
}

proptest! {
    #[test]
    fn whoever_may_be_called_is_found_and_each_gate_is_asked_at_most_once(
        seed: u64,
        shut in proptest::collection::vec(any::<bool>(), 0..50),
    ) {
        let mut bench = Bench::new(shut.iter().map(|_| 1.0));
        bench.shut = shut.clone();
        let chosen = choose(&mut bench, &mut Dice::seeded(seed));
        prop_assert_eq!(chosen.is_some(), shut.contains(&false));
        prop_assert!(chosen.is_none_or(|(index, ())| !shut[index]));
        let asked = bench.asked.len();
        bench.asked.sort_unstable();
        bench.asked.dedup();
        prop_assert_eq!(bench.asked.len(), asked);
        prop_assert!(chosen.is_some() || asked == shut.len());
    }
}

#[test]
fn suggestions_name_each_candidate_once_and_spread_the_first_place() {
    let (mut dice, scores) = (Dice::seeded(1), [1.0, 2.0, 3.0, 9.0]);
    let mut first = [0; 4];
    for _ in 0..1_000 {
        let mut all = suggest(&scores, 10, &mut dice);
        first[all[0]] += 1;
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3]);
        assert_eq!(suggest(&scores, 2, &mut dice).len(), 2);
    }
    assert!(first[0] > first[1] && first[1] > first[2] && first[2] > 0 && first[3] == 0, "{first:?}");
    assert!(suggest(&[], 3, &mut dice).is_empty());
}

/// Instances of a real load each, all open; counts who is chosen.
struct Warm(Vec<Load>, Mono);

impl Candidates for Warm {
    type Permit = ();
    fn len(&self) -> usize {
        self.0.len()
    }
    fn score(&self, index: usize) -> f64 {
        self.0[index].score(self.1)
    }
    fn weight(&self, index: usize) -> f64 {
        self.0[index].weight(self.1)
    }
    fn take(&mut self, _: usize) -> Option<()> {
        Some(())
    }
}

/// The share of 10,000 calls that the first of `count` gets, `after` seconds into its slow start of 30 s, while it looks idle.
fn share_of_newcomer(count: usize, after: u64) -> f64 {
    let mut pool = vec![Load::new(secs(0)); count];
    pool[0].warm_up(secs(0), Duration::from_secs(30));
    pool[1..].iter_mut().for_each(Load::begin);
    let (mut warm, mut dice) = (Warm(pool, secs(after)), Dice::seeded(1));
    let chosen = (0..10_000).filter(|_| choose(&mut warm, &mut dice).is_some_and(|(at, ())| at == 0));
    chosen.count() as f64 / 10_000.0
}

#[test]
fn a_newcomer_that_looks_idle_begins_with_a_tenth_and_grows_to_all_that_two_choices_give() {
    let shares = [0, 3, 15, 30, 60].map(|after| share_of_newcomer(4, after));
    for (share, wanted) in shares.into_iter().zip([0.05, 0.05, 0.25, 0.5, 0.5]) {
        assert!((share - wanted).abs() < 0.02, "{shares:?}");
    }
}

#[test]
fn a_lone_newcomer_gets_everything_and_a_pool_of_newcomers_shares_evenly() {
    assert_eq!(share_of_newcomer(1, 0), 1.0);
    let mut pool = vec![Load::new(secs(0)); 4];
    pool.iter_mut().for_each(|load| load.warm_up(secs(0), Duration::from_secs(30)));
    let (mut warm, mut dice, mut taken) = (Warm(pool, secs(0)), Dice::seeded(1), [0; 4]);
    (0..10_000).for_each(|_| taken[choose(&mut warm, &mut dice).expect("open").0] += 1);
    assert!(taken.iter().all(|n| (2_300..2_700).contains(n)), "{taken:?}");
}

#[test]
fn the_time_of_a_slow_start_ends_and_none_can_be_asked_for() {
    let mut load = Load::new(secs(0));
    assert_eq!((load.weight(secs(0)), load.warming_until(secs(0))), (1.0, None));
    load.warm_up(secs(0), Duration::from_secs(30));
    assert_eq!(load.warming_until(secs(29)), Some(secs(30)));
    assert_eq!(load.warming_until(secs(30)), None);
    load.warm_up(secs(50), Duration::ZERO);
    assert_eq!(load.weight(secs(50)), 1.0);
}
