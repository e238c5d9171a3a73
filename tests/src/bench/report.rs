//! What a bench found: ratios against their goals, and the figures behind them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

/// The findings of one bench.
#[derive(Debug, Serialize)]
pub struct Report {
    bench: &'static str,
    ratios: BTreeMap<&'static str, f64>,
    figures: BTreeMap<String, Value>,
    #[serde(skip)]
    goals: BTreeMap<&'static str, Goal>,
}

/// What a ratio should be.
#[derive(Debug, Clone, Copy)]
pub enum Goal {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
    /// Nothing is promised; it is watched.
    Watched,
}

impl Report {
    /// An empty report of `bench`.
    #[must_use]
    pub fn new(bench: &'static str) -> Self {
        Self { bench, ratios: BTreeMap::new(), figures: BTreeMap::new(), goals: BTreeMap::new() }
    }

    /// Adds a ratio and its goal.
    pub fn ratio(&mut self, name: &'static str, value: f64, goal: Goal) {
        self.ratios.insert(name, rounded(value));
        self.goals.insert(name, goal);
    }

    /// Adds a figure; its name ends with its unit.
    pub fn figure(&mut self, name: impl Into<String>, value: f64) {
        self.figures.insert(name.into(), json!(rounded(value)));
    }

    /// Adds something said in words.
    pub fn fact(&mut self, name: impl Into<String>, text: impl Into<String>) {
        self.figures.insert(name.into(), Value::String(text.into()));
    }

    /// Prints it to standard output, as a table or as one JSON object.
    #[expect(clippy::print_stdout, reason = "this is what the program is for")]
    pub fn print(&self, as_json: bool) {
        if as_json {
            println!("{}", json!(self));
            return;
        }
        println!("{}", self.bench);
        for (name, value) in &self.ratios {
            let (goal, met) = match self.goals[name] {
                Goal::AtMost(most) => (format!("at most {most}"), *value <= most),
                Goal::AtLeast(least) => (format!("at least {least}"), *value >= least),
                Goal::Watched => (String::new(), true),
            };
            println!("  {name:<34} {value:>12}   {goal}{}", if met { "" } else { ", missed" });
        }
        for (name, value) in &self.figures {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            println!("  {name:<34} {value:>12}");
        }
    }
}

/// The median; 0 of nothing.
#[must_use]
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Three digits say all that a measurement knows.
fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let digits = 2 - value.abs().log10().floor() as i32;
    let scale = 10_f64.powi(digits.max(0));
    (value * scale).round() / scale
}
