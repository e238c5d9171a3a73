//! What a document may say, and how it is told what it may not.

use super::*;

fn problems(document: &str) -> Vec<(Code, String)> {
    let problems = Routing::parse(document).map(|routing| panic!("{routing:?}")).unwrap_err();
    for problem in &problems {
        assert!(problem.line().is_some() && !problem.message.is_empty(), "{problem:?}");
    }
    problems.into_iter().map(|problem| (problem.code, problem.path)).collect()
}

#[test]
fn a_whole_document_is_read() {
    let routing = routing(DOCUMENT);
    assert_eq!((routing.name().as_str(), routing.version()), ("support", 2));
    assert_eq!(routing.rules()[0].to, target("billing.refund", Some("cashier")));
    assert_eq!(routing.router().unwrap().min_confidence_bp, 6_000);
    assert_eq!(routing.classifier(), Some(&DEFAULT_THRESHOLDS));
    assert_eq!(routing.lint(), []);
}

#[test]
fn only_the_last_rung_must_be_there() {
    let routing = routing("{name: a, version: 1, static: null}");
    assert_eq!(routing.response(), &Json::null());
    assert_eq!(routing.lint()[0].code, Code::RouteOnlyStatic);
    assert_eq!(problems("name: a\nversion: 1\n"), [(Code::FieldMissing, "static".to_owned())]);
}

#[test]
fn every_mistake_is_told_with_its_path_at_once() {
    let document = r#"
name: Support
version: 0
colour: red
capabilities: ["*", 3]
text: "${steps.a.output}"
rules:
  - { name: one, when: "input.x >", to: { capability: b } }
  - { name: one, when: "${input.x}", to: { capability: "p\u0430y" } }
  - { when: "steps.a.ok", to: { agent: b } }
classifier: { out_of_scope: 2, margin: 0.1 }
router: { min_confidence: much, timeout: 5 }
generalist: yes
modes: { degraded: [static, ruler], full: [] }
"#;
    let expected = [
        (Code::FieldMissing, "static"),
        (Code::NameInvalid, "name"),
        (Code::FieldRange, "version"),
        (Code::FieldUnknown, "colour"),
        (Code::NameInvalid, "capabilities[0]"),
        (Code::FieldType, "capabilities[1]"),
        (Code::ExpressionInvalid, "text"),
        (Code::ExpressionInvalid, "rules[0].when"),
        (Code::RuleDuplicate, "rules[1].name"),
        (Code::ExpressionInvalid, "rules[1].when"),
        (Code::NameInvalid, "rules[1].to.capability"),
        (Code::FieldMissing, "rules[2].name"),
        (Code::ExpressionInvalid, "rules[2].when"),
        (Code::FieldMissing, "rules[2].to.capability"),
        (Code::FieldRange, "classifier.out_of_scope"),
        (Code::FieldUnknown, "classifier.margin"),
        (Code::FieldMissing, "router.capability"),
        (Code::FieldType, "router.min_confidence"),
        (Code::DurationInvalid, "router.timeout"),
        (Code::FieldType, "generalist"),
        (Code::FieldRange, "modes.degraded[0]"),
        (Code::FieldRange, "modes.degraded[1]"),
        (Code::FieldUnknown, "modes.full"),
    ];
    let found = problems(document);
    for (code, path) in expected {
        assert!(found.contains(&(code, path.to_owned())), "{code} at {path} is not among {found:?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:?}");
}

#[test]
fn bounds_hold() {
    let rules: String = (0..=MAX_RULES)
        .map(|n| format!("  - {{ name: r{n}, when: \"input.n == {n}\", to: {{ capability: a }} }}\n"))
        .collect();
    let document = format!("name: a\nversion: 1\nstatic: 1\nrules:\n{rules}");
    assert_eq!(problems(&document), [(Code::FieldRange, "rules".to_owned())]);
    let capabilities = "b, ".repeat(MAX_PATTERNS + 1);
    let document = format!("name: a\nversion: 1\nstatic: 1\ncapabilities: [{capabilities}]\n");
    assert_eq!(problems(&document), [(Code::FieldRange, "capabilities".to_owned())]);
}

#[test]
fn a_rule_behind_one_that_always_holds_is_pointed_out() {
    let document = r#"
name: a
version: 1
static: 1
rules:
  - { name: narrow, when: input.x > 1, to: { capability: b } }
  - { name: again, when: input.x > 1, to: { capability: c } }
  - { name: all, when: true, to: { capability: b } }
  - { name: behind, when: input.y, to: { capability: b } }
"#;
    let routing = routing(document);
    let paths: Vec<_> = routing.lint().iter().map(|problem| (problem.code, problem.path.as_str())).collect();
    assert_eq!(paths, [(Code::RuleUnreachable, "rules[1].when"), (Code::RuleUnreachable, "rules[3].when")]);
}

#[test]
fn the_hash_is_of_the_content_and_of_nothing_else() {
    let hash = |document: &str| routing(document).hash();
    let one = hash("{name: a, version: 1, static: 1}");
    assert_eq!(one, hash("# a comment\nstatic: 1\nversion: 1\nname: a\n"));
    assert_ne!(one, hash("{name: a, version: 1, static: 2}"));
}
