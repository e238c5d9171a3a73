//! One expression: compiled, and everything about it that can be known before it runs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;

use cel::Env;
use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators};
use cel::parser::PrattParser;

use super::path::Segment;
use super::{MAX_COMPREHENSION_DEPTH, MAX_EXPRESSION_DEPTH, MAX_SOURCE_BYTES, order};

/// The standard library without optional values: `steps.x.ok` and `has(…)` say the same more plainly.
pub(super) static ENV: LazyLock<std::sync::Arc<Env>> =
    LazyLock::new(|| Env::stdlib().with_optional_support(false).into());

/// The operators and functions an expression may use. `matches` is not among them: its patterns would be compiled anew
/// for each item of a list; a pattern belongs into a schema.
const FUNCTIONS: [&str; 34] = [
    "_?_:_",
    "_&&_",
    "_||_",
    "!_",
    "_-_",
    "_+_",
    "_*_",
    "_/_",
    "_%_",
    "_==_",
    "_!=_",
    "_>=_",
    "_<=_",
    "_>_",
    "_<_",
    "-_",
    "_[_]",
    "@in",
    "@not_strictly_false",
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "int",
    "uint",
    "double",
    "string",
    "bool",
    "bytes",
    "dyn",
    "type",
    "has",
    "max",
    "min",
];

/// Names of types, as in `type(x) == int`.
const TYPES: [&str; 10] =
    ["bool", "bytes", "double", "dyn", "int", "list", "map", "null_type", "string", "uint"];

/// As deep as the parser may recurse: what is deeper in the text is deeper still as a tree.
const PARSER_DEPTH: u16 = 96;

/// A compiled expression.
#[derive(Debug)]
pub(super) struct Expression {
    pub(super) source: String,
    pub(super) form: Form,
    pub(super) reads: Reads,
}

#[derive(Debug)]
pub(super) enum Form {
    /// A way into a value and nothing else.
    Path(Root, Vec<Segment>),
    /// Anything else.
    Program { program: IdedExpr, loops: bool },
}

/// Where a path begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Root {
    Input,
    Output(String),
    Ok(String),
    Step(String),
    RunId,
    Intent,
    Labels,
    Tenant,
    Item,
    Index,
    Result,
    /// What a run read of the shared context; a name in it follows.
    Context,
}

/// What an expression reads.
#[derive(Debug, Default, Clone)]
pub(super) struct Reads {
    pub(super) input: bool,
    pub(super) run: bool,
    pub(super) labels: bool,
    pub(super) tenant: bool,
    pub(super) item: bool,
    pub(super) index: bool,
    pub(super) result: bool,
    /// Names in what the run read of the shared context.
    pub(super) context: Vec<String>,
    pub(super) steps: Vec<StepRead>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StepRead {
    pub(super) id: String,
    /// Reads below the output, which fails where there is none.
    pub(super) below: bool,
    /// Asks whether there is an output.
    pub(super) guards: bool,
}

/// The names an expression may begin at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vocabulary {
    /// Those of a run, for mappings.
    Run,
    /// Those of a run and of one item of a list, for mappings that are evaluated for each.
    Item,
    /// Those of a request that is to be routed, for conditions.
    Request,
    /// Those of a run that has ended, for expectations.
    Ended,
}

impl Vocabulary {
    const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Run => &["input", "steps", "context", "run"],
            Self::Item => &["item", "index", "input", "steps", "context", "run"],
            Self::Request => &["input", "labels", "tenant"],
            Self::Ended => &["output", "input", "steps"],
        }
    }

    /// The names as a sentence has them.
    fn listed(self) -> String {
        let quoted: Vec<String> = self.names().iter().map(|name| format!("`{name}`")).collect();
        match quoted.split_last() {
            Some((last, others)) => format!("{} and {last}", others.join(", ")),
            None => String::new(),
        }
    }
}

impl Expression {
    pub(super) fn compile(source: &str, vocabulary: Vocabulary) -> Result<Self, String> {
        if source.is_empty() {
            return Err("is empty".to_owned());
        }
        if source.len() > MAX_SOURCE_BYTES {
            return Err(format!("is {} bytes long; at most {MAX_SOURCE_BYTES} are allowed", source.len()));
        }
        // Of the library's two parsers this one takes a few hundred bytes of stack a level and microseconds in all; the
        // other takes 128 KiB a level. That they agree is tested.
        let parser = PrattParser::new().max_recursion_depth(PARSER_DEPTH);
        let parsed = catch_unwind(AssertUnwindSafe(|| parser.parse(source)));
        let mut program =
            parsed.map_err(|_| "cannot be read".to_owned())?.map_err(|errors| explain(&errors))?;
        let mut check = Check { vocabulary, reads: Reads::default(), variables: Vec::new(), loops: false };
        check.visit(&program, 0, 0)?;
        let Check { reads, loops, .. } = check;
        let form = match path_of(&program).and_then(|path| path.into_form()) {
            Some(form) => form,
            None => {
                order::wrap(&mut program);
                Form::Program { program, loops }
            }
        };
        Ok(Self { source: source.to_owned(), form, reads })
    }
}

fn too_deep() -> String {
    format!("is nested more than {MAX_EXPRESSION_DEPTH} deep")
}

fn explain(errors: &cel::ParseErrors) -> String {
    let first = errors.errors.first().map(|error| error.msg.as_str()).unwrap_or_default();
    format!("is not CEL: {}", super::shorten(first.lines().next().unwrap_or_default()))
}

/// A chain of fields and items that begins at a name.
struct Chain<'a> {
    name: &'a str,
    segments: Vec<Segment>,
    /// It stands in `has(…)`.
    tested: bool,
}

/// The chain `expr` is, if it is nothing else.
pub(super) fn chain(expr: &IdedExpr) -> Option<(&str, Vec<Segment>)> {
    path_of(expr).map(|chain| (chain.name, chain.segments))
}

fn path_of(expr: &IdedExpr) -> Option<Chain<'_>> {
    let (mut expr, mut segments, mut tested) = (&expr.expr, Vec::new(), false);
    loop {
        #[allow(clippy::wildcard_enum_match_arm, reason = "whatever else there is, it is no chain")]
        match expr {
            Expr::Ident(name) => {
                segments.reverse();
                return Some(Chain { name, segments, tested });
            }
            Expr::Select(select) => {
                tested |= select.test;
                segments.push(Segment::Field(select.field.clone()));
                expr = &select.operand.expr;
            }
            Expr::Call(CallExpr { func_name, target: None, args }) if func_name == operators::INDEX => {
                let [operand, index] = args.as_slice() else { return None };
                segments.push(literal_segment(&index.expr)?);
                expr = &operand.expr;
            }
            _ => return None,
        }
    }
}

fn literal_segment(expr: &Expr) -> Option<Segment> {
    #[allow(clippy::wildcard_enum_match_arm, reason = "only literals are steps of a chain")]
    match expr {
        Expr::Literal(LiteralValue::String(name)) => Some(Segment::Field(name.inner().to_owned())),
        Expr::Literal(LiteralValue::Int(index)) => u64::try_from(*index.inner()).ok().map(Segment::Item),
        _ => None,
    }
}

impl Chain<'_> {
    /// The value the chain begins at and the way from there; nothing if it is not one of ours.
    fn root(&self) -> Option<(Root, &[Segment])> {
        let field = |at: usize| match self.segments.get(at) {
            Some(Segment::Field(name)) => Some(name.as_str()),
            Some(Segment::Item(_)) | None => None,
        };
        let rest = |from: usize| self.segments.get(from..).unwrap_or_default();
        match (self.name, field(0), field(1)) {
            ("input", ..) => Some((Root::Input, rest(0))),
            ("labels", ..) => Some((Root::Labels, rest(0))),
            ("tenant", ..) => Some((Root::Tenant, rest(0))),
            ("item", ..) => Some((Root::Item, rest(0))),
            ("index", ..) => Some((Root::Index, rest(0))),
            ("output", ..) => Some((Root::Result, rest(0))),
            ("context", Some(_), _) => Some((Root::Context, rest(0))),
            ("run", Some("id"), _) => Some((Root::RunId, rest(1))),
            ("run", Some("intent"), _) => Some((Root::Intent, rest(1))),
            ("steps", Some(id), Some("output")) => Some((Root::Output(id.to_owned()), rest(2))),
            ("steps", Some(id), Some("ok")) => Some((Root::Ok(id.to_owned()), rest(2))),
            ("steps", Some(id), None) if self.segments.len() == 1 => {
                Some((Root::Step(id.to_owned()), rest(1)))
            }
            _ => None,
        }
    }

    fn into_form(self) -> Option<Form> {
        let (root, rest) = self.root()?;
        (!self.tested && !matches!(root, Root::Step(_))).then(|| Form::Path(root, rest.to_vec()))
    }
}

/// The walk over an expression.
struct Check {
    vocabulary: Vocabulary,
    reads: Reads,
    /// Variables of the comprehensions around the current place.
    variables: Vec<String>,
    loops: bool,
}

impl Check {
    fn visit(&mut self, expr: &IdedExpr, depth: usize, loops: usize) -> Result<(), String> {
        if depth > MAX_EXPRESSION_DEPTH {
            return Err(too_deep());
        }
        if let Some(chain) = path_of(expr) {
            return self.chain(&chain, false);
        }
        let depth = depth + 1;
        match &expr.expr {
            Expr::Ident(_) | Expr::Literal(_) => Ok(()),
            Expr::Select(select) => self.visit(&select.operand, depth, loops),
            Expr::Call(call) => self.call(call, depth, loops),
            Expr::List(list) => list.elements.iter().try_for_each(|item| self.visit(item, depth, loops)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => {
                    self.visit(&entry.key, depth, loops)?;
                    self.visit(&entry.value, depth, loops)
                }
                EntryExpr::StructField(field) => self.visit(&field.value, depth, loops),
            }),
            Expr::Comprehension(comprehension) => {
                if loops >= MAX_COMPREHENSION_DEPTH {
                    return Err(format!("nests comprehensions more than {MAX_COMPREHENSION_DEPTH} deep"));
                }
                self.loops = true;
                self.visit(&comprehension.iter_range, depth, loops)?;
                self.visit(&comprehension.accu_init, depth, loops)?;
                let before = self.variables.len();
                let second = comprehension.iter_var2.as_ref();
                for name in [&comprehension.iter_var, &comprehension.accu_var].into_iter().chain(second) {
                    if self.vocabulary.names().contains(&name.as_str()) {
                        return Err(format!("names a variable `{name}`, which already means something else"));
                    }
                    self.variables.push(name.clone());
                }
                for inner in [&comprehension.loop_cond, &comprehension.loop_step, &comprehension.result] {
                    self.visit(inner, depth, loops + 1)?;
                }
                self.variables.truncate(before);
                Ok(())
            }
            Expr::Struct(_) => Err("builds a message of a named type; write a map instead".to_owned()),
            Expr::Unspecified => Err("cannot be read".to_owned()),
        }
    }

    fn call(&mut self, call: &CallExpr, depth: usize, loops: usize) -> Result<(), String> {
        let name = call.func_name.as_str();
        if !FUNCTIONS.contains(&name) {
            return Err(match name {
                "matches" => {
                    "calls `matches`, which is not offered: put the pattern into a schema".to_owned()
                }
                _ => format!("calls `{}`, which does not exist", super::shorten(name)),
            });
        }
        let arguments = call.target.as_deref().into_iter().chain(&call.args);
        if matches!(name, operators::EQUALS | operators::NOT_EQUALS) {
            let null = |expr: &IdedExpr| matches!(expr.expr, Expr::Literal(LiteralValue::Null));
            if let [left, right] = call.args.as_slice()
                && (null(left) || null(right))
            {
                for side in [left, right] {
                    match path_of(side) {
                        Some(chain) => self.chain(&chain, true)?,
                        None => self.visit(side, depth, loops)?,
                    }
                }
                return Ok(());
            }
        }
        arguments.into_iter().try_for_each(|argument| self.visit(argument, depth, loops))
    }

    /// A chain; `against_null` if it is compared with `null`.
    fn chain(&mut self, chain: &Chain<'_>, against_null: bool) -> Result<(), String> {
        if chain.segments.len() > MAX_EXPRESSION_DEPTH {
            return Err(too_deep());
        }
        if self.variables.iter().any(|variable| variable == chain.name) {
            return Ok(());
        }
        let names = self.vocabulary.names();
        let root = chain.root().filter(|_| names.contains(&chain.name));
        match (root, chain.name) {
            (Some((Root::Labels, _)), _) => self.reads.labels = true,
            (Some((Root::Tenant, _)), _) => self.reads.tenant = true,
            (Some((Root::Item, _)), _) => self.reads.item = true,
            (Some((Root::Index, _)), _) => self.reads.index = true,
            (Some((Root::Result, _)), _) => self.reads.result = true,
            (Some((Root::Input, _)), _) => self.reads.input = true,
            (Some((Root::Context, rest)), _) => {
                if let Some(Segment::Field(name)) = rest.first() {
                    self.reads.context.push(name.clone());
                }
            }
            (Some((Root::RunId | Root::Intent, _)), _) => self.reads.run = true,
            (Some((Root::Output(id), rest)), _) => {
                let below = !rest.is_empty() && !chain.tested;
                let guards = chain.tested || (rest.is_empty() && against_null);
                self.reads.steps.push(StepRead { id, below, guards });
            }
            (Some((Root::Ok(id), _)), _) => {
                self.reads.steps.push(StepRead { id, below: false, guards: true });
            }
            (Some((Root::Step(id), _)), _) => {
                self.reads.steps.push(StepRead { id, below: false, guards: false });
            }
            (None, "steps") if names.contains(&"steps") => {
                return Err(
                    "reads `steps` without saying which: write `steps.<id>.output` or `steps.<id>.ok`"
                        .to_owned(),
                );
            }
            (None, "context") if names.contains(&"context") => {
                return Err("reads `context` without saying what: write `context.<name>`".to_owned());
            }
            (None, "run") if names.contains(&"run") => {
                return Err("reads `run`, of which there are `run.id` and `run.intent`".to_owned());
            }
            (None, name) if TYPES.contains(&name) && chain.segments.is_empty() => {}
            (None, name) => {
                let (name, there) = (super::shorten(name), self.vocabulary.listed());
                return Err(format!("reads `{name}`, which does not exist; there are {there}"));
            }
        }
        Ok(())
    }
}
