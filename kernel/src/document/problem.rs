//! What can be wrong with a document: a workflow or a routing document.

use std::fmt;

use crate::schema::SchemaError;
use crate::yaml::{DocumentError, Node, Path, Place};

/// Most problems reported at once: nobody mends more before trying again, and an answer must have a bound.
const MAX_PROBLEMS: usize = 200;

/// One thing that is wrong, or in a lint, probably not meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which kind of problem.
    pub code: Code,
    /// The field, like `steps[2].after[0]`; empty for the document as a whole.
    pub path: String,
    /// Where it stands in the text.
    pub place: Place,
    /// What is wrong.
    pub message: String,
    /// What to do; empty if the message says it.
    pub hint: String,
}

impl Problem {
    /// For a draft that has no problems and still lacks a part, which cannot be.
    pub(crate) fn incomplete() -> Self {
        let message = "is incomplete".to_owned();
        let (path, hint) = (String::new(), String::new());
        Self { code: Code::DocumentInvalid, path, place: Place::default(), message, hint }
    }

    /// The line, from 1; nothing where it is not known.
    #[must_use]
    pub const fn line(&self) -> Option<u32> {
        if self.place.line == 0 { None } else { Some(self.place.line) }
    }

    /// The column in characters, from 1; nothing where it is not known.
    #[must_use]
    pub const fn column(&self) -> Option<u32> {
        if self.place.line == 0 { None } else { Some(self.place.column) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place.line > 0 {
            write!(f, "{}:{}: ", self.place.line, self.place.column)?;
        }
        write!(f, "{}: ", self.code)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        if !self.hint.is_empty() {
            write!(f, " ({})", self.hint)?;
        }
        Ok(())
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)+) => {
        /// The kinds of problems. Their texts are stable: programs may rely on them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code { $($(#[$doc])* $name,)+ }

        impl Code {
            /// Every kind, in the order of the catalogue.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The stable text.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

codes! {
    /// The text is neither YAML nor JSON, too long, too deep, or has a key twice.
    DocumentInvalid = "DOCUMENT_INVALID";
    /// A field that does not exist.
    FieldUnknown = "FIELD_UNKNOWN";
    /// A field that must be there and is not.
    FieldMissing = "FIELD_MISSING";
    /// A value of another type than the field has.
    FieldType = "FIELD_TYPE";
    /// A value outside the field's bounds.
    FieldRange = "FIELD_RANGE";
    /// Not a name.
    NameInvalid = "NAME_INVALID";
    /// Not a duration.
    DurationInvalid = "DURATION_INVALID";
    /// A retry policy that cannot be meant.
    RetryInvalid = "RETRY_INVALID";
    /// Not a step id.
    StepIdInvalid = "STEP_ID_INVALID";
    /// Two steps with one id.
    StepDuplicate = "STEP_DUPLICATE";
    /// A step that does not say what it does.
    StepKindMissing = "STEP_KIND_MISSING";
    /// A step that says twice what it does.
    StepKindTwice = "STEP_KIND_TWICE";
    /// More steps than allowed, or none.
    StepCount = "STEP_COUNT";
    /// What a step has to fall back on contradicts itself or the step.
    RecourseInvalid = "RECOURSE_INVALID";
    /// How a step's answer is verified contradicts itself or the step.
    VerifyInvalid = "VERIFY_INVALID";
    /// A step waits for one that does not exist.
    StepUnknownDependency = "STEP_UNKNOWN_DEPENDENCY";
    /// Steps that wait for each other in a circle.
    StepCycle = "STEP_CYCLE";
    /// A mapping reads a step that does not exist.
    StepUnknown = "STEP_UNKNOWN";
    /// A mapping reads a step its own step does not wait for.
    StepNotUpstream = "STEP_NOT_UPSTREAM";
    /// A mapping reads what the workflow does not read of the shared context.
    ContextUnknown = "CONTEXT_UNKNOWN";
    /// A context key that cannot be one.
    ContextKeyInvalid = "CONTEXT_KEY_INVALID";
    /// An expression that cannot be read, or a mapping that is too large.
    ExpressionInvalid = "EXPRESSION_INVALID";
    /// A schema that breaks the rules of JSON Schema.
    SchemaInvalid = "SCHEMA_INVALID";
    /// A schema that is too long.
    SchemaTooLong = "SCHEMA_TOO_LONG";
    /// A schema that is nested too deep.
    SchemaTooDeep = "SCHEMA_TOO_DEEP";
    /// A schema with too many parts.
    SchemaTooManyNodes = "SCHEMA_TOO_MANY_NODES";
    /// A schema with too many regular expressions.
    SchemaTooManyPatterns = "SCHEMA_TOO_MANY_PATTERNS";
    /// A schema whose references unfold to too much.
    SchemaTooManyPaths = "SCHEMA_TOO_MANY_PATHS";
    /// A schema that refers to another document.
    SchemaRemoteRef = "SCHEMA_REMOTE_REF";
    /// A schema that refers to nothing.
    SchemaUnknownRef = "SCHEMA_UNKNOWN_REF";
    /// A schema that refers to itself.
    SchemaRecursive = "SCHEMA_RECURSIVE";
    /// A schema with an `$id` below its root.
    SchemaEmbeddedId = "SCHEMA_EMBEDDED_ID";
    /// A schema in another dialect.
    SchemaUnknownDialect = "SCHEMA_UNKNOWN_DIALECT";
    /// Two rules of a routing document with one name.
    RuleDuplicate = "RULE_DUPLICATE";
    /// Lint: a rule stands behind one that holds whenever it does.
    RuleUnreachable = "RULE_UNREACHABLE";
    /// Lint: a routing document has no rung but the last.
    RouteOnlyStatic = "ROUTE_ONLY_STATIC";
    /// Lint: nobody reads a step's output.
    OutputUnused = "OUTPUT_UNUSED";
    /// Lint: a step may take longer than the whole run.
    TimeoutBeyondDeadline = "TIMEOUT_BEYOND_DEADLINE";
    /// Lint: the longest chain of steps may take longer than the whole run.
    PathBeyondDeadline = "PATH_BEYOND_DEADLINE";
    /// Lint: a rollout whose last step leaves the candidate short of everything.
    RolloutUnfinished = "ROLLOUT_UNFINISHED";
    /// Lint: a step that may end before the versions can be compared.
    RolloutBlind = "ROLLOUT_BLIND";
    /// Lint: a field of an optional step's output is read without asking whether there is one.
    OptionalUnguarded = "OPTIONAL_UNGUARDED";
}

impl From<&SchemaError> for Code {
    fn from(error: &SchemaError) -> Self {
        match error {
            SchemaError::TooLong { .. } => Self::SchemaTooLong,
            SchemaError::TooDeep { .. } => Self::SchemaTooDeep,
            SchemaError::TooManyNodes => Self::SchemaTooManyNodes,
            SchemaError::TooManyPatterns => Self::SchemaTooManyPatterns,
            SchemaError::TooManyPaths { .. } => Self::SchemaTooManyPaths,
            SchemaError::RemoteReference { .. } => Self::SchemaRemoteRef,
            SchemaError::UnknownReference { .. } => Self::SchemaUnknownRef,
            SchemaError::Recursive { .. } => Self::SchemaRecursive,
            SchemaError::EmbeddedId { .. } => Self::SchemaEmbeddedId,
            SchemaError::UnknownDialect { .. } => Self::SchemaUnknownDialect,
            SchemaError::Invalid { .. } => Self::SchemaInvalid,
        }
    }
}

/// Problems as they are found, with the tree that knows where they stand.
pub(crate) struct Report<'a> {
    tree: &'a Node,
    problems: Vec<Problem>,
}

impl<'a> Report<'a> {
    pub(crate) const fn new(tree: &'a Node) -> Self {
        Self { tree, problems: Vec::new() }
    }

    /// Adds a problem with the value at `path`.
    pub(crate) fn add(
        &mut self,
        code: Code,
        path: &Path,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.add_at(code, path, self.tree.locate(path), message, hint);
    }

    /// Adds a problem that stands elsewhere than the value at `path`.
    pub(crate) fn add_at(
        &mut self,
        code: Code,
        path: &Path,
        place: Place,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        if self.problems.len() < MAX_PROBLEMS {
            let (path, message, hint) = (path.to_string(), message.into(), hint.into());
            self.problems.push(Problem { code, path, place, message, hint });
        }
    }

    /// All of them, in the order of the text.
    pub(crate) fn finish(mut self) -> Vec<Problem> {
        self.problems.sort_by_key(|problem| problem.place);
        self.problems
    }
}

impl From<DocumentError> for Problem {
    fn from(error: DocumentError) -> Self {
        let DocumentError { place, path, message } = error;
        Self { code: Code::DocumentInvalid, path, place, message, hint: String::new() }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl serde::Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
