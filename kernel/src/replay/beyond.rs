//! Past the first difference: a changed workflow among the answers on record.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::tape::{Cue, Word};
use crate::json::Json;
use crate::mode::Mode;
use crate::name::Name;
use crate::play::{Play, Reply, Turn, World};
use crate::run::{Attempt, Call, EndState, Event, Finding, Input, Inquiry, Run, asked, outstanding};
use crate::time::Wall;
use crate::workflow::StepId;

/// What a changed workflow does past the first difference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Beyond {
    /// What it would ask for that is not on record, in order. Where there is such a thing, what depends on it is not known.
    pub would: Vec<Would>,
    /// The steps on record whose answers it no longer asks for.
    pub unused: Vec<StepId>,
    /// Signals and answers on record that it does not take.
    pub refused: Vec<String>,
    /// How it ends, if all it asks for is on record.
    pub end: Option<EndState>,
    /// What it comes to then.
    pub output: Option<Json>,
}

/// Something that is not on record.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Would {
    /// A call.
    Call {
        /// The step.
        step: StepId,
        /// What would be called.
        capability: Name,
        /// With what.
        input: Json,
    },
    /// A question to the world: what is offered, where a request goes.
    FindOut {
        /// The step.
        step: StepId,
    },
    /// A question to a person.
    Ask {
        /// The step.
        step: StepId,
        /// The question.
        question: String,
    },
}

/// Goes on with `run` from a difference; the first `used` cues lie behind it.
pub(super) fn go_on(run: Run, cues: &[Cue<'_>], used: usize) -> Beyond {
    let mut play = Play::of(run, Mode::Full, Recorded::new(cues, used));
    let mut refused = Vec::new();
    // Ends: each turn ends a call, says a word once, or moves the run, which has a deadline.
    loop {
        match play.turn() {
            Turn::Went => {}
            Turn::Refused(input, ignored) => refused.push(format!("{}: {ignored}", named(&input))),
            Turn::Still => break,
        }
    }
    let end = play.run().end.clone();
    let Recorded { would, answers, .. } = play.world;
    let unused = answers.into_iter().filter(|answer| !answer.used).map(|answer| answer.call.step).collect();
    let (state, output) = end.map_or((None, None), |end| (Some(end.state), end.output));
    Beyond { would, unused, refused, end: state, output }
}

fn named(input: &Input) -> String {
    match input {
        Input::Signal { name, .. } => format!("signal `{name}`"),
        Input::Answer { step, .. } => format!("the answer to `{step}`"),
        Input::Cancel { .. } => "the cancel".to_owned(),
        Input::Found { step, .. } => format!("what was found for `{step}`"),
        Input::AttemptEnded { .. } => "the end of a call".to_owned(),
        Input::Woken => "a timer".to_owned(),
    }
}

/// The record as a world.
struct Recorded {
    answers: Vec<Answer>,
    /// What was asked of people: what they were shown, and what they said, if anything.
    questions: BTreeMap<StepId, Question>,
    /// What was found out for steps that asked.
    findings: BTreeMap<StepId, Finding>,
    /// Signals and the cancel that are still to come, soonest first.
    words: Vec<(Wall, Input)>,
    would: Vec<Would>,
    next: Option<Next>,
}

/// A call on record that ended.
struct Answer {
    call: Call,
    took: Duration,
    reply: Reply,
    used: bool,
}

struct Question {
    shown: Json,
    since: Wall,
    answer: Option<(Duration, Input)>,
}

enum Next {
    Word,
    Answer(StepId),
    /// The run knows what was found.
    Found,
}

impl Recorded {
    fn new(cues: &[Cue<'_>], used: usize) -> Self {
        let mut recorded = Self {
            answers: Vec::new(),
            questions: BTreeMap::new(),
            findings: BTreeMap::new(),
            words: Vec::new(),
            would: Vec::new(),
            next: None,
        };
        let mut begun: BTreeMap<Attempt, (Wall, &Call)> = BTreeMap::new();
        for (at, cue) in cues.iter().enumerate() {
            recorded.hear(cue, at < used, &begun);
            begun.extend(cue.calls.iter().map(|call| (call.attempt, (cue.at(), call))));
            for event in &cue.transition.events {
                if let Event::StepOpened { step, input, .. } = event {
                    let question = Question { shown: input.clone(), since: cue.at(), answer: None };
                    recorded.questions.insert(step.clone(), question);
                }
            }
        }
        recorded
    }

    /// Takes down what a cue says; `used` if it was said already.
    fn hear(&mut self, cue: &Cue<'_>, used: bool, begun: &BTreeMap<Attempt, (Wall, &Call)>) {
        match &cue.word {
            Word::Ended { attempt, result, attempts } => {
                let Some((since, call)) = begun.get(attempt) else { return };
                let (result, attempts) = (result.clone(), attempts.clone());
                let reply = Reply { at: cue.at(), effect: cue.effect, result, attempts, leave: cue.leave };
                let took = cue.at().saturating_since(*since);
                self.answers.push(Answer { call: (*call).clone(), took, reply, used });
            }
            Word::Found { step, finding } => {
                self.findings.insert(step.clone(), finding.clone());
            }
            Word::Answer { step, .. } if !used => {
                let Some(question) = self.questions.get_mut(step) else { return };
                let after = cue.at().saturating_since(question.since);
                question.answer = cue.input().map(|input| (after, input));
            }
            Word::Signal { .. } | Word::Cancel { .. } if !used => {
                self.words.extend(cue.input().map(|input| (cue.at(), input)));
            }
            Word::Answer { .. } | Word::Signal { .. } | Word::Cancel { .. } | Word::Start | Word::Woken => {}
        }
    }

    /// The answer on record to a call: of the same step if there is one, one not yet taken before one that was.
    fn find(&self, call: &Call) -> Option<usize> {
        let fits = |answer: &&(usize, &Answer)| {
            let known = &answer.1.call;
            let by = answer.1.reply.attempts.last().map(|record| record.agent.as_str());
            known.capability == call.capability
                && known.input.digest() == call.input.digest()
                && known.attempt.number == call.attempt.number
                && call.agent.as_ref().is_none_or(|agent| by == Some(agent.as_str()))
        };
        let fitting = self.answers.iter().enumerate().collect::<Vec<_>>();
        let fitting = fitting.iter().filter(fits);
        fitting
            .min_by_key(|(at, answer)| (answer.call.step != call.step, answer.used, *at))
            .map(|(at, _)| *at)
    }
}

impl World for Recorded {
    fn reply(&mut self, _: &Run, call: &Call, now: Wall) -> Option<Reply> {
        let Some(at) = self.find(call) else {
            self.would.push(Would::Call {
                step: call.step.clone(),
                capability: call.capability.clone(),
                input: call.input.clone(),
            });
            return None;
        };
        let answer = &mut self.answers[at];
        answer.used = true;
        // What is under way goes on as it went; what begins now takes as long as it took.
        let under_way = answer.call.attempt == call.attempt && answer.reply.at >= now;
        let ends = if under_way { answer.reply.at } else { now + answer.took };
        Some(Reply { at: ends, ..answer.reply.clone() })
    }

    fn word(&mut self, run: &Run) -> Option<(Wall, Input)> {
        let mut first = self.words.first().map(|(at, input)| (*at, input.clone(), Next::Word));
        for Inquiry { step, .. } in outstanding(run).inquiries {
            match self.findings.get(&step) {
                Some(finding) => {
                    let found = Input::Found { step, finding: finding.clone() };
                    first = Some((run.last_at, found, Next::Found));
                }
                None if !self.would.contains(&Would::FindOut { step: step.clone() }) => {
                    self.would.push(Would::FindOut { step });
                }
                None => {}
            }
        }
        for asked in asked(run) {
            let answered = run.step(asked.step.as_str()).is_some_and(|(_, step)| step.ruling.is_some());
            match self.questions.get(&asked.step) {
                Some(question) if question.shown == asked.shown => {
                    let Some((after, input)) = &question.answer else { continue };
                    let at = asked.since + *after;
                    if !answered && first.as_ref().is_none_or(|(soonest, ..)| at < *soonest) {
                        first = Some((at, input.clone(), Next::Answer(asked.step)));
                    }
                }
                Some(_) | None if !answered => {
                    let would = Would::Ask { step: asked.step, question: asked.question };
                    if !self.would.contains(&would) {
                        self.would.push(would);
                    }
                }
                Some(_) | None => {}
            }
        }
        let (at, input, next) = first?;
        self.next = Some(next);
        Some((at, input))
    }

    fn time_passes(&self) -> bool {
        self.would.is_empty()
    }

    fn said(&mut self) {
        match self.next.take() {
            Some(Next::Word) if !self.words.is_empty() => drop(self.words.remove(0)),
            Some(Next::Answer(step)) => {
                if let Some(question) = self.questions.get_mut(&step) {
                    question.answer = None;
                }
            }
            Some(Next::Word | Next::Found) | None => {}
        }
    }
}
