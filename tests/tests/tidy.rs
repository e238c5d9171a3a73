//! The rules of the house that a machine can check. What it cannot stands in ARCHITECTURE.md as an invariant.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use mainstay_kernel::workflow::Code as Finding;
use mainstay_proto::pages;
use mainstay_proto::reason::Reason;

/// What each crate may depend on, of ours.
const ARROWS: [(&str, &[&str]); 8] = [
    ("kernel", &[]),
    ("proto", &["kernel"]),
    ("store", &[]),
    ("transport", &["proto"]),
    ("control-plane", &["kernel", "proto", "store", "transport"]),
    ("sidecar", &["kernel", "proto", "store", "transport"]),
    ("cli", &["control-plane", "kernel", "proto", "sidecar", "transport"]),
    ("tests", &["control-plane", "kernel", "proto", "sidecar", "store", "transport"]),
];

/// What would let the kernel read a clock, a socket, a disk or a die.
const IMPURE: [&str; 9] =
    ["tokio", "tonic", "sled", "tracing", "hyper", "axum", "rand", "getrandom", "chrono"];

/// A file tells one story; beyond this many lines it tells two.
const MAX_LINES: usize = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

/// The names of what a manifest depends on.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.contains("dependencies");
        } else if inside && let Some((name, _)) = line.split_once(['.', ' ', '=']) {
            names.insert(name.to_owned());
        }
    }
    names
}

/// Every source file of ours, relative to the root.
fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders: Vec<_> = ARROWS.iter().map(|(name, _)| root().join(name)).collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

fn is_test(path: &Path) -> bool {
    path.starts_with("tests/tests")
        || path.components().any(|part| part.as_os_str() == "tests" && !path.starts_with("tests"))
        || path.file_name().is_some_and(|name| name == "tests.rs")
}

#[test]
fn arrows_between_crates_point_where_the_architecture_says() {
    for (name, allowed) in ARROWS {
        let manifest = read(root().join(name).join("Cargo.toml"));
        for dependency in dependencies(&manifest) {
            let Some(ours) = dependency.strip_prefix("mainstay-") else { continue };
            assert!(allowed.contains(&ours), "{name} must not depend on {ours}");
        }
    }
}

#[test]
fn the_kernel_can_do_no_input_or_output() {
    let manifest = read(root().join("kernel/Cargo.toml"));
    let names = dependencies(&manifest);
    for impure in IMPURE {
        assert!(!names.contains(impure), "the kernel depends on {impure}");
    }
}

#[test]
fn sled_is_named_in_its_own_module_only() {
    for path in sources() {
        if path.starts_with("store/src/sled")
            || path == Path::new("store/src/sled.rs")
            || path.starts_with("tests")
        {
            continue;
        }
        for line in read(root().join(&path)).lines() {
            let code = line.split("//").next().unwrap_or_default();
            let foreign = code
                .replace("crate::sled", "")
                .replace("self::sled", "")
                .replace("mainstay_store::sled", "")
                .replace("super::sled", "");
            assert!(!foreign.contains("sled::"), "{}: {line}", path.display());
        }
    }
}

#[test]
fn every_file_says_what_it_is_for_and_tells_one_story() {
    for path in sources() {
        let text = read(root().join(&path));
        // The tests of a file, moved out beside it, continue its story.
        let sibling = path.file_name().is_some_and(|name| name == "tests.rs");
        assert!(sibling || text.starts_with("//!"), "{} does not begin with its story", path.display());
        let lines = text.lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines", path.display());
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(
            !["mod.rs", "utils.rs", "util.rs", "helpers.rs", "misc.rs"].contains(&name),
            "{}",
            path.display()
        );
    }
}

#[test]
fn nothing_unfinished_stands_behind_a_finished_face() {
    let banned = ["todo!(", "unimplemented!(", "dbg!(", "FIXME", "TODO", "#[ignore"].map(String::from);
    let this = Path::new("tests/tests/tidy.rs");
    for path in sources().into_iter().filter(|path| path != this) {
        for (number, line) in read(root().join(&path)).lines().enumerate() {
            for word in &banned {
                assert!(!line.contains(word.as_str()), "{}:{}: {line}", path.display(), number + 1);
            }
        }
    }
}

#[test]
fn tests_wait_for_conditions_and_never_sleep() {
    let this = Path::new("tests/tests/tidy.rs");
    for path in sources().into_iter().filter(|path| is_test(path) && path != this) {
        for (number, line) in read(root().join(&path)).lines().enumerate() {
            let sleeps = line.contains("time::sleep(") || line.trim_start().starts_with("sleep(");
            assert!(!sleeps, "{}:{}: {line}", path.display(), number + 1);
        }
    }
}

/// What the product runs: its sources without tests and comments, each with its path.
fn running() -> Vec<(PathBuf, String)> {
    let product = sources().into_iter().filter(|path| !path.starts_with("tests") && !is_test(path));
    let strip = |text: String| {
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        code.lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .fold(String::new(), |all, line| all + line + "\n")
    };
    product.map(|path| (path.clone(), strip(read(root().join(path))))).collect()
}

/// Whether `code` has `name` as a word.
fn names(code: &str, name: &str) -> bool {
    code.match_indices(name)
        .any(|(at, _)| !code[at + name.len()..].starts_with(|c: char| c.is_alphanumeric()))
}

#[test]
fn every_code_that_the_program_gives_has_its_page() {
    // Shaped like codes, but names of the environment's.
    let environment = |text: &str| {
        text.starts_with("MAINSTAY_") || text.starts_with("CARGO_") || ["NO_COLOR", "OUT_DIR"].contains(&text)
    };
    let shaped = |text: &str| {
        text.contains('_')
            && !text.starts_with('_')
            && !text.ends_with('_')
            && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
    };
    for (path, code) in running() {
        for text in code.split('"').filter(|text| shaped(text) && !environment(text)) {
            assert!(pages::page(text).is_some(), "{}: no page explains {text}", path.display());
        }
    }
}

#[test]
fn every_page_explains_a_code_that_the_program_gives() {
    let catalogues = ["proto/src/reason.rs", "proto/src/pages.rs", "kernel/src/document/problem.rs"];
    let (mut all, mut beside) = (String::new(), String::new());
    for (path, code) in running() {
        all += &code;
        // A catalogue writes each code out; only a name by which it is taken from there is a use.
        if !catalogues.iter().any(|catalogue| path == Path::new(catalogue)) {
            beside += &code;
        }
    }
    for page in pages::all() {
        let reason = Reason::from_code(page.code).map(|reason| format!("Reason::{reason:?}"));
        let finding = Finding::ALL.iter().find(|code| code.as_str() == page.code);
        let finding = finding.map(|code| format!("Code::{code:?}"));
        let given = beside.contains(&format!("\"{}\"", page.code))
            || reason.into_iter().chain(finding).any(|name| names(&all, &name));
        assert!(given, "nothing gives {}", page.code);
    }
}

/// The tests a line of a document names: words with underscores that are no path, field or expression.
fn tests_named(line: &str) -> impl Iterator<Item = &str> {
    let quoted = line.split('`').skip(1).step_by(2);
    quoted.filter(|text| text.contains('_') && !text.contains(['/', '.', ' ']))
}

#[test]
fn every_test_named_by_a_requirement_exists() {
    let tests: String = sources().iter().map(|path| read(root().join(path))).collect();
    for line in read(root().join("docs/requirements.md")).lines().filter(|line| line.starts_with("| ")) {
        for name in tests_named(line) {
            let there = tests.contains(&format!("fn {name}("));
            assert!(there, "docs/requirements.md names {name}, which does not exist");
        }
    }
}

#[test]
fn every_failure_mode_is_shown_by_tests_that_exist() {
    let tests: String = sources().iter().map(|path| read(root().join(path))).collect();
    let page = read(root().join("docs/failure-modes.md"));
    let modes: Vec<&str> = page.split("\n## ").skip(1).collect();
    assert_eq!(modes.len(), 14, "the modes of the study");
    for mode in modes {
        let title = mode.lines().next().unwrap();
        let shown = mode.split("\nShown by ").nth(1).unwrap_or_else(|| panic!("{title} is shown by nothing"));
        for name in tests_named(shown) {
            assert!(tests.contains(&format!("fn {name}(")), "{title} names {name}, which does not exist");
        }
        assert!(tests_named(shown).count() > 0, "{title} names no test");
    }
}
