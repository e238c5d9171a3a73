//! Reading the fields of a document. Nothing stops at the first mistake: each is reported and a default stands in.

use std::time::Duration;

use super::nearest::nearest;
use super::problem::{Code, Report};
use crate::expr::{CompileError, Mapping};
use crate::json::Json;
use crate::name::Name;
use crate::schema::Schema;
use crate::time::text;
use crate::yaml::{Entry, Kind, Node, Path};

/// Longest description in characters: a page.
pub const MAX_DESCRIPTION_CHARS: usize = 4_096;

/// A map that is being read.
pub(crate) struct Fields<'a> {
    pub(crate) path: Path,
    entries: &'a [Entry],
    pub(crate) is_map: bool,
    missing: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// Opens a map; reports if it is none, and every field that is not `known`.
    pub(crate) fn open(node: &'a Node, path: Path, known: &[&'static str], report: &mut Report<'_>) -> Self {
        let entries = node.entries();
        let fields = Self {
            path,
            entries: entries.unwrap_or_default(),
            is_map: entries.is_some(),
            missing: Vec::new(),
        };
        if !fields.is_map {
            let message = format!("expected a map, found {}", node.describe());
            report.add(
                Code::FieldType,
                &fields.path,
                message,
                format!("its fields are {}", known.join(", ")),
            );
        }
        for entry in fields.entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            let hint = match nearest(&entry.key, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are {}", known.join(", ")),
            };
            let path = fields.path.key(&entry.key);
            report.add_at(Code::FieldUnknown, &path, entry.place, "there is no such field", hint);
        }
        fields
    }

    /// The field `key`, even if it is null.
    pub(crate) fn get(&self, key: &str) -> Option<Field<'a>> {
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        Some(Field { node: &entry.value, path: self.path.key(key) })
    }

    /// The field `key` if it has a value.
    pub(crate) fn optional(&self, key: &str) -> Option<Field<'a>> {
        self.get(key).filter(|field| field.node.kind != Kind::Null)
    }

    /// The field `key`; if it has no value, it is noted as missing.
    pub(crate) fn required(&mut self, key: &'static str) -> Option<Field<'a>> {
        let field = self.optional(key);
        if field.is_none() && self.is_map {
            self.missing.push(key);
        }
        field
    }

    /// Reports the fields that were required and are not there.
    pub(crate) fn report_missing(self, report: &mut Report<'_>) {
        for key in self.missing {
            report.add(Code::FieldMissing, &self.path.key(key), "is missing", format!("add `{key}`"));
        }
    }
}

/// A field that is being read.
pub(crate) struct Field<'a> {
    pub(crate) node: &'a Node,
    pub(crate) path: Path,
}

impl<'a> Field<'a> {
    /// Reports that it is not `expected`.
    pub(crate) fn wrong_type(&self, expected: &str, report: &mut Report<'_>) {
        let message = format!("expected {expected}, found {}", self.node.describe());
        report.add(Code::FieldType, &self.path, message, "");
    }

    /// Its items, each a field of its own.
    pub(crate) fn list(&self, report: &mut Report<'_>) -> Vec<Field<'a>> {
        let Kind::List(items) = &self.node.kind else {
            self.wrong_type("a list", report);
            return Vec::new();
        };
        items.iter().enumerate().map(|(at, node)| Field { node, path: self.path.index(at) }).collect()
    }

    /// Its text.
    pub(crate) fn text(&self, report: &mut Report<'_>) -> Option<&'a str> {
        let Kind::Text(text) = &self.node.kind else {
            self.wrong_type("text", report);
            return None;
        };
        Some(text)
    }

    /// Whether it is true.
    pub(crate) fn truth(&self, report: &mut Report<'_>) -> bool {
        let Kind::Bool(truth) = self.node.kind else {
            self.wrong_type("`true` or `false`", report);
            return false;
        };
        truth
    }

    /// A share from 0 to 1, in basis points.
    pub(crate) fn share(&self, report: &mut Report<'_>) -> Option<u16> {
        let Kind::Number(number) = &self.node.kind else {
            self.wrong_type("a number from 0 to 1", report);
            return None;
        };
        let share = number.value.as_f64().filter(|share| (0.0..=1.0).contains(share));
        if share.is_none() {
            let message = format!("is {}", number.text);
            report.add(Code::FieldRange, &self.path, message, "give a number from 0 to 1");
        }
        share.map(|share| (share * 10_000.0).round() as u16)
    }

    /// A whole number within `bounds`; the least of them stands in.
    pub(crate) fn number(&self, bounds: std::ops::RangeInclusive<u32>, report: &mut Report<'_>) -> u32 {
        let (least, most) = (*bounds.start(), *bounds.end());
        let Kind::Number(number) = &self.node.kind else {
            self.wrong_type("a whole number", report);
            return least;
        };
        match number.value.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| bounds.contains(n)) {
            Some(n) => n,
            None => {
                let hint = format!("give a whole number from {least} to {most}");
                report.add(Code::FieldRange, &self.path, format!("is {}", number.text), hint);
                least
            }
        }
    }

    /// A span of more than nothing and at most `most`; `default` stands in.
    pub(crate) fn duration(&self, default: Duration, most: Duration, report: &mut Report<'_>) -> Duration {
        let written = match &self.node.kind {
            Kind::Text(text) => text,
            // A bare number is a duration without its unit: the parser says so better than "expected text".
            Kind::Number(number) => &number.text,
            Kind::Null | Kind::Bool(_) | Kind::List(_) | Kind::Map(_) => {
                self.wrong_type("a duration like `20s`", report);
                return default;
            }
        };
        match text::parse(written) {
            Ok(span) if span.is_zero() || span > most => {
                let hint = format!("give more than 0s and at most {}", text::Human(most));
                report.add(Code::FieldRange, &self.path, format!("is {written}"), hint);
                default
            }
            Ok(span) => span,
            Err(error) => {
                report.add(Code::DurationInvalid, &self.path, error.to_string(), "");
                default
            }
        }
    }

    /// A page of text at most.
    pub(crate) fn description(&self, report: &mut Report<'_>) -> String {
        let text = self.text(report).unwrap_or_default();
        if text.chars().count() > MAX_DESCRIPTION_CHARS {
            let hint = format!("at most {MAX_DESCRIPTION_CHARS} characters are kept");
            report.add(Code::FieldRange, &self.path, "is too long", hint);
        }
        text.to_owned()
    }

    /// A name.
    pub(crate) fn name(&self, report: &mut Report<'_>) -> Option<Name> {
        let text = self.text(report)?;
        Name::new(text).map_err(|error| report.add(Code::NameInvalid, &self.path, error.to_string(), "")).ok()
    }

    /// A schema; one that takes anything stands in.
    pub(crate) fn schema(&self, report: &mut Report<'_>) -> Schema {
        Schema::compile(&Json::from(&self.node.value())).unwrap_or_else(|error| {
            report.add(Code::from(&error), &self.path, error.to_string(), "");
            Schema::anything()
        })
    }

    /// A mapping with expressions in its strings.
    pub(crate) fn mapping(&self, report: &mut Report<'_>) -> Option<Mapping> {
        self.compiled(Mapping::compile(&self.node.value()), report)
    }

    /// Its mapping, evaluated for each item of a list.
    pub(crate) fn mapping_for_items(&self, report: &mut Report<'_>) -> Option<Mapping> {
        self.compiled(Mapping::compile_for_items(&self.node.value()), report)
    }

    /// Its mapping, evaluated over a step's answer that is verified.
    pub(crate) fn mapping_for_answers(&self, report: &mut Report<'_>) -> Option<Mapping> {
        self.compiled(Mapping::compile_for_answers(&self.node.value()), report)
    }

    fn compiled(
        &self,
        compiled: Result<Mapping, Vec<CompileError>>,
        report: &mut Report<'_>,
    ) -> Option<Mapping> {
        let refused = |errors: Vec<CompileError>| {
            for error in errors {
                let message = match error.expression.as_str() {
                    "" => error.message,
                    expression => format!("`{expression}` {}", error.message),
                };
                report.add(Code::ExpressionInvalid, &self.path.join(&error.path), message, "");
            }
        };
        compiled.map_err(refused).ok()
    }
}
