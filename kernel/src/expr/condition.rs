//! One expression that is true or false of a request.

use std::fmt;

use super::eval::{Evaluation, Outcome};
use super::expression::{Expression, Vocabulary};
use super::{CompileError, ExprError, Outputs, shorten};
use crate::json::Json;
use crate::yaml::Path;

/// What a condition is about.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The request's input.
    pub input: &'a Json,
    /// Its labels: a JSON object of texts.
    pub labels: &'a Json,
    /// Whose request it is.
    pub tenant: &'a str,
}

/// What an expectation is about: a run that has ended.
#[derive(Clone, Copy)]
pub struct Ended<'a> {
    /// What it came to; `null` if it did not complete.
    pub output: &'a Json,
    /// What it was given.
    pub input: &'a Json,
    /// The steps' outputs.
    pub outputs: &'a dyn Outputs,
}

/// A compiled condition.
#[derive(Debug)]
pub struct Condition(Expression);

impl Condition {
    /// Compiles `source`, the bare expression.
    ///
    /// # Errors
    /// [`CompileError`] says what is wrong with it.
    pub fn compile(source: &str) -> Result<Self, CompileError> {
        Self::of(source, Vocabulary::Request)
    }

    /// Compiles an expectation of a run that has ended: it sees `output`, `input` and `steps`, nothing of a request.
    ///
    /// # Errors
    /// [`CompileError`] says what is wrong with it.
    pub fn compile_for_ended(source: &str) -> Result<Self, CompileError> {
        Self::of(source, Vocabulary::Ended)
    }

    fn of(source: &str, vocabulary: Vocabulary) -> Result<Self, CompileError> {
        Expression::compile(source.trim(), vocabulary).map(Self).map_err(|message| CompileError {
            path: Path::default(),
            expression: shorten(source),
            message,
        })
    }

    /// The expression as it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// [`ExprError`] if it has no value for this request, or one that is neither true nor false.
    pub fn holds(&self, facts: Facts<'_>) -> Result<bool, ExprError> {
        self.truth(&Evaluation::of_request(facts))
    }

    /// Whether an expectation holds of a run that has ended.
    ///
    /// # Errors
    /// [`ExprError`] if it has no value for this run, or one that is neither true nor false.
    pub fn holds_of(&self, ended: Ended<'_>) -> Result<bool, ExprError> {
        self.truth(&Evaluation::of_ended(ended))
    }

    fn truth(&self, evaluation: &Evaluation<'_>) -> Result<bool, ExprError> {
        let outcome = evaluation.evaluate(&self.0).and_then(|outcome| match outcome {
            Outcome::Value(serde_json::Value::Bool(holds)) => Ok(holds),
            Outcome::Text(text) if text == "true" || text == "false" => Ok(text == "true"),
            Outcome::Text(_) | Outcome::Value(_) => Err("is neither true nor false".to_owned()),
        });
        outcome.map_err(|message| ExprError {
            path: String::new(),
            expression: shorten(&self.0.source),
            message,
        })
    }
}

impl fmt::Debug for Ended<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ended")
            .field("output", self.output)
            .field("input", self.input)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(source: &str) -> Result<bool, String> {
        let json = |text: &str| Json::parse(text.as_bytes(), &crate::json::Limits::default()).unwrap();
        let input = json(r#"{"amount": 120, "urgent": true, "items": [{"kind": "book"}], "note": "x"}"#);
        let labels = json(r#"{"channel": "web"}"#);
        let facts = Facts { input: &input, labels: &labels, tenant: "acme" };
        Condition::compile(source).map_err(|error| error.message)?.holds(facts).map_err(|error| error.message)
    }

    #[test]
    fn input_labels_and_tenant_decide() {
        for (source, expected) in [
            ("input.amount > 100", true),
            ("input.urgent", true),
            ("labels.channel == 'mail'", false),
            ("'channel' in labels && labels.channel.startsWith('w')", true),
            ("tenant == 'acme'", true),
            ("input.items.exists(item, item.kind == 'book')", true),
            ("labels.exists(name, name == 'channel')", true),
            ("has(input.missing) && input.missing > 1", false),
        ] {
            assert_eq!(holds(source), Ok(expected), "{source}");
        }
    }

    #[test]
    fn what_is_not_there_or_not_true_or_false_is_an_error() {
        for source in ["input.missing > 1", "input.amount", "input.note", "tenant"] {
            assert!(holds(source).is_err(), "{source}");
        }
    }

    #[test]
    fn a_condition_knows_nothing_of_runs_and_a_mapping_nothing_of_labels() {
        let refused = holds("steps.a.ok").unwrap_err();
        assert!(refused.contains("there are `input`, `labels` and `tenant`"), "{refused}");
        assert!(holds("run.id == ''").is_err());
        let mapping = serde_json::json!("${labels.channel}");
        assert!(crate::expr::Mapping::compile(&mapping).is_err());
    }
}
