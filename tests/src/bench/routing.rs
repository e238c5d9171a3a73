//! Routing by the classifier, over a labelled set of the field: how many requests get where they belong, how many that belong
//! nowhere are sent onward, and what a decision and learning cost.
//!
//! The folder holds JSON lines of `text` and `expect` (`null` for a request out of every scope): `train.jsonl`, `val.jsonl`
//! and, if there is one, `test.jsonl`. Learned is from the first alone. The one threshold is chosen on the second, and
//! everything that is reported was measured on the third; without a third, the second is halved, line by line. So
//! nothing is measured on a line that anything was chosen or learned by.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use mainstay_kernel::json::Json;
use mainstay_kernel::mode::Mode;
use mainstay_kernel::name::Name;
use mainstay_kernel::route::classify::{Classifier, Finding, Material, Thresholds};
use mainstay_kernel::route::{
    DEFAULT_THRESHOLDS, Machine, Move, Registry, Request, Routing, Standing, Target,
};
use serde::Deserialize;

use super::host;
use super::report::{Goal, Report};

/// What the threshold must send onward on the part it is chosen by: more than is promised, because few requests there belong
/// nowhere, and another part gives another figure.
const SEND_ONWARD: f64 = 0.6;
/// Thresholds that are tried, in basis points: up to a tenth of the known requests is sent on.
const MOST_BP: u16 = 1_000;
const STEP_BP: usize = 25;
/// Decisions taken for one median.
const DECISIONS: usize = 3_000;

/// A line of the set.
#[derive(Debug, Deserialize)]
struct Line {
    text: String,
    expect: Option<String>,
}

/// What became of one part of the set.
#[derive(Debug, Clone, Copy)]
struct Score {
    in_scope: f64,
    out_of_scope: f64,
}

/// Everybody is there and well.
#[derive(Debug)]
struct Town;

impl Registry for Town {
    fn standing(&self, _: &Target) -> Standing {
        Standing::Ready
    }

    fn offers(&self, _: &Name) -> Vec<Name> {
        Vec::new()
    }

    fn capabilities(&self) -> Vec<(Name, String)> {
        Vec::new()
    }
}

/// Measures it over the set in `folder`.
///
/// # Errors
/// If the set cannot be read.
pub fn measure(quick: bool, folder: &Path) -> anyhow::Result<Report> {
    let train = read(&folder.join("train.jsonl"))?;
    let (chosen_by, measured) = parts(folder)?;
    let material = material(&train)?;
    let began = host::now();
    let classifier = Arc::new(Classifier::learn(&material));
    let learned_in = began.elapsed();

    let thresholds = choose(&classifier, &chosen_by);
    let score = score(&classifier, &measured, &thresholds);
    let mut report = Report::new("routing");
    report.ratio("in_scope_accuracy", score.in_scope, Goal::AtLeast(0.91));
    report.ratio("out_of_scope_recall", score.out_of_scope, Goal::AtLeast(0.5));
    report.figure("threshold_bp", f64::from(thresholds.out_of_scope_bp));
    report.figure("chosen_by_requests", chosen_by.len() as f64);
    report.figure("measured_requests", measured.len() as f64);
    let unset = self::score(&classifier, &measured, &DEFAULT_THRESHOLDS);
    report.figure("in_scope_accuracy_by_default", unset.in_scope);
    report.figure("out_of_scope_recall_by_default", unset.out_of_scope);

    let decisions = if quick { DECISIONS / 10 } else { DECISIONS };
    let routing = document(&thresholds)?;
    let requests: Vec<Request> = measured.iter().take(decisions).map(request).collect::<Result<_, _>>()?;
    let mut alone = decide(&routing, &classifier, &requests);
    report.ratio("p50_us", percentile(&mut alone, 50), Goal::AtMost(100.0));
    report.figure("p99_us", percentile(&mut alone, 99));

    // The same while a changed registry is learned on a thread of its own, as the server does it.
    let began = host::now();
    let learning = std::thread::spawn(move || {
        let again = Classifier::learn(&material);
        (began.elapsed(), again.capabilities().count())
    });
    let mut beside = Vec::new();
    while !learning.is_finished() {
        beside.extend(decide(&routing, &classifier, &requests[..requests.len().min(100)]));
    }
    let (beside_in, capabilities) = learning.join().map_err(|_| anyhow::anyhow!("learning failed"))?;
    report.ratio("retrain_s", learned_in.max(beside_in).as_secs_f64(), Goal::AtMost(2.0));
    report.figure("p50_us_while_learning", percentile(&mut beside, 50));
    report.figure("capabilities", capabilities as f64);
    report.figure("examples", train.len() as f64);
    Ok(report)
}

fn read(path: &Path) -> anyhow::Result<Vec<Line>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let lines = text.lines().filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
}

/// The part by which the threshold is chosen, and the part that is measured.
fn parts(folder: &Path) -> anyhow::Result<(Vec<Line>, Vec<Line>)> {
    let val = read(&folder.join("val.jsonl"))?;
    let test = folder.join("test.jsonl");
    if test.exists() {
        return Ok((val, read(&test)?));
    }
    let (even, odd): (Vec<_>, Vec<_>) = val.into_iter().enumerate().partition(|(at, _)| at % 2 == 0);
    let lines = |half: Vec<(usize, Line)>| half.into_iter().map(|(_, line)| line).collect();
    Ok((lines(even), lines(odd)))
}

fn material(lines: &[Line]) -> anyhow::Result<BTreeMap<Name, Material>> {
    let mut material: BTreeMap<Name, Material> = BTreeMap::new();
    for line in lines {
        if let Some(expect) = &line.expect {
            material.entry(Name::new(expect)?).or_default().examples.insert(line.text.clone());
        }
    }
    Ok(material)
}

/// The least threshold that sends enough onward: what is above it only costs requests that belong somewhere.
fn choose(classifier: &Classifier, lines: &[Line]) -> Thresholds {
    let of = |out_of_scope_bp| Thresholds { out_of_scope_bp, ambiguous_bp: 0, ..DEFAULT_THRESHOLDS };
    let enough = |thresholds: &Thresholds| score(classifier, lines, thresholds).out_of_scope >= SEND_ONWARD;
    (0..=MOST_BP).step_by(STEP_BP).map(of).find(enough).unwrap_or(of(MOST_BP))
}

fn score(classifier: &Classifier, lines: &[Line], thresholds: &Thresholds) -> Score {
    let (mut right, mut in_scope, mut onward, mut out_of_scope) = (0, 0, 0, 0);
    for line in lines {
        let verdict = classifier.judge(&line.text, thresholds);
        let named = (verdict.finding == Finding::Sure).then(|| verdict.ranked.first()).flatten();
        match &line.expect {
            Some(expect) => {
                in_scope += 1;
                right += usize::from(named.is_some_and(|named| named.capability.as_str() == expect));
            }
            None => {
                out_of_scope += 1;
                onward += usize::from(named.is_none());
            }
        }
    }
    let share = |part: usize, of: usize| part as f64 / of.max(1) as f64;
    Score { in_scope: share(right, in_scope), out_of_scope: share(onward, out_of_scope) }
}

/// A document as an operator would write it, with a rule before the classifier.
fn document(thresholds: &Thresholds) -> anyhow::Result<Arc<Routing>> {
    let share = |bp: u16| f64::from(bp) / 10_000.0;
    let document = format!(
        "name: bench\nversion: 1\nrules:\n  - {{ name: large, when: has(input.amount) && input.amount > 100, to: {{ capability: a }} }}\n\
         classifier: {{ out_of_scope: {}, ambiguous: {} }}\nstatic: none\n",
        share(thresholds.out_of_scope_bp),
        share(thresholds.ambiguous_bp),
    );
    let routing = Routing::parse(&document);
    Ok(Arc::new(routing.map_err(|problems| anyhow::anyhow!("the document: {problems:?}"))?))
}

fn request(line: &Line) -> anyhow::Result<Request> {
    Ok(Request {
        tenant: Name::new("default")?,
        input: Json::from(&serde_json::json!({ "text": line.text })),
        labels: Json::from(&serde_json::json!({})),
        target: None,
        mode: Mode::Full,
    })
}

/// How long each decision takes, from the request to its record.
fn decide(routing: &Arc<Routing>, classifier: &Arc<Classifier>, requests: &[Request]) -> Vec<Duration> {
    let decide = |request: &Request| {
        let request = request.clone();
        let began = host::now();
        let mut machine = Machine::new(Arc::clone(routing), Some(Arc::clone(classifier)), request);
        let next = machine.next(&Town);
        assert!(!matches!(next, Move::Ask(_)), "there is no router agent");
        let decision = machine.into_decision();
        let took = began.elapsed();
        drop(decision);
        took
    };
    requests.iter().map(decide).collect()
}

/// In microseconds; 0 of nothing.
fn percentile(times: &mut [Duration], percent: usize) -> f64 {
    times.sort_unstable();
    let at = (times.len() * percent / 100).min(times.len().saturating_sub(1));
    times.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e6)
}
