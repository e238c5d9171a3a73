//! The laws of the fuzz targets, on the examples and on thousands of damaged copies of them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;

use mainstay_tests::seed::Seeded;

#[allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::pedantic,
    reason = "the fuzz targets' own library, read here as a module"
)]
#[path = "../../fuzz/src/lib.rs"]
mod laws;

/// Damaged copies of each seed.
const COPIES: usize = 300;
/// Damages in one copy, at most: with more of them next to nothing is accepted, and only the parser is tried.
const DAMAGES: usize = 4;

/// What documents and expressions are made of.
const TOKENS: [&str; 40] = [
    "${",
    "}",
    "{",
    "[",
    "]",
    ":",
    "\"",
    "\n",
    "  ",
    "- ",
    "id: ",
    "input",
    "output",
    "steps.",
    ".ok",
    "item",
    "null",
    "true",
    "-1",
    "0",
    "18446744073709551616",
    "1e400",
    "0.5",
    "99999h",
    "1ms",
    "&a ",
    "*a",
    "!!str ",
    "map",
    "each",
    "retry: ",
    "timeout: ",
    "optional: true",
    "after: ",
    "[a, b]",
    "size(",
    ".map(x, x)",
    "ä\u{202e}",
    "\0",
    "? x : y",
];

fn examples() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/workflows");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.is_file()).collect();
    files.sort();
    assert!(files.len() > 10, "there are examples");
    files.into_iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// Lets the law see each seed whole, and then damaged.
fn hold(law: fn(&[u8]), seeds: &[Vec<u8>]) {
    let mut dice = Seeded::from_environment();
    for seed in seeds {
        law(seed);
        for _ in 0..COPIES {
            let mut copy = seed.clone();
            for _ in 0..=dice.below(DAMAGES) {
                damage(&mut copy, &mut dice);
            }
            let held = std::panic::catch_unwind(|| law(&copy));
            assert!(held.is_ok(), "seed {}:\n{}", dice.seed(), String::from_utf8_lossy(&copy));
        }
    }
}

fn damage(bytes: &mut Vec<u8>, dice: &mut Seeded) {
    if bytes.is_empty() {
        return;
    }
    let at = dice.below(bytes.len());
    let some = 1 + dice.below(24.min(bytes.len() - at));
    match dice.below(5) {
        0 => bytes[at] ^= 1 << dice.below(7),
        1 => drop(bytes.drain(at..at + some)),
        2 => {
            let token = TOKENS[dice.below(TOKENS.len())];
            drop(bytes.splice(at..at, token.bytes()));
        }
        3 => {
            let token = TOKENS[dice.below(TOKENS.len())];
            drop(bytes.splice(at..at + some, token.bytes()));
        }
        _ => {
            let copied = bytes[at..at + some].to_vec();
            let to = dice.below(bytes.len());
            drop(bytes.splice(to..to, copied));
        }
    }
}

#[test]
fn damaged_workflows_are_refused_with_reasons_or_run_to_an_end() {
    hold(laws::workflows, &examples());
}

#[test]
fn damaged_plans_are_refused_or_carried_out() {
    let plans = [
        r#"{"steps":[{"id":"a","capability":"words.count","input":{"text":"${input.text}"}}]}"#,
        r#"{"steps":[{"id":"a","capability":"words.count"},{"id":"b","capability":"words.shout","after":["a"],"input":{"n":"${steps.a.output}"}}],"output":"${steps.b.output}"}"#,
        r#"{"steps":[{"id":"a","capability":"words.count"},{"id":"b","capability":"words.count"},{"id":"c","capability":"words.shout","after":["a","b"],"input":["${steps.a.ok}","${steps.b.output}"]}],"output":{"x":"${steps.c.output}"}}"#,
    ];
    hold(laws::plans, &plans.map(|plan| plan.as_bytes().to_vec()));
}

#[test]
fn damaged_mappings_are_refused_or_come_to_the_same_each_time() {
    let mappings = [
        r#"{"text":"${input.s}!","n":"${input.n + 1}","list":["${input.list[0]}",1,null]}"#,
        r#""${input.list.map(x, x)}""#,
        r#""${steps.a.ok ? steps.a.output.n : -1}""#,
        r#"{"k":"${has(input.n) && !has(input.m)}","r":"${run.id} ${run.intent}","c":"${context.n}"}"#,
        "{\"sum\":\"${input.a.filter(i, i.p > 2).map(i, i.p * 2)}\"}\n---\n{\"a\":[{\"p\":2},{\"p\":3}]}",
        "\"${size(input.s) > 3 ? input.s : input.s + input.s}\"\n---\n{\"s\":\"\\u00e9x\"}",
        "\"${input.n / input.z % 7 - int(input.f)}\"\n---\n{\"n\":9007199254740993,\"z\":3,\"f\":2.9}",
        "\"${input.s.matches('^[a-z]+$') || input.s.startsWith('x')}\"\n---\n{\"s\":\"xyz\"}",
    ];
    hold(laws::mappings, &mappings.map(|mapping| mapping.as_bytes().to_vec()));
}
