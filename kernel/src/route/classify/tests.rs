use proptest::prelude::*;

use super::*;

const EXAMPLES: [(&str, [&str; 10]); 3] = [
    (
        "billing.refund",
        [
            "I want my money back",
            "please refund my last order",
            "can I get a refund for the broken lamp",
            "refund the payment you took twice",
            "you charged me twice, give the money back",
            "how do I return this and get refunded",
            "the charge on my card was wrong",
            "reimburse me for the damaged parcel",
            "cancel the invoice and pay me back",
            "money back for the order that never came",
        ],
    ),
    (
        "shipping.track",
        [
            "where is my parcel",
            "track my order please",
            "when will the package arrive",
            "has my delivery left the warehouse",
            "the parcel is late, where is it now",
            "show me the tracking number",
            "which day does the courier come",
            "is the shipment on its way",
            "follow the delivery of my lamp",
            "when does the order get here",
        ],
    ),
    (
        "account.password",
        [
            "I forgot my password",
            "reset my password please",
            "I cannot log in to my account",
            "how do I change the password",
            "my login does not work any more",
            "send me a link to set a new password",
            "the account is locked after three tries",
            "unlock my account",
            "sign in fails with my old password",
            "help me to recover my login",
        ],
    ),
];

const THRESHOLDS: Thresholds = crate::route::DEFAULT_THRESHOLDS;

fn material() -> BTreeMap<Name, Material> {
    let known = EXAMPLES.map(|(name, examples)| {
        let examples = examples.map(str::to_owned).into();
        (Name::new(name).unwrap(), Material { examples, ..Default::default() })
    });
    known.into()
}

fn with_weather() -> BTreeMap<Name, Material> {
    let mut material = material();
    let weather = Material {
        descriptions: ["Says what the weather will be".to_owned()].into(),
        keywords: ["rain", "forecast", "temperature"].map(str::to_owned).into(),
        ..Default::default()
    };
    material.insert(Name::new("weather.forecast").unwrap(), weather);
    material
}

fn first(verdict: &Verdict) -> &str {
    verdict.ranked[0].capability.as_str()
}

#[test]
fn a_request_goes_to_the_capability_whose_examples_it_resembles_and_says_why() {
    let classifier = Classifier::learn(&material());
    for (text, expected) in [
        ("could you refund this order", "billing.refund"),
        ("WHERE is the PARCEL?", "shipping.track"),
        ("password forgotten", "account.password"),
    ] {
        let verdict = classifier.judge(text, &THRESHOLDS);
        assert_eq!((verdict.finding, first(&verdict)), (Finding::Sure, expected), "{text}: {verdict:?}");
        let word = verdict.features.iter().find(|feature| text.to_lowercase().contains(&feature.text));
        assert!(word.is_some_and(|feature| feature.weight_milli > 0), "{verdict:?}");
    }
}

#[test]
fn the_same_registry_gives_the_same_bits_in_whatever_order_it_was_told() {
    let bits = |classifier: &Classifier| {
        let verdicts =
            ["refund", "parcel where", "locked out", "lamp"].map(|text| classifier.judge(text, &THRESHOLDS));
        let scores = ["refund", "parcel where"].map(|text| {
            let mut scores = vec![0.0; classifier.linear.classes()];
            classifier.linear.score(&classifier.vocabulary.vector(&Text::of(text)), &mut scores);
            scores.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        });
        (verdicts, scores)
    };
    let backwards: BTreeMap<_, _> = material().into_iter().rev().collect();
    let (one, other) = (Classifier::learn(&material()), Classifier::learn(&backwards));
    assert_eq!(bits(&one), bits(&other));
    assert_eq!(fingerprint(&material()), fingerprint(&backwards));
    assert_ne!(fingerprint(&material()), fingerprint(&with_weather()));
}

#[test]
fn what_resembles_nothing_is_out_of_scope_or_nothing() {
    let classifier = Classifier::learn(&material());
    for text in ["quantum chromodynamics", "zzzz qqqq", "42"] {
        let verdict = classifier.judge(text, &THRESHOLDS);
        assert!(matches!(verdict.finding, Finding::OutOfScope | Finding::Nothing), "{text}: {verdict:?}");
    }
    for text in ["", " \n\t ", "\u{200b}", "!?…"] {
        assert_eq!(classifier.judge(text, &THRESHOLDS).finding, Finding::Nothing, "{text:?}");
    }
}

#[test]
fn half_of_one_and_half_of_another_is_ambiguous() {
    let classifier = Classifier::learn(&material());
    let strict = Thresholds { out_of_scope_bp: 0, ambiguous_bp: 5_000, ..THRESHOLDS };
    let verdict = classifier.judge("my lamp", &strict);
    assert_eq!(verdict.finding, Finding::Ambiguous, "{verdict:?}");
    assert!(verdict.ranked.len() >= 2);
}

#[test]
fn letters_that_only_look_like_known_ones_name_nothing() {
    let classifier = Classifier::learn(&material());
    // Every `e`, `o` and `a` is Cyrillic.
    let verdict = classifier.judge("r\u{435}fund my \u{43e}rd\u{435}r p\u{430}ssw\u{43e}rd", &THRESHOLDS);
    assert_eq!(verdict.disguised, 3);
    assert_ne!(verdict.finding, Finding::Sure, "{verdict:?}");
    let hidden = classifier.judge("re\u{200b}fund the or\u{ad}der", &THRESHOLDS);
    let plain = classifier.judge("refund the order", &THRESHOLDS);
    assert_eq!(hidden, plain, "what nobody sees changes nothing");
}

#[test]
fn a_capability_with_few_examples_is_found_by_the_words_it_uses() {
    let classifier = Classifier::learn(&with_weather());
    let methods: Vec<_> = classifier.capabilities().map(|(name, method)| (name.as_str(), method)).collect();
    assert!(methods.contains(&("weather.forecast", Method::Words)));
    assert!(methods.contains(&("billing.refund", Method::Examples)));
    let verdict = classifier.judge("rain forecast", &THRESHOLDS);
    assert_eq!((verdict.finding, first(&verdict)), (Finding::Sure, "weather.forecast"), "{verdict:?}");
    assert_eq!(verdict.ranked[0].method, Method::Words);
    let verdict = classifier.judge("where is my parcel", &THRESHOLDS);
    assert_eq!((verdict.finding, first(&verdict)), (Finding::Sure, "shipping.track"), "{verdict:?}");
}

#[test]
fn where_both_methods_name_one_nobody_is_sure() {
    let classifier = Classifier::learn(&with_weather());
    let loose = Thresholds { words_bp: 500, ..THRESHOLDS };
    let verdict = classifier.judge("please refund my order, rain or forecast", &loose);
    assert_eq!(verdict.finding, Finding::Ambiguous, "{verdict:?}");
    let named: Vec<_> = verdict.ranked.iter().map(|ranked| ranked.capability.as_str()).collect();
    assert!(named[..2] == ["billing.refund", "weather.forecast"], "{named:?}");
}

#[test]
fn nothing_to_learn_from_is_no_error() {
    let none = Classifier::learn(&BTreeMap::new());
    assert_eq!(none.judge("refund", &THRESHOLDS).finding, Finding::Nothing);
    let alone: BTreeMap<_, _> = material().into_iter().take(1).collect();
    let alone = Classifier::learn(&alone);
    assert_eq!(alone.capabilities().next().unwrap().1, Method::Words, "one class is told from nothing");
    assert_eq!(alone.judge("password", &THRESHOLDS).finding, Finding::Sure);
}

#[test]
fn a_looser_threshold_never_sends_on_more() {
    let classifier = Classifier::learn(&material());
    for text in ["my lamp", "card", "late order", "please help me"] {
        let mut before = true;
        for bp in [10_000, 5_000, 2_000, 500, 100, 0] {
            let thresholds = Thresholds { out_of_scope_bp: bp, ambiguous_bp: bp, ..THRESHOLDS };
            let sent = classifier.judge(text, &thresholds).finding != Finding::Sure;
            assert!(before || !sent, "{text} at {bp}");
            before = sent;
        }
        assert!(!before, "{text}: with thresholds of nothing, everything is sure");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_text_gets_a_bounded_verdict_and_always_the_same(text in "\\PC{0,300}") {
        thread_local! { static CLASSIFIER: Classifier = Classifier::learn(&with_weather()); }
        CLASSIFIER.with(|classifier| {
            let verdict = classifier.judge(&text, &THRESHOLDS);
            prop_assert_eq!(&verdict, &classifier.judge(&text, &THRESHOLDS));
            prop_assert!(verdict.ranked.len() <= MAX_RANKED && verdict.features.len() <= MAX_SHOWN);
            prop_assert!(verdict.finding == Finding::Nothing || !verdict.ranked.is_empty());
            Ok(())
        })?;
    }

    #[test]
    fn learning_survives_any_examples(texts in proptest::collection::vec("\\PC{0,40}", 0..24)) {
        let mut material: BTreeMap<Name, Material> = BTreeMap::new();
        for (at, text) in texts.into_iter().enumerate() {
            let name = Name::new(["a", "b"][at % 2]).unwrap();
            material.entry(name).or_default().examples.insert(text);
        }
        let classifier = Classifier::learn(&material);
        let mut scores = vec![0.0; classifier.linear.classes()];
        classifier.linear.score(&classifier.vocabulary.vector(&Text::of("a text")), &mut scores);
        prop_assert!(scores.iter().all(|score| score.is_finite()));
    }
}
