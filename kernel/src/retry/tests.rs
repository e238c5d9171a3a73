use super::*;
use proptest::prelude::*;

const MINUTE: Duration = Duration::from_secs(60);
const RETRYABLE: [Class; 6] = [
    Class::Transport,
    Class::Timeout,
    Class::Overload,
    Class::Unavailable,
    Class::AgentError,
    Class::ContractBreach,
];
const FINAL: [Class; 3] = [Class::OverBudget, Class::CallerFault, Class::Cancelled];
const EFFECTS: [EffectClass; 3] =
    [EffectClass::ReadOnly, EffectClass::Idempotent, EffectClass::SideEffecting];
const BEGAN: [Began; 3] = [Began::No, Began::Yes, Began::Unknown];

fn failure(class: Class, began: Began) -> Failure {
    Failure { class, code: "X".into(), message: "x".into(), began, retry_after: None }
}

fn verdict(effect: EffectClass, class: Class, began: Began) -> Verdict {
    decide(&RetryPolicy::default(), effect, &failure(class, began), 1, MINUTE, &mut Dice::seeded(1))
}

fn key_kept(verdict: &Verdict) -> Option<bool> {
    if let Verdict::Retry { same_key, .. } = verdict { Some(*same_key) } else { None }
}

fn gave_up(why: GiveUp) -> Verdict {
    Verdict::GiveUp { why }
}

#[test]
fn read_only_and_idempotent_calls_are_repeated_whatever_is_known() {
    for (class, began) in RETRYABLE.into_iter().flat_map(|class| BEGAN.map(|began| (class, began))) {
        let fresh = began != Began::No;
        assert_eq!(
            key_kept(&verdict(EffectClass::ReadOnly, class, began)),
            Some(!fresh),
            "{class:?} {began:?}"
        );
        assert_eq!(
            key_kept(&verdict(EffectClass::Idempotent, class, began)),
            Some(true),
            "{class:?} {began:?}"
        );
    }
}

#[test]
fn a_side_effecting_call_is_repeated_only_if_it_certainly_did_not_begin() {
    for class in RETRYABLE {
        assert_eq!(key_kept(&verdict(EffectClass::SideEffecting, class, Began::No)), Some(true), "{class:?}");
        let began = verdict(EffectClass::SideEffecting, class, Began::Yes);
        assert_eq!(began, gave_up(GiveUp::SideEffectBegan), "{class:?}");
        assert_eq!(
            verdict(EffectClass::SideEffecting, class, Began::Unknown),
            Verdict::AskLedger,
            "{class:?}"
        );
    }
}

#[test]
fn an_agents_error_after_a_side_effect_is_repeated_under_a_new_key_if_the_policy_says_so() {
    let policy = RetryPolicy { retry_agent_errors: true, ..RetryPolicy::default() };
    let decide = |class| {
        decide(
            &policy,
            EffectClass::SideEffecting,
            &failure(class, Began::Yes),
            1,
            MINUTE,
            &mut Dice::seeded(1),
        )
    };
    assert_eq!(key_kept(&decide(Class::AgentError)), Some(false));
    assert_eq!(decide(Class::ContractBreach), gave_up(GiveUp::SideEffectBegan));
}

#[test]
fn when_the_ledger_cannot_tell_a_side_effect_is_given_up_as_unknown() {
    let failure = Failure { code: OUTCOME_UNKNOWN.into(), ..failure(Class::Transport, Began::Unknown) };
    let ask = |effect| decide(&RetryPolicy::default(), effect, &failure, 1, MINUTE, &mut Dice::seeded(1));
    assert_eq!(ask(EffectClass::SideEffecting), gave_up(GiveUp::OutcomeUnknown));
    assert_eq!(key_kept(&ask(EffectClass::Idempotent)), Some(true));
}

#[test]
fn the_ledger_is_asked_even_after_the_last_attempt() {
    let failure = failure(Class::Timeout, Began::Unknown);
    let last = decide(
        &RetryPolicy::NONE,
        EffectClass::SideEffecting,
        &failure,
        1,
        Duration::ZERO,
        &mut Dice::seeded(1),
    );
    assert_eq!(last, Verdict::AskLedger);
}

#[test]
fn what_repeating_cannot_help_is_never_repeated() {
    for (class, effect, began) in
        FINAL.into_iter().flat_map(|c| EFFECTS.into_iter().flat_map(move |e| BEGAN.map(|b| (c, e, b))))
    {
        assert_eq!(verdict(effect, class, began), gave_up(GiveUp::NotRetryable(class)));
    }
}

#[test]
fn attempts_are_counted() {
    let failure = failure(Class::Transport, Began::No);
    let after = |attempt| {
        decide(
            &RetryPolicy::default(),
            EffectClass::ReadOnly,
            &failure,
            attempt,
            MINUTE,
            &mut Dice::seeded(1),
        )
    };
    assert!(key_kept(&after(2)).is_some());
    assert_eq!(after(3), gave_up(GiveUp::AttemptsExhausted));
}

#[test]
fn the_back_off_doubles_up_to_its_ceiling() {
    let policy = RetryPolicy::default();
    let ceilings: Vec<_> = (1..=8).map(|attempt| policy.ceiling(attempt).as_millis()).collect();
    assert_eq!(ceilings, [200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]);
    assert_eq!(policy.ceiling(u32::MAX), policy.max);
}

#[test]
fn pushback_is_honoured_and_gives_up_if_it_reaches_past_the_deadline() {
    let pushed = |secs| Failure {
        retry_after: Some(Duration::from_secs(secs)),
        ..failure(Class::Overload, Began::No)
    };
    let decide = |failure| {
        decide(&RetryPolicy::default(), EffectClass::SideEffecting, &failure, 1, MINUTE, &mut Dice::seeded(1))
    };
    let Verdict::Retry { after, .. } = decide(pushed(30)) else { panic!("retries") };
    assert!(after >= Duration::from_secs(30) && after < MINUTE);
    assert_eq!(decide(pushed(60)), gave_up(GiveUp::DeadlineTooNear));
}

#[test]
fn a_policy_out_of_bounds_names_its_field() {
    let parse = |text| serde_json::from_str::<RetryPolicy>(text).map_err(|err| err.to_string());
    assert_eq!(parse("{}"), Ok(RetryPolicy::default()));
    for (text, complaint) in [
        (r#"{"max_attempts": 0}"#, "`max_attempts` is 0: give 1 to 20"),
        (r#"{"max_attempts": 21}"#, "`max_attempts` is 21: give 1 to 20"),
        (r#"{"factor": 0}"#, "`factor` is 0: give 1 to 10"),
        (r#"{"max": "1h"}"#, "`max` is 3600s: give at most 600s"),
        (r#"{"initial": "20s"}"#, "`initial` is 20s: give at most `max`, 10s"),
        (r#"{"initial": 5}"#, "invalid type"),
        (r#"{"attempts": 5}"#, "unknown field `attempts`"),
    ] {
        let err = parse(text).unwrap_err();
        assert!(err.contains(complaint), "{text}: {err}");
    }
}

proptest! {
    #[test]
    fn a_policy_goes_there_and_back(max_attempts in 1..=MAX_ATTEMPTS, factor in 1..=10_u32, ms in 0..=600_000_u64) {
        let max = Duration::from_millis(ms);
        let policy = RetryPolicy { max_attempts, initial: max / 2 , factor, max, retry_agent_errors: true };
        let policy = RetryPolicy { initial: Duration::from_millis(policy.initial.as_millis() as u64), ..policy };
        let text = serde_json::to_string(&policy).unwrap();
        prop_assert_eq!(serde_json::from_str::<RetryPolicy>(&text).unwrap(), policy);
    }

    #[test]
    fn a_retry_always_fits_the_deadline_and_the_attempts(
        class in proptest::sample::select(&RETRYABLE[..]),
        effect in proptest::sample::select(&EFFECTS[..]),
        began in proptest::sample::select(&BEGAN[..]),
        attempt in 1..30_u32,
        remaining in 0..100_000_u64,
        pushback in proptest::option::of(0..100_000_u64),
        seed: u64,
    ) {
        let remaining = Duration::from_micros(remaining);
        let failure = Failure { retry_after: pushback.map(Duration::from_micros), ..failure(class, began) };
        let policy = RetryPolicy::default();
        if let Verdict::Retry { after, .. } = decide(&policy, effect, &failure, attempt, remaining, &mut Dice::seeded(seed)) {
            prop_assert!(after < remaining && after >= failure.retry_after.unwrap_or_default());
            prop_assert!(attempt < policy.max_attempts);
        }
    }
}
