//! The other side: an agent that is well or is not, behind a sidecar with a ledger, behind a network that may cut, delay or
//! break what passes. A model, written for this; what it promises is what `sidecar/src/ledger` promises.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstay_kernel::call::Ledger;
use mainstay_kernel::dice::Dice;
use mainstay_kernel::effect::EffectClass;
use mainstay_kernel::id::AttemptId;
use mainstay_kernel::json::Json;
use mainstay_kernel::outcome::{Answer, Began, Class, Failure, Usage};

use super::bugs::Bug;

/// How the agent takes work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    /// Fails, every second time or always.
    Fails {
        always: bool,
    },
    /// Never answers.
    Hangs,
    /// Says that it is busy.
    Refuses,
    /// Answers after its time.
    Late,
    /// Answers what breaks its contract.
    Lies,
}

/// What the network between the control plane and the sidecar does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    Whole,
    /// Nothing passes, and nobody is told.
    Cut,
    /// Requests arrive, the connection breaks before the answer.
    Breaks,
    /// Some requests arrive long after they were given up.
    Delays,
    /// Every request arrives twice.
    Repeats,
}

/// One request as it arrives.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) call: usize,
    /// Which sending or question of its call this is.
    pub(crate) number: u64,
    /// The life of the sidecar to which its connection leads.
    pub(crate) life: u32,
    pub(crate) capability: usize,
    pub(crate) key: AttemptId,
    pub(crate) epoch: u64,
    pub(crate) effect: EffectClass,
    pub(crate) sla: Duration,
    pub(crate) timeout: Duration,
}

pub(crate) type Ended = Result<Answer, Failure>;

/// What follows from a request.
#[derive(Debug)]
pub(crate) enum Reply {
    /// It is answered at once.
    Now(Ended),
    /// Work begins, and ends like this after this time.
    Begins(Duration, Ended),
    /// It joins work under way.
    Joins,
}

#[derive(Debug, Clone)]
enum Entry {
    Running {
        capability: usize,
        waiters: Vec<(usize, u64)>,
    },
    Ended(Ended, EffectClass),
    Fenced(u64),
    /// A crash hides how it ended.
    Lost,
}

#[derive(Debug)]
pub(crate) struct Sidecar {
    pub(crate) up: bool,
    /// Counts starts and ends: work and connections of an earlier life mean nothing in this one.
    pub(crate) life: u32,
    /// Counts the times it began to renew a lease: whoever renewed before it left does so no more.
    pub(crate) term: u32,
    pub(crate) mood: Mood,
    pub(crate) link: Link,
    /// Whether it means to be registered.
    pub(crate) wanted: bool,
    /// The lease it holds, as far as it knows.
    pub(crate) lease: Option<mainstay_kernel::id::LeaseId>,
    /// Calls of one capability that it takes at once.
    most: usize,
    ledger: BTreeMap<AttemptId, Entry>,
}

pub(crate) fn failure(class: Class, began: Began) -> Failure {
    let retry_after = (class == Class::Overload).then_some(Duration::from_millis(50));
    Failure { class, code: "SIMULATED".into(), message: class.as_str().into(), began, retry_after }
}

fn answer() -> Answer {
    Answer { output: Json::null(), usage: Usage::default(), confidence_bp: None, warnings: Vec::new() }
}

impl Sidecar {
    pub(crate) fn new(most: u32) -> Self {
        Self {
            up: true,
            life: 0,
            term: 0,
            mood: Mood::Well,
            link: Link::Whole,
            wanted: true,
            lease: None,
            most: most as usize,
            ledger: BTreeMap::new(),
        }
    }

    /// A request arrives.
    pub(crate) fn invoke(&mut self, request: &Request, bug: Option<Bug>, dice: &mut Dice) -> Reply {
        let refused = |class| Reply::Now(Err(failure(class, Began::No)));
        match self.ledger.get_mut(&request.key) {
            Some(Entry::Fenced(epoch)) if request.epoch <= *epoch && bug != Some(Bug::NoFencing) => {
                return refused(Class::Overload);
            }
            Some(Entry::Running { waiters, .. }) if bug != Some(Bug::NoLedger) => {
                waiters.push((request.call, request.number));
                return Reply::Joins;
            }
            Some(Entry::Ended(ended, effect))
                if (ended.is_ok() || *effect == EffectClass::SideEffecting) && bug != Some(Bug::NoLedger) =>
            {
                return Reply::Now(ended.clone());
            }
            Some(Entry::Lost) if request.effect == EffectClass::SideEffecting => {
                return Reply::Now(Err(failure(Class::Transport, Began::Unknown)));
            }
            _ => {}
        }
        if self.mood == Mood::Refuses || self.running(request.capability) >= self.most {
            // A refusal is a promise: the key may go elsewhere now.
            if request.effect == EffectClass::SideEffecting && bug != Some(Bug::RefusalTakenBack) {
                self.ledger.insert(request.key, Entry::Fenced(request.epoch));
            }
            return refused(Class::Overload);
        }
        let (takes, ended) = self.work(request, dice);
        let waiters = vec![(request.call, request.number)];
        self.ledger.insert(request.key, Entry::Running { capability: request.capability, waiters });
        if takes >= request.timeout {
            let cut = failure(Class::Timeout, Began::Unknown);
            return Reply::Begins(request.timeout, Err(cut));
        }
        Reply::Begins(takes, ended)
    }

    /// What the agent makes of it, and in what time.
    fn work(&self, request: &Request, dice: &mut Dice) -> (Duration, Ended) {
        let usual = Duration::from_millis(5) + dice.jitter(request.sla / 4);
        match self.mood {
            Mood::Fails { always } if always || dice.below(2) == 0 => {
                (usual, Err(failure(Class::AgentError, Began::Yes)))
            }
            Mood::Lies => (usual, Err(failure(Class::ContractBreach, Began::Yes))),
            Mood::Hangs => (Duration::MAX, Err(failure(Class::Timeout, Began::Unknown))),
            Mood::Late => (request.sla + dice.jitter(request.sla), Ok(answer())),
            Mood::Well | Mood::Fails { .. } | Mood::Refuses => (usual, Ok(answer())),
        }
    }

    /// Work under way ended: who waits for it.
    pub(crate) fn finish(&mut self, key: AttemptId, ended: &Ended, effect: EffectClass) -> Vec<(usize, u64)> {
        let Some(entry @ Entry::Running { .. }) = self.ledger.get_mut(&key) else { return Vec::new() };
        let before = std::mem::replace(entry, Entry::Ended(ended.clone(), effect));
        if let Entry::Running { waiters, .. } = before { waiters } else { Vec::new() }
    }

    /// A request that only reads is given up by whoever sent it: what is read for nobody is read no further.
    pub(crate) fn given_up(&mut self, key: AttemptId, sending: (usize, u64)) {
        if let Some(Entry::Running { waiters, .. }) = self.ledger.get_mut(&key) {
            waiters.retain(|waiter| *waiter != sending);
            if waiters.is_empty() {
                self.ledger.remove(&key);
            }
        }
    }

    /// What the ledger says of a key. "Never seen" is a promise about every sending up to `epoch`.
    pub(crate) fn outcome(&mut self, key: AttemptId, epoch: u64) -> Ledger {
        match self.ledger.get(&key) {
            Some(Entry::Running { .. }) => Ledger::Running,
            Some(Entry::Ended(ended, _)) => Ledger::Ended(ended.clone()),
            Some(Entry::Lost) => Ledger::Lost,
            Some(Entry::Fenced(_)) | None => {
                self.ledger.insert(key, Entry::Fenced(epoch));
                Ledger::NeverSeen
            }
        }
    }

    /// The process dies. What was begun is on record, unless that was not on disk when the work began.
    pub(crate) fn crash(&mut self, bug: Option<Bug>) {
        (self.up, self.life, self.lease) = (false, self.life + 1, None);
        self.ledger.retain(|_, entry| {
            let running = matches!(entry, Entry::Running { .. });
            let fenced = matches!(entry, Entry::Fenced(_));
            if running {
                *entry = Entry::Lost;
            }
            // A fence is in memory: what it keeps out comes on a connection that ends here too.
            !(fenced || running && bug == Some(Bug::BeganBeforeSync))
        });
    }

    fn running(&self, of: usize) -> usize {
        let is_one = |entry: &&Entry| matches!(entry, Entry::Running { capability, .. } if *capability == of);
        self.ledger.values().filter(is_one).count()
    }
}
