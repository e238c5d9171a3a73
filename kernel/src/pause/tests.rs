use proptest::prelude::*;

use super::*;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn target(text: &str) -> Target {
    text.parse().unwrap()
}

fn pause(at: &str, reason: &str, since: i64) -> Pause {
    Pause {
        target: target(at),
        reason: reason.to_owned(),
        by: "ops".to_owned(),
        since: Wall::from_millis(since),
    }
}

fn paused(targets: &[&str]) -> Pauses {
    let mut pauses = Pauses::default();
    for text in targets {
        pauses.put(name("acme"), pause(text, text, 1));
    }
    pauses
}

/// Which entry, by its target, keeps a call of `draft` from instance `one` of `writer`.
fn verdict(pauses: &Pauses) -> Option<String> {
    let acme = name("acme");
    let paused = pauses.of(&acme)?;
    let whole = paused.call(&acme, &name("draft"));
    let entry = whole.or_else(|| paused.candidate(&name("writer"), &name("one")))?;
    Some(entry.target.to_string())
}

#[test]
fn targets_are_read_as_they_are_written() {
    for text in ["tenant/acme", "capability/text.draft", "agent/writer", "instance/writer/one", "workflow/w"]
    {
        let target = target(text);
        assert_eq!(target.to_string(), text);
        assert!(Target::KINDS.contains(&target.kind()) && text.starts_with(target.kind()));
        let json = serde_json::to_string(&target).unwrap();
        assert_eq!(serde_json::from_str::<Target>(&json).unwrap(), target);
    }
}

#[test]
fn what_names_no_target_is_refused_with_what_would() {
    for text in
        ["", "writer", "agent", "agent/a/b", "instance/a", "instance/a/b/c", "Agent/a", "/a", "breaker/a"]
    {
        assert_eq!(text.parse::<Target>(), Err(TargetError::Shape), "{text:?}");
    }
    for text in ["agent/", "agent/../x", "capability/p\u{0430}y", "instance/a/"] {
        let error = text.parse::<Target>().unwrap_err();
        assert!(matches!(error, TargetError::Shape | TargetError::Name { .. }), "{text:?}");
    }
    let error = "agent/Upper".parse::<Target>().unwrap_err();
    assert!(error.to_string().contains("\"Upper\""), "{error}");
}

#[test]
fn each_of_the_four_that_name_a_call_keeps_it_from_being_made_and_nothing_else_does() {
    for text in ["tenant/acme", "capability/draft", "agent/writer", "instance/writer/one"] {
        assert_eq!(verdict(&paused(&[text])).as_deref(), Some(text));
    }
    let others =
        ["capability/other", "agent/other", "instance/writer/two", "instance/other/one", "workflow/w"];
    assert_eq!(verdict(&paused(&others)), None);
}

#[test]
fn overlapping_entries_must_all_be_lifted() {
    let all = ["tenant/acme", "capability/draft", "agent/writer", "instance/writer/one"];
    let mut pauses = paused(&all);
    for (lifted, text) in all.iter().enumerate() {
        assert_eq!(verdict(&pauses).as_deref(), Some(*text), "the widest that is left is named");
        assert_eq!(pauses.len(), all.len() - lifted);
        assert_eq!(pauses.lift(&name("acme"), &target(text)).unwrap().reason, *text);
        assert_eq!(pauses.lift(&name("acme"), &target(text)), None, "once");
    }
    assert!(verdict(&pauses).is_none() && pauses.is_empty());
}

#[test]
fn a_workflow_or_its_tenant_refuses_new_runs_and_a_capability_does_not() {
    let (acme, w) = (name("acme"), name("w"));
    let start = |text: &str| paused(&[text]).of(&acme).unwrap().start(&acme, &w).is_some();
    assert!(start("workflow/w") && start("tenant/acme"));
    assert!(!start("workflow/other") && !start("capability/draft") && !start("agent/w"));
    assert!(
        paused(&["workflow/w"]).of(&acme).unwrap().call(&acme, &name("draft")).is_none(),
        "open runs go on"
    );
}

#[test]
fn tenants_do_not_pause_each_other() {
    let pauses = paused(&["agent/writer", "tenant/acme"]);
    assert!(pauses.of(&name("other")).is_none());
    assert_eq!(pauses.iter().count(), 2);
}

#[test]
fn pausing_again_changes_why_and_who_but_not_since_when() {
    let mut pauses = paused(&["agent/writer"]);
    let again = pauses.put(name("acme"), Pause { by: "eve".into(), ..pause("agent/writer", "longer", 99) });
    assert_eq!((&*again.reason, &*again.by, again.since.as_millis()), ("longer", "eve", 1));
    assert_eq!(pauses.len(), 1);
}

#[test]
fn an_entry_says_why_what_and_by_whom() {
    let entry = pause("agent/writer", "upgrade", 1);
    assert_eq!(entry.to_string(), "paused: upgrade (agent/writer, by ops)");
    assert_eq!(Pause { by: String::new(), ..entry }.to_string(), "paused: upgrade (agent/writer)");
}

proptest! {
    /// Against the plainest model: a list of what was put and not lifted since.
    #[test]
    fn any_history_of_pauses_leaves_what_was_put_and_not_lifted(
        history in prop::collection::vec((any::<bool>(), 0_usize..2, 0_usize..5), 0..60),
    ) {
        let texts = ["tenant/acme", "capability/draft", "agent/writer", "instance/writer/one", "workflow/w"];
        let tenants = [name("acme"), name("other")];
        let (mut pauses, mut model) = (Pauses::default(), std::collections::BTreeSet::new());
        for (put, tenant, at) in history {
            if put {
                pauses.put(tenants[tenant].clone(), pause(texts[at], "r", 1));
                model.insert((tenant, at));
            } else {
                let lifted = pauses.lift(&tenants[tenant], &target(texts[at]));
                prop_assert_eq!(lifted.is_some(), model.remove(&(tenant, at)));
            }
            prop_assert_eq!(pauses.len(), model.len());
            prop_assert_eq!(pauses.is_empty(), model.is_empty());
            for (tenant, at) in model.iter().copied() {
                prop_assert!(pauses.of(&tenants[tenant]).is_some_and(|it| it.get(&target(texts[at])).is_some()));
            }
        }
    }
}
