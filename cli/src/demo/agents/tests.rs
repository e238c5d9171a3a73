use std::path::Path;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use serde_json::json;
use tower::ServiceExt;

use super::*;

const QUESTION: &str = "What happens to a run when the server is killed?";
const TEXT: &str =
    "# Crashes\nWhen the server is killed, a run goes on from its journal.\n\nLeases end on time.\n";

fn agent(skill: Skill, folder: &Path) -> Agent {
    Agent { skill, effects: Effects::open(&folder.join("effects")).unwrap() }
}

fn finder(folder: &Path) -> Agent {
    std::fs::write(folder.join("a.md"), TEXT).unwrap();
    agent(Skill::Finder(Finder::open(folder).unwrap()), folder)
}

async fn post(agent: Agent, path: &str, body: &str) -> (StatusCode, Value) {
    let request = Request::post(path).header("idempotency-key", "att_7").body(Body::from(body.to_owned()));
    let served = Served { agent, hold_answer: None };
    let response = server::router(served).oneshot(request.unwrap()).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

#[tokio::test]
async fn an_agent_answers_json_and_notes_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let (status, answer) =
        post(finder(folder.path()), "/find", &json!({ "question": QUESTION }).to_string()).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer["passages"][0]["text"], "When the server is killed, a run goes on from its journal.");
    let effects = effects::read(&folder.path().join("effects")).unwrap();
    assert_eq!(effects, [effects::Effect { key: "att_7".into(), capability: "docs.find".into() }]);
}

#[tokio::test]
async fn what_is_wrong_is_refused_with_a_reason_and_leaves_no_effect() {
    let folder = tempfile::tempdir().unwrap();
    for (path, body, status, reason) in [
        ("/find", "{", StatusCode::BAD_REQUEST, "not JSON"),
        ("/find", "{}", StatusCode::UNPROCESSABLE_ENTITY, "question"),
        ("/find", r#"{"question": "is it?"}"#, StatusCode::UNPROCESSABLE_ENTITY, "no word"),
        ("/draft", "{}", StatusCode::NOT_FOUND, "nothing of that name"),
    ] {
        let (answered, answer) = post(finder(folder.path()), path, body).await;
        assert_eq!(answered, status, "{path} {body}");
        assert!(answer["error"].as_str().unwrap().contains(reason), "{answer}");
    }
    assert_eq!(effects::read(&folder.path().join("effects")).unwrap(), []);
}

#[tokio::test]
async fn the_writer_files_its_draft_under_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = folder.path().join("outbox");
    let writer = agent(Skill::Writer { outbox: outbox.clone() }, folder.path());
    let input = json!({ "question": "Why?", "facts": [{ "text": "So.", "source": "a.md", "line": 1 }] });
    let (status, answer) = post(writer, "/draft", &input.to_string()).await;
    assert_eq!((status, answer["filed"].as_str()), (StatusCode::OK, Some("att_7.md")));
    assert!(std::fs::read_to_string(outbox.join("att_7.md")).unwrap().contains("So. [1]"));
}

#[tokio::test]
async fn a_held_answer_is_given_once_it_may_go_and_the_work_is_done_before() {
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("gate");
    let served = Served { agent: finder(folder.path()), hold_answer: Some(gate.clone()) };
    let body = json!({ "question": QUESTION }).to_string();
    let request = Request::post("/find").body(Body::from(body)).unwrap();
    let mut answer = std::pin::pin!(server::router(served).oneshot(request));
    assert!(futures::poll!(&mut answer).is_pending());
    assert_eq!(effects::read(&folder.path().join("effects")).unwrap().len(), 1);
    std::fs::write(gate, "").unwrap();
    assert_eq!(answer.await.unwrap().status(), StatusCode::OK);
}

#[test]
fn a_key_cannot_lead_out_of_the_outbox() {
    assert_eq!(file_name("../../etc/passwd"), "______etc_passwd");
}

/// Find, extract, draft, review, as the workflow wires them.
fn pipeline(folder: &Path) -> Value {
    let call = |skill, verb: &str, input| agent(skill, folder).call(verb, input, "k").unwrap().unwrap();
    let found = finder(folder).call("find", json!({ "question": QUESTION }), "k").unwrap().unwrap();
    let passages = &found["passages"];
    let asked = json!({ "question": QUESTION, "passages": passages });
    let facts = call(Skill::Extractor, "extract", asked.clone());
    let topics = call(Skill::Extractor, "topics", asked);
    let outbox = folder.join("outbox");
    let ask = json!({ "question": QUESTION, "facts": facts["facts"], "topics": topics["topics"] });
    let draft = call(Skill::Writer { outbox }, "draft", ask);
    let ask = json!({
        "question": QUESTION,
        "text": draft["text"],
        "citations": draft["citations"],
        "passages": passages,
    });
    json!({ "draft": draft, "review": call(Skill::Reviewer, "review", ask) })
}

#[test]
fn the_four_together_give_a_supported_answer_and_always_the_same() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [first, second] = folders.each_ref().map(|folder| pipeline(folder.path()));
    assert_eq!(first, second);
    assert_eq!(first["review"]["verdict"], "supported", "{first}");
    assert_eq!(first["draft"]["text"], "When the server is killed, a run goes on from its journal. [1]");
}
