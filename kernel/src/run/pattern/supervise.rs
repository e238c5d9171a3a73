//! Handing out work in rounds.
//!
//! The supervisor is asked as `STEP/1`, `STEP/2`, …, once a round; what it hands out in round 2 grows as `STEP/2_0`,
//! `STEP/2_1`, …. It is told what it was asked for, how many rounds there are, whom it may give work to and what has come
//! back so far, and says either `{"tasks": [{"worker": …, "input": …}, …]}` or `{"answer": …}`, which ends it. What cannot
//! be carried out is handed back as `problems` and costs a round.
//!
//! # Getting nowhere
//! A task whose worker has already answered this very input is not done again: it is named among the problems. A round in
//! which nothing else was asked for, or whose results are those of the round before, ends the step: more rounds would buy
//! nothing. So every end is known before it begins: an answer, the rounds, the time, or no progress.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::expr::Item;
use crate::json::Json;
use crate::outcome::{Class, Failure};
use crate::run::frame::View;
use crate::run::graft::Graft;
use crate::run::hand_off::own;
use crate::run::pattern::{MAPPING_FAILED, Progress, brought_down, complete, fail, written};
use crate::run::state::{State, StepState};
use crate::workflow::{Supervise, Work};

const SUPERVISOR_FAILED: &str = "SUPERVISOR_FAILED";
const WORKER_FAILED: &str = "WORKER_FAILED";
const NO_PROGRESS: &str = "NO_PROGRESS";
const ROUNDS_EXHAUSTED: &str = "ROUNDS_EXHAUSTED";
const GATHERING_TIMED_OUT: &str = "GATHERING_TIMED_OUT";

/// Problems and gaps named one by one.
const NAMED: usize = 20;

/// What the supervisor says.
#[derive(Deserialize)]
struct Orders {
    #[serde(default)]
    tasks: Vec<Task>,
    #[serde(default)]
    answer: Option<Json>,
}

/// Work for somebody.
#[derive(Deserialize)]
struct Task {
    worker: String,
    #[serde(default)]
    input: Json,
}

/// What the supervisor is told.
#[derive(Serialize)]
struct Brief<'a> {
    goal: &'a Json,
    round: usize,
    rounds: usize,
    workers: Vec<String>,
    results: Vec<Report<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<String>,
}

/// What has come of a task.
#[derive(Serialize)]
struct Report<'a> {
    task: &'a str,
    worker: String,
    input: Option<&'a Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'a Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
}

/// What the step answers.
#[derive(Serialize)]
struct Outcome<'a> {
    answer: Option<&'a Json>,
    rounds: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    results: Vec<Report<'a>>,
}

/// A step that supervises, and how far it is.
struct Team<'a> {
    run: &'a State,
    at: usize,
    spec: &'a Supervise,
    /// The supervisor's steps, one a round.
    rounds: Vec<usize>,
    /// The tasks, each with its round.
    tasks: Vec<(usize, usize)>,
}

/// What of a round can be carried out.
struct Plan {
    grafts: Vec<Graft>,
    problems: Vec<String>,
    /// Whether everything that was asked for has been done before.
    repeats: bool,
}

pub(super) fn next(run: &State, at: usize, spec: &Supervise, over: bool) -> Progress {
    let team = Team::of(run, at, spec);
    let Some(&lead) = team.rounds.last() else { return team.ask(Vec::new()) };
    let round = team.rounds.len();
    if over {
        let message = "the supervisor had not come to an end when the time was over".to_owned();
        return team.cut_short(own(Class::Timeout, GATHERING_TIMED_OUT, message));
    }
    match (run.steps[lead].state, &run.steps[lead].output) {
        (StepState::Completed, Some(word)) => team.go_on(round, word),
        (StepState::Failed, _) if !(spec.partial && round > 1) => {
            brought_down(run, lead, SUPERVISOR_FAILED, "nobody else may hand out its work")
        }
        (StepState::Failed, _) => team.cut_short(super::because(run, lead, SUPERVISOR_FAILED)),
        _ => Progress::Wait,
    }
}

impl<'a> Team<'a> {
    fn of(run: &'a State, at: usize, spec: &'a Supervise) -> Self {
        let (mut rounds, mut tasks) = (Vec::new(), Vec::new());
        for child in run.within(at) {
            match below(run, child).split_once('_') {
                None => rounds.push(child),
                Some((round, _)) => tasks.push((round.parse().unwrap_or_default(), child)),
            }
        }
        Self { run, at, spec, rounds, tasks }
    }

    fn of_round(&self, round: usize) -> impl Iterator<Item = usize> {
        self.tasks.iter().filter(move |(of, _)| *of == round).map(|(_, at)| *at)
    }

    /// What follows from the supervisor's word in this round.
    fn go_on(&self, round: usize, word: &'a Json) -> Progress {
        let orders: Result<Orders, _> = serde_json::from_str(word.as_str());
        let orders = match orders {
            Ok(Orders { answer: Some(answer), .. }) => return self.complete(Some(&answer), Vec::new()),
            Ok(orders) => orders,
            Err(error) => return self.another_round(vec![format!("your word cannot be read: {error}")]),
        };
        let mut given = self.of_round(round).peekable();
        if given.peek().is_none() {
            let plan = self.plan(round, orders.tasks);
            if plan.repeats {
                let message = "the supervisor asked for nothing that was not done before".to_owned();
                return self.cut_short(own(Class::AgentError, NO_PROGRESS, message));
            }
            return if plan.grafts.is_empty() {
                self.another_round(plan.problems)
            } else {
                Progress::Graft(plan.grafts)
            };
        }
        let (mut open, mut failed) = (false, None);
        for task in given {
            let state = self.run.steps[task].state;
            open |= !matches!(state, StepState::Completed | StepState::Failed);
            let refused = state == StepState::Completed && self.refused(task).is_some();
            if state == StepState::Failed || refused {
                failed = failed.or(Some(task));
            }
        }
        match failed {
            Some(task) if !self.spec.partial => self.worker_failed(task),
            _ if open => Progress::Wait,
            _ if self.stands_still(round) => {
                let message = "the results of the last two rounds are the same".to_owned();
                self.cut_short(own(Class::AgentError, NO_PROGRESS, message))
            }
            _ => self.another_round(self.plan(round, orders.tasks).problems),
        }
    }

    /// What can be carried out of these tasks: whoever is known, and has not done the very same before.
    fn plan(&self, round: usize, tasks: Vec<Task>) -> Plan {
        let earlier = self.tasks.iter().filter(|(of, _)| *of < round).map(|(_, at)| *at);
        let mut done: HashSet<(String, [u8; 32])> = earlier
            .filter(|at| self.run.steps[*at].state == StepState::Completed && self.refused(*at).is_none())
            .filter_map(|at| Some((self.worker(at), self.run.steps[at].input.as_ref()?.digest())))
            .collect();
        let (mut plan, mut fresh) =
            (Plan { grafts: Vec::new(), problems: Vec::new(), repeats: false }, false);
        let asked = tasks.len();
        for (place, task) in tasks.into_iter().enumerate() {
            let Some(work) = self.spec.workers.iter().find(|work| work.name().as_str() == task.worker) else {
                fresh = true;
                plan.problems.push(format!("task {place}: there is no worker `{}`", task.worker));
                continue;
            };
            if !done.insert((task.worker.clone(), task.input.digest())) {
                let name = &task.worker;
                plan.problems.push(format!("task {place}: `{name}` has been given this very input already"));
                continue;
            }
            fresh = true;
            let Some(id) = self.run.spec(self.at).id.inside(format!("{round}_{place}")) else { continue };
            let (work, after, input) = (work.clone(), Vec::new(), task.input);
            plan.grafts.push(Graft { id, work, after, input, optional: true });
        }
        plan.repeats = asked > 0 && !fresh;
        plan.problems.truncate(NAMED);
        plan
    }

    /// Asks the supervisor again, if it may be.
    fn another_round(&self, problems: Vec<String>) -> Progress {
        if self.rounds.len() < self.spec.rounds {
            return self.ask(problems);
        }
        let problems = if problems.is_empty() { String::new() } else { format!(": {}", problems.join("; ")) };
        let message = format!("the supervisor came to no end in {} rounds{problems}", self.rounds.len());
        self.cut_short(own(Class::AgentError, ROUNDS_EXHAUSTED, message))
    }

    fn ask(&self, problems: Vec<String>) -> Progress {
        let goal = self.run.steps[self.at].input.clone().unwrap_or_default();
        let round = self.rounds.len() + 1;
        let workers = self.spec.workers.iter().map(|work| work.name().to_string()).collect();
        let results = self.tasks.iter().map(|(_, at)| self.report(*at)).collect();
        let brief = Brief { goal: &goal, round, rounds: self.spec.rounds, workers, results, problems };
        match (written(&brief), self.run.spec(self.at).id.inside(round)) {
            (Ok(input), Some(id)) => {
                let work = Work::Call(self.spec.by.clone());
                Progress::Graft(vec![Graft { id, work, after: Vec::new(), input, optional: true }])
            }
            (Err(failure), _) => fail(failure, "the results will not become smaller"),
            (_, None) => Progress::Wait,
        }
    }

    /// Whether this round brought exactly what the one before it did.
    fn stands_still(&self, round: usize) -> bool {
        let outputs = |round| -> Vec<Option<[u8; 32]>> {
            let mut digests: Vec<_> =
                self.of_round(round).map(|at| self.run.steps[at].output.as_ref().map(Json::digest)).collect();
            digests.sort_unstable();
            digests
        };
        let (now, before) = (outputs(round), outputs(round.saturating_sub(1)));
        now.iter().any(Option::is_some) && now == before
    }

    fn worker(&self, at: usize) -> String {
        let kind = &self.run.spec(at).kind;
        let workflow = kind.subs().first().map(|sub| sub.workflow.to_string());
        let capability = || kind.call().map(|call| call.capability.to_string());
        workflow.or_else(capability).unwrap_or_default()
    }

    fn report(&self, at: usize) -> Report<'a> {
        let step = &self.run.steps[at];
        let failure = match (&step.failure, step.state) {
            (_, StepState::Completed) => self.refused(at),
            (Some(failure), _) => Some(format!("{}: {}", failure.code, failure.message)),
            (None, _) => Some("it had not ended when the time was over".to_owned()),
        };
        let output = step.output.as_ref().filter(|_| failure.is_none());
        Report {
            task: below(self.run, at),
            worker: self.worker(at),
            input: step.input.as_ref(),
            output,
            failure,
        }
    }

    /// Why the result of the task at `at` may not be shown to anybody, if it may not.
    fn refused(&self, at: usize) -> Option<String> {
        let (accept, output) = (self.spec.accept.as_ref()?, self.run.steps[at].output.as_ref()?);
        let item = Item { value: output, index: 0 };
        match accept.eval_for(&View::of(self.run, self.at).scope(), item) {
            Ok(said) if said.as_str() == "true" => None,
            Ok(_) => Some("RESULT_REFUSED: it does not meet what `accept` says".to_owned()),
            Err(error) => Some(format!("{MAPPING_FAILED}: `accept` cannot be told: {error}")),
        }
    }

    fn worker_failed(&self, task: usize) -> Progress {
        let reason = "a result of every task is wanted";
        match self.refused(task) {
            Some(why) => {
                let name = &self.run.spec(task).id;
                fail(own(Class::ContractBreach, WORKER_FAILED, format!("step `{name}`: {why}")), reason)
            }
            None => brought_down(self.run, task, WORKER_FAILED, reason),
        }
    }

    /// Ends with the results there are, if they are wanted without an answer.
    fn cut_short(&self, why: Failure) -> Progress {
        let usable =
            |at: &usize| self.run.steps[*at].state == StepState::Completed && self.refused(*at).is_none();
        if !self.spec.partial || !self.tasks.iter().any(|(_, at)| usable(at)) {
            return fail(why, "there is no answer, and no results are wanted without one");
        }
        self.complete(None, vec![format!("{}: {}", why.code, why.message)])
    }

    fn complete(&self, answer: Option<&Json>, mut warnings: Vec<String>) -> Progress {
        let results: Vec<Report<'_>> = self.tasks.iter().map(|(_, at)| self.report(*at)).collect();
        let gaps = results.iter().filter_map(|report| {
            let (task, failure) = (report.task, report.failure.as_ref()?);
            Some(format!("task {task} of `{}` is missing: {failure}", report.worker))
        });
        warnings.extend(gaps.take(NAMED));
        let results = if answer.is_none() { results } else { Vec::new() };
        match written(&Outcome { answer, rounds: self.rounds.len(), results }) {
            Ok(output) => complete(output, warnings),
            Err(failure) => fail(failure, "the results will not become smaller"),
        }
    }
}

/// The name of the step at `at` below the one it lies in.
fn below(run: &State, at: usize) -> &str {
    let id = run.spec(at).id.as_str();
    id.rsplit_once('/').map_or(id, |(_, name)| name)
}
