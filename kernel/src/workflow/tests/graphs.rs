//! Random graphs against a reference that is too simple to be wrong.

use proptest::prelude::*;

use super::*;

/// For each step the steps it waits for.
fn graphs() -> impl Strategy<Value = Vec<Vec<usize>>> {
    (1_usize..10).prop_flat_map(|n| prop::collection::vec(prop::collection::vec(0..n, 0..3), n))
}

fn document(graph: &[Vec<usize>]) -> String {
    let steps = graph.iter().enumerate().map(|(at, after)| {
        let after: Vec<String> = after.iter().map(|other| format!("\"s{other}\"")).collect();
        format!(
            "{{\"id\": \"s{at}\", \"after\": [{}], \"call\": {{\"capability\": \"c\"}}}}",
            after.join(",")
        )
    });
    format!("{{\"name\": \"w\", \"version\": 1, \"steps\": [{}]}}", steps.collect::<Vec<_>>().join(","))
}

/// Whether `to` can be reached from `from` over at least one edge.
fn reaches(graph: &[Vec<usize>], from: usize, to: usize) -> bool {
    let mut reached = vec![false; graph.len()];
    for _ in 0..graph.len() {
        for at in 0..graph.len() {
            if at == from || reached[at] {
                graph[at].iter().for_each(|&next| reached[next] = true);
            }
        }
    }
    reached[to]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_graph_is_accepted_if_and_only_if_it_has_no_circle(graph in graphs()) {
        let circular = (0..graph.len()).any(|step| reaches(&graph, step, step));
        match Workflow::parse(&document(&graph)) {
            Ok(workflow) => {
                prop_assert!(!circular);
                check(&workflow, &graph)?;
            }
            Err(problems) => {
                prop_assert!(circular);
                for problem in &problems {
                    prop_assert_eq!(problem.code, Code::StepCycle);
                    named_circle_exists(&problem.message, &graph)?;
                }
            }
        }
    }

    #[test]
    fn reading_is_allowed_if_and_only_if_the_step_is_upstream(graph in graphs(), reader in 0_usize..10, read in 0_usize..10) {
        let acyclic = Workflow::parse(&document(&graph)).is_ok();
        let (reader, read) = (reader % graph.len(), read % graph.len());
        let id = format!("\"id\": \"s{reader}\",");
        let text = document(&graph).replacen(&id, &format!("{id} \"input\": \"${{steps.s{read}.output}}\","), 1);
        if acyclic {
            prop_assert_eq!(Workflow::parse(&text).is_ok(), reaches(&graph, reader, read));
        }
    }
}

fn check(workflow: &Workflow, graph: &[Vec<usize>]) -> Result<(), TestCaseError> {
    let order = workflow.order();
    let place = |step: usize| order.iter().position(|&at| at == step);
    prop_assert_eq!(order.len(), graph.len());
    for (at, step) in workflow.steps().iter().enumerate() {
        let mut wanted = graph[at].clone();
        wanted.sort_unstable();
        wanted.dedup();
        prop_assert_eq!(&step.after, &wanted);
        for &other in &step.after {
            prop_assert!(place(other) < place(at), "s{} before s{}", other, at);
            prop_assert!(workflow.steps()[other].dependents.contains(&at));
        }
        let dependents = (0..graph.len()).filter(|&other| graph[other].contains(&at));
        prop_assert!(dependents.eq(step.dependents.iter().copied()));
    }
    Ok(())
}

fn named_circle_exists(message: &str, graph: &[Vec<usize>]) -> Result<(), TestCaseError> {
    let (_, circle) = message.split_once("circle: ").unwrap();
    let steps: Vec<usize> =
        circle.split(" → ").map(|id| id.trim_start_matches('s').parse().unwrap()).collect();
    prop_assert!(steps.len() > 1 && steps.first() == steps.last());
    for pair in steps.windows(2) {
        prop_assert!(graph[pair[0]].contains(&pair[1]), "{}", message);
    }
    Ok(())
}
