use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn parse(text: &str) -> Result<Json, JsonError> {
    Json::parse(text.as_bytes(), &Limits::default())
}

#[test]
fn a_valid_text_is_kept_as_it_is() {
    for text in [
        "null",
        "1",
        "-0",
        "1.10",
        "1e2",
        r#""é\u00e9\ud83d\ude00""#,
        "[]",
        "{}",
        r#"{ "b" : [1, {"a":null}] }"#,
    ] {
        assert_eq!(parse(text).unwrap().as_str(), text);
    }
    assert_eq!(
        parse(" \n{\"a\": 1}\t\r\n").unwrap().as_str(),
        r#"{"a": 1}"#,
        "white space around it is dropped"
    );
}

#[test]
fn a_key_given_twice_is_refused_with_its_place() {
    let err = parse(r#"{"x": [0, {"a": 1, "b": {"c": {}}, "a": 2}]}"#).unwrap_err();
    assert_eq!(err, JsonError::DuplicateKey { key: "a".into(), pointer: "/x/1".into() });
    let err = parse(r#"{"a": 1, "\u0061": 2}"#).unwrap_err();
    assert_eq!(
        err,
        JsonError::DuplicateKey { key: "a".into(), pointer: String::new() },
        "escapes hide nothing"
    );
    assert!(
        parse(r#"{"a": {"a": {"b": 1}}, "b": {"a": 1}}"#).is_ok(),
        "the same key in different objects is fine"
    );
}

#[test]
fn a_key_given_twice_is_found_among_thousands() {
    let fields = |last: &str| {
        let many: Vec<String> = (0..5_000).map(|n| format!("\"k{n}\":{n}")).collect();
        format!("{{{},\"{last}\":0}}", many.join(","))
    };
    assert!(parse(&fields("fresh")).is_ok());
    for twice in ["k0", "k15", "k16", "k17", "k4999"] {
        assert!(
            matches!(parse(&fields(twice)), Err(JsonError::DuplicateKey { key, .. }) if key == twice),
            "{twice}"
        );
    }
}

#[test]
fn what_other_parsers_let_pass_is_refused() {
    for text in [
        "NaN",
        "Infinity",
        "-Infinity",
        "1e400",
        "-1e400",
        "01",
        "+1",
        ".5",
        "1.",
        r#""\ud800""#,
        r#""\udc00x""#,
        "\"\n\"",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "'a'",
        "// c\n1",
        "1 2",
        "{} x",
        "",
        "  ",
        "[",
        "{\"a\"",
        "tru",
        "\u{feff}1",
        "\"\u{0}\"",
    ] {
        assert!(matches!(parse(text), Err(JsonError::Syntax { .. })), "{text:?} gave {:?}", parse(text));
    }
}

#[test]
fn an_error_says_where() {
    let err = parse("{\"a\": [1, 2,\n {\"b/c\": 1e400}]}").unwrap_err();
    let JsonError::Syntax { message, pointer, offset } = err else { panic!("{err}") };
    assert_eq!((pointer.as_str(), message.as_str()), ("/a/2/b~1c", "number out of range"));
    assert!((22..=27).contains(&offset), "{offset}");
    assert_eq!(Json::parse(b"\"ab\xff\"", &Limits::default()), Err(JsonError::NotUtf8 { offset: 3 }));
}

#[test]
fn depth_and_length_are_bounded_to_the_unit() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(parse(&nested(64)).is_ok());
    assert!(matches!(parse(&nested(65)), Err(JsonError::TooDeep { max_depth: 64, .. })));
    assert!(matches!(parse(&nested(100_000)), Err(JsonError::TooDeep { .. })), "no stack is exhausted");
    assert!(matches!(parse(&"{\"a\":".repeat(100_000)), Err(JsonError::TooDeep { .. })));

    let limits = Limits { max_bytes: 4, ..Limits::default() };
    assert!(Json::parse(b"1234", &limits).is_ok());
    assert_eq!(Json::parse(b"12345", &limits), Err(JsonError::TooLong { bytes: 5, max_bytes: 4 }));
}

#[test]
fn it_stands_in_other_json_as_the_value_it_is() {
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Record {
        output: Json,
    }
    let record = Record { output: parse(r#"{"a": 1.10}"#).unwrap() };
    let text = serde_json::to_string(&record).unwrap();
    assert_eq!(text, r#"{"output":{"a": 1.10}}"#, "byte for byte");
    assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    assert_eq!(serde_json::to_value(&record).unwrap(), json!({"output": {"a": 1.1}}));
    assert_eq!(serde_json::from_value::<Record>(json!({"output": 1})).unwrap().output.as_str(), "1");
    assert_eq!(Json::null(), parse("null").unwrap());
}

#[test]
fn a_digest_is_of_the_very_text() {
    assert_eq!(parse("[1]").unwrap().digest(), *blake3::hash(b"[1]").as_bytes());
    assert_ne!(parse("[1]").unwrap().digest(), parse("[ 1]").unwrap().digest());
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..24)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn every_value_goes_there_and_back(value in values()) {
        let json = Json::from(&value);
        prop_assert_eq!(&parse(json.as_str()).unwrap(), &json);
        prop_assert_eq!(json.value(), value.clone());
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        prop_assert_eq!(parse(&pretty).unwrap().value(), value);
    }

    #[test]
    fn any_bytes_are_accepted_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(json) = Json::parse(&bytes, &Limits::default()) {
            prop_assert!(serde_json::from_str::<Value>(json.as_str()).is_ok());
        }
    }

    #[test]
    fn a_text_that_is_damaged_is_never_taken_for_another(value in values(), at in any::<prop::sample::Index>()) {
        let text = Json::from(&value).to_string();
        let cut = text.char_indices().map(|(at, _)| at).nth(at.index(text.chars().count())).unwrap();
        let (cut, _) = text.split_at(cut);
        // What is left of a number may be a number; nothing else may pass.
        let passes = parse(cut).is_ok();
        prop_assert!(!passes || value.is_number());
    }
}
