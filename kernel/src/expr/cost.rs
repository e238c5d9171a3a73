//! What an expression could cost at most, reckoned from its form and the sizes of the values it would read.
//!
//! The *mass* of a value is the length of its JSON text, which bounds its bytes and its parts alike. Every operation of
//! CEL yields at most the sum of what it is given, plus a constant; only comprehensions multiply. Inside one, a mass is
//! therefore linear in the masses of the loop variables, and that is what a [`Mass`] holds. Leaving the loop, the sum
//! over all items of `a·item + b` is `a·list + n·b`: a list of a thousand large items is paid for once, not a thousand
//! times. How often a loop within a loop turns is looked up in the values themselves: the longest of the lists it could
//! be about, not the longest of all. The reckoning itself takes microseconds.

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators};

use super::expression::chain;
use super::order::unwrapped;
use super::path::Segment;

/// What an operation may add to what it is given, a list's or map's own part for example, and what it costs itself.
const OPERATION: u64 = 8;
/// A double as text can be `1` and three hundred zeros.
const AS_TEXT: u64 = 350;

/// A step on the way to the values a list could be among.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Into(Segment),
    /// Any item, or any field's value.
    Any,
}

/// Sizes of the values an expression reads.
pub(super) trait Sizes {
    /// The mass of the value `segments` lead to from the variable `name`; nothing if there is no such value.
    fn mass(&self, name: &str, segments: &[Segment]) -> Option<u64>;
    /// Length of the longest list or map among those that `steps` could lead to from the variable `name`.
    fn longest(&self, name: &str, steps: &[Step]) -> u64;
}

/// An upper bound of the work `expr` does.
pub(super) fn bound(expr: &IdedExpr, sizes: &dyn Sizes) -> u64 {
    let mut reckoning = Reckoning { sizes, variables: Vec::new(), work: Mass::default() };
    let mass = reckoning.mass(expr);
    reckoning.work.constant.saturating_add(mass.constant)
}

/// A mass: a constant and a multiple of each loop variable's mass, by the variable's position in the stack.
#[derive(Debug, Clone, Default)]
struct Mass {
    constant: u64,
    factors: Vec<u64>,
}

impl Mass {
    const fn of(constant: u64) -> Self {
        Self { constant, factors: Vec::new() }
    }

    fn add(&mut self, other: &Self) {
        self.constant = self.constant.saturating_add(other.constant);
        if self.factors.len() < other.factors.len() {
            self.factors.resize(other.factors.len(), 0);
        }
        for (factor, more) in self.factors.iter_mut().zip(&other.factors) {
            *factor = factor.saturating_add(*more);
        }
    }

    fn times(mut self, n: u64) -> Self {
        self.constant = self.constant.saturating_mul(n);
        self.factors.iter_mut().for_each(|factor| *factor = factor.saturating_mul(n));
        self
    }

    /// The sum of this over `n` items that together are `list`, where the item's variable is at `position`.
    fn over(mut self, position: usize, n: u64, list: &Self) -> Self {
        let own = self.factors.get(position).copied().unwrap_or_default();
        self.factors.truncate(position);
        let mut sum = self.times(n);
        sum.add(&list.clone().times(own));
        sum
    }
}

/// A loop variable.
struct Variable<'a> {
    name: &'a str,
    /// The most it can weigh, whatever the loops around it are at.
    most: u64,
    /// Where in the values it comes from, if it is part of one.
    origin: Option<Origin<'a>>,
}

/// A variable outside all loops, and the way from there.
type Origin<'a> = (&'a str, Vec<Step>);

struct Reckoning<'a> {
    sizes: &'a dyn Sizes,
    variables: Vec<Variable<'a>>,
    work: Mass,
}

impl<'a> Reckoning<'a> {
    /// The mass of `expr`'s value. Adds the work of getting it.
    fn mass(&mut self, expr: &'a IdedExpr) -> Mass {
        let mass = self.mass_of(expr);
        self.work.add(&mass);
        self.work.add(&Mass::of(1));
        mass
    }

    fn mass_of(&mut self, expr: &'a IdedExpr) -> Mass {
        if let Some((name, segments)) = chain(expr) {
            return self.chain(name, &segments);
        }
        match &expr.expr {
            Expr::Unspecified | Expr::Ident(_) | Expr::Struct(_) => Mass::of(OPERATION),
            Expr::Literal(LiteralValue::String(text)) => Mass::of(OPERATION + text.inner().len() as u64),
            Expr::Literal(LiteralValue::Bytes(bytes)) => Mass::of(OPERATION + bytes.inner().len() as u64),
            Expr::Literal(_) => Mass::of(OPERATION),
            Expr::Select(select) => self.mass(&select.operand),
            Expr::Call(call) => self.call(call),
            Expr::List(list) => self.sum(list.elements.iter()),
            Expr::Map(map) => {
                let parts = map.entries.iter().flat_map(|entry| match &entry.expr {
                    EntryExpr::MapEntry(entry) => [Some(&entry.key), Some(&entry.value)],
                    EntryExpr::StructField(field) => [Some(&field.value), None],
                });
                self.sum(parts.flatten())
            }
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
        }
    }

    fn chain(&self, name: &str, segments: &[Segment]) -> Mass {
        if let Some(position) = self.variables.iter().rposition(|variable| variable.name == name) {
            let mut factors = vec![0; position];
            factors.push(1);
            return Mass { constant: 0, factors };
        }
        Mass::of(self.sizes.mass(name, segments).unwrap_or(OPERATION))
    }

    fn sum(&mut self, parts: impl Iterator<Item = &'a IdedExpr>) -> Mass {
        let mut sum = Mass::of(OPERATION);
        for part in parts {
            let mass = self.mass(part);
            sum.add(&mass);
        }
        sum
    }

    fn call(&mut self, call: &'a CallExpr) -> Mass {
        let mut sum = self.sum(call.target.as_deref().into_iter().chain(&call.args));
        match call.func_name.as_str() {
            "string" => sum.add(&Mass::of(AS_TEXT)),
            // Their result is a number or a truth value; the work of looking at the operands is counted with them.
            "size"
            | operators::EQUALS
            | operators::NOT_EQUALS
            | operators::LESS
            | operators::LESS_EQUALS
            | operators::GREATER
            | operators::GREATER_EQUALS
            | operators::IN
            | "contains"
            | "startsWith"
            | "endsWith" => {
                self.work.add(&sum);
                return Mass::of(OPERATION);
            }
            _ => {}
        }
        sum
    }

    fn comprehension(&mut self, comprehension: &'a ComprehensionExpr) -> Mass {
        let range = unwrapped(&comprehension.iter_range);
        let list = self.mass(range);
        let origin = self.origin(range).map(|(name, mut steps)| {
            steps.push(Step::Any);
            (name, steps)
        });
        let n = self.length(range, self.at_most(&list));
        let mut result = self.mass(&comprehension.accu_init);

        let position = self.variables.len();
        let most = self.at_most(&list);
        let outside = std::mem::take(&mut self.work);
        self.variables.push(Variable { name: &comprehension.iter_var, most, origin });
        // What one iteration adds to the result: the result so far is counted as nothing.
        self.variables.push(Variable { name: &comprehension.accu_var, most: 0, origin: None });
        let mut once = self.mass(&comprehension.loop_step);
        self.mass(&comprehension.loop_cond);
        once.factors.truncate(position + 1);
        let mut body = std::mem::replace(&mut self.work, outside);
        body.factors.truncate(position + 1);
        self.variables.truncate(position);

        self.work.add(&body.over(position, n, &list));
        result.add(&once.over(position, n, &list));
        result
    }

    /// The most `mass` can be.
    fn at_most(&self, mass: &Mass) -> u64 {
        let parts =
            self.variables.iter().zip(&mass.factors).map(|(v, factor)| v.most.saturating_mul(*factor));
        parts.fold(mass.constant, u64::saturating_add)
    }

    /// The most items the list or map `expr` can have; `mass` if nothing better is known.
    fn length(&self, expr: &'a IdedExpr, mass: u64) -> u64 {
        if let Some((name, steps)) = self.origin(expr) {
            return self.sizes.longest(name, &steps).min(mass);
        }
        #[allow(clippy::wildcard_enum_match_arm, reason = "anything else is bounded by its mass")]
        match &expr.expr {
            Expr::List(list) => list.elements.len() as u64,
            Expr::Map(map) => map.entries.len() as u64,
            Expr::Comprehension(inner) => self.length(unwrapped(&inner.iter_range), mass),
            Expr::Call(call) if call.func_name == operators::ADD => {
                call.args.iter().map(|part| self.length(part, mass)).fold(0, u64::saturating_add)
            }
            Expr::Call(call) if call.func_name == operators::CONDITIONAL => {
                call.args.iter().skip(1).map(|branch| self.length(branch, mass)).max().unwrap_or(mass)
            }
            _ => mass,
        }
    }

    /// Where the value of `expr` comes from, if it is part of a value that is given: a way into one, an item whose index
    /// is computed, or a choice among items.
    fn origin(&self, expr: &'a IdedExpr) -> Option<Origin<'a>> {
        if let Some((name, segments)) = chain(expr) {
            let steps = segments.into_iter().map(Step::Into);
            return match self.variables.iter().rfind(|variable| variable.name == name) {
                None => Some((name, steps.collect())),
                Some(variable) => {
                    let (root, before) = variable.origin.as_ref()?;
                    Some((*root, before.iter().cloned().chain(steps).collect()))
                }
            };
        }
        #[allow(clippy::wildcard_enum_match_arm, reason = "everything else builds values of its own")]
        match &expr.expr {
            Expr::Select(select) => {
                let (name, mut steps) = self.origin(&select.operand)?;
                steps.push(Step::Into(Segment::Field(select.field.clone())));
                Some((name, steps))
            }
            Expr::Call(CallExpr { func_name, args, .. }) if func_name == operators::INDEX => {
                let (name, mut steps) = self.origin(args.first()?)?;
                steps.push(Step::Any);
                Some((name, steps))
            }
            Expr::Comprehension(inner) => match &inner.loop_step.expr {
                Expr::Call(choice)
                    if choice.func_name == operators::CONDITIONAL
                        && choice.args.get(1).is_some_and(|step| appends(step, &inner.iter_var)) =>
                {
                    self.origin(unwrapped(&inner.iter_range))
                }
                _ => None,
            },
            _ => None,
        }
    }
}

/// Whether `expr` is `… + [name]`, as `filter` has it.
fn appends(expr: &IdedExpr, name: &str) -> bool {
    let Expr::Call(CallExpr { func_name, args, .. }) = &expr.expr else { return false };
    let Some(Expr::List(list)) = args.get(1).map(|last| &last.expr) else { return false };
    func_name == operators::ADD
        && matches!(list.elements.as_slice(), [item] if matches!(&item.expr, Expr::Ident(own) if own == name))
}
