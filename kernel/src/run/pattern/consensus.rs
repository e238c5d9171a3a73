//! Asking several agents the same and making one answer of theirs.
//!
//! The members grow as `STEP/0`, `STEP/1`, …; each is given the step's input and hears of nobody. The judge, `STEP/judge`,
//! sees their answers as `A`, `B`, … in an order that dice seeded by run and step give: neither a name nor a place tells
//! whose they are, and what the judge was given stands in the journal. A member that fails, breaks the schema or is late is
//! left out, and the confidence falls by its share.
//!
//! # The figures
//! - `confidence` is the judge's own (1 if it gives none) times the share of members who answered; without a judge it is
//!   the share of *all* members who gave the answer that was chosen.
//! - `agreement` is the share of pairs of answers that are equal as JSON values: the observed agreement of Fleiss (1971)
//!   for one subject.
//! - `agreement_bias` says whether the judge goes with the crowd: 1 if it chose the most frequent answer and 0 if not, less
//!   the share of that answer. Its mean over many runs is 0 for a judge that picks one of the answers blindly.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::dice::Dice;
use crate::id::AttemptId;
use crate::json::Json;
use crate::outcome::{Answer, Class, Failure, Usage};
use crate::run::graft::Graft;
use crate::run::hand_off::own;
use crate::run::pattern::{Progress, brought_down, fail, written};
use crate::run::state::{State, StepState};
use crate::workflow::{Consensus, Judge, Work, label};

const QUORUM_MISSED: &str = "QUORUM_MISSED";
const JUDGE_FAILED: &str = "JUDGE_FAILED";
const JUDGE_INVALID: &str = "JUDGE_INVALID";

/// The last part of the judge's name.
const JUDGE: &str = "judge";

/// A certainty, in basis points.
const CERTAIN: usize = 10_000;

/// What the judge is given.
#[derive(Serialize)]
struct Question<'a> {
    question: &'a Json,
    rubric: &'a str,
    answers: Vec<Shown<'a>>,
}

#[derive(Serialize)]
struct Shown<'a> {
    label: String,
    answer: &'a Json,
}

/// What the judge says.
#[derive(Deserialize)]
struct Verdict {
    choice: String,
    #[serde(default)]
    confidence: Option<f64>,
    #[serde(default)]
    grounds: Option<String>,
}

/// What the step answers.
#[derive(Serialize)]
struct Outcome<'a> {
    answer: &'a Json,
    confidence: f64,
    agreement: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    agreement_bias: Option<f64>,
    members: usize,
    answered: usize,
    /// The member whose answer it is, by its place in the document.
    chosen: usize,
    /// The members in the order in which the judge saw their answers.
    order: &'a [usize],
    #[serde(skip_serializing_if = "Option::is_none")]
    grounds: Option<String>,
}

/// The members' answers, in the order in which they are shown.
struct Answers<'a> {
    order: Vec<usize>,
    texts: Vec<&'a Json>,
    values: Vec<Value>,
    gaps: Vec<String>,
}

/// Whether the time that the members have still means anything.
pub(super) fn gathers(run: &State, at: usize) -> bool {
    run.within(at).any(|child| !run.steps[child].state.has_ended() && !is_judge(run, child))
}

pub(super) fn next(run: &State, at: usize, consensus: &Consensus, over: bool) -> Progress {
    let members = run.within(at).filter(|child| !is_judge(run, *child)).collect::<Vec<_>>();
    if members.is_empty() {
        return ask(run, at, consensus);
    }
    let count =
        |wanted: fn(StepState) -> bool| members.iter().filter(|at| wanted(run.steps[**at].state)).count();
    let out = count(|state| state.has_ended() && state != StepState::Completed);
    let open = count(|state| !state.has_ended());
    let answered = members.len() - out - open;
    // As soon as too many are out nobody else need be waited for.
    let missed = out > members.len() - consensus.quorum || (open == 0 || over) && answered < consensus.quorum;
    if missed {
        return quorum_missed(run, &members, consensus);
    }
    if open > 0 {
        // Who is late is let go before anybody judges, so that no late answer changes what is judged.
        let late = members.iter().copied().filter(|at| !run.steps[*at].state.has_ended());
        return if over { Progress::LetGo(late.collect()) } else { Progress::Wait };
    }
    let answers = Answers::of(run, at, &members);
    let Some(judge) = &consensus.judge else {
        let (chosen, votes) = answers.most_frequent();
        let confidence = votes * CERTAIN / members.len();
        return answers.outcome(members.len(), chosen, confidence, None, None);
    };
    let Some(step) = run.within(at).find(|child| is_judge(run, *child)) else {
        return answers.judged_by(run, at, judge);
    };
    match (run.steps[step].state, &run.steps[step].output) {
        (StepState::Completed, Some(verdict)) => answers.decided(members.len(), verdict),
        (StepState::Failed, _) => brought_down(run, step, JUDGE_FAILED, "nobody else may choose"),
        _ => Progress::Wait,
    }
}

fn is_judge(run: &State, at: usize) -> bool {
    run.spec(at).id.as_str().ends_with("/judge")
}

/// The first of it: the same question to each.
fn ask(run: &State, at: usize, consensus: &Consensus) -> Progress {
    let (id, input) = (&run.spec(at).id, run.steps[at].input.clone().unwrap_or_default());
    let member = |(place, call): (usize, &crate::workflow::Call)| {
        let (id, work) = (id.inside(place)?, Work::Call(call.clone()));
        Some(Graft { id, work, after: Vec::new(), input: input.clone(), optional: true })
    };
    Progress::Graft(consensus.of.iter().enumerate().filter_map(member).collect())
}

fn quorum_missed(run: &State, members: &[usize], consensus: &Consensus) -> Progress {
    let failed = members.iter().find(|at| run.steps[**at].state == StepState::Failed);
    let why = failed.and_then(|at| run.steps[*at].failure.as_ref().map(|failure| (run.spec(*at), failure)));
    let (class, began, why) = match why {
        Some((spec, cause)) => {
            let why = format!("; step `{}` failed: {}: {}", spec.id, cause.code, cause.message);
            (cause.class, Some(cause.began), why)
        }
        None => (Class::Timeout, None, "; the others had not answered when their time was over".to_owned()),
    };
    let message = format!("fewer than {} of {} members answered{why}", consensus.quorum, members.len());
    let failure = own(class, QUORUM_MISSED, message);
    let failure = Failure { began: began.unwrap_or(failure.began), ..failure };
    fail(failure, "too few are left to agree on anything")
}

impl<'a> Answers<'a> {
    fn of(run: &'a State, at: usize, members: &[usize]) -> Self {
        let mut order: Vec<usize> = Vec::new();
        let mut gaps = Vec::new();
        for (place, &member) in members.iter().enumerate() {
            let step = &run.steps[member];
            match (&step.failure, step.state) {
                (_, StepState::Completed) => order.push(place),
                (Some(failure), _) => {
                    gaps.push(format!("member {place} is left out: {}: {}", failure.code, failure.message));
                }
                (None, _) => gaps.push(format!("member {place} is left out: it had not answered in time")),
            }
        }
        // Fisher and Yates, with dice that any other look at this run rolls alike.
        let mut dice = Dice::for_attempt(AttemptId::derive(run.id, run.spec(at).id.as_str(), 0));
        for last in (1..order.len()).rev() {
            order.swap(last, dice.below(last + 1));
        }
        let texts = order.iter().filter_map(|place| run.steps[members[*place]].output.as_ref());
        let texts: Vec<&Json> = texts.collect();
        let values = texts.iter().map(|text| text.value()).collect();
        Self { order, texts, values, gaps }
    }

    /// How many gave the same answer as the one at `place`.
    fn votes(&self, place: usize) -> usize {
        self.values.iter().filter(|value| **value == self.values[place]).count()
    }

    /// The first answer of those given most often, and how often that was.
    fn most_frequent(&self) -> (usize, usize) {
        let votes = (0..self.values.len()).map(|place| (place, self.votes(place)));
        votes.rev().max_by_key(|(_, votes)| *votes).unwrap_or_default()
    }

    /// The share of pairs that are equal, in basis points; one answer alone is at one with itself.
    fn agreement(&self) -> usize {
        let n = self.values.len();
        let equal: usize = (0..n).map(|place| self.votes(place) - 1).sum();
        (equal * CERTAIN).checked_div(n * n.saturating_sub(1)).unwrap_or(CERTAIN)
    }

    fn judged_by(&self, run: &State, at: usize, judge: &Judge) -> Progress {
        let question = run.steps[at].input.clone().unwrap_or_default();
        let shown = |(place, answer): (usize, &&'a Json)| Shown { label: label(place), answer };
        let answers = self.texts.iter().enumerate().map(shown).collect();
        let asked = Question { question: &question, rubric: &judge.rubric, answers };
        match (written(&asked), run.spec(at).id.inside(JUDGE)) {
            (Ok(input), Some(id)) => {
                let work = Work::Call(judge.call.clone());
                Progress::Graft(vec![Graft { id, work, after: Vec::new(), input, optional: true }])
            }
            (Err(failure), _) => fail(failure, "the answers will not become smaller"),
            (_, None) => Progress::Wait,
        }
    }

    fn decided(&self, members: usize, verdict: &Json) -> Progress {
        let said: Option<Verdict> = serde_json::from_str(verdict.as_str()).ok();
        let chosen =
            said.as_ref().and_then(|said| (0..self.texts.len()).find(|at| label(*at) == said.choice));
        let (Some(said), Some(chosen)) = (said, chosen) else {
            let message =
                format!("the judge's choice is none of the {} answers it was shown", self.texts.len());
            return fail(own(Class::ContractBreach, JUDGE_INVALID, message), "its verdict stands");
        };
        let own = said.confidence.filter(|own| (0.0..=1.0).contains(own)).unwrap_or(1.0);
        let confidence = (own * CERTAIN as f64).round() as usize * self.texts.len() / members;
        let (_, most) = self.most_frequent();
        let with_most = usize::from(self.votes(chosen) == most);
        let bias = (with_most * CERTAIN) as f64 - (most * CERTAIN / self.values.len()) as f64;
        self.outcome(members, chosen, confidence, Some(bias / CERTAIN as f64), said.grounds)
    }

    fn outcome(
        &self,
        members: usize,
        chosen: usize,
        confidence: usize,
        agreement_bias: Option<f64>,
        grounds: Option<String>,
    ) -> Progress {
        let outcome = Outcome {
            answer: self.texts[chosen],
            confidence: confidence as f64 / CERTAIN as f64,
            agreement: self.agreement() as f64 / CERTAIN as f64,
            agreement_bias,
            members,
            answered: self.texts.len(),
            chosen: self.order[chosen],
            order: &self.order,
            grounds,
        };
        match written(&outcome) {
            Ok(output) => Progress::Complete(Answer {
                output,
                usage: Usage::default(),
                confidence_bp: u16::try_from(confidence).ok(),
                warnings: self.gaps.clone(),
            }),
            Err(failure) => fail(failure, "the answer will not become smaller"),
        }
    }
}
