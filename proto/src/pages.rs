//! The page of every code that a person can meet: what happened, and the way out.
//!
//! Reasons of refused requests and failed calls carry their own page ([`Reason`]). Findings about workflow documents and
//! schemas get theirs here; a test holds this table against the kernel's catalogue.

use tonic::Code;

use crate::reason::Reason;

/// A page of `mainstay explain`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// The stable code.
    pub code: &'static str,
    /// Where one meets it.
    pub kind: Kind,
    /// What happened, in general.
    pub cause: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
}

/// Where one meets a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A refused request or a failed call, under this gRPC code.
    Reason(Code),
    /// A workflow document is refused.
    Error,
    /// A workflow document is taken, but probably does not do what its author wants.
    Warning,
}

/// The page of `code`. Where a refused request and a finding share a code, they share the page.
#[must_use]
pub fn page(code: &str) -> Option<Page> {
    all().find(|page| page.code == code)
}

/// Every page: reasons first, then findings; each code once.
pub fn all() -> impl Iterator<Item = Page> {
    let reasons = Reason::ALL.iter().map(|reason| Page {
        code: reason.as_str(),
        kind: Kind::Reason(reason.grpc()),
        cause: reason.cause(),
        remedy: reason.remedy(),
    });
    reasons.chain(FINDINGS.iter().copied())
}

const fn error(code: &'static str, cause: &'static str, remedy: &'static str) -> Page {
    Page { code, kind: Kind::Error, cause, remedy }
}

const fn warning(code: &'static str, cause: &'static str, remedy: &'static str) -> Page {
    Page { code, kind: Kind::Warning, cause, remedy }
}

const FINDINGS: &[Page] = &[
    error(
        "DOCUMENT_INVALID",
        "The text is neither YAML nor JSON, is longer than 256 KiB, nests deeper than 64, or has a key twice.",
        "The finding gives line and column. Check the indentation there, and quote texts that contain `: ` or begin with a sign.",
    ),
    error(
        "FIELD_UNKNOWN",
        "The document has a field that does not exist there.",
        "Check the spelling (the finding suggests the nearest name) and the indentation: a field one level too deep belongs to something else.",
    ),
    error(
        "FIELD_MISSING",
        "A field that must be there is missing.",
        "Add it. The finding names it and its place.",
    ),
    error(
        "FIELD_TYPE",
        "A value has another type than its field takes.",
        "The finding says what is wanted and what was found. In YAML, quotes make a text of a number.",
    ),
    error(
        "FIELD_RANGE",
        "A value is outside what its field takes.",
        "The finding gives the bounds. Stay within them.",
    ),
    error(
        "DURATION_INVALID",
        "A span of time cannot be read.",
        "Write whole numbers with units, largest first: `200ms`, `20s`, `1m30s`. A bare number is refused, because nobody knows its unit.",
    ),
    error(
        "RETRY_INVALID",
        "The retry policy of a step cannot be meant: no attempts, a longest wait below the shortest, or the like.",
        "The finding names the field. Leave `retry:` out to get the default.",
    ),
    error(
        "STEP_ID_INVALID",
        "A step's id has a character or a length that ids do not have.",
        "Use a-z, 0-9 and `_`, beginning with a letter: expressions read it as `steps.ID`. `true`, `false`, `null` and `in` are taken.",
    ),
    error(
        "STEP_DUPLICATE",
        "Two steps have the same id.",
        "Rename one of them, and check which one `after` and the expressions mean.",
    ),
    error(
        "STEP_KIND_MISSING",
        "A step does not say what it does.",
        "Add `call: { capability: NAME }` to it, or another kind of step.",
    ),
    error(
        "STEP_KIND_TWICE",
        "A step says twice what it does: it has, say, a `call` and a `map`.",
        "Make two steps of it, the second `after` the first.",
    ),
    error(
        "STEP_COUNT",
        "The workflow has no steps, or more than 500.",
        "Add a step; or move a part of the work into an agent or a second workflow.",
    ),
    error(
        "VERIFY_INVALID",
        "How a step's answer is verified (`verify`) contradicts itself or the rest of the step.",
        "The finding says what and why. `wait` and `approve` have no agent whose answer could be verified; `repairs` belong to \
         `call`, `choose`, `route` and `sub`, which can be asked again as a whole; nobody verifies their own work.",
    ),
    error(
        "RECOURSE_INVALID",
        "What a step has to fall back on (`on_failure`, `confidence`) contradicts itself or the rest of the step.",
        "The finding says what and why. Remedies are taken in the order of the list, each once; after `default`, `skip` or \
         `abort` none is reached, and after `escalate` only `abort`. `below: escalate` and `below: fallback` need that \
         remedy in `on_failure`; `retry` needs more than one try.",
    ),
    error(
        "STEP_UNKNOWN_DEPENDENCY",
        "A step's `after` names a step that does not exist.",
        "Check the spelling against the ids in the document; the finding suggests the nearest.",
    ),
    error(
        "STEP_CYCLE",
        "Steps wait for each other in a circle, so none of them could ever begin.",
        "The finding shows the circle. Remove one `after` on it.",
    ),
    error(
        "STEP_UNKNOWN",
        "An expression reads a step that does not exist.",
        "Check the spelling of `steps.ID` against the ids in the document.",
    ),
    error(
        "STEP_NOT_UPSTREAM",
        "An expression reads a step that its own step does not wait for, so its output might not be there yet.",
        "Add that step to `after`.",
    ),
    error(
        "CONTEXT_UNKNOWN",
        "A mapping reads `context.<name>`, and the workflow does not say which key of the shared context that is.",
        "Add it to the workflow's `context:`, as in `context: { prices: { key: market/prices, max_age: 10m } }`, or correct the name.",
    ),
    error(
        "EXPRESSION_INVALID",
        "An expression cannot be read, uses something that does not exist, or would cost too much.",
        "The finding gives the place. Expressions are CEL inside `${…}` over `input`, `steps.ID.output` and `steps.ID.ok`.",
    ),
    error(
        "SCHEMA_INVALID",
        "A schema breaks the rules of JSON Schema 2020-12, or a pattern in it needs backtracking or is too large.",
        "The finding gives the path inside the schema. Look-around and back-references are not available in patterns.",
    ),
    error(
        "SCHEMA_TOO_LONG",
        "A schema is longer than 64 KiB.",
        "Shorten it: check what the next step needs, not everything there is.",
    ),
    error(
        "SCHEMA_TOO_DEEP",
        "A schema is nested more than 32 deep.",
        "Flatten it with `$defs`, or leave the inside open.",
    ),
    error(
        "SCHEMA_TOO_MANY_NODES",
        "A schema has more than 1,000 objects and lists.",
        "Shorten it: check what the next step needs, not everything there is.",
    ),
    error(
        "SCHEMA_TOO_MANY_PATTERNS",
        "A schema has more than 64 regular expressions.",
        "Use `enum`, `minLength` or `format` where they say the same.",
    ),
    error(
        "SCHEMA_TOO_MANY_PATHS",
        "The references of a schema unfold to more than 10,000 paths: definitions that refer twice to the next double the work each time.",
        "Refer to each definition once, or write the shared part out.",
    ),
    error(
        "SCHEMA_REMOTE_REF",
        "A schema refers to another document. Nothing is ever fetched for a schema.",
        "Copy what is referred to into `$defs` and refer to it as `#/$defs/NAME`.",
    ),
    error(
        "SCHEMA_UNKNOWN_REF",
        "A schema refers to something that is not in it.",
        "Check the reference against `$defs`.",
    ),
    error(
        "SCHEMA_RECURSIVE",
        "A schema refers to itself, so the cost of checking depends on the document, without bound.",
        "Say how deep it may nest by writing the levels out, or leave the inside open.",
    ),
    error(
        "SCHEMA_EMBEDDED_ID",
        "A schema has an `$id` below its root, which would change what references mean.",
        "Remove it; use `$anchor` or `$defs` instead.",
    ),
    error(
        "SCHEMA_UNKNOWN_DIALECT",
        "A schema declares another dialect than JSON Schema 2020-12.",
        "Set `$schema` to `https://json-schema.org/draft/2020-12/schema` or leave it out.",
    ),
    error(
        "RULE_DUPLICATE",
        "Two rules of a routing document have the same name, so a decision could not say which of them held.",
        "Give each rule a name of its own.",
    ),
    warning(
        "RULE_UNREACHABLE",
        "A rule never decides, because one before it holds whenever it does.",
        "Put the narrower rule first, or remove one of the two.",
    ),
    warning(
        "ROUTE_ONLY_STATIC",
        "A routing document has no rung but the last: every request that names no target of its own gets the static response.",
        "Add `rules`, `classifier: {}`, a `router` or a `generalist`.",
    ),
    warning(
        "ROLLOUT_UNFINISHED",
        "The last step of a rollout leaves the candidate with less than all calls, and nothing gives it the rest.",
        "End with `weight: 100%`, or promote it by hand when you are sure.",
    ),
    warning(
        "ROLLOUT_BLIND",
        "A step of a rollout may end after fewer calls than it takes to compare the two versions.",
        "Let the step wait for at least as many `samples` as `roll_back.min_samples`.",
    ),
    warning(
        "OUTPUT_UNUSED",
        "Nobody reads the output of this step.",
        "Use it in a later step or in `output:`, or leave the step out. If it is there for its side effect, all is well.",
    ),
    warning(
        "TIMEOUT_BEYOND_DEADLINE",
        "A step may take longer than the whole run, so its timeout never acts.",
        "Lower the step's `timeout` or raise the workflow's `deadline`.",
    ),
    warning(
        "PATH_BEYOND_DEADLINE",
        "The longest chain of steps may take longer than the whole run, even without a retry.",
        "Raise `deadline`, lower some timeouts, or let steps run side by side.",
    ),
    warning(
        "OPTIONAL_UNGUARDED",
        "An expression reads a field of an optional step's output, which is null when that step failed or was skipped.",
        "Ask first: `steps.ID.ok ? steps.ID.output.x : …`.",
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use mainstay_kernel::workflow::Code as Finding;

    use super::*;

    #[test]
    fn every_code_of_the_kernel_has_its_page() {
        for code in Finding::ALL {
            let page = page(code.as_str());
            assert!(page.is_some_and(|page| !page.cause.is_empty() && !page.remedy.is_empty()), "{code}");
        }
    }

    #[test]
    fn no_page_is_left_of_a_code_that_is_gone_or_was_misspelt() {
        let known: BTreeSet<&str> = Finding::ALL.iter().map(|code| code.as_str()).collect();
        for page in FINDINGS {
            assert!(known.contains(page.code), "{}", page.code);
        }
    }

    #[test]
    fn a_code_has_one_page() {
        let mut seen = BTreeSet::new();
        for page in all() {
            assert!(seen.insert(page.code), "{} is there twice", page.code);
        }
    }
}
