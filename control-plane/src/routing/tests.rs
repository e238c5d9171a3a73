use std::time::Duration;

use mainstay_kernel::effect::EffectClass;
use mainstay_kernel::health::{Evidence, PollFailure};
use mainstay_kernel::mode::Mode;
use mainstay_kernel::outcome::{Began, Class};
use mainstay_kernel::pause::{Pause, Target as Paused};
use mainstay_kernel::route::{Rung, Why};
use mainstay_kernel::time::Wall;
use mainstay_proto::{fault, pb};
use mainstay_transport::deadline::Deadline;
use tonic::{Code, Request as Call, Status};

use crate::records::decision::Decided;
use crate::registry::{Registered, Registration};
use crate::testbed::{Act, Bed, Stub, answer, failure, name, registration, until};

const DOCUMENT: &str = r#"
name: support
version: 1
capabilities: [billing.*, shipping.track, night.work]
rules:
  - name: large
    when: input.amount > 100 && labels.channel == "web"
    to: { capability: billing.refund, agent: cashier }
classifier: {}
router: { capability: pick, timeout: 2s }
generalist: { capability: anything }
static: { answer: "Nobody can say now." }
"#;

/// Four agents and the document above.
struct Town {
    bed: Bed,
    /// The router agent.
    router: Stub,
    clerk: Registered,
    sleeper: Registered,
    _others: Vec<Stub>,
}

fn agent(agent: &str, capability: &str, keywords: &[&str]) -> Registration {
    let mut registration = registration(agent, "one", &[(capability, EffectClass::ReadOnly)]);
    registration.spec.capabilities[0].keywords = keywords.iter().map(|&word| word.to_owned()).collect();
    registration
}

impl Town {
    async fn new() -> Self {
        let bed = Bed::new().await;
        bed.routing.catalog().put(&name("default"), DOCUMENT).await.unwrap();
        let mut others = Vec::new();
        let mut registered = Vec::new();
        for one in [
            agent("cashier", "billing.refund", &["refund", "money", "charge"]),
            agent("courier", "shipping.track", &["parcel", "track", "courier"]),
            agent("clerk", "anything", &[]),
            agent("sleeper", "night.work", &[]),
            agent("vault", "secret.read", &[]),
        ] {
            let stub = Stub::start().await;
            let text = format!(r#"{{"by":"{}"}}"#, one.spec.name);
            stub.always(Act::Send(vec![answer(&text)]));
            registered.push(bed.admit(&stub, one).await);
            others.push(stub);
        }
        let router = Stub::start().await;
        bed.admit(&router, agent("dispatcher", "pick", &[])).await;
        let sleeper = registered.swap_remove(3);
        let clerk = registered.swap_remove(2);
        let town = Self { bed, router, clerk, sleeper, _others: others };
        town.sicken(&town.sleeper);
        town
    }

    fn sicken(&self, registered: &Registered) {
        let instance = self.bed.registry.instance(registered.id).unwrap();
        for _ in 0..10 {
            self.bed.registry.observe(&instance, Evidence::PollFailed(PollFailure::NotServing));
        }
    }

    async fn invoke(&self, request: pb::InvokeRequest) -> Result<pb::InvokeResponse, Status> {
        let mut request = Call::new(request);
        request.extensions_mut().insert(Deadline::after(Duration::from_secs(10)));
        Ok(self.bed.invoke().call(request, mainstay_kernel::priority::Priority::default()).await?)
    }

    /// The answer to a request of a web client, and the decision on record.
    async fn ask(&self, input: &str) -> (pb::InvokeResponse, Decided) {
        let labels = [("channel".to_owned(), "web".to_owned())].into();
        let request = pb::InvokeRequest {
            route: "support".into(),
            input: input.to_owned().into(),
            labels,
            ..Default::default()
        };
        let answer = self.invoke(request).await.unwrap();
        let id = answer.routed.as_ref().unwrap().decision_id.parse().unwrap();
        let decided = self.bed.routing.decisions().find(&name("default"), id).await.unwrap();
        (answer, Decided::clone(&decided))
    }
}

fn output(response: &pb::InvokeResponse) -> &str {
    std::str::from_utf8(&response.answer.as_ref().unwrap().output).unwrap()
}

#[tokio::test(start_paused = true)]
async fn each_rung_decides_what_is_its_own_and_the_decision_is_kept() {
    let town = Town::new().await;
    town.router.always(Act::Send(vec![answer(r#"{"capability":"shipping.track","confidence":0.9}"#)]));
    for (input, rung, by) in [
        (r#"{"amount": 200}"#, Rung::Rules, "cashier"),
        (r#"{"text": "refund the money"}"#, Rung::Classifier, "cashier"),
        (r#"{"text": "well well"}"#, Rung::Router, "courier"),
    ] {
        let (answer, decided) = town.ask(input).await;
        assert_eq!((decided.decision.rung, output(&answer)), (rung, &*format!(r#"{{"by":"{by}"}}"#)));
        assert_eq!(answer.routed.unwrap().rung(), pb::Rung::from(rung));
        assert_eq!((decided.ended, &*decided.input), (Some(Class::Success), input));
    }
    let (_, by_classifier) = town.ask(r#"{"text": "track my parcel"}"#).await;
    let verdict = by_classifier.decision.verdict.unwrap();
    assert!(verdict.features.iter().any(|feature| feature.text == "parcel"), "{verdict:?}");

    let named =
        pb::InvokeRequest { route: "support".into(), capability: "secret.read".into(), ..Default::default() };
    let answer = town.invoke(named).await.unwrap();
    assert_eq!((answer.routed.unwrap().rung(), &*answer.agent), (pb::Rung::Target, "vault"));
}

/// What a router agent may do wrong, what it is called, and how it is done.
fn lies() -> Vec<(&'static str, Why, Act)> {
    let says = |text: &str| Act::Send(vec![answer(text)]);
    let megabyte =
        format!(r#"{{"capability":"billing.refund","confidence":1,"why":"{}"}}"#, "x".repeat(1 << 20));
    vec![
        ("a ghost", Why::Unknown, says(r#"{"capability":"billing.ghost","confidence":1}"#)),
        ("one that is down", Why::Down, says(r#"{"capability":"night.work","confidence":1}"#)),
        ("what it may not", Why::Forbidden, says(r#"{"capability":"secret.read","confidence":1}"#)),
        ("itself", Why::Forbidden, says(r#"{"capability":"pick","confidence":1}"#)),
        ("look-alike letters", Why::Unknown, says(r#"{"capability":"billing.rеfund","confidence":1}"#)),
        ("a command", Why::Unknown, says(r#"{"capability":"billing.refund\nrm -rf /","confidence":1}"#)),
        ("nothing", Why::Garbage, says("{}")),
        ("no object", Why::Garbage, says("[]")),
        ("a megabyte", Why::Garbage, says(&megabyte)),
        ("a guess", Why::LowConfidence, says(r#"{"capability":"billing.refund","confidence":0.1}"#)),
        ("no JSON", Why::Garbage, says("{\"capability\":")),
        ("a failure", Why::Failed, Act::Send(vec![failure(Class::AgentError, Began::Yes)])),
        ("no answer", Why::Timeout, Act::Hang),
    ]
}

#[tokio::test(start_paused = true)]
async fn no_request_is_lost_to_a_router_agent_that_lies_and_the_lie_is_on_record() {
    for (lie, why, act) in lies() {
        let town = Town::new().await;
        town.router.always(act);
        let (answer, decided) = town.ask(r#"{"text": "well well"}"#).await;
        assert_eq!(output(&answer), r#"{"by":"clerk"}"#, "{lie}");
        let passed = decided.decision.passed.iter().find(|passed| passed.rung == Rung::Router).unwrap();
        assert_eq!(passed.why, why, "{lie}: {passed:?}");
        assert!(passed.detail.chars().count() <= 301, "{lie}: {} characters", passed.detail.len());
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_paused_is_passed_over_on_every_rung_and_the_static_response_is_left() {
    let town = Town::new().await;
    town.router.always(Act::Send(vec![answer(r#"{"agent":"courier","confidence":1}"#)]));
    for target in ["capability/billing.refund", "agent/courier", "agent/clerk"] {
        let target: Paused = target.parse().unwrap();
        let pause = Pause { target, reason: "upgrade".into(), by: String::new(), since: Wall::default() };
        town.bed.registry.pause(&name("default"), pause).await.unwrap();
    }
    let (answer, decided) = town.ask(r#"{"amount": 200, "text": "well well"}"#).await;
    assert_eq!(output(&answer), r#"{"answer":"Nobody can say now."}"#);
    assert!(answer.routed.unwrap().fallback);
    let forbidden: Vec<_> = decided
        .decision
        .passed
        .iter()
        .filter(|passed| passed.why == Why::Forbidden)
        .map(|passed| (passed.rung, passed.detail.contains("upgrade")))
        .collect();
    assert_eq!(forbidden, [(Rung::Rules, true), (Rung::Router, true), (Rung::Generalist, true)]);
}

#[tokio::test(start_paused = true)]
async fn when_nobody_answers_the_static_response_still_comes_in_time() {
    let town = Town::new().await;
    town.router.always(Act::Hang);
    town.sicken(&town.clerk);
    let began = town.bed.clock.mono();
    let (answer, decided) = town.ask(r#"{"text": "well well"}"#).await;
    assert!(answer.routed.unwrap().fallback && decided.decision.is_fallback());
    let took = town.bed.clock.mono() - began;
    assert!(took < Duration::from_secs(3), "the router agent had 2 s: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_agents_own_failure_is_the_answer_and_is_on_record() {
    let town = Town::new().await;
    town.router.always(Act::Send(vec![failure(Class::AgentError, Began::Yes)]));
    let named =
        pb::InvokeRequest { route: "support".into(), capability: "pick".into(), ..Default::default() };
    let status = town.invoke(named).await.unwrap_err();
    assert_eq!(fault::Seen::of(&status).reason, "AGENT_FAILED");
    let kept = || town.bed.routing.decisions().list(&name("default"), &Default::default(), None, 1);
    until(|| !kept().is_empty()).await;
    let [decided] = &kept()[..] else { panic!("one decision") };
    assert_eq!((decided.decision.rung, decided.ended), (Rung::Target, Some(Class::AgentError)));
}

#[tokio::test(start_paused = true)]
async fn a_request_by_a_document_that_is_not_there_says_so_and_names_the_field() {
    let town = Town::new().await;
    let status = town.invoke(pb::InvokeRequest { route: "ghost".into(), ..Default::default() }).await;
    let status = status.unwrap_err();
    assert_eq!((status.code(), &*fault::Seen::of(&status).reason), (Code::NotFound, "ROUTE_NOT_FOUND"));
    let labels = [("a".to_owned(), "b".to_owned())].into();
    let stray = pb::InvokeRequest { capability: "anything".into(), labels, ..Default::default() };
    assert!(town.invoke(stray).await.unwrap_err().message().contains("labels"));
}

#[tokio::test(start_paused = true)]
async fn what_agents_say_of_themselves_is_learned_again_when_it_changes() {
    let town = Town::new().await;
    let asked = || super::Request {
        tenant: name("default"),
        route: name("support"),
        version: None,
        input: mainstay_kernel::json::Json::from(&serde_json::json!({ "text": "vacuum the carpet" })),
        labels: Default::default(),
        target: None,
    };
    let before = town.bed.routing.explain(&asked()).await.unwrap();
    assert_eq!(before.decision.rung, Rung::Generalist);
    let stub = Stub::start().await;
    town.bed.admit(&stub, agent("cleaner", "billing.cleaning", &["vacuum", "carpet"])).await;
    loop {
        let decided = town.bed.routing.explain(&asked()).await.unwrap();
        if decided.decision.rung == Rung::Classifier {
            assert_eq!(decided.decision.target.unwrap().capability, name("billing.cleaning"));
            return;
        }
        tokio::time::advance(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn decisions_are_there_after_a_restart_newest_first() {
    let town = Town::new().await;
    let (_, first) = town.ask(r#"{"amount": 200}"#).await;
    let (_, second) = town.ask(r#"{"amount": 300}"#).await;
    let again = Bed::over(town.bed.store.clone(), town.bed.blobs.clone()).await;
    let kept = again.routing.decisions().list(&name("default"), &Default::default(), None, 10);
    assert_eq!(kept.iter().map(|one| Decided::clone(one)).collect::<Vec<_>>(), [second, first]);
}

#[tokio::test(start_paused = true)]
async fn whoever_was_not_looked_at_yet_is_waited_for_and_not_passed_over() {
    let town = Town::new().await;
    // As after a restart: the record has everyone, and the first poll of each is on its way.
    let again = Bed::over(town.bed.store.clone(), town.bed.blobs.clone()).await;
    let cashier = again.registry.agent(&name("default"), &name("cashier")).unwrap();
    let Bed { registry, .. } = &again;
    let request = super::Request {
        tenant: name("default"),
        route: name("support"),
        version: None,
        input: mainstay_kernel::json::Json::from(&serde_json::json!({ "amount": 200 })),
        labels: [("channel".to_owned(), "web".to_owned())].into(),
        target: None,
    };
    let decided = again.routing.explain(&request).await.unwrap();
    assert_eq!(decided.decision.rung, Rung::Rules, "{:?}", decided.decision.passed);
    let cashier = &cashier.instances[0];
    for _ in 0..10 {
        registry.observe(cashier, Evidence::PollFailed(PollFailure::NotServing));
    }
    let decided = again.routing.explain(&request).await.unwrap();
    assert_ne!(decided.decision.rung, Rung::Rules, "ill is another thing than not looked at");
}

#[tokio::test(start_paused = true)]
async fn in_an_emergency_the_static_response_is_the_answer_and_the_record_says_why() {
    let town = Town::new().await;
    town.bed.modes.set(Mode::Emergency, "the disk is full".into(), "olga".into()).await.unwrap();
    let (answer, decided) = town.ask(r#"{"amount": 200}"#).await;
    assert!(answer.routed.unwrap().fallback);
    assert!(decided.decision.passed.iter().all(|passed| passed.why == Why::Mode), "{decided:?}");
    town.bed.modes.release("olga".into()).await.unwrap();
    assert_eq!(town.ask(r#"{"amount": 200}"#).await.1.decision.rung, Rung::Rules);
}
