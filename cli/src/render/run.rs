//! Runs as a table, their ends, and answers of single calls.

use mainstay_kernel::budget::Limit;

use super::paint::{Tone, paint};
use super::table::{Grid, cell, toned};
use super::text::{count, lines, plain, short};
use crate::console::Style;
use crate::view::call::{AnswerView, FailureView, UsageView};
use crate::view::run::{AllowanceView, RunView, RunsView, VerifiedView};
use crate::view::value::Payload;

/// Characters of an intent that a table shows.
const INTENT: usize = 60;

/// Runs, a line each.
#[must_use]
pub fn list(view: &RunsView, style: Style) -> String {
    if view.runs.is_empty() {
        return "No runs. Start one with `mainstay run WORKFLOW --input JSON`.\n".to_owned();
    }
    let mut grid = Grid::new(&["RUN", "WORKFLOW", "STATE", "STARTED", "TOOK", "INTENT"], style);
    for run in &view.runs {
        grid.row([
            toned(&run.run_id, Tone::Strong),
            cell(format!("{} v{}", run.workflow, run.version)),
            toned(&run.state, Tone::of(&run.state)),
            cell(run.started_at.map(|at| at.to_string()).unwrap_or_default()),
            cell(run.took.map(|took| took.to_string()).unwrap_or_default()),
            cell(short(&run.intent, INTENT)),
        ]);
    }
    let more = if view.more { "There are more: raise --limit.\n" } else { "" };
    grid.to_string() + more
}

/// How a run ended, and what came out.
#[must_use]
pub fn end(run: &RunView, style: Style) -> String {
    let took = run.took.map(|took| format!(" in {took}")).unwrap_or_default();
    let state = paint(&plain(&run.state), Tone::of(&run.state), style);
    let id = plain(&run.run_id);
    let mut text = format!("{id}  {} v{}  {state}{took}\n", plain(&run.workflow), run.version);
    if let Some(failure) = &run.failure {
        text += &format!("{}\n", why(failure));
        text += &format!(" hint: `mainstay trace {id}` shows where it began\n");
        text += &format!(" more: mainstay explain {}\n", plain(&failure.code));
    }
    for gap in &run.gaps {
        text += &format!("{} {}\n", paint("gap:", Tone::Busy, style), plain(gap));
    }
    if let Some(output) = &run.output {
        text += &format!("{}\n", document(output));
    }
    text
}

/// How a budget stands, a limit each: `budget  $0.08 of $0.10 spent`.
#[must_use]
pub fn budget(allowances: &[AllowanceView]) -> String {
    let shown = allowances.iter().map(|allowance| {
        let of = if allowance.step.is_empty() { "run" } else { &allowance.step };
        let limit = Limit::ALL.into_iter().find(|limit| limit.as_str() == allowance.limit);
        let amount = |amount: u64| match limit {
            Some(limit) => limit.amount(amount).to_string(),
            None => format!("{amount} {}", plain(&allowance.limit)),
        };
        let reserved = match allowance.reserved {
            0 => String::new(),
            much => format!(", {} set aside", amount(much)),
        };
        let (spent, most) = (amount(allowance.spent), amount(allowance.most));
        format!("budget  {}: {spent} of {most}{reserved}\n", plain(of))
    });
    shown.collect()
}

/// The answer of one call.
#[must_use]
pub fn answer(view: &AnswerView, style: Style) -> String {
    let attempts = count(usize::try_from(view.attempts).unwrap_or_default(), "attempt");
    let who = format!("{}/{} in {attempts}", plain(&view.agent), plain(&view.instance));
    let who = match &view.routed {
        Some(routed) if routed.fallback => "no agent".to_owned(),
        _ => who,
    };
    let spent = spent(&view.usage);
    let mut text =
        paint(&format!("{who}{}{spent}", if spent.is_empty() { "" } else { ", " }), Tone::Dim, style);
    text += "\n";
    if let Some(routed) = &view.routed {
        text += &super::decision::routed(routed, style);
    }
    for warning in &view.warnings {
        text += &format!("{} {}\n", paint("warning:", Tone::Busy, style), plain(warning));
    }
    if let Some(output) = &view.output {
        text += &format!("{}\n", document(output));
    }
    text
}

/// A verdict with its score and grounds.
pub(super) fn verdict(verified: &VerifiedView) -> String {
    let score = verified.score.map(|score| format!(" {score:.2}")).unwrap_or_default();
    let grounds = verified.grounds.join("; ");
    let separator = if grounds.is_empty() { "" } else { ": " };
    format!("{}{score}{separator}{grounds}", verified.verdict)
}

/// A failure in one line.
#[must_use]
pub fn why(failure: &FailureView) -> String {
    let code = if failure.code.is_empty() { &failure.class } else { &failure.code };
    if failure.message.is_empty() {
        return plain(code).into_owned();
    }
    format!("{}: {}", plain(code), plain(&failure.message))
}

/// Tokens and money, where there were any.
#[must_use]
pub fn spent(usage: &UsageView) -> String {
    let mut parts = Vec::new();
    if usage.tokens_in + usage.tokens_out > 0 {
        parts.push(format!("{} + {} tokens", usage.tokens_in, usage.tokens_out));
    }
    if usage.cost_nano_usd != 0 {
        parts.push(dollars(usage.cost_nano_usd));
    }
    parts.join(", ")
}

/// Nano-dollars as dollars, without the noise of trailing zeros beyond cents.
fn dollars(nano: i64) -> String {
    let (sign, nano) = (if nano < 0 { "-" } else { "" }, nano.unsigned_abs());
    let fraction = format!("{:09}", nano % 1_000_000_000);
    let kept = fraction.trim_end_matches('0').len().max(2);
    format!("{sign}${}.{}", nano / 1_000_000_000, fraction.get(..kept).unwrap_or(&fraction))
}

/// A JSON document, indented. A text is shown as the text it is, line by line.
#[must_use]
pub fn document(payload: &Payload) -> String {
    match serde_json::from_str::<serde_json::Value>(payload.text()) {
        Ok(serde_json::Value::String(text)) => lines(&text),
        Ok(value) => lines(&serde_json::to_string_pretty(&value).unwrap_or_default()),
        Err(_) => plain(payload.text()).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_written_in_dollars_to_the_last_nano_that_counts() {
        assert_eq!(dollars(1_200_000), "$0.0012");
        assert_eq!(dollars(2_500_000_000), "$2.50");
        assert_eq!(dollars(1), "$0.000000001");
        assert_eq!(dollars(i64::MIN), "-$9223372036.854775808");
    }
}
