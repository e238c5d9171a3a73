//! The steps of a simulated plan: what each says in the workflow, and how its agents behave.

use serde_json::{Map, Value, json};

use super::world::{USAGE, text};
use crate::effect::EffectClass;
use crate::mode::Mode;
use crate::outcome::{Began, Class, Usage};
use crate::run::{Finding, Ruling, Verdict};
use crate::workflow::StepId;

/// How a try ends.
#[derive(Debug, Clone)]
pub(super) enum Fate {
    Answer(&'static str),
    /// An answer with the agent's own confidence, in basis points.
    Unsure(&'static str, u16),
    Fail(Class, Began),
}

/// A step of a plan: its part of the workflow and its agent's behaviour, try by try; the last one repeats.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) id: String,
    pub(super) after: Vec<String>,
    pub(super) optional: bool,
    pub(super) drop_in: Option<Mode>,
    pub(super) max_attempts: u32,
    pub(super) input: Vec<(&'static str, String)>,
    pub(super) output_schema: Option<&'static str>,
    pub(super) effect: EffectClass,
    pub(super) takes_ms: i64,
    pub(super) fates: Vec<Fate>,
    pub(super) list: Option<List>,
    /// What it does, if it neither calls an agent nor goes over a list: the field of its kind and what that says.
    pub(super) kind: Option<(&'static str, Value)>,
    /// Its budget.
    pub(super) budget: Value,
    /// What each of its calls uses.
    pub(super) uses: Usage,
    /// Its fields `confidence`, `on_failure` and `compensate`.
    pub(super) recourse: Vec<(&'static str, Value)>,
    /// What whoever is asked instead answers, each once.
    pub(super) instead: Vec<Fate>,
    /// How calls inside it end, by their name below it; those not named here end as `fates` say.
    pub(super) inside: Vec<(&'static str, Vec<Fate>)>,
    /// What is found out for it, so long after it began.
    pub(super) finds: Option<(u64, Finding)>,
    /// What a person answers to it, so long after it asked.
    pub(super) says: Option<(u64, Ruling)>,
}

/// What a step goes over: each item has a fate of its own, the last one holds for the rest.
#[derive(Debug, Clone)]
pub(super) struct List {
    pub(super) over: Value,
    pub(super) max_items: usize,
    pub(super) parallel: usize,
    pub(super) partial: bool,
    pub(super) within_ms: Option<u64>,
}

pub(super) fn list(over: Value) -> List {
    List { over, max_items: 10, parallel: 2, partial: false, within_ms: None }
}

pub(super) fn part(id: &str, after: &[&str]) -> Part {
    Part {
        id: id.to_owned(),
        after: after.iter().map(|&name| name.to_owned()).collect(),
        optional: false,
        drop_in: None,
        max_attempts: 1,
        input: after.iter().map(|dep| ("from", format!("${{steps.{dep}.output}}"))).collect(),
        output_schema: None,
        effect: EffectClass::ReadOnly,
        takes_ms: 10,
        fates: vec![Fate::Answer("1")],
        list: None,
        kind: None,
        budget: Value::Null,
        uses: USAGE,
        recourse: Vec::new(),
        instead: Vec::new(),
        inside: Vec::new(),
        finds: None,
        says: None,
    }
}

pub(super) fn ruling(verdict: Verdict) -> Ruling {
    Ruling { verdict, value: None, by: "ann".to_owned(), comment: String::new() }
}

impl Part {
    pub(super) fn optional(mut self) -> Self {
        self.optional = true;
        self
    }
    pub(super) fn drop_in(mut self, mode: Mode) -> Self {
        (self.optional, self.drop_in) = (true, Some(mode));
        self
    }
    pub(super) fn tries(mut self, max_attempts: u32) -> Self {
        self.max_attempts = max_attempts;
        self
    }
    pub(super) fn takes(mut self, ms: i64) -> Self {
        self.takes_ms = ms;
        self
    }
    pub(super) fn effect(mut self, effect: EffectClass) -> Self {
        self.effect = effect;
        self
    }
    pub(super) fn input(mut self, fields: &[(&'static str, &str)]) -> Self {
        self.input = fields.iter().map(|&(key, value)| (key, value.to_owned())).collect();
        self
    }
    pub(super) fn output_schema(mut self, schema: &'static str) -> Self {
        self.output_schema = Some(schema);
        self
    }
    pub(super) fn fates(mut self, fates: &[Fate]) -> Self {
        self.fates = fates.to_vec();
        self
    }
    pub(super) fn over(mut self, list: List) -> Self {
        self.input = vec![("item", "${item}".to_owned()), ("at", "${index}".to_owned())];
        self.list = Some(list);
        self
    }
    pub(super) fn does(mut self, kind: &'static str, what: Value) -> Self {
        self.kind = Some((kind, what));
        self
    }
    pub(super) fn budget(mut self, budget: Value) -> Self {
        self.budget = budget;
        self
    }
    pub(super) fn costs(mut self, nano: i64, tokens: u64) -> Self {
        self.uses = Usage { tokens_in: tokens, cost_nano_usd: nano, ..Usage::default() };
        self
    }
    pub(super) fn on_failure(mut self, remedies: Value) -> Self {
        self.recourse.push(("on_failure", remedies));
        self
    }
    pub(super) fn undone_by(mut self, undo: Value) -> Self {
        self.recourse.push(("compensate", undo));
        self
    }
    pub(super) fn confidence(mut self, min: f64, below: &str) -> Self {
        self.recourse.push(("confidence", json!({ "min": min, "below": below })));
        self
    }
    pub(super) fn verify(mut self, how: Value) -> Self {
        self.recourse.push(("verify", how));
        self
    }
    pub(super) fn instead(mut self, fates: &[Fate]) -> Self {
        self.instead = fates.to_vec();
        self
    }
    pub(super) fn inside(mut self, name: &'static str, fates: &[Fate]) -> Self {
        self.inside.push((name, fates.to_vec()));
        self
    }
    pub(super) fn finds(mut self, after_ms: u64, finding: Finding) -> Self {
        self.finds = Some((after_ms, finding));
        self
    }
    pub(super) fn says(mut self, after_ms: u64, ruling: Ruling) -> Self {
        self.says = Some((after_ms, ruling));
        self
    }
    pub(super) fn document(&self) -> Value {
        let mut step = json!({
            "id": self.id,
            "after": self.after,
            "call": { "capability": "do.it" },
            "input": fields(&self.input),
            "retry": { "max_attempts": self.max_attempts },
            "optional": self.optional,
            "budget": self.budget,
        });
        if let Some(list) = &self.list {
            let call = step["call"].take();
            step.as_object_mut().unwrap().remove("call");
            step["map"] = json!({
                "over": list.over,
                "call": call,
                "max_items": list.max_items,
                "parallel": list.parallel,
                "partial": list.partial,
                "within": list.within_ms.map(|ms| format!("{ms}ms")),
            });
        }
        if let Some((kind, what)) = &self.kind {
            let fields = step.as_object_mut().unwrap();
            fields.remove("call");
            if matches!(*kind, "wait" | "approve" | "sub") {
                fields.remove("retry");
            }
            if *kind == "wait" {
                fields.remove("input");
            }
            fields.insert((*kind).to_owned(), what.clone());
        }
        for (field, what) in &self.recourse {
            step[*field] = what.clone();
        }
        if let Some(mode) = self.drop_in {
            step["drop_in"] = mode.as_str().into();
        }
        if let Some(schema) = self.output_schema {
            step["output_schema"] = text(schema).value();
        }
        step
    }
    pub(super) fn fate(&self, step: &StepId, number: u32) -> &Fate {
        let below = step.as_str().split_once('/').map_or("", |(_, below)| below);
        if let Some(which) = below.rsplit('/').next().and_then(|inside| inside.strip_prefix("fallback")) {
            let which: usize = which.trim_start_matches('_').parse().unwrap_or(1);
            if !self.instead.is_empty() {
                return &self.instead[(which - 1).min(self.instead.len() - 1)];
            }
        }
        if let Some((_, fates)) = self.inside.iter().find(|(name, _)| *name == below) {
            return &fates[(fates.len() - 1).min(number as usize - 1)];
        }
        let item = below.rsplit('/').next().and_then(|item| item.parse::<usize>().ok());
        &self.fates[(self.fates.len() - 1).min(item.unwrap_or(number as usize - 1))]
    }
}

pub(super) fn fields(fields: &[(&'static str, String)]) -> Value {
    fields
        .iter()
        .map(|(key, value)| ((*key).to_owned(), Value::from(value.as_str())))
        .collect::<Map<_, _>>()
        .into()
}
