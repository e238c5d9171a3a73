use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// The steps `a` and `b` have an output, no other has.
fn eval_over(mapping: &Value, input: Value) -> Result<Value, String> {
    eval_text(mapping, &input.to_string()).map(|json| json.value())
}

fn eval_text(mapping: &Value, input: &str) -> Result<Json, String> {
    let mapping = Mapping::compile(mapping).map_err(|errors| errors.first().unwrap().to_string())?;
    let input = Json::parse(input.as_bytes(), &crate::json::Limits::default()).unwrap();
    let outputs = BTreeMap::from([
        ("a".to_owned(), Json::from(&json!({"n": 1, "f": 2.0, "list": [1, 2, 3], "odd key": "x"}))),
        ("b".to_owned(), Json::from(&json!("text"))),
    ]);
    let context = Json::from(&json!({"prices": {"eur": 1.5, "list": [1, 2]}}));
    let run = RunId::from_bytes([0xab; 16]);
    let scope = Scope { input: &input, run, intent: "quote", context: &context, outputs: &outputs };
    mapping.eval(&scope).map_err(|error| error.to_string())
}

fn eval(expression: &str) -> Result<Value, String> {
    eval_over(
        &json!(format!("${{{expression}}}")),
        json!({"s": "é\"x", "n": 5, "none": null, "items": [{"p": 2}, {"p": 3}]}),
    )
}

fn refused(expression: &str) -> String {
    Mapping::compile(&json!(format!("${{{expression}}}"))).unwrap_err().remove(0).message
}

#[test]
fn a_string_that_is_one_expression_becomes_its_value() {
    for (expression, value) in [
        ("input.n", json!(5)),
        ("input.n + 1", json!(6)),
        ("steps.a.output.n", json!(1)),
        ("steps.a.output.f", json!(2.0)),
        ("steps.a.output.f + 0.5", json!(2.5)),
        ("steps['a'].output[\"odd key\"]", json!("x")),
        ("steps.a.output.list[1]", json!(2)),
        ("steps.b.output", json!("text")),
        ("steps.a.ok && !steps.gone.ok", json!(true)),
        ("steps.gone.output", json!(null)),
        ("steps.gone.ok ? steps.gone.output.x : 'none'", json!("none")),
        ("has(steps.a.output.n) && !has(steps.a.output.m)", json!(true)),
        ("steps.gone.output == null", json!(true)),
        ("run.id", json!("run_abababababababababababababababab")),
        ("run.intent + '!'", json!("quote!")),
        ("context.prices.eur", json!(1.5)),
        ("context.prices", json!({"eur": 1.5, "list": [1, 2]})),
        ("context['prices'].list.map(n, n + 1)", json!([2, 3])),
        ("input.items.map(i, i.p * 2)", json!([4, 6])),
        ("input.items.filter(i, i.p > 2)", json!([{"p": 3}])),
        ("{'k': input.n, 'l': [1, 'x', null, true]}", json!({"k": 5, "l": [1, "x", null, true]})),
        ("size(input.items) == 2 && 'x' in ['x']", json!(true)),
        ("18446744073709551615u", json!(u64::MAX)),
        ("-9223372036854775808", json!(i64::MIN)),
    ] {
        assert_eq!(eval(expression), Ok(value), "{expression}");
    }
}

#[test]
fn a_loop_over_a_map_turns_in_the_order_of_its_keys() {
    let keys: Vec<String> = (10..40).map(|n| format!("k{n}")).collect();
    let fields: serde_json::Map<_, _> = keys.iter().rev().map(|key| (key.clone(), json!(1))).collect();
    for (expression, value) in [
        ("input.map(k, k)", json!(keys)),
        ("input.filter(k, k > 'k37')", json!(["k38", "k39"])),
        ("[1].map(x, input.map(k, k))", json!([keys])),
        ("{'d': {'b': 1, 'a': 2}.map(k, k)}", json!({"d": ["a", "b"]})),
        ("input.all(k, k.startsWith('k')) && input.exists_one(k, k == 'k12')", json!(true)),
        ("[3, 1].map(n, n)", json!([3, 1])),
    ] {
        let mapping = json!(format!("${{{expression}}}"));
        assert_eq!(eval_over(&mapping, fields.clone().into()), Ok(value), "{expression}");
    }
    assert!(eval("'text'.map(c, c)").is_err(), "text is not looped over");
    assert!(eval("{1: 1, 2: 2, 3: 3, 4: 4}").unwrap_err().contains("the key 1"), "the first that cannot be");
}

#[test]
fn text_around_expressions_makes_text() {
    let mapping = json!({"note": "for ${input.s}: ${input.n} ${input.none} ${steps.a.output.list} ${input.n + 1}$${x}", "k": [1, true]});
    let expected = json!({"note": "for é\"x: 5 null [1,2,3] 6${x}", "k": [1, true]});
    assert_eq!(eval_over(&mapping, json!({"s": "é\"x", "n": 5, "none": null})), Ok(expected));
    let plain = json!({"a": [1.10, "no", {"b": ""}]});
    assert_eq!(eval_over(&plain, json!(null)), Ok(plain), "what has no expression stays");
}

#[test]
fn numbers_that_are_only_moved_arrive_digit_for_digit() {
    let input = r#"{"n": 123456789012345678901234567890, "one": 1, "f": 1.10}"#;
    for (mapping, text) in [
        (json!("${input.n}"), "123456789012345678901234567890"),
        (json!(["${input.one}", "${input.f}"]), "[1,1.10]"),
        (json!("${input}"), input),
        (json!("${input.one + 1}"), "2"),
    ] {
        assert_eq!(eval_text(&mapping, input).unwrap().as_str(), text);
    }
}

#[test]
fn an_error_names_the_place_the_expression_and_the_reason() {
    let mapping = json!({"a": [0, {"b": "${steps.a.output.nn}"}]});
    assert_eq!(
        eval_over(&mapping, json!(null)).unwrap_err(),
        "a[1].b: `steps.a.output.nn`: has no field `nn`; it has `f`, `list`, `n`, `odd key`"
    );
    for (expression, reason) in [
        ("steps.gone.output.x", "step `gone` has no output; ask `steps.gone.ok` first"),
        ("input.s.x", "has no field `x`: it is text, not a map"),
        ("input.items[7]", "has no item 7; it has 2"),
        ("input.m + 1", "finds no field `m`"),
        ("input.n / 0", "divides by zero"),
        ("input.n + 9223372036854775807", "goes beyond 64 bits"),
        ("1.0 / 0.0", "which JSON cannot hold"),
        ("b'x'", "which JSON does not have"),
        ("{1: 2}", "keys of JSON are text"),
    ] {
        let error = eval(expression).unwrap_err();
        assert!(error.contains(reason), "{expression}: {error}");
    }
}

#[test]
fn what_cannot_work_is_refused_before_any_run() {
    for (expression, reason) in [
        ("", "is empty"),
        ("1 +", "is not CEL"),
        ("inptu.x", "reads `inptu`, which does not exist"),
        ("steps", "without saying which"),
        ("steps[input.x]", "without saying which"),
        ("steps.a.outptu", "without saying which"),
        ("steps.all(s, s.ok)", "without saying which"),
        ("run.secret", "`run.id` and `run.intent`"),
        ("fetch('http://x')", "calls `fetch`, which does not exist"),
        ("input.s.matches('a')", "put the pattern into a schema"),
        ("[1].map(input, input)", "names a variable `input`"),
        ("google.protobuf.Any{}", "write a map instead"),
        ("[1].map(a, [1].map(b, [1].map(c, c)))", "nests comprehensions more than 2 deep"),
    ] {
        let message = refused(expression);
        assert!(message.contains(reason), "{expression}: {message}");
    }
    assert!(eval("[1].map(a, [2].map(b, a + b))").is_ok(), "two deep is fine");
    assert!(eval("[1].map(a, a).map(b, b).map(c, c)").is_ok(), "one after the other is not nested");
    assert!(refused(&format!("'{}'", "x".repeat(MAX_SOURCE_BYTES))).contains("at most 4096"));
}

#[test]
fn every_error_of_a_mapping_is_reported() {
    let errors = Mapping::compile(&json!({"a": "${1 +}", "b": ["ok", "${nope} and ${steps}"], "c": "${"}))
        .unwrap_err();
    let paths: Vec<_> = errors.iter().map(|error| error.path.to_string()).collect();
    assert_eq!(paths, ["a", "b[1]", "b[1]", "c"]);
    let many = json!(vec![0; MAX_MAPPING_NODES]);
    assert!(Mapping::compile(&many).unwrap_err()[0].message.contains("at most 10000"));
}

#[test]
fn nesting_that_would_exhaust_a_stack_is_refused() {
    let n = MAX_SOURCE_BYTES / 8;
    for (open, middle, close) in
        [("[", "1", "]"), ("{1:", "1", "}"), ("1+(", "1", ")"), ("size(", "''", ")"), ("input[", "1", "]")]
    {
        let message = refused(&format!("{}{middle}{}", open.repeat(n), close.repeat(n)));
        assert!(message.contains("deep") || message.contains("not CEL"), "{open}: {message}");
    }
    for chain in [
        format!("1{}", "+1".repeat(2_000)),
        format!("input{}", ".a".repeat(2_000)),
        format!("input{}", "[0]".repeat(1_300)),
        format!("true{}", "?1:true".repeat(500)),
        format!("true{}", "&&true".repeat(600)),
        format!("1{}", " in[1]".repeat(600)),
    ] {
        // Refused or compiled: what matters is that the thread survives, with its 2 MiB of stack.
        let compiled = Mapping::compile(&json!(format!("${{{chain}}}")));
        if let Err(errors) = compiled {
            assert!(
                errors[0].message.contains("deep") || errors[0].message.contains("not CEL"),
                "{}",
                errors[0]
            );
        }
    }
}

#[test]
fn the_deepest_expression_allowed_fits_a_small_stack() {
    let n = MAX_EXPRESSION_DEPTH - 2;
    for (open, close) in
        [("[", "]"), ("{'a': ", "}"), ("size([", "])"), ("1 + (", ")"), ("(true ? ", " : 0)"), ("-(", ")")]
    {
        let levels = if open == "size([" { n / 2 } else { n };
        let source = format!("{}1{}", open.repeat(levels), close.repeat(levels));
        assert!(eval(&source).is_ok(), "{open}: {:?}", eval(&source));
    }
}

#[test]
fn references_say_what_is_read_and_how() {
    let mapping = Mapping::compile(&json!({
        "x": "${input.a} ${run.id}",
        "y": ["${steps.one.output.f}", "${steps.two.output}", "${steps.three.ok ? steps.three.output.f : 0}"],
        "z": "${has(steps.four.output.f) ? steps.four.output.f : 0}",
        "w": "${steps.five.output != null ? steps.five.output.g : steps.one.output.f}",
    }))
    .unwrap();
    let references = mapping.references();
    assert!(references.input && references.run && references.context.is_empty());
    let context = Mapping::compile(&json!({"x": ["${context.prices.eur + context.rates.usd}"]})).unwrap();
    let context: Vec<_> =
        context.references().context.iter().map(|(name, path)| format!("{name} {path}")).collect();
    assert_eq!(context, ["prices x[0]", "rates x[0]"]);
    assert!(refused("size(context)").contains("write `context.<name>`"));
    let unguarded: Vec<_> = references
        .steps
        .iter()
        .map(|(id, read)| (id.as_str(), read.unguarded.as_ref().map(ToString::to_string)))
        .collect();
    assert_eq!(
        unguarded,
        [("five", None), ("four", None), ("one", Some("w".to_owned())), ("three", None), ("two", None)]
    );
    assert_eq!(references.steps["two"].path.to_string(), "y[1]");
    let shadow = Mapping::compile(&json!("${[1].map(x, x)}")).unwrap();
    assert_eq!(shadow.references(), &References::default(), "loop variables are nobody's");
}

#[test]
fn lists_are_bounded_where_an_expression_loops() {
    let list = |n: usize| json!({"l": vec![1; n]});
    let sum = json!("${input.l.map(x, x + 1)}");
    assert!(eval_over(&sum, list(MAX_ITEMS)).is_ok());
    let error = eval_over(&sum, list(MAX_ITEMS + 1)).unwrap_err();
    assert!(error.contains("at most 1000"), "{error}");
    assert!(eval_over(&json!("${size(input.l)}"), list(MAX_ITEMS + 1)).is_ok(), "no loop, no bound");
}

#[test]
fn work_that_multiplies_is_refused_from_its_size() {
    let large = json!({"s": "x".repeat(100_000), "l": (0..1_000).collect::<Vec<_>>(), "rows": vec![json!({"t": "y".repeat(500), "c": [1, 2]}); 900]});
    for expression in [
        "input.l.map(x, input.s)",
        "input.l.map(x, input.l.map(y, input.l))",
        "input.rows.map(a, input.rows.map(b, a.t + b.t))",
        "[input.s].map(x, [x + x + x + x + x + x + x + x].map(y, y + y + y + y + y + y + y + y + y + y)).map(z, [z, z, z, z, z, z])",
    ] {
        let error = eval_over(&json!(format!("${{{expression}}}")), large.clone()).unwrap_err();
        assert!(error.contains("units of work"), "{expression}: {error}");
    }
    for expression in [
        "input.rows.map(r, r.t + '!')",
        "input.rows.filter(r, size(r.t) > 3).map(r, {'t': r.t, 'n': size(r.c)})",
        "input.rows.map(r, r.c.map(c, c + 1))",
        "input.rows.exists(r, r.t == input.rows[0].t)",
        "input.s + input.s",
    ] {
        let outcome = eval_over(&json!(format!("${{{expression}}}")), large.clone());
        assert!(outcome.is_ok(), "{expression}: {outcome:?}");
    }
    let square = json!({"rows": vec![json!({"c": vec![0; 1_000]}); 1_000]});
    let nested = json!("${input.rows.map(r, r.c.map(c, [c, c + 1, string(c)]))}");
    assert!(eval_over(&nested, square).unwrap_err().contains("units of work"), "a million small steps");
    let doubled = json!(vec!["${input}"; 50]);
    assert!(
        eval_over(&doubled, large).unwrap_err().contains("larger than"),
        "the value built is bounded as well"
    );
}

#[test]
fn a_value_built_too_deep_is_refused_instead_of_passed_on() {
    let deep = (0..60).fold(json!(1), |inner, _| json!([inner]));
    let mapping = (0..10).fold(json!("${input}"), |inner, _| json!([inner]));
    assert!(eval_over(&mapping, deep).unwrap_err().contains("nested more than 64 deep"));
}

fn expressions() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "input",
        "input.n",
        "input.s",
        "input.items",
        "input.none",
        "input[0]",
        "steps.a.output",
        "steps.gone.output.x",
        "steps.a.ok",
        "run.id",
        "x",
        "0",
        "1",
        "-1",
        "9223372036854775807",
        "1u",
        "2.5",
        "'a'",
        "''",
        "b'z'",
        "null",
        "true",
        "[]",
        "{}",
        "r'\\'",
        "'''q'''",
        "int",
        "type",
        "0xff",
        "1e308",
    ]);
    leaf.prop_map(str::to_owned).prop_recursive(4, 24, 3, |inner| {
        let operator =
            prop::sample::select(vec!["+", "-", "*", "/", "%", "==", "!=", "<", ">=", "&&", "||", "in"]);
        let call = prop::sample::select(vec![
            "size", "int", "uint", "double", "string", "bool", "bytes", "dyn", "type", "!", "-", "has", "max",
        ]);
        let method = prop::sample::select(vec!["contains", "startsWith", "endsWith", "size", "max"]);
        let looped = prop::sample::select(vec!["map", "filter", "all", "exists", "exists_one"]);
        prop_oneof![
            (inner.clone(), operator, inner.clone()).prop_map(|(a, o, b)| format!("({a} {o} {b})")),
            (call, inner.clone()).prop_map(|(c, a)| format!("{c}({a})")),
            (inner.clone(), method, inner.clone()).prop_map(|(a, m, b)| format!("{a}.{m}({b})")),
            (inner.clone(), looped, inner.clone()).prop_map(|(a, l, b)| format!("{a}.{l}(x, {b})")),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a}[{b}]")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{{{a}: {b}}}")),
            inner.prop_map(|a| format!("[{a}, {a}].f")),
        ]
    })
}

/// An expression without the numbers of its nodes.
fn shape(expr: &cel::IdedExpr) -> String {
    let shown = format!("{expr:?}");
    let mut parts = shown.split("id: ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| all + part.trim_start_matches(|c: char| c.is_ascii_digit()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_expression_has_a_value_or_an_error(expression in expressions()) {
        if let Err(error) = eval(&expression) {
            prop_assert!(!error.contains("cannot be evaluated"), "the library panicked on {}", expression);
        }
    }

    #[test]
    fn both_parsers_of_the_library_agree(expression in expressions()) {
        // The other parser needs more stack than a thread usually has.
        let thread = std::thread::Builder::new().stack_size(256 * 1024 * 1024);
        let agree = thread.spawn(move || {
            let ours = cel::parser::PrattParser::new().parse(&expression).ok();
            let other = cel::parser::Parser::new().parse(&expression).ok();
            (ours.map(|expr| shape(&expr)), other.map(|expr| shape(&expr)))
        });
        let (ours, other) = agree.unwrap().join().unwrap();
        prop_assert_eq!(ours, other);
    }

    #[test]
    fn any_text_is_a_mapping_or_an_error(text in "[-${}().a-c'\"\\\\?:+!&| 0-9\\[\\]]{0,40}") {
        if let Err(errors) = Mapping::compile(&json!(text)) {
            prop_assert!(!errors.is_empty());
        }
    }

    #[test]
    fn a_path_and_cel_agree(n in any::<i64>(), s in any::<String>()) {
        let input = json!({"n": n, "s": s, "l": [{"k": s}]});
        for path in ["input.n", "input.s", "input.l[0].k", "input.l", "input.x", "input.l[3]", "input['s']"] {
            let short = eval_over(&json!(format!("${{{path}}}")), input.clone());
            let long = eval_over(&json!(format!("${{[{path}][0]}}")), input.clone());
            prop_assert_eq!(short.is_ok(), long.is_ok(), "{}", path);
            if short.is_ok() {
                prop_assert_eq!(short, long);
            }
        }
    }
}
