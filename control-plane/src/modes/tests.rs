use mainstay_kernel::time::Wall;
use mainstay_store::MemoryStore;

use super::*;

struct Bed {
    store: MemoryStore,
    clock: Clock,
    events: events::Handle,
}

impl Bed {
    fn new() -> Self {
        let (store, clock) = (MemoryStore::new(), Clock::anchored(Wall::from_millis(1_000), 1));
        let (events, service) = events::open(clock.clone(), Arc::new(store.clone())).unwrap();
        tokio::spawn(service.run());
        Self { store, clock, events }
    }

    fn open(&self) -> Handle {
        self.open_with(Memory::default())
    }

    fn open_with(&self, memory: Memory) -> Handle {
        let store = Arc::new(self.store.clone());
        let config = Config { memory, ..Config::default() };
        open(config, self.clock.clone(), store, self.events.clone(), Metrics::default()).unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn a_mode_set_by_hand_outlives_a_restart_until_it_is_handed_back() {
    let bed = Bed::new();
    let modes = bed.open();
    assert_eq!(modes.mode(), Mode::Full);
    let status = modes.set(Mode::Emergency, "fire".into(), "ada".into()).await.unwrap();
    assert_eq!((status.mode, status.by_hand, status.reason.as_str()), (Mode::Emergency, true, "fire"));

    let again = bed.open();
    assert_eq!(again.mode(), Mode::Emergency);
    assert_eq!((again.status().by, again.status().since), ("ada".to_owned(), status.since));
    assert_eq!(again.release("bob".into()).await.unwrap().mode, Mode::Full);
    assert_eq!(again.release("bob".into()).await.unwrap(), again.status(), "twice changes nothing");
    assert_eq!(bed.open().mode(), Mode::Full);
}

#[tokio::test(start_paused = true)]
async fn rules_change_the_mode_tell_whoever_watches_and_go_back_after_the_dwell() {
    let bed = Bed::new();
    let modes = bed.open();
    let waiting = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let read = Arc::clone(&waiting);
    tokio::spawn(modes.service(move || read.load(Ordering::Relaxed), || None).run());
    let mut watch = modes.watch();
    waiting.store(3_000, Ordering::Relaxed);
    let status = watch.wait_for(|status| status.mode == Mode::Degraded).await.unwrap().clone();
    assert!(status.reason.contains("30%") && !status.by_hand, "{status:?}");
    waiting.store(0, Ordering::Relaxed);
    let entered = bed.clock.mono();
    watch.wait_for(|status| status.mode == Mode::Full).await.unwrap();
    assert!(bed.clock.mono() - entered >= mode::Config::default().dwell);
    let mut newest = bed.events.newest();
    newest.wait_for(|number| *number >= 2).await.unwrap();
    let told = bed.events.list(&events::Filter { kind: "mode".into(), ..Default::default() }, None, 10);
    let kinds: Vec<_> = told.iter().map(|one| one.event.kind).collect();
    assert_eq!(kinds, [Kind::ModeRaised, Kind::ModeLowered]);
}

#[tokio::test(start_paused = true)]
async fn too_much_memory_asks_for_a_restart() {
    let bed = Bed::new();
    let modes = bed.open_with(Memory { soft_limit: Some(1024) });
    tokio::spawn(modes.service(|| 0, || None).run());
    modes.exhausted().cancelled().await;
    assert_eq!(modes.mode(), Mode::Emergency);
}
