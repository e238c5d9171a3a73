use proptest::prelude::*;
use serde::Deserialize;
use serde_json::json;

use super::*;

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    name: crate::name::Name,
    version: String,
    #[serde(default)]
    country: Option<String>,
    #[serde(default)]
    capabilities: Vec<Capability>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Capability {
    effect: crate::effect::EffectClass,
    #[serde(default)]
    max: u32,
    #[serde(default)]
    adapter: Option<Adapter>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Adapter {
    Http { url: String },
    Stdio,
}

fn read(text: &str) -> Result<Manifest, DocumentError> {
    from_str(text)
}

fn error(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

#[test]
fn yaml_and_json_become_the_same_document() {
    let yaml = "name: a\nversion: 1.10\ncountry: no\ncapabilities:\n  - effect: read-only\n    adapter: { http: { url: x } }\n  - { effect: idempotent, max: 3, adapter: stdio }\n";
    let json = r#"{"name": "a", "version": "1.10", "country": "no", "capabilities":
        [{"effect": "read-only", "adapter": {"http": {"url": "x"}}}, {"effect": "idempotent", "max": 3, "adapter": "stdio"}]}"#;
    let manifest = read(yaml).unwrap();
    assert_eq!(manifest, read(json).unwrap());
    assert_eq!(manifest.version, "1.10", "a version is text as it was written");
    assert_eq!(manifest.country.as_deref(), Some("no"), "Norway is a country");
}

#[test]
fn every_error_says_line_column_and_field() {
    let head = "name: a\nversion: v\n";
    for (tail, expected) in [
        (
            "countri: x\n",
            "line 3, column 1: countri: unknown field `countri`, expected one of `name`, `version`, `country`, `capabilities`",
        ),
        (
            "capabilities:\n  - effect: read-only\n    max: many\n",
            "line 5, column 10: capabilities[0].max: invalid type: string \"many\", expected u32",
        ),
        ("capabilities:\n  - max: 1\n", "line 4, column 5: capabilities[0]: missing field `effect`"),
        (
            "capabilities:\n  - effect: harmless\n",
            "line 4, column 13: capabilities[0].effect: unknown variant `harmless`, expected one of `read-only`, `idempotent`, `side-effecting`",
        ),
        (
            "capabilities:\n  - { effect: read-only, max: -1 }\n",
            "line 4, column 31: capabilities[0].max: invalid value: integer `-1`, expected u32",
        ),
        (
            "capabilities:\n  - { effect: read-only, adapter: { http: { uri: x } } }\n",
            "line 4, column 45: capabilities[0].adapter.http.uri: unknown field `uri`, expected `url`",
        ),
        (
            "capabilities: 5\n",
            "line 3, column 15: capabilities: invalid type: integer `5`, expected a sequence",
        ),
    ] {
        assert_eq!(error(&format!("{head}{tail}")), expected, "{tail}");
    }
    let custom = error("name: Big\nversion: v\n");
    assert!(custom.starts_with("line 1, column 7: name: name \"Big\" has 'B' at byte 0"), "{custom}");
}

#[test]
fn text_that_is_no_document_says_where() {
    for (text, line) in [
        ("a: [1\nb: 2\n", 2),
        ("a: 1\na: 2\n", 2),
        ("a: &x 1\nb: *y\n", 2),
        ("a: 'x\n", 0),
        ("- a\nb: 1\n", 2),
    ] {
        let err = parse(text).unwrap_err();
        assert!(line == 0 || err.place.line == line, "{text:?}: {err}");
        assert!(!err.message.contains('\n') && err.message.len() < 200, "{err}");
    }
    assert!(parse("a: 1\n---\nb: 2\n").is_err(), "one document at a time");
    assert!(parse("a: .nan\n").is_err() && parse("a: .inf\n").is_err());
}

#[test]
fn a_place_is_found_by_its_path_and_a_path_reads_like_code() {
    let node = parse("steps:\n  - id: a\n  - id: b\n    after:\n      - a\n").unwrap();
    let path = Path::default().key("steps").index(1).key("after").index(0);
    assert_eq!(path.to_string(), "steps[1].after[0]");
    assert_eq!(node.locate(&path), Place { line: 5, column: 9 });
    assert_eq!(node.locate(&path.key("deeper")), Place { line: 5, column: 9 }, "as far as it goes");
    assert_eq!(Path::default().key("a b").key("").to_string(), "[\"a b\"][\"\"]");
}

#[test]
fn anchors_are_understood_and_bombs_are_not() {
    let shared = parse("a: &r { n: 1 }\nb: *r\nc: { <<: *r, m: 2 }\n").unwrap();
    assert_eq!(shared.value(), json!({"a": {"n": 1}, "b": {"n": 1}, "c": {"n": 1, "m": 2}}));

    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let before = format!("*a{}", level - 1);
        laughs += &format!("a{level}: &a{level} [{}]\n", [before.as_str(); 10].join(", "));
    }
    let err = parse(&laughs).unwrap_err();
    assert!(err.message.contains("alias") || err.message.contains("budget"), "{err}");

    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), ["*a"; 50].join(", "));
    assert!(parse(&long).is_err(), "five megabytes from a hundred kilobytes");
}

#[test]
fn length_depth_and_count_are_bounded() {
    assert!(parse(&"#".repeat(MAX_DOCUMENT_BYTES + 1)).unwrap_err().message.contains("at most 262144"));
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(parse(&nested(MAX_DEPTH)).is_ok());
    assert!(parse(&nested(MAX_DEPTH + 1)).is_err());
    assert!(parse(&nested(100_000)).is_err());
    let block: String = (0..100).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    assert!(parse(&block).is_err());
    assert!(parse(&format!("[{}]", "1,".repeat(MAX_NODES + 1))).is_err());
}

#[test]
fn numbers_keep_how_they_were_written() {
    let node = parse("[1.10, 0x10, 7, -3, 18446744073709551615, 1_000]").unwrap();
    let Kind::List(items) = &node.kind else { panic!("a list") };
    let texts: Vec<_> = items
        .iter()
        .map(|item| match &item.kind {
            Kind::Number(number) => number.text.as_str(),
            Kind::Text(text) => text,
            Kind::Null | Kind::Bool(_) | Kind::List(_) | Kind::Map(_) => panic!("{item:?}"),
        })
        .collect();
    assert_eq!(texts, ["1.10", "0x10", "7", "-3", "18446744073709551615", "1_000"]);
}

proptest! {
    #[test]
    fn any_text_is_a_document_or_an_error(text in "[-\\[\\]{}:,&*!|>'\"#%@` a1\\n\\t]{0,60}") {
        // Reaching the end is the assertion: nothing makes the reader panic.
        prop_assert!(parse(&text).is_ok() || parse(&text).is_err());
    }

    #[test]
    fn json_is_read_as_json(fields in prop::collection::btree_map("[a-z]{1,6}", any::<i64>(), 0..10)) {
        let value = json!(fields);
        prop_assert_eq!(parse(&value.to_string()).unwrap().value(), value);
    }
}
