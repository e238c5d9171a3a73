use std::collections::BTreeSet;

use mainstay_kernel::context::{MAX_VERSIONS, NotKept};
use mainstay_kernel::json::Limits;
use mainstay_store::MemoryStore;

use super::*;

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes(), &Limits::default()).unwrap()
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn tenant() -> Name {
    Name::new("acme").unwrap()
}

fn write(value: &str) -> Write {
    let by = "agent/market".parse().unwrap();
    Write { by, expected: None, max_age: None, value: json(value) }
}

fn records(store: &MemoryStore) -> usize {
    store.scan(&[crate::records::key::GLOBAL], None, 1000).unwrap().entries.len()
}

fn world() -> (Handle, Arc<MemoryStore>, Clock) {
    let (store, clock) = (Arc::new(MemoryStore::new()), Clock::system());
    (open(clock.clone(), Arc::clone(&store) as Arc<dyn Store>).unwrap(), store, clock)
}

#[tokio::test]
async fn what_was_put_is_read_and_its_history_with_it() {
    let (context, _, _) = world();
    for value in ["1", "2", "3"] {
        context.put(&tenant(), &key("a/b"), write(value)).await.unwrap();
    }
    let read = |as_of| context.get(&tenant(), &key("a/b"), as_of, None).map(|found| found.value);
    assert_eq!(read(AsOf::Now).unwrap(), json("3"));
    assert_eq!(read(AsOf::Version(1)).unwrap(), json("1"));
    assert_eq!(context.entry(&tenant(), &key("a/b")).unwrap().versions().len(), 3);
    let elsewhere = Name::new("other").unwrap();
    let nobody = context.get(&elsewhere, &key("a/b"), AsOf::Now, None);
    assert!(matches!(nobody, Err(GetError::NotFound(_))), "another tenant sees nothing of it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_writers_none_overwrites_what_it_has_not_seen() {
    let (context, _, _) = world();
    let name = key("counter");
    context.put(&tenant(), &name, write("0")).await.unwrap();
    let writers = (0..16).map(|_| {
        let (context, name) = (context.clone(), name.clone());
        tokio::spawn(async move {
            let mut won = Vec::new();
            while won.len() < 8 {
                let seen = context.get(&tenant(), &name, AsOf::Now, None).unwrap();
                let count = seen.value.as_str().parse::<u64>().unwrap();
                let next =
                    Write { expected: Some(seen.found.stamp.version), ..write(&(count + 1).to_string()) };
                match context.put(&tenant(), &name, next).await {
                    Ok(stamp) => won.push(stamp.version),
                    Err(WriteError::Refused { refused: PutRefused::Conflict { .. }, .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            won
        })
    });
    let won = futures::future::join_all(writers.collect::<Vec<_>>()).await;
    let versions: BTreeSet<u64> = won.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(versions.len(), 16 * 8, "each version has one writer");
    let end = context.get(&tenant(), &name, AsOf::Now, None).unwrap();
    assert_eq!(end.value, json("128"), "no increment was lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_that_expect_nothing_all_get_their_turn() {
    let (context, _, _) = world();
    let name = key("log");
    let writers = (0..100).map(|n: u32| {
        let (context, name) = (context.clone(), name.clone());
        tokio::spawn(async move { context.put(&tenant(), &name, write(&n.to_string())).await })
    });
    for put in futures::future::join_all(writers.collect::<Vec<_>>()).await {
        put.unwrap().unwrap();
    }
    assert_eq!(context.entry(&tenant(), &name).unwrap().newest().version, 100);
}

#[tokio::test]
async fn old_versions_go_and_a_key_that_is_removed_leaves_nothing() {
    let (context, store, _) = world();
    for n in 0..=MAX_VERSIONS {
        context.put(&tenant(), &key("a"), write(&n.to_string())).await.unwrap();
    }
    assert_eq!(records(&store), MAX_VERSIONS + 1, "the entry, and as many values as are kept");
    let gone = context.get(&tenant(), &key("a"), AsOf::Version(1), None).unwrap_err();
    let forgotten = ReadRefused::NotKept(NotKept::Forgotten { oldest: 2 });
    assert!(matches!(&gone, GetError::Refused { refused, .. } if *refused == forgotten), "{gone}");
    let stranger = "user/ann".parse().unwrap();
    assert!(context.remove(&tenant(), &key("a"), stranger, None).await.is_err());
    context.remove(&tenant(), &key("a"), "agent/market".parse().unwrap(), None).await.unwrap();
    assert_eq!(records(&store), 0);
    assert_eq!(context.0.keys.lock().len(), 0, "and its place is free again");
}

#[tokio::test]
async fn a_tenant_has_so_many_keys_and_no_more_also_after_a_restart() {
    let (context, store, clock) = world();
    context.put(&tenant(), &key("a"), write("1")).await.unwrap();
    let context = open(clock, store).unwrap();
    assert_eq!(context.0.keys.lock().get(&tenant()), Some(&1));
    context.0.keys.lock().insert(tenant(), MAX_KEYS);
    let refused = context.put(&tenant(), &key("b"), write("1")).await;
    assert!(matches!(refused, Err(WriteError::Full)));
    context.put(&tenant(), &key("a"), write("2")).await.unwrap();
    let mut listed = context.list(&tenant(), None, 10).unwrap();
    assert_eq!(listed.len(), 1, "what was refused is not there");
    assert_eq!(listed.remove(0).1.newest().version, 2);
}

#[tokio::test]
async fn a_list_goes_on_where_the_page_before_ended() {
    let (context, _, _) = world();
    for name in ["b", "a/x", "a", "c"] {
        context.put(&tenant(), &key(name), write("1")).await.unwrap();
    }
    let names = |after: Option<&str>, limit| {
        let after = after.map(key);
        let listed = context.list(&tenant(), after.as_ref(), limit).unwrap();
        listed.into_iter().map(|(key, _)| key.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(None, 3), ["a", "a/x", "b"]);
    assert_eq!(names(Some("b"), 3), ["c"]);
}

#[tokio::test]
async fn a_run_reads_what_it_wants_to_know_or_is_told_what_is_missing_or_stale() {
    let (context, store, clock) = world();
    let workflow = |name: &str, reads: &str, step: &str| {
        let text = format!("{{name: {name}, version: 1, context: {reads}, steps: [{{id: a, {step}}}]}}");
        Arc::new(Workflow::parse(&text).unwrap())
    };
    let call = "call: {capability: x}";
    let inner = workflow("inner", "{p: {key: prices, max_age: 1m}}", call);
    let outer = workflow("outer", "{p: {key: rates}}", "sub: {workflow: inner}");
    let linked = Linked::new(outer, |_| Ok::<_, ()>(Arc::clone(&inner))).unwrap();
    let read = |linked: &Linked, now| pins(&*store, &tenant(), linked, now);
    let now = clock.wall();
    assert_eq!(read(&linked, now).unwrap_err().to_string(), "`rates` does not exist");
    context.put(&tenant(), &key("prices"), write("[1.10]")).await.unwrap();
    context.put(&tenant(), &key("rates"), write("2")).await.unwrap();
    let pinned = read(&linked, now).unwrap();
    assert_eq!(pinned.values(None).as_str(), r#"{"p":2}"#, "each workflow has names of its own");
    assert_eq!(pinned.values(Some(&inner)).as_str(), r#"{"p":[1.10]}"#);
    let late = read(&linked, now + Duration::from_secs(120)).unwrap_err().to_string();
    // It was put a moment after `now`, so it is that much less than two minutes old.
    let says = late.starts_with("`prices` is stale: version 1 is ") && late.ends_with("the reader allows 1m");
    assert!(says, "{late}");
    assert!(read(&Linked::from(workflow("none", "{}", call)), now).unwrap().is_empty());
}
