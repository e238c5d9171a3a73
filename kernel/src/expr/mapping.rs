//! A JSON value with expressions in its strings, compiled once and evaluated for each run.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::eval::{Evaluation, Outcome};
use super::expression::{Expression, Form, Root, Vocabulary};
use super::path::Segment;
use super::template::{Piece, split};
use super::{
    Answered, CompileError, ExprError, Item, MAX_MAPPING_NODES, MAX_OUTPUT_BYTES, References, Scope, StepUse,
    shorten,
};
use crate::json::{Json, Limits};
use crate::yaml::Path;

/// A compiled mapping. Cheap to clone.
#[derive(Clone)]
pub struct Mapping(Arc<Compiled>);

#[derive(Debug)]
struct Compiled {
    template: Template,
    references: References,
}

#[derive(Debug)]
enum Template {
    /// JSON text without expressions.
    Constant(String),
    /// A string that is one expression.
    Whole(Box<Expression>),
    /// A string with expressions in it.
    Mixed(Vec<Part>),
    List(Vec<Template>),
    /// Keys are JSON strings, ready to be written; the path of a value needs the key itself.
    Map(Vec<(String, String, Template)>),
}

#[derive(Debug)]
enum Part {
    Text(String),
    Expression(Expression),
}

/// What can be known of a mapping's value before there is one.
#[derive(Debug, Clone)]
pub enum Shape<'a> {
    /// It is this.
    Constant(Value),
    /// Some text.
    Text,
    /// A value of another step's output: the fields that lead to it.
    Output {
        /// The step.
        step: &'a str,
        /// The fields; none for the output as a whole.
        path: Vec<&'a str>,
    },
    /// A list.
    List(Vec<Shape<'a>>),
    /// A map, in the order of the document.
    Map(Vec<(String, Shape<'a>)>),
    /// Nothing.
    Computed,
}

impl Template {
    fn shape(&self) -> Shape<'_> {
        match self {
            Self::Constant(text) => serde_json::from_str(text).map_or(Shape::Computed, Shape::Constant),
            Self::Mixed(_) => Shape::Text,
            Self::List(items) => Shape::List(items.iter().map(Self::shape).collect()),
            Self::Map(fields) => {
                Shape::Map(fields.iter().map(|(_, name, value)| (name.clone(), value.shape())).collect())
            }
            Self::Whole(expression) => {
                let Form::Path(Root::Output(step), segments) = &expression.form else {
                    return Shape::Computed;
                };
                let path: Option<Vec<&str>> = segments.iter().map(Segment::field).collect();
                path.map_or(Shape::Computed, |path| Shape::Output { step, path })
            }
        }
    }
}

impl Mapping {
    /// Compiles `value`; every expression that is wrong is reported.
    ///
    /// # Errors
    /// One [`CompileError`] for each expression that cannot be read, and one if the mapping is too large.
    pub fn compile(value: &Value) -> Result<Self, Vec<CompileError>> {
        Self::over(value, Vocabulary::Run)
    }

    /// The same, for a mapping that is evaluated for each item of a list: its expressions see `item` and `index` too.
    ///
    /// # Errors
    /// As of [`Mapping::compile`].
    pub fn compile_for_items(value: &Value) -> Result<Self, Vec<CompileError>> {
        Self::over(value, Vocabulary::Item)
    }

    /// The same, for a mapping that is evaluated over a step's answer that is verified: its expressions see `output`,
    /// `given` and `grounds` too.
    ///
    /// # Errors
    /// As of [`Mapping::compile`].
    pub fn compile_for_answers(value: &Value) -> Result<Self, Vec<CompileError>> {
        Self::over(value, Vocabulary::Answer)
    }

    /// A bare expression over a step's answer that is verified, without `${ }` around it; see [`Mapping::holds_of`].
    ///
    /// # Errors
    /// As of [`Mapping::compile`].
    pub fn compile_post_condition(source: &str) -> Result<Self, Vec<CompileError>> {
        let source = source.trim();
        let wrong = |message| CompileError { path: Path::default(), expression: shorten(source), message };
        let expression =
            Expression::compile(source, Vocabulary::Answer).map_err(|message| vec![wrong(message)])?;
        let references = References::default();
        let mut compiler =
            Compiler { vocabulary: Vocabulary::Answer, errors: Vec::new(), references, nodes: 1 };
        compiler.note(&expression, &Path::default());
        let template = Template::Whole(Box::new(expression));
        Ok(Self(Arc::new(Compiled { template, references: compiler.references })))
    }

    /// `null`, whatever it is evaluated over.
    #[must_use]
    pub fn nothing() -> Self {
        let template = Template::Constant("null".to_owned());
        Self(Arc::new(Compiled { template, references: References::default() }))
    }

    fn over(value: &Value, vocabulary: Vocabulary) -> Result<Self, Vec<CompileError>> {
        let references = References::default();
        let mut compiler = Compiler { vocabulary, errors: Vec::new(), references, nodes: 0 };
        let template = compiler.compile(value, &Path::default());
        if compiler.nodes > MAX_MAPPING_NODES {
            let message = format!("has {} values; at most {MAX_MAPPING_NODES} are allowed", compiler.nodes);
            return Err(vec![CompileError { path: Path::default(), expression: String::new(), message }]);
        }
        if compiler.errors.is_empty() {
            Ok(Self(Arc::new(Compiled { template, references: compiler.references })))
        } else {
            Err(compiler.errors)
        }
    }

    /// What it reads.
    #[must_use]
    pub fn references(&self) -> &References {
        &self.0.references
    }

    /// What can be known of its value before there is one.
    #[must_use]
    pub fn shape(&self) -> Shape<'_> {
        self.0.template.shape()
    }

    /// Its value over `scope`.
    ///
    /// # Errors
    /// [`ExprError`] names the first expression that has no value there.
    pub fn eval(&self, scope: &Scope<'_>) -> Result<Json, ExprError> {
        if let Template::Whole(expression) = &self.0.template
            && let Form::Path(root, segments) = &expression.form
            && segments.is_empty()
        {
            // The commonest mapping hands a whole value on: not even its text is copied.
            match root {
                Root::Input => return Ok(scope.input.clone()),
                Root::Output(id) => return Ok(scope.outputs.output(id).cloned().unwrap_or_default()),
                Root::Ok(_)
                | Root::Step(_)
                | Root::RunId
                | Root::Intent
                | Root::Labels
                | Root::Tenant
                | Root::Item
                | Root::Index
                | Root::Context
                | Root::Given
                | Root::Grounds
                | Root::Result => {}
            }
        }
        self.write(Evaluation::new(scope))
    }

    /// Its value over `scope` and one item of a list.
    ///
    /// # Errors
    /// [`ExprError`] names the first expression that has no value there.
    pub fn eval_for(&self, scope: &Scope<'_>, item: Item<'_>) -> Result<Json, ExprError> {
        self.write(Evaluation::of_item(scope, item))
    }

    /// Its value over `scope` and a step's answer that is verified.
    ///
    /// # Errors
    /// [`ExprError`] names the first expression that has no value there.
    pub fn eval_of(&self, scope: &Scope<'_>, answered: Answered<'_>) -> Result<Json, ExprError> {
        self.write(Evaluation::of_answer(scope, answered))
    }

    /// Whether it is true of a step's answer.
    ///
    /// # Errors
    /// [`ExprError`] if it has no value there, or one that is neither true nor false.
    pub fn holds_of(&self, scope: &Scope<'_>, answered: Answered<'_>) -> Result<bool, ExprError> {
        match self.eval_of(scope, answered)?.as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(ExprError {
                path: String::new(),
                expression: String::new(),
                message: "is neither true nor false".to_owned(),
            }),
        }
    }

    fn write(&self, evaluation: Evaluation<'_>) -> Result<Json, ExprError> {
        let mut writer = Writer { evaluation, out: String::new(), path: Path::default() };
        writer.write(&self.0.template)?;
        let limits = Limits { max_bytes: MAX_OUTPUT_BYTES, ..Limits::default() };
        Json::parse(writer.out.as_bytes(), &limits).map_err(|error| ExprError {
            path: String::new(),
            expression: String::new(),
            message: format!("the value built {error}"),
        })
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Mapping").field(&self.0.template).finish()
    }
}

// === compiling ===

struct Compiler {
    vocabulary: Vocabulary,
    errors: Vec<CompileError>,
    references: References,
    nodes: usize,
}

impl Compiler {
    fn compile(&mut self, value: &Value, path: &Path) -> Template {
        self.nodes += 1;
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => Template::Constant(value.to_string()),
            Value::String(text) => self.string(text, path),
            Value::Array(items) => {
                let compiled = items.iter().enumerate().map(|(at, item)| self.compile(item, &path.index(at)));
                Template::List(compiled.collect()).folded()
            }
            Value::Object(fields) => {
                let compiled = fields.iter().map(|(key, field)| {
                    let quoted = Value::from(key.as_str()).to_string();
                    (quoted, key.clone(), self.compile(field, &path.key(key)))
                });
                Template::Map(compiled.collect()).folded()
            }
        }
    }

    fn string(&mut self, text: &str, path: &Path) -> Template {
        let pieces = match split(text) {
            Ok(pieces) => pieces,
            Err(message) => {
                self.error(path, text, message);
                return Template::Constant("null".to_owned());
            }
        };
        let whole = matches!(pieces.as_slice(), [Piece::Expression(_)]);
        let mut parts = Vec::with_capacity(pieces.len());
        for piece in pieces {
            match piece {
                Piece::Text(text) => parts.push(Part::Text(text)),
                Piece::Expression(source) => {
                    self.nodes += 1;
                    match Expression::compile(source, self.vocabulary) {
                        Ok(expression) => {
                            self.note(&expression, path);
                            parts.push(Part::Expression(expression));
                        }
                        Err(message) => self.error(path, source, message),
                    }
                }
            }
        }
        match (whole, parts.pop()) {
            (true, Some(Part::Expression(expression))) => Template::Whole(Box::new(expression)),
            (_, None) => Template::Constant(Value::from("").to_string()),
            (_, Some(Part::Text(text))) if parts.is_empty() => {
                Template::Constant(Value::from(text).to_string())
            }
            (_, Some(last)) => {
                parts.push(last);
                Template::Mixed(parts)
            }
        }
    }

    fn error(&mut self, path: &Path, expression: &str, message: String) {
        self.errors.push(CompileError { path: path.clone(), expression: shorten(expression), message });
    }

    fn note(&mut self, expression: &Expression, path: &Path) {
        let reads = &expression.reads;
        self.references.input |= reads.input;
        self.references.run |= reads.run;
        for name in &reads.context {
            self.references.context.entry(name.clone()).or_insert_with(|| path.clone());
        }
        for read in &reads.steps {
            let guarded = reads.steps.iter().any(|other| other.id == read.id && other.guards);
            let steps = &mut self.references.steps;
            let entry = steps.entry(read.id.clone());
            let entry = entry.or_insert_with(|| StepUse { path: path.clone(), unguarded: None });
            if read.below && !guarded {
                entry.unguarded.get_or_insert_with(|| path.clone());
            }
        }
    }
}

impl Template {
    /// Itself, or its text if nothing in it is ever evaluated.
    fn folded(self) -> Self {
        let constant = |template: &Self| matches!(template, Self::Constant(_));
        match &self {
            Self::List(items) if items.iter().all(constant) => {
                let items: Vec<&str> = items.iter().map(Self::text).collect();
                Self::Constant(format!("[{}]", items.join(",")))
            }
            Self::Map(fields) if fields.iter().all(|(_, _, field)| constant(field)) => {
                let fields: Vec<String> =
                    fields.iter().map(|(key, _, field)| format!("{key}:{}", field.text())).collect();
                Self::Constant(format!("{{{}}}", fields.join(",")))
            }
            Self::Constant(_) | Self::Whole(_) | Self::Mixed(_) | Self::List(_) | Self::Map(_) => self,
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Constant(text) => text,
            Self::Whole(_) | Self::Mixed(_) | Self::List(_) | Self::Map(_) => "null",
        }
    }
}

// === evaluating ===

struct Writer<'a> {
    evaluation: Evaluation<'a>,
    out: String,
    path: Path,
}

impl<'a> Writer<'a> {
    fn write(&mut self, template: &Template) -> Result<(), ExprError> {
        match template {
            Template::Constant(text) => self.out.push_str(text),
            Template::Whole(expression) => {
                let outcome = self.evaluate(expression)?;
                match outcome {
                    Outcome::Text(text) => self.out.push_str(&text),
                    Outcome::Value(value) => self.out.push_str(&value.to_string()),
                }
                self.check_length(expression)?;
            }
            Template::Mixed(parts) => {
                let text = self.mixed(parts)?;
                self.out.push_str(&Value::from(text).to_string());
            }
            Template::List(items) => {
                self.out.push('[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        self.out.push(',');
                    }
                    self.within(self.path.index(at), item)?;
                }
                self.out.push(']');
            }
            Template::Map(fields) => {
                self.out.push('{');
                for (at, (quoted, key, field)) in fields.iter().enumerate() {
                    if at > 0 {
                        self.out.push(',');
                    }
                    self.out.push_str(quoted);
                    self.out.push(':');
                    self.within(self.path.key(key), field)?;
                }
                self.out.push('}');
            }
        }
        Ok(())
    }

    fn within(&mut self, path: Path, template: &Template) -> Result<(), ExprError> {
        let outside = std::mem::replace(&mut self.path, path);
        self.write(template)?;
        self.path = outside;
        Ok(())
    }

    fn mixed(&mut self, parts: &[Part]) -> Result<String, ExprError> {
        let mut text = String::new();
        for part in parts {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Expression(expression) => {
                    let outcome = self.evaluate(expression)?;
                    text.push_str(&plain(outcome));
                    if text.len() > MAX_OUTPUT_BYTES {
                        return Err(self.too_large(expression));
                    }
                }
            }
        }
        Ok(text)
    }

    fn evaluate(&self, expression: &Expression) -> Result<Outcome<'a>, ExprError> {
        self.evaluation.evaluate(expression).map_err(|message| self.error(expression, message))
    }

    fn check_length(&self, expression: &Expression) -> Result<(), ExprError> {
        if self.out.len() > MAX_OUTPUT_BYTES { Err(self.too_large(expression)) } else { Ok(()) }
    }

    fn too_large(&self, expression: &Expression) -> ExprError {
        self.error(expression, format!("makes the value larger than {MAX_OUTPUT_BYTES} bytes"))
    }

    fn error(&self, expression: &Expression, message: String) -> ExprError {
        ExprError { path: self.path.to_string(), expression: shorten(&expression.source), message }
    }
}

/// How a value stands in text: text as it is, everything else as JSON.
fn plain(outcome: Outcome<'_>) -> String {
    match outcome {
        Outcome::Value(Value::String(text)) => text,
        Outcome::Value(value) => value.to_string(),
        Outcome::Text(json) if json.starts_with('"') => {
            serde_json::from_str(&json).unwrap_or_else(|_| json.into_owned())
        }
        Outcome::Text(json) => json.into_owned(),
    }
}
