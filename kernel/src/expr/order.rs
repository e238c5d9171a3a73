//! Loops over maps in the order of their keys.
//!
//! The library keeps maps in hash tables of random seeds, so a loop over one turns in another order each time. A run whose
//! mapping did that would come out otherwise when it is replayed. Before a program is kept, what each of its loops goes over
//! is therefore wrapped into a call that makes a map the list of its keys, in order; a list stays as it is. Nobody can write
//! that call: its name is no name of CEL's.

use cel::Value;
use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr};

/// The name of the call.
pub(super) const IN_ORDER: &str = "@in_order";

/// Wraps what each loop in `expr` goes over. Recursion ends: how deep an expression goes was checked.
pub(super) fn wrap(expr: &mut IdedExpr) {
    match &mut expr.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
        Expr::Select(select) => wrap(&mut select.operand),
        Expr::Call(call) => call.target.as_deref_mut().into_iter().chain(&mut call.args).for_each(wrap),
        Expr::List(list) => list.elements.iter_mut().for_each(wrap),
        Expr::Map(map) => map.entries.iter_mut().for_each(|entry| wrap_entry(&mut entry.expr)),
        Expr::Struct(of_type) => of_type.entries.iter_mut().for_each(|entry| wrap_entry(&mut entry.expr)),
        Expr::Comprehension(comprehension) => {
            let inner = [
                &mut comprehension.accu_init,
                &mut comprehension.loop_cond,
                &mut comprehension.loop_step,
                &mut comprehension.result,
            ];
            inner.into_iter().for_each(wrap);
            let mut range = std::mem::take(&mut comprehension.iter_range);
            wrap(&mut range);
            let id = range.id;
            let call = CallExpr { func_name: IN_ORDER.to_owned(), target: None, args: vec![range] };
            comprehension.iter_range = IdedExpr { id, expr: Expr::Call(call) };
        }
    }
}

fn wrap_entry(entry: &mut EntryExpr) {
    match entry {
        EntryExpr::MapEntry(entry) => {
            wrap(&mut entry.key);
            wrap(&mut entry.value);
        }
        EntryExpr::StructField(field) => wrap(&mut field.value),
    }
}

/// What stands in the call, if `expr` is one.
pub(super) fn unwrapped(expr: &IdedExpr) -> &IdedExpr {
    match &expr.expr {
        Expr::Call(call) if call.func_name == IN_ORDER => call.args.first().unwrap_or(expr),
        Expr::Unspecified
        | Expr::Ident(_)
        | Expr::Literal(_)
        | Expr::Select(_)
        | Expr::Call(_)
        | Expr::List(_)
        | Expr::Map(_)
        | Expr::Struct(_)
        | Expr::Comprehension(_) => expr,
    }
}

/// The call.
pub(super) fn in_order(range: Value) -> Value {
    let Value::Map(map) = &range else { return range };
    let mut keys: Vec<_> = map.map.keys().cloned().collect();
    keys.sort_unstable();
    Value::from(keys.into_iter().map(Value::from).collect::<Vec<_>>())
}
