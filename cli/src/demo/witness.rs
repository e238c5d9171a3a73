//! Whether anything was done twice: what the agents did, held against what the run says was done.

use std::collections::BTreeMap;

use mainstay_proto::pb;

use super::agents::effects::Effect;

/// What one agent did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) agent: String,
    pub(super) effects: Vec<Effect>,
}

/// What is wrong; empty if every completed step left its effect once, and nobody did anything a second time. `keys` are
/// the idempotency keys under which the steps were called.
pub(super) fn contradictions(
    accounts: &[Account],
    run: &pb::Run,
    keys: &BTreeMap<String, String>,
) -> Vec<String> {
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for effect in accounts.iter().flat_map(|account| &account.effects) {
        *counts.entry((&effect.key, &effect.capability)).or_insert(0) += 1;
    }
    let again = counts.iter().filter(|(_, count)| **count > 1);
    let mut wrong: Vec<String> = again
        .map(|((key, capability), count)| format!("{capability} was done {count} times under the key {key}"))
        .collect();
    for step in run.steps.iter().filter(|step| step.state() == pb::StepState::Completed) {
        let seen = keys.get(&step.id).is_some_and(|key| counts.contains_key(&(key, &step.capability)));
        if !seen {
            wrong.push(format!("step {} was completed, but nobody noted what it did", step.id));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(noted: &[&str], state: pb::StepState) -> Vec<String> {
        let effect = |key: &&str| Effect { key: (*key).into(), capability: "docs.draft".into() };
        let accounts = [Account { agent: "writer".into(), effects: noted.iter().map(effect).collect() }];
        let step = pb::Step {
            id: "draft".into(),
            state: state.into(),
            capability: "docs.draft".into(),
            ..Default::default()
        };
        let run = pb::Run { steps: vec![step], ..Default::default() };
        contradictions(&accounts, &run, &BTreeMap::from([("draft".into(), "att_2".into())]))
    }

    #[test]
    fn an_effect_seen_once_is_right() {
        assert_eq!(found(&["att_2"], pb::StepState::Completed), [""; 0]);
    }

    #[test]
    fn an_effect_seen_twice_is_found() {
        let wrong = found(&["att_2", "att_2"], pb::StepState::Completed);
        assert_eq!(wrong, ["docs.draft was done 2 times under the key att_2"]);
    }

    #[test]
    fn an_effect_that_nobody_saw_is_found() {
        let wrong = found(&["att_1"], pb::StepState::Completed);
        assert_eq!(wrong, ["step draft was completed, but nobody noted what it did"]);
        assert_eq!(found(&[], pb::StepState::Failed), [""; 0]);
    }
}
