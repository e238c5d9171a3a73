use proptest::prelude::*;
use serde_json::json;

use super::*;

fn compile(schema: &Value) -> Result<Schema, SchemaError> {
    Schema::compile(&Json::from(schema))
}

fn code(schema: &Value) -> &'static str {
    compile(schema).unwrap_err().code()
}

#[test]
fn an_instance_is_checked_and_every_violation_has_its_paths() {
    let schema = compile(&json!({
        "type": "object", "required": ["to"], "properties": {"to": {"type": "string"}, "n": {"$ref": "#/$defs/count"}},
        "$defs": {"count": {"type": "integer", "minimum": 1}},
    }))
    .unwrap();
    assert_eq!(schema.check_value(&json!({"to": "Rome", "n": 2})), Ok(()));
    assert_eq!(schema.check(&Json::from(&json!({"to": "Rome"}))), Ok(()));
    let violations = schema.check_value(&json!({"to": 1, "n": 0})).unwrap_err();
    let paths: Vec<_> =
        violations.iter().map(|v| (v.instance_path.as_str(), v.schema_path.as_str())).collect();
    assert_eq!(paths.len(), 2);
    assert!(paths.contains(&("/to", "/properties/to/type")), "{paths:?}");
    assert!(paths.iter().any(|(instance, _)| *instance == "/n"), "{paths:?}");
}

#[test]
fn violations_are_few_and_short() {
    let schema = compile(&json!({"items": {"type": "string"}})).unwrap();
    let violations = schema.check_value(&json!(vec![json!({"x": "y".repeat(10_000)}); 100])).unwrap_err();
    assert_eq!(violations.len(), MAX_VIOLATIONS);
    assert!(violations.iter().all(|v| v.message.chars().count() <= MAX_MESSAGE_CHARS + 1));
}

#[test]
fn a_schema_that_forbids_nothing_is_recognised() {
    for open in
        [json!(true), json!({}), json!({"title": "t", "description": "d", "$defs": {"a": {"type": "null"}}})]
    {
        assert!(compile(&open).unwrap().accepts_anything(), "{open}");
    }
    for closed in [json!(false), json!({"type": "object"}), json!({"not": {}})] {
        assert!(!compile(&closed).unwrap().accepts_anything(), "{closed}");
    }
    assert!(Schema::anything().accepts_anything());
    assert!(compile(&json!(false)).unwrap().check_value(&json!(1)).is_err());
}

#[test]
fn references_out_of_the_schema_are_refused_wherever_they_hide() {
    for reference in [
        "http://127.0.0.1:1/x",
        "file:///etc/passwd",
        "other.json",
        "//host/x",
        "/defs",
        "https://json-schema.org/draft/2020-12/schema",
    ] {
        for schema in [
            json!({"$ref": reference}),
            json!({"properties": {"a": {"items": {"$ref": reference}}}}),
            json!({"$defs": {"unused": {"$ref": reference}}}),
            json!({"unknown-keyword": [{"$dynamicRef": reference}]}),
        ] {
            assert_eq!(code(&schema), "SCHEMA_REMOTE_REF", "{schema}");
        }
    }
    assert!(
        compile(&json!({"properties": {"$ref": {"type": "string"}}})).is_ok(),
        "a property may be called so"
    );
    assert!(compile(&json!({"const": {"$ref": "http://x"}})).is_ok(), "data may say so");
}

#[test]
fn references_within_the_schema_are_followed() {
    for schema in [
        json!({"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}}),
        json!({"$ref": "#a", "$defs": {"x": {"$anchor": "a", "type": "string"}}}),
        json!({"$ref": "#/$defs/a~1b%20c", "$defs": {"a/b c": {"type": "string"}}}),
        json!({"$id": "urn:x", "$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}}),
    ] {
        let schema = compile(&schema).unwrap_or_else(|error| panic!("{schema}: {error}"));
        assert!(
            schema.check_value(&json!("s")).is_ok() && schema.check_value(&json!(1)).is_err(),
            "{schema:?}"
        );
    }
    assert_eq!(code(&json!({"$ref": "#/nowhere"})), "SCHEMA_UNKNOWN_REF");
    assert_eq!(
        code(&json!({"$ref": "#/const", "const": {"type": "string"}})),
        "SCHEMA_UNKNOWN_REF",
        "data is no schema"
    );
    assert_eq!(code(&json!({"items": {"$id": "http://x/y"}})), "SCHEMA_EMBEDDED_ID");
}

/// `levels` definitions, each of which refers twice to the next.
fn doubling(levels: usize) -> Value {
    let mut defs = serde_json::Map::new();
    for level in 0..levels {
        let next = json!({"$ref": format!("#/$defs/d{}", level + 1)});
        defs.insert(format!("d{level}"), json!({"allOf": [next, next]}));
    }
    defs.insert(format!("d{levels}"), json!({"type": "object"}));
    json!({"$ref": "#/$defs/d0", "$defs": defs})
}

#[test]
fn doubling_references_are_counted_without_being_unfolded() {
    assert!(compile(&doubling(6)).is_ok());
    let Err(SchemaError::TooManyPaths { paths }) = compile(&doubling(60)) else { panic!("a bomb passed") };
    assert!(paths > 1 << 60, "{paths} were counted, which nobody can unfold");
    assert_eq!(code(&doubling(200)), "SCHEMA_TOO_MANY_PATHS", "beyond 64 bits as well");
}

#[test]
fn a_schema_that_refers_to_itself_is_refused() {
    for schema in [
        json!({"$ref": "#"}),
        json!({"properties": {"child": {"$ref": "#"}}}),
        json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}),
        json!({"$dynamicAnchor": "n", "items": {"$dynamicRef": "#n"}}),
    ] {
        assert_eq!(code(&schema), "SCHEMA_RECURSIVE", "{schema}");
    }
}

#[test]
fn size_depth_nodes_and_patterns_are_bounded() {
    assert_eq!(code(&json!({"description": "x".repeat(MAX_SCHEMA_BYTES)})), "SCHEMA_TOO_LONG");
    let nested = |depth| (0..depth).fold(json!({"type": "string"}), |inner, _| json!({"not": inner}));
    assert!(compile(&nested(31)).is_ok());
    assert_eq!(code(&nested(32)), "SCHEMA_TOO_DEEP");
    assert_eq!(code(&json!({"allOf": vec![json!({}); 1_000]})), "SCHEMA_TOO_MANY_NODES");
    let patterns = |n| json!({"allOf": vec![json!({"pattern": "a"}); n]});
    assert!(compile(&patterns(64)).is_ok());
    assert_eq!(code(&patterns(65)), "SCHEMA_TOO_MANY_PATTERNS");
    let named: serde_json::Map<_, _> = (0..65).map(|n| (format!("a{n}"), json!(true))).collect();
    assert_eq!(code(&json!({"patternProperties": named})), "SCHEMA_TOO_MANY_PATTERNS");
}

#[test]
fn patterns_run_in_linear_time_or_not_at_all() {
    let evil = compile(&json!({"pattern": "^(a+)+$"})).unwrap();
    // An engine that backtracks would not come back from this within a lifetime.
    assert!(evil.check_value(&json!(format!("{}b", "a".repeat(100_000)))).is_err());
    for pattern in ["(?=a)b", r"(a)\1", "((a{100}){100}){100}", "("] {
        assert_eq!(code(&json!({"pattern": pattern})), "SCHEMA_INVALID", "{pattern}");
    }
    assert!(compile(&json!({"pattern": r"^[\w-]{1,64}$"})).is_ok());
}

#[test]
fn one_dialect_is_spoken() {
    for dialect in
        ["https://json-schema.org/draft/2020-12/schema", "https://json-schema.org/draft/2020-12/schema#"]
    {
        assert!(compile(&json!({"$schema": dialect, "type": "string"})).is_ok(), "{dialect}");
    }
    for dialect in ["http://json-schema.org/draft-07/schema#", "http://evil/", ""] {
        assert_eq!(code(&json!({"$schema": dialect})), "SCHEMA_UNKNOWN_DIALECT");
    }
    let error = compile(&json!({"properties": {"a": {"type": "strin"}}})).unwrap_err();
    let SchemaError::Invalid { path, .. } = &error else { panic!("{error}") };
    assert_eq!(path, "/properties/a/type");
    assert_eq!(code(&json!(5)), "SCHEMA_INVALID");
    assert_eq!(code(&json!([])), "SCHEMA_INVALID");
}

#[test]
fn the_longest_chain_of_references_fits_a_small_stack() {
    let mut defs = serde_json::Map::new();
    let links = MAX_SCHEMA_NODES - 4;
    for at in 0..links {
        defs.insert(format!("d{at}"), json!({"$ref": format!("#/$defs/d{}", at + 1)}));
    }
    defs.insert(format!("d{links}"), json!({"type": "string"}));
    // Tests run on threads of 2 MiB, as the server's workers do.
    let outcome = compile(&json!({"$ref": "#/$defs/d0", "$defs": defs}));
    if let Ok(schema) = outcome {
        assert!(schema.check_value(&json!(1)).is_err());
    }
}

fn schemas() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        Just(json!({"type": "string"})),
        "#(/\\$defs/[ab]|/items|)".prop_map(|reference| json!({"$ref": reference})),
        any::<i32>().prop_map(|n| json!({"minimum": n, "const": n})),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|all| json!({"anyOf": all})),
            (inner.clone(), inner.clone())
                .prop_map(|(a, b)| json!({"$defs": {"a": a, "b": b}, "$ref": "#/$defs/a"})),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| json!({"items": a, "not": b})),
            inner.prop_map(|a| json!({"properties": {"x": a}, "unevaluatedProperties": false})),
        ]
    })
}

proptest! {
    #[test]
    fn any_schema_is_compiled_or_refused_and_then_checks_anything(schema in schemas()) {
        if let Ok(schema) = compile(&schema) {
            for instance in [json!(null), json!("s"), json!([1, ["s"]]), json!({"x": {"x": 1}})] {
                let outcome = schema.check_value(&instance);
                prop_assert!(outcome.is_ok() || outcome.is_err());
            }
        }
    }
}
