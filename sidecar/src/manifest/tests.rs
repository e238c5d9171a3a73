use std::fs;

use mainstay_kernel::effect::EffectClass;

use super::*;

const MINIMAL: &str = "\
name: finder
version: 1.10
adapter: { http: { url: http://127.0.0.1:8000 } }
capabilities:
  - name: docs.find
    effect: read-only
";

fn parse(text: &str) -> Result<Manifest, ManifestError> {
    Manifest::parse(text, Path::new("."))
}

fn good(text: &str) -> Manifest {
    parse(text).unwrap_or_else(|error| panic!("{error}"))
}

fn mistakes(text: &str) -> Vec<String> {
    match parse(text) {
        Ok(manifest) => panic!("accepted: {manifest:?}"),
        Err(error) => error.to_string().lines().map(str::to_owned).collect(),
    }
}

#[test]
fn six_lines_are_a_manifest() {
    let manifest = good(MINIMAL);
    let capability = &manifest.agent.capabilities[0];
    assert_eq!((manifest.agent.name.as_str(), manifest.agent.version.as_str()), ("finder", "1.10"));
    assert_eq!((capability.effect, capability.sla), (EffectClass::ReadOnly, Duration::from_secs(30)));
    assert_eq!((capability.max_concurrency, capability.input_schema.as_str()), (16, "true"));
    assert!(manifest.contracts["docs.find"].output.accepts_anything());
    assert_eq!((manifest.drain, manifest.limits.payload), (DEFAULT_DRAIN, 4 * 1024 * 1024));
    let probe = manifest.probe.unwrap();
    assert!(matches!(probe.target, ProbeTarget::Tcp(address) if address == "127.0.0.1:8000"));
}

#[test]
fn the_reference_is_a_manifest_and_says_the_defaults() {
    let reference = good(include_str!("../../reference.yaml"));
    let minimal = good(MINIMAL);
    let (said, default) = (&reference.agent.capabilities[0], &minimal.agent.capabilities[0]);
    assert_eq!((said.sla, said.max_concurrency), (default.sla, default.max_concurrency));
    assert_eq!(said.output_schema, default.output_schema);
    assert_eq!((reference.limits, reference.drain), (minimal.limits, minimal.drain));
    let (said, default) = (reference.probe.unwrap(), minimal.probe.unwrap());
    assert_eq!((said.timeout, said.pace), (default.timeout, default.pace));
    assert_eq!(reference.control_plane.as_deref(), Some("http://127.0.0.1:7400/"));
    assert_eq!(reference.listen, Some(crate::options::DEFAULT_LISTEN));
}

#[test]
fn every_field_is_read() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("in.json"), r#"{"type": "object"}"#).unwrap();
    let text = "
name: finder
version: '2'
tenant: acme
instance: left
labels: { zone: a }
control_plane: http://10.0.0.1:7400
listen: 127.0.0.1:7500
advertise: http://10.0.0.2:7500
insecure_listen: true
data: ledger
adapter:
  command: { program: bin/agent, args: [--fast, 3], env: { A: b }, cwd: work }
health:
  http: { url: http://127.0.0.1:9/health }
  interval: 2s
  timeout: 500ms
  rise: 2
  fall: 4
limits: { payload: 1MiB }
drain: 1m30s
capabilities:
  - name: pay
    description: Pays
    input: { file: in.json }
    output: { type: object, required: [receipt] }
    failure_modes: { broke: no money }
    effect: side-effecting
    sla: 2s
    max_concurrency: 3
    cost_usd: 0.0025
    keywords: [pay, money]
    examples: [Pay Bob]
    path: /pay
";
    let manifest = Manifest::parse(text, folder.path()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(manifest.agent.labels["zone"], "a");
    assert_eq!((manifest.tenant.unwrap().as_str(), manifest.instance.unwrap().as_str()), ("acme", "left"));
    assert_eq!(manifest.control_plane.as_deref(), Some("http://10.0.0.1:7400/"));
    assert_eq!(manifest.listen, Some("127.0.0.1:7500".parse().unwrap()));
    assert!(manifest.insecure_listen && manifest.advertise.is_some());
    assert_eq!(manifest.data, Some(folder.path().join("ledger")));
    let AdapterConfig::Command(command) = manifest.adapter else { panic!("not a command") };
    assert_eq!((command.program, command.cwd), (folder.path().join("bin/agent"), folder.path().join("work")));
    assert_eq!(
        (command.args.as_slice(), command.env["A"].as_str()),
        (["--fast", "3"].map(String::from).as_slice(), "b")
    );
    let probe = manifest.probe.unwrap();
    assert!(matches!(probe.target, ProbeTarget::Http(_)));
    assert_eq!(probe.timeout, Duration::from_millis(500));
    assert_eq!((manifest.limits.payload, manifest.drain), (1024 * 1024, Duration::from_secs(90)));
    let contract = &manifest.contracts["pay"];
    assert_eq!((contract.path.as_str(), contract.spec.cost_hint_nano_usd), ("/pay", 2_500_000));
    assert_eq!(contract.input.source().as_str(), r#"{"type": "object"}"#);
    assert_eq!((contract.spec.keywords.len(), contract.spec.failure_modes.len()), (2, 1));
    assert_eq!((contract.spec.effect, contract.spec.max_concurrency), (EffectClass::SideEffecting, 3));
}

/// A manifest with one line replaced or added, and what is said about it: line, field, and the gist.
#[test]
fn each_mistake_names_its_line_and_its_field() {
    let cases = [
        ("name: finder", "name: Finder", "line 1, column 7: name: has 'F'"),
        ("name: finder\n", "", "line 1, column 1: name: is missing"),
        ("version: 1.10", "version: ''", "line 2, column 10: version: must be 1 to 64"),
        ("version: 1.10", "versoin: 1", "line 2, column 1: versoin: is not a field here"),
        ("version: 1.10", "tenant: a/b", "line 2, column 9: tenant: has '/'"),
        ("version: 1.10", "instance: [a]", "line 2, column 11: instance: must be text, but is a list"),
        ("version: 1.10", "labels: { Zone: a }", "labels"),
        (
            "version: 1.10",
            "control_plane: 127.0.0.1:7400",
            "line 2, column 16: control_plane: is \"127.0.0.1:7400\"; write a URL",
        ),
        (
            "version: 1.10",
            "control_plane: https://x",
            "line 2, column 16: control_plane: is \"https://x\"; write a URL",
        ),
        (
            "version: 1.10",
            "listen: localhost",
            "line 2, column 9: listen: is \"localhost\"; write an address",
        ),
        (
            "version: 1.10",
            "insecure_listen: yes",
            "line 2, column 18: insecure_listen: must be true or false, but is text",
        ),
        ("version: 1.10", "drain: 30", "line 2, column 8: drain: `30` is not a duration"),
        ("version: 1.10", "drain: 2h", "line 2, column 8: drain: is 2h; it must be 0s to 1h"),
        (
            "version: 1.10",
            "limits: { payload: 1GB }",
            "line 2, column 20: limits.payload: is \"1GB\"; write a size",
        ),
        (
            "version: 1.10",
            "limits: { payload: 16MiB }",
            "line 2, column 20: limits.payload: is \"16MiB\"; write a size",
        ),
        ("version: 1.10", "limits: 3", "line 2, column 9: limits: must be a map of fields, but is a number"),
        (
            "version: 1.10",
            "health: { http: {}, interval: 2s }",
            "line 2, column 17: health.http.url: is missing",
        ),
        (
            "version: 1.10",
            "health: { tcp: { address: x } }",
            "line 2, column 27: health.tcp.address: is \"x\"; write HOST:PORT",
        ),
        (
            "version: 1.10",
            "health: { interval: 1ms }",
            "line 2, column 21: health.interval: is 1ms; it must be 100ms to 10m",
        ),
        (
            "version: 1.10",
            "health: { fall: 0 }",
            "line 2, column 17: health.fall: is 0; it must be a whole number, 1 to 100",
        ),
        (
            "version: 1.10",
            "health: { tcp: { address: 'a:1' }, command: { program: x } }",
            "line 2, column 9: health: must have one of",
        ),
        (
            "adapter: { http: { url: http://127.0.0.1:8000 } }",
            "adapter: {}",
            "line 3, column 10: adapter: must have exactly one of",
        ),
        (
            "adapter: { http: { url: http://127.0.0.1:8000 } }",
            "adapter: { echo: {}, http: {} }",
            "line 3, column 10: adapter: must have exactly one of",
        ),
        ("adapter: { http: { url: http://127.0.0.1:8000 } }\n", "", "line 1, column 1: adapter: is missing"),
        (
            "http://127.0.0.1:8000",
            "ftp://x",
            "line 3, column 25: adapter.http.url: is \"ftp://x\"; write a URL",
        ),
        (
            "http://127.0.0.1:8000",
            "http://user@x",
            "line 3, column 25: adapter.http.url: is \"http://user@x\"; write a URL",
        ),
        (
            "url: http://127.0.0.1:8000",
            "port: 1",
            "line 3, column 20: adapter.http.port: is not a field here",
        ),
        (
            "http://127.0.0.1:8000",
            "'http://x', headers: { 'a b': c }",
            "adapter.http.headers[\"a b\"]: is not a valid HTTP header",
        ),
        (
            "http://127.0.0.1:8000",
            "'http://x', headers: { idempotency-key: c }",
            "adapter.http.headers.idempotency-key: is set by the sidecar itself",
        ),
        (
            "http://127.0.0.1:8000",
            "'http://x', usage: { cost_usd: cost }",
            "adapter.http.usage.cost_usd: must be a JSON pointer",
        ),
        (
            "  - name: docs.find",
            "  - name: docs..find",
            "line 5, column 11: capabilities[0].name: must start and end",
        ),
        (
            "    effect: read-only\n",
            "",
            "line 5, column 5: capabilities[0].effect: is missing; say read-only",
        ),
        (
            "effect: read-only",
            "effect: harmless",
            "line 6, column 13: capabilities[0].effect: is \"harmless\"; say read-only",
        ),
        (
            "effect: read-only",
            "effect: read-only\n    sla: 1ms",
            "line 7, column 10: capabilities[0].sla: is 1ms; it must be 10ms to 1h",
        ),
        (
            "effect: read-only",
            "effect: read-only\n    max_concurrency: 1.5",
            "line 7, column 22: capabilities[0].max_concurrency: is 1.5",
        ),
        (
            "effect: read-only",
            "effect: read-only\n    max_concurency: 1",
            "line 7, column 5: capabilities[0].max_concurency: is not a field here",
        ),
        (
            "effect: read-only",
            "effect: read-only\n    cost_usd: free",
            "line 7, column 15: capabilities[0].cost_usd: is \"free\"; write US dollars",
        ),
        (
            "effect: read-only",
            "effect: read-only\n    input: { type: 7 }",
            "line 7, column 12: capabilities[0].input: is not a usable schema",
        ),
        (
            "effect: read-only",
            "effect: read-only\n    output: { $ref: 'http://x/y' }",
            "line 7, column 13: capabilities[0].output: is not a usable schema",
        ),
        (
            "effect: read-only",
            "effect: read-only\n    input: { file: nowhere.json }",
            "line 7, column 12: capabilities[0].input: cannot be read",
        ),
        (
            "effect: read-only",
            "effect: read-only\n    breaker: { failed: 120% }",
            "line 7, column 24: capabilities[0].breaker.failed: must be 0.01% to 100%",
        ),
        (
            "effect: read-only",
            "effect: read-only\n    breaker: { wait: 2m, max_wait: 1m }",
            "line 7, column 14: capabilities[0].breaker: breaker setting `wait` must be at most `max_wait`",
        ),
        (
            "effect: read-only",
            "effect: read-only\n    breaker: { weights: { overload: 50% } }",
            "capabilities[0].breaker.weights.overload: has no weight: busy is not dead",
        ),
        (
            "effect: read-only",
            "effect: read-only\n    breaker: { treshold: 50% }",
            "capabilities[0].breaker.treshold: is no setting of a breaker; there are window, min_calls",
        ),
        (
            "effect: read-only",
            "effect: read-only\n    rate: 10",
            "line 7, column 11: capabilities[0].rate: must be 1 to 1000000 calls in a second, minute or hour",
        ),
        (
            "effect: read-only",
            "effect: read-only\n    rate: { calls: 10/d, burst: 2 }",
            "line 7, column 20: capabilities[0].rate.calls: must be 1 to 1000000 calls in a second",
        ),
        (
            "version: 1.10",
            "rate: { calls: 1/s, burst: 0 }",
            "line 2, column 28: rate.burst: is 0; it must be",
        ),
        ("version: 1.10", "rate: { burst: 5 }", "line 2, column 7: rate.calls: is missing; say how many"),
        (
            "effect: read-only",
            "effect: read-only\n    hedge: { after: 300 }",
            "line 7, column 21: capabilities[0].hedge.after: must be 1ms to 10m, or p50 to p99",
        ),
        (
            "effect: read-only",
            "effect: read-only\n    hedge: { after: p95, max: 3 }",
            "line 7, column 31: capabilities[0].hedge.max: is 3; it must be a whole number, 1 to 2",
        ),
        (
            "effect: read-only",
            "effect: read-only\n    hedge: { after: p95, share: 5 }",
            "line 7, column 33: capabilities[0].hedge.share: must be 0.01% to 100%",
        ),
        (
            "effect: read-only",
            "effect: read-only\n    hedge: { after: 10m }",
            "capabilities[0].hedge.after: is 10m, and the sla cuts a call after",
        ),
        (
            "effect: read-only",
            "effect: idempotent\n    hedge: { after: p95 }",
            "capabilities[0].hedge: is for read-only capabilities, and this one is idempotent",
        ),
        (
            "effect: read-only",
            "effect: read-only\n    may_call: [flights.search, '*']",
            "capabilities[0].may_call: must be at most 64 names",
        ),
        (
            "effect: read-only",
            "effect: read-only\n    context_budget: { max_tokens: 10, over: reject }",
            "line 7, column 35: capabilities[0].context_budget.max_tokens: must be 64 to 10000000",
        ),
        (
            "effect: read-only",
            "effect: read-only\n    context_budget: { max_tokens: 100, over: reject, encoding: gpt }",
            "capabilities[0].context_budget.encoding: must be `o200k_base` or `cl100k_base`",
        ),
        (
            "effect: read-only",
            "effect: read-only\n    context_budget: { max_tokens: 100, over: summarize }",
            "capabilities[0].context_budget.over: `by` goes with `over: summarize`, and only with it",
        ),
        (
            "effect: read-only",
            "effect: read-only\n    context_budget: { max_tokens: 100, over: truncate, fields: [text] }",
            "capabilities[0].context_budget.fields: must be at most 16 JSON pointers",
        ),
        (
            "effect: read-only",
            "effect: read-only\n    path: quote",
            "line 7, column 11: capabilities[0].path: is \"quote\"; write a URL path",
        ),
        (
            "effect: read-only",
            "effect: read-only\n    keywords: money",
            "line 7, column 15: capabilities[0].keywords: must be a list, but is text",
        ),
        (
            "effect: read-only",
            "effect: read-only\n  - { name: docs.find, effect: read-only }",
            "line 7, column 13: capabilities[1].name: \"docs.find\" is given twice",
        ),
    ];
    for (old, new, expected) in cases {
        assert!(MINIMAL.contains(old), "{old}");
        let found = mistakes(&MINIMAL.replacen(old, new, 1));
        assert!(
            found.iter().any(|mistake| mistake.contains(expected)),
            "{new:?} should give {expected:?}, gave {found:#?}"
        );
        assert!(found.iter().all(|mistake| mistake.starts_with("line ")), "{found:#?}");
    }
}

#[test]
fn all_mistakes_are_reported_together_in_the_order_of_the_file() {
    let found = mistakes(
        "\
name: Finder
drain: soon
adapter: { smoke: signals }
capabilities:
  - { name: a }
  - { effect: read-only, color: red }
",
    );
    let lines: Vec<&str> =
        found.iter().map(|mistake| mistake.split(',').next().unwrap_or_default()).collect();
    assert_eq!(lines, ["line 1", "line 2", "line 3", "line 3", "line 5", "line 6", "line 6"], "{found:#?}");
}

#[test]
fn what_is_not_yaml_is_reported_with_its_line() {
    let found = mistakes("name: finder\nversion: [1");
    assert!(found[0].starts_with("line "), "{found:?}");
    assert!(mistakes("name: a\nname: b")[0].starts_with("line 2"));
    assert!(!mistakes("").is_empty());
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Manifest::load(Path::new("/nowhere/agent.yaml")).unwrap_err().to_string();
    assert!(error.starts_with("/nowhere/agent.yaml: "), "{error}");
}
