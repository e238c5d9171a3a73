//! A thousand random damages to the bytes of a store full of runs: never a panic, never a wrong answer, and what is lost is
//! said to be lost.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mainstay_control_plane::doctor::{self, DropError};
use mainstay_control_plane::engine::{self, LoadError};
use mainstay_control_plane::host::Clock;
use mainstay_control_plane::listing::{Filter, Listing};
use mainstay_control_plane::metrics::Metrics;
use mainstay_control_plane::{budgets, dispatch, events, modes, registry, rollouts, routing, workflows};
use mainstay_kernel::dice::Dice;
use mainstay_kernel::id::RunId;
use mainstay_kernel::json::Limits;
use mainstay_kernel::name::Name;
use mainstay_store::{Blobs, OpenError, SledOptions, SledStore, Store};
use mainstay_tests::bench::filler::Filler;
use mainstay_tests::seed::Seeded;

/// Damages in all, and how many are tried at once.
const DAMAGES: u64 = 1_000;
const AT_ONCE: u64 = 4;

/// Runs in the store: small ones, some of them open, and ones with documents outside of their records.
const SMALL: (usize, usize) = (60, 6);
const LARGE: usize = 6;

/// What every run is when nothing is damaged: read, and in the listing.
type Sound = BTreeMap<RunId, (String, String)>;

/// How one damage went.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Outcome {
    refused: u32,
    whole: u32,
    /// Cost at most as many runs as lie on a few pages.
    confined: u32,
    wide: u32,
    /// Documents that were damaged, and the runs that cost.
    documents: u32,
}

/// Everything that reads runs, over the files in a folder.
struct Reader {
    engine: engine::Handle,
    listing: Listing,
    store: Arc<dyn Store>,
    blobs: Blobs,
}

impl Reader {
    async fn open(data: &Path) -> Result<Option<Self>, OpenError> {
        let store: Arc<dyn Store> = match SledStore::open(data.join("store"), SledOptions::default()) {
            Ok(store) => Arc::new(store),
            Err(error) => return Err(error),
        };
        let blobs = Blobs::open(data.join("blobs")).unwrap();
        let (clock, metrics) = (Clock::system(), Metrics::default());
        // What a start reads may be out of reach altogether; a server then does not start, and says why.
        let Ok((events, _told)) = events::open(clock.clone(), Arc::clone(&store)) else { return Ok(None) };
        let opened = registry::open(
            registry::Config::default(),
            clock.clone(),
            Arc::clone(&store),
            blobs.clone(),
            events.clone(),
        );
        let Ok((registry, _leases)) = opened.await else { return Ok(None) };
        let catalog = workflows::Handle::new(clock.clone(), Arc::clone(&store), blobs.clone());
        let stores = (Arc::clone(&store), blobs.clone());
        let modes = modes::open(
            modes::Config::default(),
            clock.clone(),
            Arc::clone(&store),
            events.clone(),
            metrics.clone(),
        );
        let Ok(modes) = modes else { return Ok(None) };
        let Ok((budgets, _adding)) = budgets::open(clock.clone(), Arc::clone(&store), events.clone()) else {
            return Ok(None);
        };
        let Ok((rollouts, _changes)) = rollouts::open(clock.clone(), stores, events.clone(), metrics.clone())
        else {
            return Ok(None);
        };
        let dispatch = dispatch::Handle::new(
            clock.clone(),
            registry.clone(),
            rollouts,
            modes.clone(),
            Limits::default(),
            metrics.clone(),
        );
        let Ok((decisions, _kept)) =
            routing::decisions::open(clock.clone(), Arc::clone(&store), metrics.clone())
        else {
            return Ok(None);
        };
        let (routing, _learning) = routing::Handle::new(
            clock.clone(),
            routing::Parts {
                catalog: routing::Catalog::new(clock.clone(), Arc::clone(&store), blobs.clone()),
                registry: registry.clone(),
                dispatch: dispatch.clone(),
                metrics: metrics.clone(),
                modes: modes.clone(),
                decisions,
            },
        );
        let parts = engine::Parts { catalog, registry, dispatch, metrics, modes, routing, budgets, events };
        let (engine, _runs) =
            engine::Handle::new(engine::Config::default(), clock, (Arc::clone(&store), blobs.clone()), parts);
        Ok(Some(Self { engine, listing: Listing::new(Arc::clone(&store)), store, blobs }))
    }

    /// The listing, a line for each run.
    async fn list(&self) -> BTreeMap<RunId, String> {
        let rows = self.listing.page(&tenant(), &Filter::default(), None, 1_000).await.unwrap();
        rows.runs.into_iter().map(|row| (row.run_id.parse().unwrap(), format!("{row:?}"))).collect()
    }

    /// Looks at everything as the doctor does; the keys of what cannot be used.
    fn examine(&self) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        let examined = doctor::examine(&*self.store, &self.blobs, |finding| {
            found.push(finding.key.to_vec());
            ControlFlow::Continue(())
        });
        assert_eq!(examined.unwrap().damaged as usize, found.len());
        found
    }

    async fn read(&self, run: RunId) -> Result<String, LoadError> {
        self.engine.get(&tenant(), run).await.map(|run| format!("{:?} {:?}", run.steps, run.end))
    }
}

fn tenant() -> Name {
    Name::new("default").unwrap()
}

/// A folder full of runs, and what they are.
async fn filled() -> (tempfile::TempDir, Sound) {
    let folder = tempfile::tempdir().unwrap();
    let filler = Filler::open(folder.path()).await.unwrap();
    let mut runs = filler.fill(SMALL.0, SMALL.1).await.unwrap();
    runs.extend(filler.fill_large(LARGE).await.unwrap());
    drop(filler);
    // Opened once more, so that there is a snapshot beside the log.
    let reader = Reader::open(folder.path()).await.unwrap().unwrap();
    let listed = reader.list().await;
    let mut sound = Sound::new();
    for run in runs {
        sound.insert(run.id, (reader.read(run.id).await.unwrap(), listed[&run.id].clone()));
    }
    assert_eq!(reader.examine(), [[0; 0]; 0]);
    (folder, sound)
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            files(&entry.path(), found)
        } else {
            found.push(entry.path())
        }
    }
}

fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    let mut all = Vec::new();
    files(from, &mut all);
    for file in all {
        let target = to.path().join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&file, target).unwrap();
    }
    fs::create_dir_all(to.path().join("store/blobs")).unwrap();
    to
}

/// Damages one file: mostly the log, sometimes a document, a snapshot or what else is there. Says which.
fn damage(data: &Path, dice: &mut Dice) -> PathBuf {
    let mut all = Vec::new();
    files(data, &mut all);
    all.sort();
    all.retain(|file| fs::metadata(file).unwrap().len() > 0);
    let log = data.join("store/db");
    let file =
        if dice.roll() % 10 < 7 { log } else { all[(dice.roll() % all.len() as u64) as usize].clone() };
    let mut bytes = fs::read(&file).unwrap();
    let at = (dice.roll() % bytes.len() as u64) as usize;
    let end = bytes.len().min(at + 1 + (dice.roll() % 512) as usize);
    match dice.roll() % 8 {
        0..4 => bytes[at] ^= 1 << (dice.roll() % 8),
        4..6 => bytes[at..end].fill(0),
        6 => bytes[at..end].iter_mut().for_each(|byte| *byte = dice.roll().to_le_bytes()[0]),
        _ => bytes.truncate(at),
    }
    fs::write(&file, bytes).unwrap();
    file
}

/// The runs that cannot be read. One that can says what it always did.
async fn lost(reader: &Reader, sound: &Sound, seed: u64) -> BTreeSet<RunId> {
    let mut lost = BTreeSet::new();
    for (run, (meant, _)) in sound {
        match reader.read(*run).await {
            Ok(read) => assert_eq!(read, *meant, "seed {seed}: a wrong answer about {run}"),
            Err(LoadError::Damaged(_) | LoadError::Workflow(_)) => drop(lost.insert(*run)),
            Err(error) => panic!("seed {seed}: {run}: {error}"),
        }
    }
    lost
}

/// Drops all that the doctor finds. What was whole stays as it was; what was lost is none, or said to be lost, but never
/// another run than it was.
async fn dropped(reader: &Reader, sound: &Sound, lost: &BTreeSet<RunId>, seed: u64) {
    let found = reader.examine();
    assert!(lost.is_empty() || !found.is_empty(), "seed {seed}: the doctor finds nothing");
    for key in &found {
        match doctor::drop_record(&*reader.store, &reader.blobs, key) {
            Ok(_) | Err(DropError::NotFound | DropError::OutOfReach) => {}
            Err(error) => panic!("seed {seed}: {error}"),
        }
    }
    assert!(reader.store.status().is_writable(), "seed {seed}");
    for (run, (meant, _)) in sound {
        match reader.read(*run).await {
            Ok(read) => {
                assert!(!lost.contains(run) && read == *meant, "seed {seed}: {run} is another one: {read}")
            }
            Err(LoadError::Damaged(_) | LoadError::Workflow(_) | LoadError::NotFound) => {
                assert!(lost.contains(run), "seed {seed}: {run} went with what was dropped");
            }
            Err(error) => panic!("seed {seed}: {run}: {error}"),
        }
    }
}

async fn one(original: &Path, sound: &Sound, seed: u64) -> Outcome {
    let mut dice = Dice::seeded(seed);
    let data = copy(original);
    let damaged = damage(data.path(), &mut dice);
    let reader = match Reader::open(data.path()).await {
        Err(OpenError::Damaged { .. } | OpenError::Newer { .. }) | Ok(None) => {
            return Outcome { refused: 1, ..Outcome::default() };
        }
        Err(other) => panic!("seed {seed}, {}: {other}", damaged.display()),
        Ok(Some(reader)) => reader,
    };
    let lost = lost(&reader, sound, seed).await;
    let listed = reader.list().await;
    for (run, row) in &listed {
        assert_eq!(
            sound.get(run).map(|meant| &meant.1),
            Some(row),
            "seed {seed}: a wrong line in the listing"
        );
    }
    let unlisted = sound.len() - listed.len();
    let is_document = damaged.starts_with(data.path().join("blobs"));
    assert!(
        is_document || lost.is_empty() && unlisted == 0 || !reader.store.quarantined().is_empty(),
        "seed {seed}: without a word"
    );
    dropped(&reader, sound, &lost, seed).await;
    let lost = lost.len();
    match lost.max(unlisted) {
        0 => Outcome { whole: 1, ..Outcome::default() },
        _ if is_document => {
            // A run's document costs that run. The workflow's costs what needs it.
            assert!(lost == 1 || lost == sound.len(), "seed {seed}: {lost} runs lost with a document");
            Outcome { documents: 1, ..Outcome::default() }
        }
        lost if lost <= sound.len() / 4 => Outcome { confined: 1, ..Outcome::default() },
        _ => Outcome { wide: 1, ..Outcome::default() },
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_damages_lead_to_no_panic_and_no_wrong_answer_and_cost_what_they_hit() {
    let (original, sound) = filled().await;
    let first = Seeded::from_environment().seed();
    let (original, sound) = (Arc::new(original), Arc::new(sound));
    let trying = (0..AT_ONCE).map(|lane| {
        let (original, sound) = (Arc::clone(&original), Arc::clone(&sound));
        tokio::spawn(async move {
            let mut sum = Outcome::default();
            for number in (lane..DAMAGES).step_by(AT_ONCE as usize) {
                let outcome = one(original.path(), &sound, first.wrapping_add(number)).await;
                sum.refused += outcome.refused;
                sum.whole += outcome.whole;
                sum.confined += outcome.confined;
                sum.wide += outcome.wide;
                sum.documents += outcome.documents;
            }
            sum
        })
    });
    let mut sums = Vec::new();
    for lane in trying.collect::<Vec<_>>() {
        sums.push(lane.await.unwrap());
    }
    let count = |of: fn(&Outcome) -> u32| sums.iter().map(of).sum::<u32>();
    let (whole, confined, wide) = (count(|o| o.whole), count(|o| o.confined), count(|o| o.wide));
    let (refused, documents) = (count(|o| o.refused), count(|o| o.documents));
    println!(
        "{DAMAGES} damages: {whole} cost nothing, {confined} a few runs, {documents} a document, {wide} more, {refused} \
         were refused at the start"
    );
    assert!(whole > 0 && confined > 0 && documents > 0);
    // A page of an index takes all below it along, and a log without its beginning or its end does not open: then a backup
    // helps. An eighth of random damages does that.
    assert!(u64::from(refused + wide) <= DAMAGES / 5);
}
