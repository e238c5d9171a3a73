//! What an expression could cost at most, reckoned from its form and the sizes of the values it would read.
//!
//! The *mass* of a value is the length of its JSON text, which bounds its bytes and its parts alike. Every operation of
//! CEL yields at most the sum of what it is given, plus a constant; only comprehensions multiply. Inside one, a mass is
//! therefore linear in the masses of the loop variables, and that is what a [`Mass`] holds. Leaving the loop, the sum
//! over all items of `a·item + b` is `a·list + n·b`: a list of a thousand large items is paid for once, not a thousand
//! times. The reckoning itself takes microseconds.

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators};

use super::expression::chain;
use super::path::Segment;

/// What any operation may add to what it is given: a number as text, a list's or map's own part.
const OPERATION: u64 = 32;
/// A double as text can be `1` and three hundred zeros.
const AS_TEXT: u64 = 350;

/// Sizes of the values an expression reads.
pub(super) trait Sizes {
    /// The mass of the value `segments` lead to from the variable `name`; nothing if there is no such value.
    fn mass(&self, name: &str, segments: &[Segment]) -> Option<u64>;
    /// Length of the longest list or map in any of them.
    fn longest(&self) -> u64;
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
    /// Whether it is part of an input, so that its lists are no longer than the longest there.
    given: bool,
}

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
        let list = self.mass(&comprehension.iter_range);
        let given = self.is_given(&comprehension.iter_range);
        let n = self.length(&comprehension.iter_range, self.at_most(&list));
        let mut result = self.mass(&comprehension.accu_init);

        let position = self.variables.len();
        let most = self.at_most(&list);
        let outside = std::mem::take(&mut self.work);
        self.variables.push(Variable { name: &comprehension.iter_var, most, given });
        // What one iteration adds to the result: the result so far is counted as nothing.
        self.variables.push(Variable { name: &comprehension.accu_var, most: 0, given: false });
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
    fn length(&self, expr: &IdedExpr, mass: u64) -> u64 {
        if self.is_given(expr) {
            return self.sizes.longest().min(mass);
        }
        #[allow(clippy::wildcard_enum_match_arm, reason = "anything else is bounded by its mass")]
        match &expr.expr {
            Expr::List(list) => list.elements.len() as u64,
            Expr::Map(map) => map.entries.len() as u64,
            Expr::Comprehension(inner) => self.length(&inner.iter_range, mass),
            Expr::Call(call) if call.func_name == operators::ADD => {
                call.args.iter().map(|part| self.length(part, mass)).fold(0, u64::saturating_add)
            }
            Expr::Call(call) if call.func_name == operators::CONDITIONAL => {
                call.args.iter().skip(1).map(|branch| self.length(branch, mass)).max().unwrap_or(mass)
            }
            _ => mass,
        }
    }

    /// Whether the lists in `expr`'s value all stand in an input: a way into one, or a choice among its items.
    fn is_given(&self, expr: &IdedExpr) -> bool {
        if let Some((name, _)) = chain(expr) {
            return self.variables.iter().rfind(|v| v.name == name).is_none_or(|variable| variable.given);
        }
        let Expr::Comprehension(inner) = &expr.expr else { return false };
        let appends_the_item = matches!(
            &inner.loop_step.expr,
            Expr::Call(choice) if choice.func_name == operators::CONDITIONAL
                && choice.args.get(1).is_some_and(|step| appends(step, &inner.iter_var))
        );
        appends_the_item && self.is_given(&inner.iter_range)
    }
}

/// Whether `expr` is `… + [name]`, as `filter` has it.
fn appends(expr: &IdedExpr, name: &str) -> bool {
    let Expr::Call(CallExpr { func_name, args, .. }) = &expr.expr else { return false };
    let Some(Expr::List(list)) = args.get(1).map(|last| &last.expr) else { return false };
    func_name == operators::ADD
        && matches!(list.elements.as_slice(), [item] if matches!(&item.expr, Expr::Ident(own) if own == name))
}
