//! Evaluating one expression over the values of a run.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use cel::objects::{Key, Map};
use cel::{Context, ExecutionError, IdedExpr, Value};

use super::cost::Step;
use super::expression::{ENV, Expression, Form, Reads, Root};
use super::path::{Segment, follow};
use super::{Ended, Facts, Item, MAX_COST, MAX_ITEMS, Scope, convert, cost, order};
use crate::id::RunId;
use crate::json::Json;

/// A scope and the values that have been parsed from it so far: each at most once per mapping, and only if needed.
pub(super) struct Evaluation<'a> {
    scope: Scope<'a>,
    /// Labels and tenant, where they are to be read.
    facts: Option<Facts<'a>>,
    /// The item of a list, where the expression is evaluated for each.
    item: Option<Item<'a>>,
    /// What the run came to, where that is known.
    result: Option<&'a Json>,
    parsed: RefCell<BTreeMap<Source, Parsed>>,
}

/// A value of the scope, like the input or the output of a step.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Input,
    Output(String),
    Labels,
    Item,
    Result,
    Context,
}

#[derive(Clone)]
struct Parsed {
    value: Value,
    longest: usize,
}

/// What an expression comes to.
pub(super) enum Outcome<'a> {
    /// JSON text, found in the scope.
    Text(Cow<'a, str>),
    /// A value CEL computed.
    Value(serde_json::Value),
}

impl<'a> Evaluation<'a> {
    pub(super) fn new(scope: &Scope<'a>) -> Self {
        Self { scope: *scope, facts: None, item: None, result: None, parsed: RefCell::default() }
    }

    /// For one item of a list.
    pub(super) fn of_item(scope: &Scope<'a>, item: Item<'a>) -> Self {
        Self { item: Some(item), ..Self::new(scope) }
    }

    /// Over a request instead of a run.
    pub(super) fn of_request(facts: Facts<'a>) -> Self {
        static NONE: BTreeMap<String, Json> = BTreeMap::new();
        let run = RunId::from_bytes([0; 16]);
        let scope = Scope { input: facts.input, run, intent: "", context: facts.input, outputs: &NONE };
        Self { facts: Some(facts), ..Self::new(&scope) }
    }

    /// Over a run that has ended.
    pub(super) fn of_ended(ended: Ended<'a>) -> Self {
        let scope = Scope {
            input: ended.input,
            run: RunId::from_bytes([0; 16]),
            intent: "",
            context: ended.input,
            outputs: ended.outputs,
        };
        Self { result: Some(ended.output), ..Self::new(&scope) }
    }

    pub(super) fn evaluate(&self, expression: &Expression) -> Result<Outcome<'a>, String> {
        match &expression.form {
            Form::Path(root, segments) => self.path(root, segments).map(Outcome::Text),
            Form::Program { program, loops } => {
                self.run(program, *loops, &expression.reads).map(Outcome::Value)
            }
        }
    }

    fn path(&self, root: &Root, segments: &[Segment]) -> Result<Cow<'a, str>, String> {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        match root {
            Root::Input => follow(self.scope.input.as_str(), segments).map(Cow::Borrowed),
            Root::Output(id) => follow(self.output(id), segments)
                .map(Cow::Borrowed)
                .map_err(|message| self.explain_missing(id, message)),
            Root::Ok(id) => {
                let ok = if self.scope.outputs.output(id).is_some() { "true" } else { "false" };
                follow(ok, segments).map(Cow::Borrowed)
            }
            Root::Context => follow(self.scope.context.as_str(), segments).map(Cow::Borrowed),
            Root::Labels => follow(self.labels(), segments).map(Cow::Borrowed),
            Root::Tenant => copied(&quoted(self.tenant()), segments),
            Root::Item => follow(self.item(), segments).map(Cow::Borrowed),
            Root::Index => copied(&self.index().to_string(), segments),
            Root::Result => follow(self.result(), segments).map(Cow::Borrowed),
            Root::RunId => copied(&quoted(&self.scope.run.to_string()), segments),
            Root::Intent => copied(&quoted(self.scope.intent), segments),
            Root::Step(id) => Err(format!("reads step `{id}` itself; read its `output` or `ok`")),
        }
    }

    fn labels(&self) -> &'a str {
        self.facts.map_or("{}", |facts| facts.labels.as_str())
    }

    fn tenant(&self) -> &'a str {
        self.facts.map_or("", |facts| facts.tenant)
    }

    fn item(&self) -> &'a str {
        self.item.map_or("null", |item| item.value.as_str())
    }

    fn result(&self) -> &'a str {
        self.result.map_or("null", Json::as_str)
    }

    fn index(&self) -> usize {
        self.item.map_or(0, |item| item.index)
    }

    fn output(&self, id: &str) -> &'a str {
        self.scope.outputs.output(id).map_or("null", |output| output.as_str())
    }

    fn explain_missing(&self, id: &str, message: String) -> String {
        match self.scope.outputs.output(id) {
            Some(_) => message,
            None => format!("step `{id}` has no output; ask `steps.{id}.ok` first"),
        }
    }

    fn run(&self, program: &IdedExpr, loops: bool, reads: &Reads) -> Result<serde_json::Value, String> {
        let longest = self.parse(reads)?;
        if loops && longest > MAX_ITEMS {
            return Err(format!(
                "loops, and a value it reads has a list or map of {longest} items; at most {MAX_ITEMS} are allowed"
            ));
        }
        let cost = cost::bound(program, &Sizes { evaluation: self });
        if cost > MAX_COST {
            return Err(format!("could cost {cost} units of work; at most {MAX_COST} are allowed"));
        }
        let mut context = self.context(reads);
        if loops && context.add_function(order::IN_ORDER, order::in_order).is_err() {
            return Err("cannot be evaluated".to_owned());
        }
        let computed = catch_unwind(AssertUnwindSafe(|| Value::resolve(program, &context)));
        let value =
            computed.map_err(|_| "cannot be evaluated".to_owned())?.map_err(|error| explain(&error))?;
        convert::to_json(&value)
    }

    /// Parses what `reads` names; the length of the longest list or map in it.
    fn parse(&self, reads: &Reads) -> Result<usize, String> {
        let outputs = reads.steps.iter().map(|read| Source::Output(read.id.clone()));
        let mut longest = 0;
        let labels = reads.labels.then_some(Source::Labels);
        let item = reads.item.then_some(Source::Item);
        let context = (!reads.context.is_empty()).then_some(Source::Context);
        let result = reads.result.then_some(Source::Result);
        let given = reads
            .input
            .then_some(Source::Input)
            .into_iter()
            .chain(labels)
            .chain(item)
            .chain(result)
            .chain(context);
        for source in given.chain(outputs) {
            let known = self.parsed.borrow().get(&source).map(|parsed| parsed.longest);
            let of_source = match known {
                Some(longest) => longest,
                None => {
                    let text = match &source {
                        Source::Input => self.scope.input.as_str(),
                        Source::Labels => self.labels(),
                        Source::Item => self.item(),
                        Source::Result => self.result(),
                        Source::Context => self.scope.context.as_str(),
                        Source::Output(id) => self.output(id),
                    };
                    let mut longest = 0;
                    let value = convert::from_json(text, &mut longest)?;
                    self.parsed.borrow_mut().insert(source, Parsed { value, longest });
                    longest
                }
            };
            longest = longest.max(of_source);
        }
        Ok(longest)
    }

    fn context(&self, reads: &Reads) -> Context<'static, 'static> {
        let parsed = self.parsed.borrow();
        let value = |source: &Source| parsed.get(source).map_or(Value::Null, |parsed| parsed.value.clone());
        let mut context = Context::with_env(Arc::clone(&ENV));
        if reads.input {
            context.add_variable_from_value("input", value(&Source::Input));
        }
        if !reads.context.is_empty() {
            context.add_variable_from_value("context", value(&Source::Context));
        }
        if reads.labels {
            context.add_variable_from_value("labels", value(&Source::Labels));
        }
        if reads.item {
            context.add_variable_from_value("item", value(&Source::Item));
        }
        if reads.result {
            context.add_variable_from_value("output", value(&Source::Result));
        }
        if reads.index {
            let index = i64::try_from(self.index()).unwrap_or(i64::MAX);
            context.add_variable_from_value("index", Value::Int(index));
        }
        if reads.tenant {
            context.add_variable_from_value("tenant", text(self.tenant().to_owned()));
        }
        if reads.run {
            let run =
                [("id", text(self.scope.run.to_string())), ("intent", text(self.scope.intent.to_owned()))];
            context.add_variable_from_value("run", map(run));
        }
        if !reads.steps.is_empty() {
            let steps = reads.steps.iter().map(|read| {
                let ok = self.scope.outputs.output(&read.id).is_some();
                let output = value(&Source::Output(read.id.clone()));
                (read.id.as_str(), map([("output", output), ("ok", Value::Bool(ok))]))
            });
            context.add_variable_from_value("steps", map(steps));
        }
        context
    }
}

fn copied<'a>(text: &str, segments: &[Segment]) -> Result<Cow<'a, str>, String> {
    follow(text, segments).map(|found| Cow::Owned(found.to_owned()))
}

fn text(text: String) -> Value {
    Value::String(Arc::new(text))
}

fn map<'k>(entries: impl IntoIterator<Item = (&'k str, Value)>) -> Value {
    let entries = entries.into_iter().map(|(key, value)| (Key::String(Arc::new(key.to_owned())), value));
    Value::Map(Map { map: Arc::new(entries.collect::<HashMap<_, _>>()) })
}

struct Sizes<'e, 'a> {
    evaluation: &'e Evaluation<'a>,
}

impl cost::Sizes for Sizes<'_, '_> {
    fn mass(&self, name: &str, segments: &[Segment]) -> Option<u64> {
        let scope = &self.evaluation.scope;
        let found = match (name, segments) {
            ("input", rest) => follow(scope.input.as_str(), rest).ok()?,
            ("steps", [Segment::Field(id), Segment::Field(field), rest @ ..]) if field == "output" => {
                follow(self.evaluation.output(id), rest).ok()?
            }
            ("steps", [Segment::Field(id)]) => self.evaluation.output(id),
            ("labels", rest) => follow(self.evaluation.labels(), rest).ok()?,
            ("item", rest) => follow(self.evaluation.item(), rest).ok()?,
            ("context", rest) => follow(scope.context.as_str(), rest).ok()?,
            ("index", _) => "",
            ("output", rest) => follow(self.evaluation.result(), rest).ok()?,
            ("tenant", _) => self.evaluation.tenant(),
            ("run", _) => scope.intent,
            _ => return None,
        };
        // What a map of `output` and `ok` adds, and then some.
        Some(found.len() as u64 + 64)
    }

    fn longest(&self, name: &str, steps: &[Step]) -> u64 {
        let parsed = self.evaluation.parsed.borrow();
        let (source, rest) = match (name, steps) {
            ("input", rest) => (Source::Input, rest),
            ("labels", rest) => (Source::Labels, rest),
            ("item", rest) => (Source::Item, rest),
            ("context", rest) => (Source::Context, rest),
            ("steps", [Step::Into(Segment::Field(id)), Step::Into(Segment::Field(_)), rest @ ..]) => {
                (Source::Output(id.clone()), rest)
            }
            // `run`, or a step's own `output` and `ok`.
            _ => return 2,
        };
        parsed.get(&source).map_or(0, |parsed| longest(&parsed.value, rest))
    }
}

/// The length of the longest list or map that `steps` could lead to from `value`.
fn longest(value: &Value, steps: &[Step]) -> u64 {
    #[allow(clippy::wildcard_enum_match_arm, reason = "only lists and maps have parts")]
    match (value, steps) {
        (Value::List(items), []) => items.len() as u64,
        (Value::Map(map), []) => map.map.len() as u64,
        (Value::List(items), [Step::Any, rest @ ..]) => {
            items.iter().map(|item| longest(item, rest)).max().unwrap_or_default()
        }
        (Value::Map(map), [Step::Any, rest @ ..]) => {
            map.map.values().map(|field| longest(field, rest)).max().unwrap_or_default()
        }
        (Value::List(items), [Step::Into(Segment::Item(index)), rest @ ..]) => {
            let item = usize::try_from(*index).ok().and_then(|index| items.get(index));
            item.map_or(0, |item| longest(item, rest))
        }
        (Value::Map(map), [Step::Into(Segment::Field(name)), rest @ ..]) => {
            map.map.get(&Key::String(Arc::new(name.clone()))).map_or(0, |field| longest(field, rest))
        }
        _ => 0,
    }
}

/// CEL's errors quote whole values; ours do not.
fn explain(error: &ExecutionError) -> String {
    #[allow(clippy::wildcard_enum_match_arm, reason = "the rest is shown as the library puts it, shortened")]
    match error {
        ExecutionError::NoSuchKey(key) => format!("finds no field `{}`", super::shorten(key)),
        ExecutionError::NoSuchOverload(_) | ExecutionError::UnexpectedType { .. } => {
            super::shorten(&error.to_string())
        }
        ExecutionError::ValuesNotComparable(left, right) => {
            format!("compares {} with {}", left.type_of(), right.type_of())
        }
        ExecutionError::UnsupportedBinaryOperator(operator, left, right) => {
            format!("applies `{operator}` to {} and {}", left.type_of(), right.type_of())
        }
        ExecutionError::UnsupportedIndex(index, value) => {
            format!("indexes {} with {}", value.type_of(), index.type_of())
        }
        ExecutionError::IndexOutOfBounds(index) => format!("finds no item {}", super::shorten(&shown(index))),
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
            "divides by zero".to_owned()
        }
        ExecutionError::Overflow(operator, ..) => format!("`{operator}` goes beyond 64 bits"),
        other => super::shorten(&other.to_string()),
    }
}

fn shown(value: &Value) -> String {
    convert::to_json(value).map_or_else(|_| format!("of type {}", value.type_of()), |json| json.to_string())
}
